"""One batch that is no number ruins no training: every way to save is tried.

The weights are spoilt in the very step whose loss is NaN, so what saves after
that step must not get to it.
"""

import os

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_muse.models import PictureTextScorer
from keras_muse.training import Checkpoint
from keras_muse.training import NaNGuard
from keras_muse.training import load_checkpoint
from tests.helpers import tiny
from tests.helpers.tiny import to_numpy

BROKEN = 3  # of these batches, counted from 1
NUM_BATCHES = 4


class Batches(keras.utils.PyDataset):
    """The same batch again and again, and a broken one among them."""

    def __init__(self, batch, broken):
        super().__init__()
        self.batch, self.broken = batch, broken

    def __len__(self):
        return NUM_BATCHES

    def __getitem__(self, index):
        return self.broken if index + 1 == BROKEN else self.batch


def with_nan(x):
    x = np.array(x, "float32")
    x[0] = np.nan
    return x


def make_base(**options):
    model = tiny.tiny_base(num_layers=1)
    model.compile("adam", text_dropout=0, **options)
    data = tiny.tiny_data(model, 4)
    broken = with_nan(data["text_embeddings"])
    return model, Batches(data, {**data, "text_embeddings": broken})


def make_micro_batches():
    return make_base(gradient_accumulation_steps=2)


def make_executions():
    # Batches 3 and 4 are one execution: it ends at the fourth.
    return make_base(steps_per_execution=2)


def make_super_res():
    model = tiny.tiny_super_res(num_layers=1)
    model.compile("adam", text_dropout=0)
    data = tiny.tiny_data(model, 4)
    broken = with_nan(data["text_embeddings"])
    return model, Batches(data, {**data, "text_embeddings": broken})


def make_scorer():
    model = PictureTextScorer(hidden_dim=8, embedding_dim=4)
    model.compile("adam")
    generator = np.random.default_rng(0)
    data = {
        "image_features": generator.normal(size=(4, 1280)).astype("float32"),
        "text_features": generator.normal(size=(4, 384)).astype("float32"),
        "caption_ids": np.arange(4),
    }
    broken = with_nan(data["text_features"])
    return model, Batches(data, {**data, "text_features": broken})


MAKERS = {
    "micro-batches": make_micro_batches,
    "two steps an execution": make_executions,
    "super-res": make_super_res,
    "scorer": make_scorer,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_no_callback_saves_what_a_broken_batch_made(tmp_path, kind):
    if "execution" in kind and keras.config.backend() == "torch":
        pytest.skip("Keras has one step an execution there")
    model, batches = MAKERS[kind]()
    callbacks = [
        Checkpoint(tmp_path / "run", save_freq=1, max_to_keep=None),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "{batch}.weights.h5", save_freq=1, save_weights_only=True
        ),
        keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1),
        NaNGuard(),  # a guard of the caller's own comes first, too
    ]
    with pytest.raises(RuntimeError, match=r"batch [34]: .*loss=nan"):
        model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)
    callbacks[0].close()
    # Spoilt it is: this test could fail.
    assert not all(np.isfinite(to_numpy(w)).all() for w in model.weights)
    assert max(map(int, os.listdir(tmp_path / "run"))) == BROKEN - 1
    files = sorted(tmp_path.rglob("*.weights.h5"))
    assert len(files) > 1
    for path in files:
        check_finite_file(path)
    load_checkpoint(model, tmp_path / "run")
    assert all(np.isfinite(to_numpy(w)).all() for w in model.weights)


def check_finite_file(path):
    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            assert np.isfinite(item[()]).all(), (path, name)

    with h5py.File(path) as file:
        file.visititems(visit)


# === The terms of a tokenizer ===


@pytest.fixture(scope="module")
def broken_terms():
    """A tokenizer in which a term breaks by what the first pixel says."""
    tokenizer = tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    tokenizer.compile(
        adversarial_start=0, discriminator=tiny.tiny_discriminator()
    )
    loss_terms = tokenizer.loss_terms

    def broken(inputs, outputs, training):
        terms = loss_terms(inputs, outputs, training)
        first_pixel = ops.cast(inputs[0, 0, 0, 0], "int32")
        return {
            name: term + ops.where(first_pixel == 100 + i, np.nan, 0.0)
            for i, (name, term) in enumerate(terms.items())
        }

    tokenizer.loss_terms = broken
    return tokenizer, [np.array(to_numpy(v)) for v in tokenizer.variables]


TERMS = (
    "reconstruction_loss",
    "perceptual_loss",
    "adversarial_loss",
    "discriminator_loss",
    "commitment_loss",
    "entropy_loss",
)


def test_every_term_of_a_tokenizer_is_named(broken_terms, tmp_path):
    tokenizer, start = broken_terms
    assert set(tokenizer.term_weights) == set(TERMS)
    named = []
    for i in range(len(TERMS)):
        for variable, value in zip(tokenizer.variables, start, strict=True):
            variable.assign(value)
        images = tiny.tiny_images(4, size=8)
        images[:, 0, 0, 0] = 0
        broken = np.array(images)
        broken[0, 0, 0, 0] = 100 + i
        checkpoint = Checkpoint(tmp_path, save_freq=1)
        with pytest.raises(RuntimeError, match="batch 3: ") as error:
            tokenizer.fit(
                Batches(images, broken),
                shuffle=False,
                verbose=0,
                callbacks=[checkpoint] if i == 0 else None,
            )
        checkpoint.close()
        message = str(error.value)
        named += [t for t in TERMS if f"{t}=nan" in message.split(". The ")[0]]
    assert sorted(named) == sorted(TERMS)
    assert max(map(int, os.listdir(tmp_path))) == BROKEN - 1


# === What has a finite loss, and spoilt weights ===


@pytest.fixture
def spoilt():
    model = tiny.tiny_base(num_layers=1)
    model.compile("adam")
    model.head_logits.bias.assign(np.full(16, np.inf))
    return model


def test_nothing_spoilt_is_saved_over_what_is_good(tmp_path, spoilt):
    good = tiny.tiny_base(num_layers=1)
    good.save_to_preset(tmp_path / "preset")
    good.save(tmp_path / "model.keras")
    good.save_weights(tmp_path / "good.weights.h5")
    for save, name in (
        (spoilt.save_to_preset, "preset"),
        (spoilt.save, "model.keras"),
        (spoilt.save_weights, "good.weights.h5"),
    ):
        with pytest.raises(ValueError, match="head_logits/bias"):
            save(tmp_path / name)
    type(good).from_preset(str(tmp_path / "preset"))
    keras.saving.load_model(tmp_path / "model.keras")
    good.load_weights(tmp_path / "good.weights.h5")
