import keras
import numpy as np
import pytest

import keras_muse
from keras_muse.models.transformers.uvit_base import sinusoids
from tests.helpers import tiny
from tests.helpers.tiny import TEXT_DIM
from tests.helpers.tiny import TEXT_LENGTH
from tests.helpers.tiny import call
from tests.helpers.tiny import tiny_data
from tests.helpers.tiny import tiny_text
from tests.helpers.tiny import tiny_uvit
from tests.helpers.tiny import to_numpy


@pytest.fixture(scope="module")
def model():
    return tiny_uvit()


def logits(model, **changes):
    data = {**tiny_data(model, 3), **changes}
    data = {k: v for k, v in data.items() if v is not None}
    return to_numpy(call(model, data))


def test_codes_start_around_zero():
    model = tiny_uvit(random_weights=False, codebook_size=500)
    call(model, tiny_data(model, 1))  # builds it
    codes = to_numpy(model.token_embedding.embeddings)
    np.testing.assert_allclose(codes.mean(), 0, atol=0.002)
    np.testing.assert_allclose(codes.std(), 0.0176, atol=0.001)


# === The text ===


def test_no_text_is_the_empty_text(model):
    nothing = np.zeros((3, TEXT_LENGTH), "bool")
    empty = np.broadcast_to(
        to_numpy(model.empty_text), (3, TEXT_LENGTH, TEXT_DIM)
    )
    without = logits(model, text_mask=nothing)
    np.testing.assert_array_equal(
        without, logits(model, text_embeddings=empty, text_mask=~nothing)
    )
    assert np.abs(without - logits(model)).max() > 0.1


def test_rows_without_text_leave_the_others_alone(model):
    mask = tiny_text(3)["text_mask"]
    mask[1] = False
    changed = np.any(logits(model) != logits(model, text_mask=mask), (1, 2))
    np.testing.assert_array_equal(changed, [False, True, False])


def test_padding_does_not_count_and_the_first_row_does(model):
    text = tiny_text(3)
    rows = {"first": np.s_[:, 0], "padding": ~text["text_mask"]}
    moved = {}
    for name, where in rows.items():
        embeddings = text["text_embeddings"].copy()
        embeddings[where] += 1.0
        changed = logits(model, text_embeddings=embeddings)
        moved[name] = np.abs(changed - logits(model)).max()
    assert moved["padding"] == 0 and moved["first"] > 0.1


def test_text_of_another_length_raises(model):
    with pytest.raises(ValueError, match=r"text_length=5.*\(3, 4, 6\)"):
        logits(
            model,
            text_embeddings=np.zeros((3, 4, TEXT_DIM), "float32"),
            text_mask=np.ones((3, 4), "bool"),
        )


@pytest.mark.parametrize(
    ("empty_text", "message"),
    [
        (np.zeros((1, TEXT_LENGTH, TEXT_DIM)), r"\(5, 6\)\. .*\(1, 5, 6\)"),
        ((np.zeros((1, TEXT_LENGTH, TEXT_DIM)), np.ones((1, 5))), "an array"),
        (np.full((TEXT_LENGTH, TEXT_DIM), np.nan), "finite"),
    ],
)
def test_an_empty_text_is_one_row_of_numbers(model, empty_text, message):
    before = to_numpy(model.empty_text).copy()
    with pytest.raises(ValueError, match=f"`text_embeddings` must.*{message}"):
        model.set_empty_text(empty_text)
    np.testing.assert_array_equal(to_numpy(model.empty_text), before)


# === The picture's numbers ===


def test_usual_numbers_are_of_a_whole_picture():
    model = tiny_uvit(grid_size=(2, 4))
    np.testing.assert_array_equal(
        to_numpy(model.micro_conditions), [64, 32, 0, 0, 6]
    )


def test_numbers_of_each_picture_and_of_all():
    model = tiny_uvit()
    numbers = np.array([[64, 64, 0, 0, 6], [64, 64, 8, 0, 6], [9, 9, 0, 0, 2]])
    usual = logits(model)
    of_each = logits(model, micro_conditions=numbers.astype("float32"))
    np.testing.assert_array_equal(of_each[0], usual[0])
    assert (np.abs(of_each - usual).max((1, 2))[1:] > 1e-3).all()
    model.micro_conditions.assign(numbers[2])
    np.testing.assert_allclose(logits(model)[2], of_each[2], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_given_numbers_are_as_exact_as_assigned_ones(dtype):
    model = tiny_uvit(dtype=dtype)
    numbers = np.array([515, 771, 37, 129, 6.27], "float32")
    given = logits(model, micro_conditions=np.tile(numbers, (3, 1)))
    model.micro_conditions.assign(numbers)
    np.testing.assert_array_equal(given, logits(model))


def test_assigned_numbers_count_in_compiled_programs():
    model, tokens = tiny_uvit(), []
    for numbers in ([64, 64, 0, 0, 6], [9, 9, 0, 0, 2]):
        model.micro_conditions.assign(numbers)
        tokens.append(
            model.generate(**tiny_text(4), num_steps=2, seed=0, verbose=0)
        )
    assert (tokens[0] != tokens[1]).any()


def test_waves_are_cosines_then_sines():
    values, dim = np.array([[3.0, 512.0]], "float32"), 6
    frequencies = 10000 ** (-np.arange(3) / 3)
    angles = values[..., None] * frequencies
    expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    np.testing.assert_allclose(
        to_numpy(sinusoids(values, dim)), expected, atol=1e-4
    )


# === The U ===


def test_downsampling_halves_what_the_transformer_sees(monkeypatch):
    seen = {}
    for downsample in (False, True):
        model = tiny_uvit(downsample=downsample)
        layer = model.transformer_layers[0]
        call = type(layer).call

        def spy(self, x, *args, key=downsample, call=call):
            seen[key] = x.shape[1]
            return call(self, x, *args)

        monkeypatch.setattr(type(layer), "call", spy)
        assert logits(model).shape == (3, 16, 16)
        monkeypatch.undo()
    assert seen == {False: 16, True: 4}


def test_odd_grid_cannot_be_halved():
    with pytest.raises(ValueError, match=r"grid_size=\(3, 4\)"):
        tiny_uvit(grid_size=(3, 4))


def test_waves_come_in_pairs():
    with pytest.raises(ValueError, match="`condition_dim`.*condition_dim=5"):
        tiny_uvit(condition_dim=5)
    # The first row of a text is its condition, the others are its context.
    with pytest.raises(ValueError, match="`text_length`.*text_length=1"):
        tiny_uvit(text_length=1)


# === At work ===


def test_learns_which_picture_a_text_has():
    generator = np.random.default_rng(0)
    which = np.arange(64) % 4
    data = {
        "token_ids": generator.integers(0, 16, (4, 4, 4))[which],
        **{name: x[which] for name, x in tiny_text(4).items()},
    }
    model = tiny_uvit(random_weights=False, hidden_dim=32, stage_dim=16)
    model.compile("adam", text_dropout=0.0)
    model.optimizer.learning_rate = 0.01
    model.fit(data, batch_size=32, epochs=100, verbose=0)
    loss = model.evaluate(data, verbose=0, return_dict=True)["loss"]
    assert loss < 0.3 * np.log(16)
    tokens = model.generate(
        **tiny_text(4), num_steps=4, guidance_scale=1, seed=0, verbose=0
    )
    assert (tokens == data["token_ids"][:4]).mean() > 0.9


def test_preset_keeps_what_is_not_trained(model, tmp_path):
    directory = str(tmp_path / "uvit")
    model.save_to_preset(directory)
    loaded = keras_muse.UViTBase.from_preset(directory)
    np.testing.assert_array_equal(logits(loaded), logits(model))
    np.testing.assert_array_equal(
        to_numpy(loaded.empty_text), to_numpy(model.empty_text)
    )


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="known elsewhere",
)
def test_the_length_of_a_text_may_be_known_later():
    """As TensorFlow traces a dataset of texts of any length."""
    model = tiny.tiny_uvit(num_layers=1)
    data = tiny.tiny_data(model)
    rows = model.text_length
    padding = ((0, 0), (0, rows + 2 - data["text_mask"].shape[1]))
    data["text_embeddings"] = np.pad(
        data["text_embeddings"], (*padding, (0, 0))
    )
    data["text_mask"] = np.pad(data["text_mask"], padding)
    data["text_mask"][0] = False  # the empty text takes its place
    expected = to_numpy(model(data))
    import tensorflow as tf

    signature = {
        name: tf.TensorSpec(
            x.shape if name == "token_ids" else (None, None, *x.shape[2:]),
            x.dtype,
        )
        for name, x in data.items()
    }
    traced = tf.function(model, input_signature=[signature])
    np.testing.assert_allclose(to_numpy(traced(data)), expected, atol=2e-4)
