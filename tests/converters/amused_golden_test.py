"""aMUSEd on every backend, against what diffusers made of the same weights."""

import numpy as np
import pytest

import keras_muse
from tests.helpers import golden_amused
from tests.helpers.tiny import to_numpy


@pytest.fixture(scope="module")
def golden():
    return golden_amused.GoldenAmused()


@pytest.fixture(scope="module")
def base(golden, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("golden"))
    golden.save(directory)
    base = keras_muse.UViTBase.from_preset(directory, text_length=6)
    base.micro_conditions.assign([16, 16, 0, 0, 6])
    return base


def test_logits(golden, base):
    logits = base(
        {
            "token_ids": golden.token_ids,
            "text_embeddings": golden.texts,
            "text_mask": np.ones((2, 6), "bool"),
        }
    )
    assert golden.logits.std() > 0.1
    np.testing.assert_allclose(to_numpy(logits), golden.logits, atol=1e-4)


def test_a_whole_generation(golden, base):
    everything = np.ones((2, 6), "bool")
    tokens = base.generate(
        golden.texts,
        everything,
        golden.negative_texts,
        everything,
        num_steps=golden_amused.NUM_STEPS,
        guidance_scale=golden_amused.GUIDANCE_SCALE,
        seed=golden_amused.SEEDS,
        sampler=keras_muse.AmusedSampler(),
        verbose=0,
    )
    assert len(np.unique(tokens)) > 10
    np.testing.assert_array_equal(tokens, golden.generated)
