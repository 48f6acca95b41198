"""What drawn pictures are compared with."""

import dataclasses

import numpy as np
import pytest

from keras_muse import data
from keras_muse import metrics
from keras_muse.evaluation import PROTOCOLS
from keras_muse.evaluation import Protocol
from keras_muse.evaluation.rows import rows_to_draw
from keras_muse.evaluation.scores import Scores
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
