import keras
import numpy as np
import pytest

from keras_muse.models.transformers import micro_batches
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_data
from tests.helpers.tiny import to_numpy


def test_a_part_has_every_other_row():
    """So it has rows of each device that has neighbouring ones."""
    grid = np.arange(24).reshape(12, 2)
    flat = np.arange(12.0)
    parts = micro_batches.cut({"grid": grid, "flat": flat}, 3)
    assert parts["grid"].shape == (3, 4, 2)
    for i in range(3):
        for name, whole in (("grid", grid), ("flat", flat)):
            np.testing.assert_array_equal(to_numpy(parts[name])[i], whole[i::3])


def test_parts_must_be_equal():
    with pytest.raises(ValueError, match="steps=5, a batch of 12 rows on 1"):
        micro_batches.cut([np.arange(12)], 5)


def test_masks_are_those_of_the_whole_batch():
    """Masked once, then cut: not the same mask for each part."""
    whole, model = tiny_base(), tiny_base()
    data = tiny_data(model, 8)
    for m, steps in ((whole, 1), (model, 4)):
        m.compile(text_dropout=0.5, gradient_accumulation_steps=steps)
    expected = whole.mask_inputs(data, training=True)
    parts = micro_batches.masked_micro_batches(model, (data,))
    assert set(parts) == set(expected)
    for name, x in parts.items():
        for i in range(4):
            np.testing.assert_array_equal(
                to_numpy(x)[i], to_numpy(expected[name])[i::4]
            )
    np.testing.assert_array_equal(
        to_numpy(model.seed_generator.state),
        to_numpy(whole.seed_generator.state),
    )
    assert keras.backend.standardize_dtype(parts["mask"].dtype) == "bool"


@pytest.mark.parametrize(
    "average, visible", [("rows", 0), ("tokens", 0), ("rows", 0.5)]
)
def test_a_step_in_parts_is_that_of_the_whole_batch(average, visible):
    """Also where each masked token counts alike, in whatever part it is."""

    def step(num_parts):
        model = tiny_base()
        before = [to_numpy(v) for v in model.trainable_variables]
        model.compile(
            keras.optimizers.SGD(1.0),
            loss_average=average,
            visible_loss_weight=visible,
            gradient_accumulation_steps=num_parts,
        )
        history = model.fit(
            tiny_data(model, 8), batch_size=8, shuffle=False, verbose=0
        )
        after = [to_numpy(v) for v in model.trainable_variables]
        change = [(b - a).ravel() for a, b in zip(before, after, strict=True)]
        return history.history["loss"][0], np.concatenate(change)

    loss, change = step(1)
    assert np.abs(change).max() > 1e-3
    for num_parts in (2, 8):
        same_loss, same_change = step(num_parts)
        assert same_loss == pytest.approx(loss, rel=1e-5)
        np.testing.assert_allclose(same_change, change, atol=1e-5)


def test_what_is_shown_counts_rows_as_without_parts():
    """Also where the last batch has fewer of them."""

    def history(num_parts):
        model = tiny_base(num_layers=1)
        model.compile(
            keras.optimizers.SGD(0.0),
            visible_loss_weight=0.5,
            gradient_accumulation_steps=num_parts,
        )
        data = tiny_data(model, 10)
        fit = model.fit(data, batch_size=8, shuffle=False, verbose=0)
        return {name: values[0] for name, values in fit.history.items()}

    whole = history(1)
    assert {"masked_token_loss", "visible_token_loss"} < set(whole)
    assert history(2) == pytest.approx(whole, rel=1e-5)


def test_texts_may_differ_in_length_from_batch_to_batch():
    def loss(num_parts):
        model = tiny_base(num_layers=1)
        data = tiny_data(model, 4)
        short = {
            name: x[:, :4] if name.startswith("text") else x
            for name, x in data.items()
        }
        model.compile(
            keras.optimizers.SGD(1.0), gradient_accumulation_steps=num_parts
        )
        batches = (batch for batch in (short, data))
        history = model.fit(
            batches, shuffle=False, steps_per_epoch=2, verbose=0
        )
        return history.history["loss"][0]

    assert loss(2) == pytest.approx(loss(1), rel=1e-5)
