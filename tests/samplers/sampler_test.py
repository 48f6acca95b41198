import numpy as np
import pytest

from keras_muse.ops import masking
from keras_muse.ops import schedules
from keras_muse.samplers import ConfidenceSampler
from keras_muse.samplers import Sampler
from keras_muse.samplers.step import Step
from tests.helpers.tiny import to_numpy

MASK, CODES, TOKENS = 10, 10, 12


class LeftToRight(Sampler):
    """The least sampler there can be: the first tokens come first."""

    def choose_masked(self, confidence, masked, step):
        place = np.arange(masked.shape[1], dtype="float32")
        score = np.where(to_numpy(masked), -place, 1.0).astype("float32")
        return masking.mask_lowest(score, step.plan["num_masked"])


class Decoder:
    """A model that knows its logits; it notes what the sampler asks for."""

    def __init__(self, sampler, logits):
        self.sampler, self.logits = sampler, logits
        self.asked, self.runs = [], []

    def __call__(self, token_ids, confidence, steps, guidance_scales):
        self.runs.append(len(steps))
        scales = (
            [1.0] * len(steps) if guidance_scales is None else guidance_scales
        )
        for step, scale in zip(steps, scales, strict=True):
            self.asked.append((to_numpy(token_ids), step, scale))
            token_ids = self.sampler.mask_before(token_ids, MASK, step)
            drawn = self.sampler.draw(self.logits, step)
            token_ids, confidence = self.sampler.reveal(
                token_ids, confidence, *drawn, MASK, step
            )
        return token_ids, confidence


def decode(sampler, token_ids=None, num_steps=4, seeds=(1, 2), **kwargs):
    if token_ids is None:
        token_ids = np.full((len(seeds), TOKENS), MASK)
    logits = np.random.default_rng(0).standard_normal((1, TOKENS, CODES))
    logits = np.repeat(logits, len(seeds), axis=0).astype("float32")
    decoder = Decoder(sampler, logits)
    seeds = np.array(seeds, "int32")
    if callback := kwargs.pop("callback", None):
        kwargs["callback"] = lambda k, ids: callback(k, to_numpy(ids).copy())
    result = sampler(decoder, token_ids, MASK, seeds, num_steps, **kwargs)
    return result, decoder


@pytest.mark.parametrize("sampler", [LeftToRight(), ConfidenceSampler()])
@pytest.mark.parametrize("num_steps", [1, 4, 12, 30])
def test_nothing_is_masked_at_the_end(sampler, num_steps):
    result, decoder = decode(sampler, num_steps=num_steps)
    assert result.shape == (2, TOKENS) and result.dtype == "int32"
    assert (result >= 0).all() and (result < CODES).all()
    assert len(decoder.asked) == num_steps


@pytest.mark.parametrize("sampler", [LeftToRight(), ConfidenceSampler()])
def test_follows_the_schedule_row_by_row(sampler):
    start = np.full((3, TOKENS), MASK)
    start[1, 4:] = 7
    start[2, :] = 3
    seen = []
    result, _ = decode(
        sampler,
        start,
        seeds=(1, 2, 3),
        num_steps=5,
        callback=lambda step, ids: seen.append((step, ids.copy())),
    )
    assert [step for step, _ in seen] == list(range(5))
    masked = [(ids == MASK).sum(axis=1) for _, ids in seen]
    expected = schedules.num_masked_per_step([12, 4, 0], 5)
    np.testing.assert_array_equal(masked, expected)
    assert seen[0][1].dtype == "int32"
    np.testing.assert_array_equal(seen[-1][1], result)


@pytest.mark.parametrize("sampler", [LeftToRight(), ConfidenceSampler()])
def test_tokens_are_final_once_they_are_known(sampler):
    start = np.full((2, TOKENS), MASK)
    start[0, ::2] = np.arange(6)
    states = [start]
    decode(sampler, start, callback=lambda step, ids: states.append(ids.copy()))
    for before, after in zip(states, states[1:], strict=False):
        known = before != MASK
        np.testing.assert_array_equal(after[known], before[known])


def test_left_to_right_goes_left_to_right():
    states = []
    decode(LeftToRight(), callback=lambda step, ids: states.append(ids.copy()))
    for ids in states:
        masked = ids == MASK
        np.testing.assert_array_equal(masked, np.sort(masked, axis=1))


def test_the_steps_plan():
    _, decoder = decode(LeftToRight(), num_steps=4, guidance_scale=7.0)
    _, steps, scales = zip(*decoder.asked, strict=True)
    assert [int(step.index) for step in steps] == [0, 1, 2, 3]
    progress = [step.plan["progress"] for step in steps]
    np.testing.assert_allclose(progress, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(scales, [1, 3, 5, 7])
    constant = LeftToRight(guidance_schedule="constant")
    _, decoder = decode(constant, num_steps=2, guidance_scale=7.0)
    assert [asked[-1] for asked in decoder.asked] == [7, 7]


def test_mask_schedule_is_a_choice():
    counts = []
    decode(
        LeftToRight(mask_schedule="linear"),
        callback=lambda step, ids: counts.append((ids == MASK).sum(axis=1)[0]),
    )
    assert counts == [9, 6, 3, 0]


def reveal(sampler, logits, num_rows=1):
    """All tokens in one step, of rows that differ in their seed."""
    logits = np.broadcast_to(logits, (num_rows, *logits.shape))
    step = Step(np.arange(num_rows, dtype="int32"), np.int32(0), None, {})
    drawn, _ = sampler.draw(logits.astype("float32"), step)
    return to_numpy(drawn)


def test_parts_of_a_row_are_drawn_as_the_whole():
    logits = np.random.default_rng(0).standard_normal((2, TOKENS, CODES))
    step = Step(np.array([3, 4], "int32"), np.int32(1), None, {})
    sampler = ConfidenceSampler(top_k=4)
    whole = sampler.draw(logits.astype("float32"), step)
    first = sampler.draw(logits[:, :5].astype("float32"), step)
    second = sampler.draw(logits[:, 5:].astype("float32"), step, 5)
    for actual, *parts in zip(whole, first, second, strict=True):
        parts = np.concatenate([to_numpy(part) for part in parts], axis=1)
        np.testing.assert_allclose(parts, to_numpy(actual), atol=1e-6)


def test_a_callback_ends_the_decoding_only_when_nothing_is_masked():
    for known, expected in ((0, 4), (TOKENS, 1)):
        start = np.full((2, TOKENS), MASK)
        start[:, :known] = 3
        result, decoder = decode(
            LeftToRight(), start, callback=lambda step, ids: True
        )
        assert len(decoder.asked) == expected
        assert (result != MASK).all()


def test_what_a_callback_returns_must_be_true_or_false_for_python():
    for answer in (None, 0, "words", np.bool_(False), np.zeros(1)):
        decode(LeftToRight(), callback=lambda step, ids, a=answer: a)
    with pytest.raises(ValueError, match=r"`callback` must.*shape \(2,\)"):
        decode(LeftToRight(), callback=lambda step, ids: np.array([1, 2]))


def test_temperature_divides_the_logits():
    logits = np.array([[0.0, 1.0, 2.0]], "float32")
    cold, plain, hot = (
        reveal(LeftToRight(temperature=t), logits, 4000)[:, 0]
        for t in (0.25, 1.0, 4.0)
    )
    for drawn, temperature in ((cold, 0.25), (plain, 1.0), (hot, 4.0)):
        p = np.exp(logits[0] / temperature)
        rate = np.bincount(drawn, minlength=3) / 4000
        np.testing.assert_allclose(rate, p / p.sum(), atol=0.03)


def test_top_k_and_top_p_restrict_what_is_drawn():
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]]))
    for options, codes in (
        ({"top_k": 1}, {0}),
        ({"top_k": 3}, {0, 1, 2}),
        ({"top_p": 0.4}, {0}),
        ({"top_p": 0.75}, {0, 1}),
        ({"top_k": 3, "top_p": 0.6}, {0, 1}),
        ({}, {0, 1, 2, 3}),
    ):
        drawn = reveal(LeftToRight(**options), logits, 500)
        assert set(drawn.ravel()) == codes


def test_what_is_dropped_stays_so_at_the_lowest_temperature():
    logits = np.array([[-4000.0, -3000.0, -5000.0]])
    for options in ({"top_k": 1}, {"top_p": 0.9}, {"top_k": 2, "top_p": 0.9}):
        sampler = LeftToRight(temperature=1e-6, **options)
        assert set(reveal(sampler, logits, 50).ravel()) == {1}


def test_each_row_draws_by_its_seed():
    result, _ = decode(ConfidenceSampler(), seeds=(5, 6, 5))
    np.testing.assert_array_equal(result[0], result[2])
    assert (result[0] != result[1]).any()
    alone, _ = decode(ConfidenceSampler(), seeds=(6,))
    np.testing.assert_array_equal(alone[0], result[1])


@pytest.mark.parametrize("sampler", [LeftToRight, ConfidenceSampler])
def test_is_a_value(sampler):
    one, same = sampler(top_k=3), sampler(top_k=3)
    other = sampler(top_k=4)
    assert one == same and hash(one) == hash(same)
    assert one != other and one != Sampler(top_k=3)
    assert len({one, same, other}) == 2
    assert sampler.from_config(one.get_config()) == one
    assert "top_k=3" in repr(one)
    assert eval(repr(one), {sampler.__name__: sampler}) == one


def test_base_class_needs_a_choice():
    with pytest.raises(NotImplementedError):
        decode(Sampler())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mask_schedule": "up"}, "Received: mask_schedule='up'"),
        ({"guidance_schedule": "up"}, "Received: guidance_schedule='up'"),
        ({"guidance_power": 2.0}, "Received: guidance_power=2.0"),
        (
            {"guidance_schedule": "power_cosine", "guidance_power": 0},
            "Received: guidance_power=0",
        ),
        ({"guidance_interval": (0.5, 0.5)}, r"Received.*\(0.5, 0.5\)"),
        ({"guidance_interval": (-1, 0.5)}, r"Received.*\(-1, 0.5\)"),
        ({"temperature": 0}, "Received: temperature=0"),
        ({"top_k": 0}, "Received: top_k=0"),
        ({"top_p": 0.0}, "Received: top_p=0.0"),
        ({"top_p": 1.5}, "Received: top_p=1.5"),
    ],
)
def test_unusable_settings_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**options)


def test_no_steps_raise():
    with pytest.raises(ValueError, match="Received: num_steps=0"):
        decode(LeftToRight(), num_steps=0)


def test_unknown_settings_raise():
    with pytest.raises(TypeError):
        ConfidenceSampler(cfg=3)


def test_runs_end_where_guidance_sets_in():
    sampler = LeftToRight(guidance_interval=(0.25, 0.75))
    lengths = iter([1, 2, 8, 8, 8, 8])
    result, decoder = decode(
        sampler, num_steps=12, guidance_scale=3.0, run_lengths=lengths
    )
    assert decoder.runs == [1, 2, 6, 3]
    for _, step, scale in decoder.asked:
        assert (scale != 1) == (3 <= step.index < 9)
    one_by_one, _ = decode(sampler, num_steps=12, guidance_scale=3.0)
    np.testing.assert_array_equal(result, one_by_one)


def test_a_ramp_is_one_run():
    """Its first step, of scale 1, would need a program of its own."""
    result, decoder = decode(
        LeftToRight(),
        num_steps=12,
        guidance_scale=3.0,
        run_lengths=iter([12, 12]),
    )
    assert decoder.runs == [12]
    assert decoder.asked[0][2] == 1
