import dataclasses

import numpy as np
import pytest

from keras_muse import metrics
from keras_muse.evaluation.rows import other_rows
from keras_muse.evaluation.rows import rows_to_draw
from keras_muse.evaluation.scores import Scores
from tests.helpers.colors import ALL
from tests.helpers.colors import DRAWN
from tests.helpers.colors import mean_colors


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


def test_too_few_true_pictures_for_two_halves_are_said_to_be(pairs, capsys):
    """Each metric by itself: some need more pictures than others."""

    class Hungry(metrics.KernelDistance):
        least_pictures = 6

    protocol = dataclasses.replace(
        DRAWN,
        num_prompts=None,
        feature_metrics=lambda: [
            Hungry(name="hungry"),
            metrics.KernelDistance(),
        ],
    )

    def ceiling(number):
        few = pairs.select(range(number))
        others = other_rows(few, protocol)
        found = Scores(protocol, few).true_results(others)
        return set(found), capsys.readouterr().out

    names, said = ceiling(10)
    assert names == {"kernel_distance"}
    assert "hungry of true pictures is left out" in said
    assert "kernel_distance" not in said
    assert ceiling(12) == ({"hungry", "kernel_distance"}, "")
    names, said = ceiling(3)
    assert names == set()
    assert "kernel_distance of true pictures is left out: two halves" in said


def test_statistics_of_a_file_are_said_to_give_no_ceiling(
    pairs, tmp_path, capsys
):
    rows, others = rows_to_draw(pairs, DRAWN), other_rows(pairs, DRAWN)
    path = tmp_path / "true.npz"
    assert Scores(DRAWN, rows, None, path).true_results(others)
    assert "of true pictures is left out" not in capsys.readouterr().out
    assert Scores(DRAWN, rows, None, path).true_results(others) == {}
    said = capsys.readouterr().out
    assert "frechet_distance of true pictures is left out: others may" in said
