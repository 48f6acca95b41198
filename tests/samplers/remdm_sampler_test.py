import keras
import numpy as np
import pytest
from scipy import special

from keras_muse.ops import noise
from keras_muse.samplers import ReMDMSampler
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_text
from tests.helpers.tiny import to_numpy
from tests.samplers.sampler_test import CODES
from tests.samplers.sampler_test import MASK
from tests.samplers.sampler_test import TOKENS
from tests.samplers.sampler_test import decode

LOOP = (0.45, 0.95)
SAMPLERS = [
    ReMDMSampler(eta=0.5),
    ReMDMSampler("cap", eta=0.2, mask_schedule="linear"),
    ReMDMSampler("conf"),
    ReMDMSampler(eta=0.9, loop_interval=LOOP),
    ReMDMSampler("cap", eta=0.1, loop_interval=(0.3, 0.6)),
]
NAMES = [f"{s.strategy}-{s.loop_interval}" for s in SAMPLERS]


def masked_part(sampler, progress):
    """The schedule, with the time of the loop taken out."""
    if sampler.loop_interval is not None:
        start, end = sampler.loop_interval
        if progress >= end:
            progress -= end - start
        elif progress > start:
            progress = start
        progress /= 1 - end + start
    if sampler.mask_schedule == "linear":
        return 1 - progress
    return np.cos(np.pi / 2 * progress)


def posterior(sampler, k, num_steps):
    """`alpha_t`, `alpha_s` and `sigma` of a step, as the paper has them."""
    alpha_t = 1 - masked_part(sampler, k / num_steps)
    alpha_s = 1 - masked_part(sampler, (k + 1) / num_steps)
    sigma_max = 1 if alpha_t == 0 else min(1, (1 - alpha_s) / alpha_t)
    if sampler.strategy == "cap":
        sigma = min(sampler.eta, sigma_max)
    else:
        sigma = sampler.eta * sigma_max
    if sampler.loop_interval is not None:
        start, end = sampler.loop_interval
        if not start <= k / num_steps < end:
            sigma = 0
    return alpha_t, alpha_s, sigma


def states_of(sampler, start, seeds, num_steps, **kwargs):
    states = [np.array(start)]
    decode(
        sampler,
        start,
        seeds=seeds,
        num_steps=num_steps,
        callback=lambda step, ids: states.append(ids),
        **kwargs,
    )
    return states


def some_known():
    start = np.full((4, TOKENS), MASK)
    start[1, 2:9] = 7
    start[2, ::2] = np.arange(6)
    start[3] = 3
    return start


@pytest.mark.parametrize("num_steps", [1, 4, 20, 64])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_masks_by_the_posterior(sampler, num_steps):
    """Token by token, given the same noise."""
    start, seeds = some_known(), np.arange(4, dtype="int32")
    states = states_of(sampler, start, seeds, num_steps, first_index=1 << 20)
    # The model of the test is the same at all steps.
    logits = np.random.default_rng(0).standard_normal((1, TOKENS, CODES))
    psi = special.softmax(logits[0].astype("float32"), axis=-1)
    for k, (before, after) in enumerate(zip(states, states[1:], strict=False)):
        alpha_t, alpha_s, sigma = posterior(sampler, k, num_steps)
        u = to_numpy(
            noise.uniform(seeds, noise.REMASK_STREAM, (1 << 20) + k, TOKENS)
        )
        for row in range(4):
            decoded = [
                i
                for i in range(TOKENS)
                if start[row, i] == MASK != before[row, i]
            ]
            doubt = {i: np.exp(-psi[i, before[row, i]]) for i in decoded}
            for i in range(TOKENS):
                if start[row, i] != MASK:
                    assert after[row, i] == start[row, i]
                    continue
                sigma_i = sigma
                if sampler.strategy == "conf":
                    sigma_i *= doubt.get(i, 0) / (sum(doubt.values()) or 1)
                to_mask = sigma_i
                if i not in decoded:
                    to_mask = (1 - alpha_s - sigma_i * alpha_t) / (1 - alpha_t)
                assert (after[row, i] == MASK) == (u[row, i] < to_mask)
                if i in decoded and after[row, i] != MASK:
                    assert after[row, i] == before[row, i]


@pytest.mark.parametrize("num_steps", [1, 4, 64])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_nothing_is_masked_at_the_end(sampler, num_steps):
    seeds = np.arange(100)
    result, _ = decode(sampler, seeds=seeds, num_steps=num_steps)
    assert (result >= 0).all() and (result < CODES).all()


NUM_ROWS, NUM_STEPS = 2000, 16


@pytest.fixture(scope="module")
def many_states():
    start = np.full((NUM_ROWS, TOKENS), MASK)
    return {
        name: np.stack(states_of(sampler, start, range(NUM_ROWS), NUM_STEPS))
        for name, sampler in zip(NAMES, SAMPLERS, strict=True)
    }


def assert_rate(events, cases, rate):
    """A count of independent events, within five standard deviations."""
    spread = np.sqrt(cases * rate * (1 - rate)) + 1e-9
    assert abs(events - cases * rate) <= 5 * spread


@pytest.mark.parametrize("k", range(NUM_STEPS))
@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_rates_are_the_formulas(sampler, k, many_states):
    states = many_states[NAMES[SAMPLERS.index(sampler)]] == MASK
    before, after = states[k], states[k + 1]
    alpha_t, alpha_s, sigma = posterior(sampler, k, NUM_STEPS)
    taken_back = (after & ~before).sum()
    if sampler.strategy == "conf":
        # `sigma` is a row's, and no row without a decoded token counts.
        rows = (~before).any(axis=1).sum()
        assert abs(taken_back - rows * sigma) <= 5 * np.sqrt(rows * sigma)
        sigma = 0
    else:
        assert_rate(taken_back, (~before).sum(), sigma)
    stay = (1 - alpha_s - sigma * alpha_t) / (1 - alpha_t)
    assert_rate((after & before).sum(), before.sum(), stay)


@pytest.mark.parametrize(
    "sampler", [s for s in SAMPLERS if s.strategy != "conf"], ids=str
)
def test_the_masked_part_follows_the_schedule(sampler, many_states):
    """Taking tokens back changes which are masked, and not how many."""
    states = many_states[NAMES[SAMPLERS.index(sampler)]] == MASK
    for k in range(NUM_STEPS + 1):
        expected = masked_part(sampler, k / NUM_STEPS)
        assert_rate(states[k].sum(), states[k].size, max(expected, 0))


def test_conf_doubts_what_was_improbable(many_states):
    states = many_states["conf-None"]
    logits = np.random.default_rng(0).standard_normal((1, TOKENS, CODES))
    psi = special.softmax(logits[0].astype("float32"), axis=-1)
    psi = np.concatenate([psi, np.full((TOKENS, 1), np.nan)], axis=1)
    before, after = states[1:-1], states[2:]
    psi = psi[np.arange(TOKENS), before]
    decoded, back = before != MASK, (before != MASK) & (after == MASK)
    improbable = decoded & (psi < np.median(psi[decoded]))
    rate = [back[which].mean() for which in (improbable, decoded & ~improbable)]
    assert rate[0] > rate[1]


def test_the_papers_loop():
    """Of 0.9 at the linear schedule, as many steps before it as after."""
    sampler = ReMDMSampler("cap", 0.02, LOOP, mask_schedule="linear")
    plan = sampler.plan(np.array([TOKENS]), 20)
    in_loop = (np.arange(20) >= 9) & (np.arange(20) < 19)
    np.testing.assert_allclose(plan["remask"], 0.02 * in_loop)
    # As many are revealed as taken back, which are 2 % of 90 %.
    np.testing.assert_allclose(
        plan["stay"][in_loop], 1 - 0.02 * 0.9 / 0.1, rtol=1e-5
    )
    masked = np.cumprod(np.where(in_loop, 1, plan["stay"]))
    np.testing.assert_allclose(masked[:9], 1 - 0.1 * np.arange(1, 10), 1e-5)
    assert masked[-1] == 0


def test_at_eta_0_tokens_are_final():
    states = states_of(ReMDMSampler(eta=0), some_known(), range(4), 16)
    for before, after in zip(states, states[1:], strict=False):
        known = before != MASK
        np.testing.assert_array_equal(after[known], before[known])


def test_tokens_that_were_taken_back_are_drawn_anew(many_states):
    states = many_states[NAMES[0]]
    first = np.argmax(states != MASK, axis=0)  # the step of the first code
    first = np.take_along_axis(states, first[None], axis=0)[0]
    assert (first != states[-1]).mean() > 0.1


@pytest.mark.parametrize("sampler", SAMPLERS[1:4], ids=NAMES[1:4])
def test_each_row_draws_by_its_seed(sampler):
    result, _ = decode(sampler, seeds=(5, 6, 5, 9), num_steps=20)
    np.testing.assert_array_equal(result[0], result[2])
    assert (result[0] != result[1]).any()
    alone, _ = decode(sampler, seeds=(6,), num_steps=20)
    np.testing.assert_array_equal(alone[0], result[1])


@pytest.mark.parametrize("strategy", ["rescale", "conf"])
def test_with_a_model(strategy):
    """Compiled; some tokens change their mind, known ones do not."""
    start, states = np.full((4, 4, 4), 16), []
    start[0, :2] = 3
    result = tiny_base().generate(
        **tiny_text(4),
        token_ids=start,
        seed=1,
        num_steps=12,
        verbose=0,
        sampler=ReMDMSampler(strategy, eta=1.0),
        callback=lambda step, first, tokens: states.append(tokens.copy()),
    )
    assert result.max() < 16
    assert (result[0, :2] == 3).all()
    masked = np.array(states) == 16
    assert (masked[1:] & ~masked[:-1]).any()


def test_is_a_value():
    sampler = ReMDMSampler("cap", 0.1, [0.2, 0.8], mask_schedule="linear")
    config = keras.saving.serialize_keras_object(sampler)
    same = keras.saving.deserialize_keras_object(config)
    assert same == sampler and hash(same) == hash(sampler)
    assert eval(repr(sampler)) == sampler
    others = [ReMDMSampler(), ReMDMSampler("conf"), ReMDMSampler(eta=0.1)]
    assert len({sampler, same, *others}) == 4


def test_defaults():
    assert ReMDMSampler().strategy == "rescale"
    assert ReMDMSampler() == ReMDMSampler(eta=0.05)
    assert ReMDMSampler("conf") == ReMDMSampler("conf", eta=1.0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"strategy": "hope"}, "Received: strategy='hope'"),
        ({"eta": -0.1}, "Received: eta=-0.1"),
        ({"eta": 1.1}, "Received: eta=1.1"),
        ({"loop_interval": (0, 0.5)}, r"Received.*=\(0, 0.5\)"),
        ({"loop_interval": (0.5, 1)}, r"Received.*=\(0.5, 1\)"),
        ({"loop_interval": (0.5, 0.5)}, r"Received.*=\(0.5, 0.5\)"),
        ({"strategy": "conf", "loop_interval": LOOP}, "strategy='conf'$"),
    ],
)
def test_unusable_settings_raise(options, message):
    with pytest.raises(ValueError, match=message):
        ReMDMSampler(**options)
