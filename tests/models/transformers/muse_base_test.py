import keras
import numpy as np
import pytest

import keras_muse
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_text

NUM_TEXTS = 4


def toy_data():
    """Each text has its own picture."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 16, (NUM_TEXTS, 4, 4))
    texts = tiny_text(NUM_TEXTS)
    which = np.arange(64) % NUM_TEXTS
    return {
        "token_ids": pictures[which].astype("int32"),
        **{name: x[which] for name, x in texts.items()},
    }


@pytest.fixture(scope="module")
def trained():
    model = tiny_base(random_weights=False, hidden_dim=32)
    # Compiled before: `generate` must follow the training.
    text = tiny_text(NUM_TEXTS)
    model.untrained_tokens = model.generate(
        **text, num_steps=4, seed=0, verbose=0
    )
    model.compile(keras.optimizers.Adam(0.01))
    model.history_of_fit = model.fit(
        toy_data(), batch_size=32, epochs=150, verbose=0
    ).history
    return model


def test_learns_which_picture_a_text_has(trained):
    losses = trained.history_of_fit["loss"]
    assert losses[0] > 0.8 * np.log(16)
    assert losses[-1] < 0.4 * np.log(16)
    actual = trained.evaluate(toy_data(), verbose=0, return_dict=True)
    # With its text, and with all masked, a picture is known.
    assert actual["loss"] < 0.25 * np.log(16) and actual["accuracy"] > 0.9


def test_generates_the_picture_of_a_text(trained):
    text = tiny_text(NUM_TEXTS)
    pictures = toy_data()["token_ids"][:NUM_TEXTS]
    tokens = trained.generate(
        **text, num_steps=4, guidance_scale=1, seed=0, verbose=0
    )
    assert (tokens == pictures).mean() > 0.9
    assert (trained.untrained_tokens == pictures).mean() < 0.3
    # Guidance overdoes what a model of four pictures knows by heart.
    tokens = trained.generate(**text, num_steps=4, seed=0, verbose=0)
    assert (tokens == pictures).mean() > 0.7


def test_guidance_makes_it_surer(trained):
    """Against the texts of others, each picture is the more its own."""
    text = tiny_text(NUM_TEXTS)
    pictures = toy_data()["token_ids"][:NUM_TEXTS]
    sampler = keras_muse.ConfidenceSampler(
        guidance_schedule="constant", temperature=3.0
    )
    share = [
        np.mean(
            [
                trained.generate(
                    **text,
                    num_steps=1,
                    guidance_scale=scale,
                    sampler=sampler,
                    seed=10 * i,
                    verbose=0,
                )
                == pictures
                for i in range(4)
            ]
        )
        for scale in (0.0, 1.0, 4.0)
    ]
    assert share[0] + 0.1 < share[1] < share[2]


def test_validation_inside_fit_and_generation_in_callbacks():
    """On JAX the weights are elsewhere while a model trains."""

    class Preview(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            previews.append(
                self.model.generate(
                    **text, num_steps=2, seed=0, guidance_scale=1, verbose=0
                )
            )

    previews, text, model = [], tiny_text(2), tiny_base(num_layers=1)
    model.compile(keras.optimizers.SGD(0.3))
    data = {name: x[:8] for name, x in toy_data().items()}
    history = model.fit(
        data,
        validation_data=data,
        batch_size=4,
        epochs=2,
        verbose=0,
        callbacks=[Preview()],
    ).history
    assert len(previews) == 2 and len(history["val_accuracy"]) == 2
    after = model.generate(
        **text, num_steps=2, seed=0, guidance_scale=1, verbose=0
    )
    np.testing.assert_array_equal(previews[1], after)
    assert (previews[0] != after).any()


def test_config_round_trip():
    model = tiny_base(name="muse", grid_size=(2, 8))
    copy = keras_muse.MuseBase.from_config(model.get_config())
    assert copy.get_config() == model.get_config()
    assert copy.grid_size == (2, 8) and copy.num_tokens == 16
    # One past the last code, so that it cannot be drawn.
    assert copy.mask_token_id == copy.codebook_size == 16
    shapes = [v.shape for v in model.variables]
    assert [v.shape for v in copy.variables] == shapes


def test_mixed_bfloat16_trains_and_generates():
    model = tiny_base(dtype="mixed_bfloat16", num_layers=1)
    model.compile()
    data = {name: x[:8] for name, x in toy_data().items()}
    history = model.fit(data, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    tokens = model.generate(**tiny_text(2), num_steps=3, seed=0, verbose=0)
    assert tokens.shape == (2, 4, 4) and tokens.max() < 16
