import keras
import numpy as np
import pytest

from keras_muse.ops import noise
from keras_muse.samplers import ResamplingSampler
from keras_muse.samplers.step import Step
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_text
from tests.helpers.tiny import to_numpy
from tests.samplers.sampler_test import CODES
from tests.samplers.sampler_test import MASK
from tests.samplers.sampler_test import TOKENS
from tests.samplers.sampler_test import decode

SEEDS = (5, 6, 5, 9)


def complete():
    row = np.random.default_rng(1).integers(0, CODES, TOKENS)
    return np.repeat(row[None], len(SEEDS), axis=0)


def states_of(sampler, start, **kwargs):
    states = [start]
    decode(
        sampler,
        start,
        seeds=SEEDS,
        callback=lambda step, ids: states.append(ids),
        **kwargs,
    )
    return states


def lowest(scores, number):
    """The places of the `number` lowest of each row, found one by one."""
    masks = np.zeros(scores.shape, bool)
    for mask, score in zip(masks, scores, strict=True):
        for _ in range(number):
            mask[np.argmin(np.where(mask, np.inf, score))] = True
    return masks


def order_noise(step, num_tokens=TOKENS, seeds=SEEDS):
    seeds = np.array(seeds, "int32")
    return to_numpy(
        noise.uniform(seeds, noise.MASK_ORDER_STREAM, step, num_tokens)
    )


@pytest.mark.parametrize("mask_ratio", [0.01, 0.25, 0.5, 1.0])
def test_a_step_draws_anew_what_its_noise_says(mask_ratio):
    sampler = ResamplingSampler(mask_ratio)
    states = states_of(sampler, complete(), num_steps=5, first_index=7)
    logits = np.random.default_rng(0).standard_normal((1, TOKENS, CODES))
    logits = np.repeat(logits, len(SEEDS), axis=0).astype("float32")
    number = max(1, round(mask_ratio * TOKENS))
    for k, (before, after) in enumerate(zip(states, states[1:], strict=False)):
        masks = lowest(order_noise(7 + k), number)
        step = Step(np.array(SEEDS, "int32"), np.int32(7 + k), None, {})
        drawn, _ = sampler.draw(logits, step)
        np.testing.assert_array_equal(
            after, np.where(masks, to_numpy(drawn), before)
        )


@pytest.mark.parametrize(
    "num_tokens, mask_ratio, expected",
    [(256, 0.08, 20), (16, 0.08, 1), (4, 0.08, 1), (4, 1.0, 4), (10, 0.3, 3)],
)
def test_how_many_are_masked(num_tokens, mask_ratio, expected):
    sampler = ResamplingSampler(mask_ratio)
    none = np.zeros((50, num_tokens), bool)
    step = Step(np.arange(50, dtype="int32"), np.int32(2), none, {})
    tokens = np.zeros((50, num_tokens), "int32")
    masked = to_numpy(sampler.mask_before(tokens, MASK, step)) == MASK
    assert (masked.sum(axis=1) == expected).all()
    scores = order_noise(2, num_tokens, range(50))
    np.testing.assert_array_equal(masked, lowest(scores, expected))


def test_every_token_has_its_turn():
    none = np.zeros((3000, TOKENS), bool)
    step = Step(np.arange(3000, dtype="int32"), np.int32(0), none, {})
    tokens = np.zeros((3000, TOKENS), "int32")
    sampler = ResamplingSampler(0.25)
    masked = to_numpy(sampler.mask_before(tokens, MASK, step)) == MASK
    # The standard deviation of such a rate is below 0.008.
    assert abs(masked.mean(axis=0) - 0.25).max() < 0.04


def test_known_tokens_of_a_row_that_came_masked_stay():
    start = complete()
    start[0, 3:] = MASK
    states = states_of(ResamplingSampler(0.5), start, num_steps=20)
    for state in states:
        np.testing.assert_array_equal(state[0, :3], start[0, :3])
    changed = (np.stack(states[2:]) != states[1]).any(axis=0)
    assert changed[0, 3:].all() and changed[1].any()


@pytest.mark.parametrize("num_steps", [1, 4, 64])
def test_complete_after_every_step(num_steps):
    states = states_of(ResamplingSampler(), complete(), num_steps=num_steps)
    assert len(states) == num_steps + 1
    for state in states:
        assert (state >= 0).all() and (state < CODES).all()


def test_many_steps_make_a_new_picture():
    """Of the three best codes, once each token was drawn."""
    logits = np.random.default_rng(0).standard_normal((1, TOKENS, CODES))
    best = np.argsort(-logits[0], axis=-1)[:, :3]
    states = states_of(ResamplingSampler(), complete(), num_steps=100)
    touched = np.zeros(states[0].shape, bool)
    for k, state in enumerate(states[1:]):
        touched |= lowest(order_noise(k), 1)
        among_best = (state[..., None] == best).any(axis=-1)
        assert among_best[touched].all()
    assert touched.all()
    assert not (states[0][0, :, None] == best).any(axis=-1).all()


def test_tokens_that_come_masked_are_drawn_at_once():
    start = complete()
    start[:, :5] = MASK
    states = states_of(ResamplingSampler(), start, num_steps=2)
    assert (states[1] != MASK).all()


def test_a_callback_ends_it_at_any_step():
    done = []

    def callback(step, token_ids):
        done.append(step)
        return step == 2

    decode(
        ResamplingSampler(),
        complete(),
        seeds=SEEDS,
        num_steps=50,
        callback=callback,
    )
    assert done == [0, 1, 2]


def test_each_row_draws_by_its_seed():
    sampler = ResamplingSampler(0.3)
    result, _ = decode(sampler, complete(), seeds=SEEDS, num_steps=8)
    np.testing.assert_array_equal(result[0], result[2])
    assert (result[0] != result[1]).any()
    alone, _ = decode(sampler, complete()[:1], seeds=(6,), num_steps=8)
    np.testing.assert_array_equal(alone[0], result[1])


def test_with_a_model():
    """Compiled: one token of sixteen a step; the text leads."""
    model, start, states = tiny_base(), np.full((4, 4, 4), 3), []
    arguments = {
        "token_ids": start,
        "seed": 1,
        "num_steps": 60,
        "guidance_scale": 5.0,
        "verbose": 0,
        "sampler": ResamplingSampler(),
    }
    result = model.generate(
        **tiny_text(4),
        **arguments,
        callback=lambda step, first, tokens: states.append(tokens.copy()),
    )
    states = np.array([start, *states])
    assert states.max() < 16
    changed = (states[1:] != states[:-1]).sum(axis=(2, 3))
    assert changed.max() == 1
    assert (result != start).mean() > 0.5
    other = model.generate(**tiny_text(4, seed=1), **arguments)
    assert (other != result).any()


def test_is_a_value():
    sampler = ResamplingSampler(
        mask_ratio=0.2,
        guidance_schedule="power_cosine",
        guidance_power=2.0,
        guidance_interval=(0.1, 0.9),
        temperature=0.8,
        top_k=None,
        top_p=0.9,
    )
    config = keras.saving.serialize_keras_object(sampler)
    same = keras.saving.deserialize_keras_object(config)
    assert same == sampler and hash(same) == hash(sampler)
    assert eval(repr(sampler)) == sampler
    assert len({sampler, same, ResamplingSampler()}) == 2
    assert ResamplingSampler() != ResamplingSampler(0.2)


def test_defaults_are_the_papers():
    assert ResamplingSampler().get_config() == {
        "mask_ratio": 0.08,
        "guidance_schedule": "constant",
        "guidance_power": None,
        "guidance_interval": None,
        "temperature": 1.0,
        "top_k": 3,
        "top_p": None,
    }
    scales = ResamplingSampler().guidance_scales(5.0, 100)
    np.testing.assert_allclose(scales, 5.0)


@pytest.mark.parametrize("mask_ratio", [0, -0.1, 1.1])
def test_unusable_ratios_raise(mask_ratio):
    with pytest.raises(ValueError, match=f"mask_ratio={mask_ratio}$"):
        ResamplingSampler(mask_ratio)


def test_there_is_no_mask_schedule():
    with pytest.raises(TypeError):
        ResamplingSampler(mask_schedule="cosine")
