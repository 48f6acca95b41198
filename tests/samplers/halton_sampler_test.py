import keras
import numpy as np
import pytest
from scipy import stats

from keras_muse.ops import noise
from keras_muse.ops.halton import halton_order
from keras_muse.samplers import HaltonSampler
from keras_muse.samplers.step import Step
from tests.helpers.tiny import tiny_super_res
from tests.helpers.tiny import tiny_text
from tests.helpers.tiny import to_numpy
from tests.samplers.sampler_test import CODES
from tests.samplers.sampler_test import MASK
from tests.samplers.sampler_test import TOKENS
from tests.samplers.sampler_test import decode

GRID = (3, 4)


def some_known():
    start = np.full((4, TOKENS), MASK)
    start[1, 2:9] = 7
    start[2, ::2] = np.arange(6)
    start[3] = 3
    return start


def states_of(sampler, start, seeds, **kwargs):
    states = [start]
    decode(
        sampler,
        start,
        seeds=seeds,
        callback=lambda step, ids: states.append(ids),
        **{"grid_size": GRID, **kwargs},
    )
    return states


def row_orders(seeds, grid_size, randomize):
    """Each row's order: the sequence, rolled by what its seed says."""
    order = halton_order(*grid_size)
    if not randomize:
        return [order] * len(seeds)
    uniform = to_numpy(
        noise.uniform(np.array(seeds, "int32"), noise.ROLL_STREAM)
    )
    return [np.roll(order, int(u * len(order))) for u in uniform[:, 0]]


@pytest.mark.parametrize("randomize", [True, False])
@pytest.mark.parametrize("num_steps", [1, 4, 7, 64])
def test_reveals_in_the_order_of_the_sequence(randomize, num_steps):
    start, seeds = some_known(), (5, 6, 7, 8)
    sampler = HaltonSampler(randomize)
    states = states_of(sampler, start, seeds, num_steps=num_steps)
    assert len(states) == num_steps + 1
    for row, order in enumerate(row_orders(seeds, GRID, randomize)):
        waiting = [cell for cell in order if start[row, cell] == MASK]
        for before, after in zip(states, states[1:], strict=False):
            masked = set(np.flatnonzero(after[row] == MASK))
            assert masked == set(waiting[len(waiting) - len(masked) :])
            number = (before[row] == MASK).sum() - len(masked)
            assert number >= 1 or not masked or len(waiting) < num_steps


@pytest.mark.parametrize("num_steps", [1, 4, 12, 64])
def test_complete_at_the_end_and_known_tokens_stay(num_steps):
    start = some_known()
    states = states_of(
        HaltonSampler(), start, (1, 2, 3, 4), num_steps=num_steps
    )
    assert (states[-1] >= 0).all() and (states[-1] < CODES).all()
    for before, after in zip(states, states[1:], strict=False):
        known = before != MASK
        np.testing.assert_array_equal(after[known], before[known])


def revealed(num_tokens, num_steps, side):
    plan = HaltonSampler().plan([num_tokens], num_steps, (side, side))
    return -np.diff([num_tokens, *plan["num_masked"][:, 0]])


def test_reveals_as_many_as_published():
    assert revealed(256, 24, 16)[:9].tolist() == [7] * 9
    assert revealed(256, 24, 16)[-4:].tolist() == [13, 15, 20, 47]
    assert revealed(4096, 8, 64).tolist() == [
        *(327, 332, 344, 363, 395, 451, 567, 1317)
    ]


@pytest.mark.parametrize("side, num_steps", [(16, 24), (16, 256), (64, 8)])
def test_is_at_most_a_token_ahead_of_the_authors_code(side, num_steps):
    """They round down what is revealed; here it is what stays masked."""
    ratio = np.arange(1, num_steps + 1) / num_steps
    theirs = (side**2 * (1 - 2 / np.pi * np.arccos(ratio))).astype(int)
    theirs = np.maximum(theirs, np.arange(1, num_steps + 1))
    theirs = np.minimum(theirs, side**2)
    ours = np.cumsum(revealed(side**2, num_steps, side))
    assert set(ours - theirs) <= {0, 1}


def step_of(num_rows, num_masked=6, grid_size=GRID, **kwargs):
    tokens = grid_size[0] * grid_size[1]
    plan = HaltonSampler().plan(np.full(num_rows, tokens), 4, grid_size)
    plan = {
        "num_masked": np.full(num_rows, num_masked, "int32"),
        "turn": plan["turn"][0],
    }
    editable = np.ones((num_rows, tokens), bool)
    seeds = np.arange(num_rows, dtype="int32")
    return Step(seeds, np.int32(kwargs.get("index", 0)), editable, plan)


def test_confidence_and_step_do_not_matter():
    generator = np.random.default_rng(0)
    sampler = HaltonSampler()
    stay = []
    for index in (0, 3, 1 << 20):
        step = step_of(4, index=index)
        confidence = generator.standard_normal((4, TOKENS)).astype("float32")
        stay.append(
            to_numpy(sampler.choose_masked(confidence, step.editable, step))
        )
    np.testing.assert_array_equal(stay[0], stay[1])
    np.testing.assert_array_equal(stay[0], stay[2])


def test_rows_begin_anywhere():
    step = step_of(1500, num_masked=14, grid_size=(5, 3))
    stay = HaltonSampler().choose_masked(None, step.editable, step)
    first = np.argmin(to_numpy(stay), axis=1)
    counts = np.bincount(first, minlength=15)
    assert stats.chisquare(counts).pvalue > 1e-3
    same = HaltonSampler(randomize=False).choose_masked(
        None, step.editable, step
    )
    assert set(np.argmin(to_numpy(same), axis=1)) == {halton_order(5, 3)[0]}


def test_each_row_draws_by_its_seed():
    sampler = HaltonSampler()
    result, _ = decode(sampler, seeds=(5, 6, 5, 9), grid_size=GRID)
    np.testing.assert_array_equal(result[0], result[2])
    assert (result[0] != result[1]).any()
    alone, _ = decode(sampler, seeds=(6,), grid_size=GRID)
    np.testing.assert_array_equal(alone[0], result[1])


def test_a_model_tells_its_grid():
    """Eight rows of four; the model is compiled, the order is the same."""
    model, states = tiny_super_res(), []
    seeds = [3, 4]
    arguments = {
        **tiny_text(2),
        "low_res_token_ids": np.zeros((2, 8), "int32"),
        "num_steps": 5,
        "sampler": HaltonSampler(),
        "verbose": 0,
    }
    result = model.generate(
        **arguments,
        seed=seeds,
        callback=lambda step, start, tokens: states.append(
            tokens.reshape(2, 32).copy()
        ),
    )
    assert result.max() < 20
    for row, order in enumerate(row_orders(seeds, (8, 4), True)):
        for state in states:
            masked = state[row][order] == 20
            np.testing.assert_array_equal(masked, np.sort(masked))


def test_without_a_grid_it_raises():
    with pytest.raises(ValueError, match="Received: grid_size=None"):
        decode(HaltonSampler())


def test_is_a_value():
    sampler = HaltonSampler(
        randomize=False, mask_schedule="cosine", guidance_interval=(0.2, 0.8)
    )
    config = keras.saving.serialize_keras_object(sampler)
    same = keras.saving.deserialize_keras_object(config)
    assert same == sampler and hash(same) == hash(sampler)
    assert eval(repr(sampler)) == sampler
    assert len({sampler, same, HaltonSampler()}) == 2
    assert HaltonSampler() != HaltonSampler(randomize=False)


def test_defaults_are_the_papers():
    config = HaltonSampler().get_config()
    assert config["mask_schedule"] == "arccos"
    assert config["guidance_schedule"] == "constant"
    assert config["randomize"] is True
    scales = HaltonSampler().guidance_scales(2.5, 4)
    np.testing.assert_allclose(scales, 2.5)
