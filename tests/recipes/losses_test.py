import math
import types

import numpy as np
import pytest

from keras_muse.recipes import losses
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_data


def test_captions_are_shuffled_and_nothing_else():
    """Texts stay with their masks; tokens stay where they are."""
    seen = []

    def evaluate(x, **kwargs):
        seen.append(x)
        return {"loss": float(len(seen))}

    model = types.SimpleNamespace(codebook_size=16, evaluate=evaluate)
    rows = tiny_data(tiny_base(), 12)
    found = losses.measure(model, rows)
    assert found == losses.Losses(1.0, 2.0, math.log(16))
    found = losses.measure(model, rows, training_rows={"other": "rows"})
    assert found.of_training == 5.0 and seen[4] == {"other": "rows"}
    assert found.reads_captions and not found.knows_by_heart
    np.testing.assert_array_equal(seen[1]["token_ids"], rows["token_ids"])
    for name in ("text_embeddings", "text_mask"):
        assert (seen[0][name] == rows[name]).all()
        assert (seen[1][name] != rows[name]).any()
    order = [
        int(np.flatnonzero((rows["text_embeddings"] == text).all((1, 2)))[0])
        for text in seen[1]["text_embeddings"]
    ]
    assert sorted(order) == list(range(12))
    np.testing.assert_array_equal(
        seen[1]["text_mask"], rows["text_mask"][order]
    )


@pytest.mark.parametrize("num_rows", [2, 7, 6, 70])
def test_devices_share_any_number_of_rows(monkeypatch, num_rows):
    seen = []

    def evaluate(x, batch_size, **kwargs):
        assert batch_size % 3 == 0 and len(x["text_mask"]) % 3 == 0
        seen.append(x["token_ids"])
        return {"loss": 1.0}

    monkeypatch.setattr(losses, "num_local_replicas", lambda: 3)
    model = types.SimpleNamespace(codebook_size=16, evaluate=evaluate)
    rows = tiny_data(tiny_base(), num_rows)
    losses.measure(model, rows)
    ids = rows["token_ids"]
    for given in seen:
        np.testing.assert_array_equal(given[:num_rows], ids)
        np.testing.assert_array_equal(
            given[num_rows:], ids[: len(given) - num_rows]
        )
        assert len(given) - num_rows < 3


@pytest.mark.parametrize(
    "found, words",
    [
        (losses.Losses(3.0, 4.0, 6.0), "Normal: 50% of guessing"),
        (losses.Losses(3.0, 3.0, 6.0), "not which caption"),
        (losses.Losses(5.9, 6.5, 6.0), "next to nothing"),
        (losses.Losses(5.9, 6.5, 6.0, of_training=5.8), "next to nothing"),
        (losses.Losses(4.0, 5.0, 6.0, of_training=2.0), "by heart"),
        (losses.Losses(7.0, 9.0, 6.0, of_training=0.6), "by heart"),
        (losses.Losses(4.0, 5.0, 6.0, of_training=3.8), "Normal: 67%"),
    ],
)
def test_losses_are_put_in_words(found, words):
    assert words in losses.in_words(found)


def test_what_was_trained_on_is_not_called_held_out():
    assert str(losses.Losses(3.0, 4.0, 6.0)).startswith("held-out loss 3.00")
    of_all = losses.Losses(3.0, 4.0, 6.0, is_held_out=False)
    assert str(of_all).startswith("loss 3.00; with the captions")
