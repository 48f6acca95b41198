import keras
import numpy as np
from keras import ops
from scipy import special

from keras_muse.ops import noise
from keras_muse.samplers import ConfidenceSampler
from keras_muse.samplers.step import Step
from tests.helpers.tiny import to_numpy

TOKENS, CODES = 16, 8


def random_logits(num_rows=3):
    generator = np.random.default_rng(0)
    # Some places are much surer than others.
    sureness = generator.uniform(0.1, 6, (num_rows, TOKENS, 1))
    logits = generator.standard_normal((num_rows, TOKENS, CODES)) * sureness
    return logits.astype("float32")


def choose(sampler, progress, num_masked=(10, 5, 0), masked=None):
    logits = random_logits()
    drawn = logits.argmax(axis=-1)[..., None]
    log_p = special.log_softmax(logits, axis=-1)
    log_p = np.take_along_axis(log_p, drawn, axis=-1)[..., 0]
    if masked is None:
        masked = np.ones(log_p.shape, bool)
    plan = {
        "num_masked": np.array(num_masked, "int32"),
        "progress": np.float32(progress),
    }
    step = Step(np.arange(3, dtype="int32"), np.int32(2), masked, plan)
    stay = sampler.choose_masked(
        ops.convert_to_tensor(log_p), ops.convert_to_tensor(masked), step
    )
    return to_numpy(stay), log_p


def lowest(scores, numbers):
    stay = np.zeros(scores.shape, bool)
    for row, score, number in zip(stay, scores, numbers, strict=True):
        row[np.argsort(score, kind="stable")[:number]] = True
    return stay


def test_at_the_end_the_surest_are_kept():
    stay, log_p = choose(ConfidenceSampler(), progress=1.0)
    np.testing.assert_array_equal(stay, lowest(log_p, (10, 5, 0)))


def test_without_noise_the_surest_are_kept_at_any_time():
    stay, log_p = choose(ConfidenceSampler(choice_temperature=0), progress=0.1)
    np.testing.assert_array_equal(stay, lowest(log_p, (10, 5, 0)))


def test_noise_falls_with_the_steps():
    gumbel = to_numpy(
        noise.gumbel(
            noise.uniform(
                np.arange(3, dtype="int32"), noise.CHOICE_STREAM, 2, TOKENS
            )
        )
    )
    for temperature, progress in ((4.5, 0.0), (4.5, 0.75), (1.0, 0.5)):
        sampler = ConfidenceSampler(choice_temperature=temperature)
        stay, log_p = choose(sampler, progress)
        scores = log_p + temperature * (1 - progress) * gumbel
        np.testing.assert_array_equal(stay, lowest(scores, (10, 5, 0)))


def test_known_tokens_are_never_masked():
    masked = np.ones((3, TOKENS), bool)
    masked[:, 5:] = False
    stay, _ = choose(ConfidenceSampler(), 0.1, (5, 3, 0), masked)
    assert stay.sum(axis=1).tolist() == [5, 3, 0]
    assert not stay[:, 5:].any()


def test_choice_and_token_noise_are_apart():
    """The noise that picks a code must not decide whether it is kept."""
    seeds = np.arange(200, dtype="int32")
    choice = to_numpy(noise.uniform(seeds, noise.CHOICE_STREAM, 0, TOKENS))
    token = to_numpy(
        noise.code_uniform(seeds, noise.TOKEN_STREAM, 0, TOKENS, 2)
    )
    correlation = np.corrcoef(choice.ravel(), token[..., 0].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(choice.size)


def test_config_round_trip():
    sampler = ConfidenceSampler(
        choice_temperature=2.0,
        mask_schedule="linear",
        guidance_schedule="power_cosine",
        guidance_power=2.0,
        guidance_interval=(0.1, 0.9),
        temperature=0.9,
        top_k=5,
        top_p=0.8,
    )
    config = keras.saving.serialize_keras_object(sampler)
    assert keras.saving.deserialize_keras_object(config) == sampler
    assert sampler != ConfidenceSampler()


def test_defaults_are_the_papers():
    config = ConfidenceSampler().get_config()
    assert config == {
        "mask_schedule": "cosine",
        "guidance_schedule": "linear",
        "guidance_power": None,
        "guidance_interval": None,
        "temperature": 1.0,
        "top_k": None,
        "top_p": None,
        "choice_temperature": 4.5,
    }
