import keras
import numpy as np
import pytest

import keras_muse
from tests.helpers.tiny import call
from tests.helpers.tiny import tiny_data
from tests.helpers.tiny import tiny_super_res
from tests.helpers.tiny import tiny_text
from tests.helpers.tiny import to_numpy


@pytest.fixture(scope="module")
def model():
    return tiny_super_res()


def logits(model, data, **changes):
    return to_numpy(call(model, {**data, **changes}))


def test_low_resolution_tokens_matter(model):
    data = tiny_data(model)
    low_res = data["low_res_token_ids"].copy()
    low_res[:, 2, 1] = (low_res[:, 2, 1] + 1) % 16
    changed = logits(model, data, low_res_token_ids=low_res)
    difference = abs(changed - logits(model, data)).max(axis=(1, 2))
    assert (difference > 1e-3).all()


def test_low_resolution_tokens_matter_without_a_text(model):
    data = tiny_data(model)
    data["text_mask"][:] = False
    low_res = (data["low_res_token_ids"] + 3) % 16
    changed = logits(model, data, low_res_token_ids=low_res)
    assert abs(changed - logits(model, data)).max() > 1e-2


def test_low_resolution_tokens_know_their_places(model):
    data = tiny_data(model)
    flipped = data["low_res_token_ids"][:, ::-1]
    changed = logits(model, data, low_res_token_ids=flipped)
    assert abs(changed - logits(model, data)).max() > 1e-2


def test_low_resolution_ids_flat_or_as_a_grid(model):
    data = tiny_data(model)
    flat = data["low_res_token_ids"].reshape(4, 8)
    np.testing.assert_array_equal(
        logits(model, data, low_res_token_ids=flat), logits(model, data)
    )


def test_the_low_resolution_encoder_sees_itself_only(model):
    """Its output is the same in each step, so it is computed once."""
    data = tiny_data(model)

    def context_of(model, data):
        return model.context(data)

    context, mask = call(model, data, function=context_of)
    assert context.shape == (4, 5 + 8, 16)
    np.testing.assert_array_equal(to_numpy(mask)[:, :5], data["text_mask"])
    assert to_numpy(mask)[:, 5:].all()
    other = {
        **data,
        "text_embeddings": data["text_embeddings"] + 1,
        "token_ids": data["token_ids"][::-1],
    }
    np.testing.assert_array_equal(
        to_numpy(call(model, other, function=context_of)[0])[:, 5:],
        to_numpy(context)[:, 5:],
    )


def test_attention_is_multi_axis(model):
    for layer in model.transformer_layers:
        attention = layer.self_attention
        assert isinstance(attention, keras_muse.layers.MultiAxisAttention)
        assert attention.grid_size == (8, 4) and attention.block_size == 2


def toy_data():
    """The text says nothing; the large picture repeats the small one."""
    model = tiny_super_res()
    data = tiny_data(model, 32)
    tokens = data["low_res_token_ids"].repeat(2, axis=1).repeat(2, axis=2)
    data["token_ids"] = tokens.astype("int32")
    for name in ("text_embeddings", "text_mask"):
        data[name] = np.repeat(data[name][:1], 32, axis=0)
    return data


@pytest.fixture(scope="module")
def trained():
    model = tiny_super_res(
        random_weights=False, hidden_dim=32, codebook_size=16
    )
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(toy_data(), batch_size=16, epochs=120, verbose=0)
    return model


def test_learns_from_the_low_resolution_tokens(trained):
    data = toy_data()
    loss = trained.evaluate(data, verbose=0)[0]
    assert loss < 0.7 * np.log(16)
    # Small pictures of others lead it astray: the loss needs them.
    data["low_res_token_ids"] = data["low_res_token_ids"][::-1]
    assert trained.evaluate(data, verbose=0)[0] > 1.5 * loss


def test_config_round_trip(model):
    copy = keras_muse.MuseSuperRes.from_config(model.get_config())
    assert copy.get_config() == model.get_config()
    assert copy.block_size == 2 and copy.low_res_grid_size == (4, 2)
    shapes = [v.shape for v in model.variables]
    assert [v.shape for v in copy.variables] == shapes


def generate(model, **changes):
    arguments = {
        **tiny_text(2),
        "low_res_token_ids": tiny_data(model, 2)["low_res_token_ids"],
        "num_steps": 3,
        "seed": 0,
        "verbose": 0,
        **changes,
    }
    return model.generate(**arguments)


def test_generation_follows_the_low_resolution_tokens(model):
    tokens = generate(model)
    assert tokens.shape == (2, 8, 4) and tokens.dtype == "int32"
    assert tokens.max() < 20
    low_res = tiny_data(model, 2)["low_res_token_ids"]
    np.testing.assert_array_equal(
        tokens, generate(model, low_res_token_ids=low_res.reshape(2, 8))
    )
    other = generate(model, low_res_token_ids=(low_res + 5) % 16)
    assert (tokens != other).any(axis=(1, 2)).all()


def test_noise_is_not_the_base_models(model):
    """Both decode with the same seeds."""
    assert model.first_noise_step != keras_muse.MuseBase.first_noise_step


@pytest.mark.parametrize(
    "low_res, message",
    [
        (np.zeros((3, 4, 2), int), r"\(3, 4, 2\)"),
        (np.zeros((2, 2, 4), int), r"\(2, 2, 4\)"),
        (np.full((2, 4, 2), 16), "from 16 to 16"),
        (np.full((2, 4, 2), -1), "from -1 to -1"),
        (np.zeros((2, 4, 2)), "float64"),
    ],
)
def test_low_resolution_tokens_that_do_not_fit_raise(model, low_res, message):
    with pytest.raises(ValueError, match=f"`low_res_token_ids`.*{message}"):
        generate(model, low_res_token_ids=low_res)


def test_data_that_do_not_fit_raise(model):
    data = tiny_data(model)
    model.compile()
    with pytest.raises(ValueError, match="`low_res_token_ids` must be clean"):
        model.fit({**data, "low_res_token_ids": np.full((4, 8), 16)})
    with pytest.raises(ValueError, match="`low_res_token_ids` must be of shap"):
        model({**data, "low_res_token_ids": np.zeros((4, 5), int)})


def test_odd_heads_raise():
    with pytest.raises(ValueError, match="Received: num_heads=3"):
        tiny_super_res(num_heads=3, hidden_dim=12)
