"""What drawn pictures are compared with."""

import dataclasses

import pytest

from keras_muse import data
from keras_muse import metrics
from keras_muse.evaluation.rows import by_another_hand
from keras_muse.evaluation.rows import other_rows
from keras_muse.evaluation.rows import rows_to_draw
from keras_muse.evaluation.scores import Scores
from tests.helpers.colors import ALL
from tests.helpers.colors import DRAWN
from tests.helpers.colors import Colors
from tests.helpers.colors import mean_colors
from tests.helpers.colors import quarters
from tests.helpers.picture_rows import make_rows


def distance(images, drawn):
    metric = metrics.FrechetDistance(mean_colors)
    metric.update_state(images, drawn)
    return metric.result()


def test_all_rows_are_references_or_the_drawn_ones(pairs, drawn):
    for protocol in (DRAWN, ALL):
        rows = rows_to_draw(pairs, protocol)
        true = pairs if protocol is ALL else rows
        references = pairs if protocol is ALL else None
        scores = Scores(protocol, rows, references)
        for _ in range(2):  # what is looked at once serves again
            scores.reset()
            scores.update(None, drawn, rows.texts)
            assert scores.results()["frechet_distance"] == pytest.approx(
                distance(true.as_arrays()[0], drawn), rel=1e-6
            )
        assert scores.num_references == true.num_examples


def test_a_second_network_takes_the_same_distances(pairs, drawn):
    protocol = dataclasses.replace(DRAWN, second_network=lambda: quarters)
    rows = rows_to_draw(pairs, protocol)
    scores = Scores(protocol, rows)
    scores.update(None, drawn, rows.texts)
    found = scores.results()
    assert set(found) == {
        *("frechet_distance", "kernel_distance"),
        *("second_frechet_distance", "second_kernel_distance"),
    }
    metric = metrics.KernelDistance(quarters)
    metric.update_state(rows.as_arrays()[0], drawn)
    assert found["second_kernel_distance"] == pytest.approx(metric.result())
    assert found["kernel_distance"] != pytest.approx(metric.result())


# === The ceiling ===


def test_true_pictures_against_as_many_others(pairs):
    rows = rows_to_draw(pairs, DRAWN)
    others = other_rows(pairs, DRAWN)
    assert sorted(rows.texts + others.texts) == sorted(pairs.texts)
    found = Scores(DRAWN, rows).true_results(others)
    chosen = others.select_evenly(10).as_arrays()[0]
    assert found["frechet_distance"] == pytest.approx(
        distance(rows.as_arrays()[0], chosen), rel=1e-6
    )


def test_references_that_may_hold_the_others_give_no_ceiling(pairs, capsys):
    rows = rows_to_draw(pairs, ALL)
    assert Scores(ALL, rows, pairs).true_results(None) == {}
    said = capsys.readouterr().out
    for name in ("frechet_distance", "kernel_distance"):
        assert f"{name} of true pictures is left out: no others" in said


def test_true_pictures_and_their_texts(pairs, drawn):
    protocol = dataclasses.replace(
        DRAWN,
        feature_metrics=list,
        pair_metrics=lambda: [metrics.PSNR()],
        text_metrics=lambda: [metrics.RPrecision(Colors(), num_candidates=3)],
    )
    rows = rows_to_draw(pairs, protocol)
    scores = Scores(protocol, rows)
    found = scores.true_results(other_rows(pairs, protocol))
    precision = metrics.RPrecision(Colors(), num_candidates=3)
    precision.update_state(*rows.as_arrays())
    # No other hand's drawings, so no distance of pairs.
    assert found == {"r_precision": precision.result()}
    scores.update(rows.as_arrays()[0], drawn, rows.texts)
    precision.reset_state()
    precision.update_state(drawn, rows.texts)
    assert scores.results()["r_precision"] == precision.result()


def test_a_true_picture_beside_another_hands(pairs):
    protocol = dataclasses.replace(
        DRAWN, feature_metrics=list, pair_metrics=lambda: [metrics.PSNR()]
    )
    rows = rows_to_draw(pairs, protocol)
    train = data.load_emoji(
        image_size=16, split="train", prompts="styled", shuffle=False
    )
    found = Scores(protocol, rows).true_results(None, [pairs, train])
    hands = by_another_hand(rows, [pairs, train])
    assert len(hands) == 10
    expected = metrics.PSNR()
    for place, pool, other in hands:
        true, drawn = rows.rows[place], pool.rows[other]
        assert true["concept"] == drawn["concept"]
        assert true["family"] != drawn["family"]
        expected.update_state(
            rows.select([place]).as_arrays()[0],
            pool.select([other]).as_arrays()[0],
        )
    assert found == {"psnr": pytest.approx(expected.result())}


def odd_rows(**columns):
    """Four pictures by two hands; the last one is broken."""
    rows = [
        dataclasses.replace(
            row, metadata={"concept": f"c{i % 2}", "family": i // 2, **columns}
        )
        for i, row in enumerate(make_rows(4))
    ]
    rows[-1] = dataclasses.replace(rows[-1], read=lambda: b"no picture")
    return data.ImageTextDataset(rows, image_size=4)


def test_another_hands_picture_that_is_broken_is_left_out():
    pairs = odd_rows()
    protocol = dataclasses.replace(
        DRAWN,
        num_prompts=None,
        feature_metrics=list,
        pair_metrics=lambda: [metrics.PSNR()],
    )
    few = pairs.select([0, 1])  # their others are rows 2 and 3
    with pytest.warns(UserWarning, match="is skipped"):
        found = Scores(protocol, few).true_results(None, [pairs])
    expected = metrics.PSNR()
    expected.update_state(*(pairs.select([i]).as_arrays()[0] for i in (0, 2)))
    assert found == {"psnr": pytest.approx(expected.result())}


def test_no_picture_of_another_hand_that_can_be_decoded_gives_no_ceiling():
    pairs = odd_rows()
    protocol = dataclasses.replace(
        DRAWN,
        num_prompts=None,
        feature_metrics=list,
        pair_metrics=lambda: [metrics.PSNR()],
    )
    one = pairs.select([1])  # its other is the broken row
    with pytest.warns(UserWarning, match="is skipped"):
        assert Scores(protocol, one).true_results(None, [pairs]) == {}


def test_a_column_concept_that_is_no_name_tells_of_no_hand():
    pairs = odd_rows(concept=["a", "list"])
    assert by_another_hand(pairs, [pairs]) == []
    assert len(by_another_hand(odd_rows(), [odd_rows()])) == 4
