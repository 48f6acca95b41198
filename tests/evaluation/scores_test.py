"""What drawn pictures are compared with."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_muse import data
from keras_muse import metrics
from keras_muse.evaluation import PROTOCOLS
from keras_muse.evaluation import Protocol
from keras_muse.evaluation.protocols import with_second_scorer
from keras_muse.evaluation.rows import by_another_hand
from keras_muse.evaluation.rows import other_rows
from keras_muse.evaluation.rows import rows_to_draw
from keras_muse.evaluation.scores import Scores
from keras_muse.metrics.networks import CLIPScorer
from tests.evaluation.muse_scores_test import Colors
from tests.evaluation.muse_scores_test import mean_colors

DRAWN = Protocol(
    feature_network=lambda: mean_colors,
    feature_metrics=lambda: [
        metrics.FrechetDistance(),
        metrics.KernelDistance(),
    ],
    pair_metrics=list,
    text_metrics=list,
    num_prompts=10,
)
ALL = dataclasses.replace(DRAWN, references="all")


@pytest.fixture(scope="module")
def pairs():
    pairs = data.load_emoji(
        image_size=16, split="test_pair", prompts="styled", shuffle=False
    )
    return pairs.select(range(40))


@pytest.fixture(scope="module")
def drawn(pairs):
    """Pictures for ten rows."""
    return 255 - pairs.select(range(10)).as_arrays()[0]


def distance(images, drawn):
    metric = metrics.FrechetDistance(mean_colors)
    metric.update_state(images, drawn)
    return metric.result()


def test_the_rows_of_a_protocol(pairs):
    assert rows_to_draw(pairs, DRAWN).texts == pairs.texts[::4]
    chosen = rows_to_draw(pairs, ALL).texts
    assert len(set(chosen)) == 10 and chosen != pairs.texts[::4]
    assert chosen == rows_to_draw(pairs, ALL).texts
    assert chosen == sorted(chosen, key=pairs.texts.index)
    all_of_them = dataclasses.replace(DRAWN, num_prompts=None)
    assert rows_to_draw(pairs, all_of_them).texts == pairs.texts


def test_the_papers_protocols():
    """Imagen's section 4.1 for COCO; the whole validation set of CC3M."""
    coco, cc3m = PROTOCOLS["coco"], PROTOCOLS["cc3m"]
    assert (coco.num_prompts, coco.references) == (30_000, "all")
    assert cc3m.num_prompts is None
    with pytest.raises(ValueError, match="`references` must be one of"):
        dataclasses.replace(coco, references="some")


def test_a_network_that_cannot_be_fetched_is_a_clear_line(monkeypatch):
    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure on https://somewhere")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setattr(CLIPScorer, "from_preset", unreachable)
    for name, make in (
        ("Inception network of FID", PROTOCOLS["coco"].feature_network),
        ("CLIP, 'clip_vit_large_patch14'", PROTOCOLS["cc3m"].text_metrics),
    ):
        with pytest.raises(OSError, match=f"{name}.*could not.*URL fetch"):
            make()


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


def test_statistics_are_written_once_and_read_again(
    pairs, drawn, tmp_path, capsys
):
    path = tmp_path / "true.npz"
    rows, looks = rows_to_draw(pairs, ALL), []

    def eyes(images):
        looks.append(len(images))
        return mean_colors(images)

    protocol = dataclasses.replace(ALL, feature_network=lambda: eyes)
    results = []
    for _ in range(2):
        looks.clear()
        scores = Scores(protocol, rows, pairs, path)
        results.append((sum(looks), scores.num_references))
        scores.update(None, drawn, rows.texts)
        results.append(scores.results())
    (first_looks, first_count), first, (looks_again, count), again = results
    assert first_looks >= 40 > looks_again and first_count == count == 40
    assert again == {
        "frechet_distance": pytest.approx(first["frechet_distance"], rel=1e-6)
    }
    said = capsys.readouterr().out
    assert f"{path} has the statistics of 40 pictures" in said
    assert "kernel_distance is left out: it needs each true picture" in said


def test_statistics_of_another_network_are_refused(pairs, tmp_path):
    path = tmp_path / "true.npz"
    Scores(ALL, pairs, statistics=path)
    other = dataclasses.replace(
        ALL, feature_network=lambda: lambda images: mean_colors(images)[:, :4]
    )
    with pytest.raises(ValueError, match="Received: network mean_colors"):
        Scores(other, pairs, statistics=path)
    np.savez(path, mu=np.ones(4), sigma=np.eye(4))
    with pytest.raises(ValueError, match=r"true.npz.*Received: \(4,\)"):
        Scores(ALL, pairs, statistics=path)


# === The ceiling ===


def quarters(images):
    return mean_colors(images) ** 2


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


class Seer(Colors):
    """A scorer with a network of its own."""

    own_network = staticmethod(quarters)


def test_a_second_scorer_is_asked_too(pairs, drawn):
    first = dataclasses.replace(
        DRAWN, text_metrics=lambda: [metrics.RPrecision(Colors(), 3)]
    )
    protocol = with_second_scorer(first, Colors())
    assert protocol.second_network is None
    names = [metric.name for metric in protocol.text_metrics()]
    assert names == ["r_precision", "second_r_precision"]
    again = with_second_scorer(protocol, Colors()).text_metrics()
    assert [metric.name for metric in again] == names
    protocol = with_second_scorer(first, Seer())
    assert protocol.second_network() is quarters
    # A network that was named stays.
    named = dataclasses.replace(first, second_network=lambda: mean_colors)
    named = with_second_scorer(named, Seer())
    assert named.second_network() is mean_colors


def test_true_pictures_against_as_many_others(pairs):
    rows = rows_to_draw(pairs, DRAWN)
    others = other_rows(pairs, DRAWN)
    assert sorted(rows.texts + others.texts) == sorted(pairs.texts)
    found = Scores(DRAWN, rows).true_results(others)
    chosen = others.select_evenly(10).as_arrays()[0]
    assert found["frechet_distance"] == pytest.approx(
        distance(rows.as_arrays()[0], chosen), rel=1e-6
    )


def test_true_pictures_half_against_half(pairs, capsys):
    """Where all are drawn: of so few a Frechet distance would be larger."""
    protocol = dataclasses.replace(DRAWN, num_prompts=None)
    found = Scores(protocol, pairs).true_results(other_rows(pairs, protocol))
    images, _ = pairs.as_arrays()
    # Batches of 32 and 8 pictures.
    metric = metrics.KernelDistance(mean_colors)
    metric.update_state(images[::2], images[1::2])
    assert found == {"kernel_distance": pytest.approx(metric.result())}
    said = capsys.readouterr().out
    assert "frechet_distance of true pictures is left out" in said


def test_references_that_may_hold_the_others_give_no_ceiling(pairs):
    rows = rows_to_draw(pairs, ALL)
    assert Scores(ALL, rows, pairs).true_results(None) == {}


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
