import contextlib
import os
import pathlib

import keras
import numpy as np
import pytest

from keras_muse import ConfidenceSampler
from keras_muse.models.transformers import decoding
from keras_muse.models.transformers.decoding import check_negative_text
from keras_muse.models.transformers.decoding import check_text
from keras_muse.ops import schedules
from keras_muse.runtime import compiled
from keras_muse.samplers.resampling_sampler import ResamplingSampler
from tests.helpers.tiny import call
from tests.helpers.tiny import randomize
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_super_res
from tests.helpers.tiny import tiny_text
from tests.helpers.tiny import to_numpy

MASK = 16


@pytest.fixture(scope="module")
def model():
    return tiny_base()


def generate(model, batch=3, text_seed=0, **changes):
    arguments = {
        **tiny_text(batch, text_seed),
        "num_steps": 4,
        "seed": 5,
        "verbose": 0,
        **changes,
    }
    return model.generate(**arguments)


# === Tokens ===


@pytest.mark.parametrize("num_steps", [1, 4, 20])
def test_nothing_is_masked_at_the_end(model, num_steps):
    tokens = generate(model, num_steps=num_steps)
    assert tokens.shape == (3, 4, 4) and tokens.dtype == "int32"
    assert tokens.min() >= 0 and tokens.max() < MASK


def half_known():
    token_ids = np.full((3, 4, 4), MASK)
    token_ids[0, :2] = np.arange(8).reshape(2, 4)
    token_ids[1] = 7
    return token_ids


def test_known_tokens_never_change(model):
    token_ids, states = half_known(), []
    result = generate(
        model,
        token_ids=token_ids,
        callback=lambda step, start, tokens: states.append(tokens.copy()),
    )
    known = token_ids != MASK
    for state in [*states, result]:
        np.testing.assert_array_equal(state[known], token_ids[known])
    np.testing.assert_array_equal(
        result, generate(model, token_ids=token_ids.reshape(3, 16))
    )


def test_known_tokens_are_seen(model):
    """They lead the others, as in inpainting."""
    one, other = half_known(), half_known()
    other[0, :2] = 15 - other[0, :2]
    tokens = [generate(model, token_ids=ids) for ids in (one, other)]
    assert (tokens[0][0, 2:] != tokens[1][0, 2:]).any()


def test_callback_sees_the_scheduled_counts(model):
    seen = []
    result = generate(
        model,
        token_ids=half_known(),
        num_steps=5,
        callback=lambda *args: seen.append(args),
    )
    assert [(step, start) for step, start, _ in seen] == [
        (step, 0) for step in range(5)
    ]
    counts = [(tokens == MASK).sum(axis=(1, 2)) for _, _, tokens in seen]
    expected = schedules.num_masked_per_step([8, 0, 16], 5)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(seen[-1][2], result)


def test_callback_sees_each_batch_without_its_padding(model):
    seen = []
    result = generate(
        model,
        batch=5,
        batch_size=2,
        num_steps=2,
        callback=lambda step, start, tokens: seen.append(
            (step, start, tokens.shape[0])
        ),
    )
    assert seen == [
        *((0, 0, 2), (1, 0, 2)),
        *((0, 2, 2), (1, 2, 2)),
        *((0, 4, 1), (1, 4, 1)),
    ]
    assert len(result) == 5


def test_super_resolution_has_the_same_loop():
    model = tiny_super_res()
    token_ids = np.full((2, 8, 4), 20)
    token_ids[:, :, 1] = 3
    tokens = model.generate(
        **tiny_text(2),
        low_res_token_ids=np.zeros((2, 4, 2), int),
        token_ids=token_ids,
        seed=0,
        num_steps=3,
        verbose=0,
    )
    assert (tokens[:, :, 1] == 3).all() and tokens.max() < 20


# === Seeds ===


def test_same_seed_same_tokens(model):
    np.testing.assert_array_equal(generate(model), generate(model))
    assert (generate(model) != generate(model, seed=6)).any()


def test_an_int_counts_up_and_a_list_is_its_own(model):
    np.testing.assert_array_equal(
        generate(model, seed=5), generate(model, seed=[5, 6, 7])
    )


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_image_i_is_the_same_alone_and_in_a_batch(model, guidance_scale):
    """Bit for bit, at the same compiled batch size."""
    options = {"batch_size": 2, "guidance_scale": guidance_scale}
    together = generate(model, batch=3, **options)
    text = tiny_text(3)
    for i in range(3):
        alone = generate(
            model,
            text_embeddings=text["text_embeddings"][i : i + 1],
            text_mask=text["text_mask"][i : i + 1],
            seed=5 + i,
            **options,
        )
        np.testing.assert_array_equal(alone[0], together[i])


def test_equal_texts_with_equal_seeds_are_equal_images(model):
    text = {name: np.repeat(x, 3, axis=0) for name, x in tiny_text(1).items()}
    tokens = generate(model, **text, seed=[4, 9, 4])
    np.testing.assert_array_equal(tokens[0], tokens[2])
    assert (tokens[0] != tokens[1]).any()


def test_without_a_seed_one_is_drawn_and_reported(model, capsys):
    tokens = generate(model, seed=None)
    seed = int(capsys.readouterr().out.strip().removeprefix("seed="))
    np.testing.assert_array_equal(tokens, generate(model, seed=seed))


# === Guidance ===


def first_logits(model, monkeypatch, **changes):
    """The guided logits of the first step."""
    seen = []

    class Spy(ConfidenceSampler):
        def draw(self, logits, *args):
            seen.append(logits)
            return super().draw(logits, *args)

    def eager(model, function):
        return function

    monkeypatch.setattr(compiled, "compile_function", eager)
    model._compiled.clear()
    with untraced_loops():
        generate(
            model,
            sampler=Spy(guidance_schedule="constant"),
            num_steps=1,
            **changes,
        )
    model._compiled.clear()
    return to_numpy(seen[0])


def untraced_loops():
    if keras.config.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.disable_jit()


def logits_of(model, text):
    token_ids = np.full((len(text["text_mask"]), 16), MASK)
    return to_numpy(call(model, {"token_ids": token_ids, **text}))


def test_guidance_leads_away_from_no_text(model, monkeypatch):
    text = tiny_text(3)
    none = {**text, "text_mask": np.zeros_like(text["text_mask"])}
    conditional, unconditional = logits_of(model, text), logits_of(model, none)
    expected = unconditional + 2.5 * (conditional - unconditional)
    actual = first_logits(model, monkeypatch, guidance_scale=2.5)
    np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_guidance_leads_away_from_the_negative_text(model, monkeypatch):
    text, negative = tiny_text(3), tiny_text(3, seed=8)
    negative["text_mask"][2] = False  # no negative text
    conditional = logits_of(model, text)
    unconditional = logits_of(model, negative)
    expected = unconditional + 2.5 * (conditional - unconditional)
    actual = first_logits(
        model,
        monkeypatch,
        guidance_scale=2.5,
        negative_text_embeddings=negative["text_embeddings"],
        negative_text_mask=negative["text_mask"],
    )
    np.testing.assert_allclose(actual, expected, atol=1e-3)
    plain = first_logits(model, monkeypatch, guidance_scale=2.5)
    np.testing.assert_array_equal(actual[2], plain[2])
    assert abs(actual[:2] - plain[:2]).max() > 0.1


def test_no_unconditional_pass_where_it_has_no_weight(model, monkeypatch):
    batches = []
    features = model.features

    def count(token_ids, *context):
        batches.append(len(token_ids))
        return features(token_ids, *context)

    monkeypatch.setattr(model, "features", count)
    first_logits(model, monkeypatch, guidance_scale=1.0)
    first_logits(model, monkeypatch, guidance_scale=2.0)
    assert batches == [3, 6]
    with untraced_loops():
        # A ramp starts at 1; an interval is 1 outside.
        generate(model, num_steps=3)
        assert batches[2:] == [3, 6, 6]
        late = ConfidenceSampler(guidance_interval=(0.5, 1.0))
        generate(model, num_steps=4, sampler=late)
    assert batches[5:] == [3, 3, 6, 6]


def test_without_guidance_a_sampler_cannot_bring_it_about(model):
    class Eager(ConfidenceSampler):
        def guidance_scales(self, guidance_scale, num_steps):
            return np.full(num_steps, 2.0, "float32")

    np.testing.assert_array_equal(
        generate(model, guidance_scale=1, sampler=Eager()),
        generate(model, guidance_scale=1),
    )


def test_guidance_is_mixed_before_a_linear_head_only(model, monkeypatch):
    """A quantized head rounds what it is given: mixed after it."""
    quantized = tiny_base()
    quantized.head_logits.quantize("int8")
    for head, rows in ((model, 3), (quantized, 6)):
        quantized_mode = head.head_logits.quantization_mode
        name = "quantized_call" if quantized_mode else "call"
        shapes, call = [], getattr(head.head_logits, name)

        def watch(x, shapes=shapes, call=call, **kwargs):
            shapes.append(len(x))
            return call(x, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(head.head_logits, name, watch)
            actual = first_logits(head, patch, guidance_scale=2.5)
        assert shapes == [rows]
        text = tiny_text(3)
        none = {**text, "text_mask": np.zeros_like(text["text_mask"])}
        conditional, other = logits_of(head, text), logits_of(head, none)
        expected = other + 2.5 * (conditional - other)
        np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_the_largest_scale_leaves_logits_in_half_precision(monkeypatch):
    half = tiny_base(dtype="mixed_float16")
    text = tiny_text(3)
    none = {**text, "text_mask": np.zeros_like(text["text_mask"])}
    difference = logits_of(half, text) - logits_of(half, none)
    actual = first_logits(half, monkeypatch, guidance_scale=1e6)
    np.testing.assert_allclose(actual / 1e6, difference, atol=0.01)


def test_logits_in_parts_give_the_same_tokens(monkeypatch):
    whole = generate(tiny_base())
    monkeypatch.setattr(decoding, "MAX_LOGITS", 3 * 6 * 16)
    sizes, model = [], tiny_base()

    class Spy(ConfidenceSampler):
        def draw(self, logits, *args):
            sizes.append(tuple(logits.shape[1:]))
            return super().draw(logits, *args)

    np.testing.assert_array_equal(generate(model, sampler=Spy()), whole)
    assert set(sizes) == {(6, 16)}  # 16 tokens, of 3 rows, in three parts


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="asks the compiler of JAX"
)
def test_logits_in_parts_take_little_memory(monkeypatch):
    """128 MiB of logits, whatever the batch, 8 MiB at a time."""
    model = tiny_base(codebook_size=2**15, grid_size=(16, 16))
    temporaries = {}
    for max_logits in (2**21, 2**26):
        monkeypatch.setattr(decoding, "MAX_LOGITS", max_logits)
        for batch in (4, 8):
            program = compiled_run(model, batch, monkeypatch)
            temporaries[max_logits, batch] = (
                program.memory_analysis().temp_size_in_bytes / 2**20
            )
    assert temporaries[2**26, 4] > 128
    assert temporaries[2**21, 4] < 48
    assert temporaries[2**21, 8] < 48 + 16  # other activations


def compiled_run(model, batch, monkeypatch):
    """The compiled decoding steps that `generate` calls, by JAX."""
    import jax

    programs = []

    def compile_function(model, function):
        def stateless(values, *args):
            mapping = list(zip(model.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(*args)

        def call(*args):
            values = [v.value for v in model.variables]
            lowered = jax.jit(stateless).lower(values, *args)
            programs.append(lowered.compile())
            return programs[-1](values, *args)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "compile_function", compile_function)
        model._compiled.clear()
        generate(model, batch, num_steps=1, guidance_scale=1)
        model._compiled.clear()
    return programs[-1]


def test_scale_one_is_the_conditional_model(model, monkeypatch):
    actual = first_logits(model, monkeypatch, guidance_scale=1.0)
    np.testing.assert_allclose(
        actual, logits_of(model, tiny_text(3)), atol=1e-5
    )


# === Compilation ===


@pytest.fixture
def counted(monkeypatch):
    """A model of its own, and how often each of its functions was traced."""
    model, traces = tiny_base(), []
    compile_function = compiled.compile_function

    def counting(model, function):
        def count(*args):
            traces.append(function.__name__)
            return function(*args)

        return compile_function(model, count)

    monkeypatch.setattr(compiled, "compile_function", counting)
    return model, traces


def test_nothing_compiles_anew(counted):
    model, traces = counted
    generate(model)
    generate(model, guidance_scale=1)
    first = list(traces)
    assert set(first) == {"_first_half", "project_context", "decode_steps"}
    generate(model, text_seed=1)
    generate(model, seed=[3, 1, 2])
    generate(model, guidance_scale=7.5)
    generate(model, num_steps=9)
    generate(model, num_steps=1)
    generate(model, token_ids=half_known())
    generate(model, num_steps=40)  # more than one run
    generate(model, callback=lambda *_: None)
    generate(model, sampler=ConfidenceSampler())
    for number in (0.5, 0.25):
        sampler = ConfidenceSampler(
            temperature=number, choice_temperature=10 * number
        )
        generate(model, sampler=sampler)
    negative = tiny_text(3, seed=2)
    generate(
        model,
        negative_text_embeddings=negative["text_embeddings"],
        negative_text_mask=negative["text_mask"],
    )
    randomize(model, seed=3)
    generate(model, batch=7, batch_size=3)
    if keras.config.backend() == "torch":  # which runs each call eagerly
        assert len(traces) > len(first) > 2
    else:  # two of each: with guidance and without
        assert traces == first and len(first) == 5


def test_another_sampler_is_another_function(model):
    greedy = ConfidenceSampler(top_k=1, choice_temperature=0)
    np.testing.assert_array_equal(
        generate(model, sampler=greedy, seed=1),
        generate(model, sampler=greedy, seed=2),
    )
    assert (generate(model, sampler=greedy) != generate(model)).any()


def test_settings_of_a_shared_program_act(model):
    def drawn(**settings):
        return generate(model, sampler=ConfidenceSampler(**settings))

    for settings in (
        {"temperature": 0.1},
        {"choice_temperature": 0.0},
        {"top_p": 0.2},
        {"top_p": 0.5, "temperature": 2.0},
    ):
        fresh = tiny_base()
        np.testing.assert_array_equal(
            drawn(**settings),
            generate(fresh, sampler=ConfidenceSampler(**settings)),
        )
        assert (drawn(**settings) != drawn()).any()


def test_all_mask_ratios_share_a_program(model):
    """Those of `Muse.edit`, which somebody tries one after the other."""
    known = np.zeros((3, 4, 4), "int32")

    def drawn(model, mask_ratio):
        sampler = ResamplingSampler(mask_ratio=mask_ratio)
        return generate(model, sampler=sampler, token_ids=known)

    few = drawn(model, 0.1)
    programs = set(model._compiled)
    many = drawn(model, 0.9)
    assert set(model._compiled) == programs
    assert (few != known).sum() < (many != known).sum()
    np.testing.assert_array_equal(many, drawn(tiny_base(), 0.9))


def test_a_limited_number_of_programs_is_kept(model, monkeypatch):
    monkeypatch.setattr(compiled.CompiledFunctions, "MAX_SIZE", 4)
    first = generate(model, sampler=ConfidenceSampler(top_k=1))
    for top_k in range(2, 8):
        generate(model, sampler=ConfidenceSampler(top_k=top_k))
    assert len(model._compiled) == 4
    np.testing.assert_array_equal(
        generate(model, sampler=ConfidenceSampler(top_k=1)), first
    )


def test_how_steps_are_cut_into_runs_changes_no_token(model, monkeypatch):
    one_by_one = generate(model, num_steps=9, callback=lambda *_: None)
    at_once = generate(model, num_steps=9)
    np.testing.assert_array_equal(one_by_one, at_once)
    monkeypatch.setattr(decoding, "QUICK", 1e9)
    watched = generate(model, num_steps=9, verbose=1)
    np.testing.assert_array_equal(watched, at_once)


def test_other_lengths_and_batches(model):
    """Each of them works after the others were compiled."""
    for batch, length in ((3, 5), (3, 9), (1, 9), (2, 4)):
        text = {
            "text_embeddings": np.ones((batch, length, 6), "float32"),
            "text_mask": np.ones((batch, length), bool),
        }
        tokens = generate(model, **text)
        assert tokens.shape == (batch, 4, 4)


def test_weights_are_arguments_and_not_constants():
    model = tiny_base()
    before = generate(model)
    weights = model.get_weights()
    randomize(model, seed=1)
    after = generate(model)
    assert (before != after).any()
    model.set_weights(weights)
    np.testing.assert_array_equal(generate(model), before)


def test_lora_and_quantization_after_generating():
    model = tiny_base()
    before = generate(model)
    model.enable_lora(2)
    np.testing.assert_array_equal(generate(model), before)
    for variable in model.trainable_variables:
        variable.assign(variable + 1.0)
    assert (generate(model) != before).any()
    quantized = tiny_base()
    generate(quantized)
    quantized.quantize("int8")
    assert generate(quantized).shape == (3, 4, 4)


def test_memory_is_flat(model):
    """One call holds 8 MB of keys and values; a hundred hold no more."""
    text = {
        "text_embeddings": np.ones((16, 2000, 6), "float32"),
        "text_mask": np.ones((16, 2000), bool),
    }
    sizes = []
    for seed in range(104):
        generate(model, **text, num_steps=1, guidance_scale=1, seed=seed)
        sizes.append(resident_bytes())
    assert sizes[-1] - sizes[3] < 40 * 2**20


def resident_bytes():
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


# === Progress and errors ===


def test_progress_can_be_silenced(model, capsys):
    generate(model, verbose=0)
    assert capsys.readouterr().out == ""
    generate(model, verbose=1, num_steps=4)
    assert "4/4" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"text_embeddings": np.zeros((3, 5, 7))}, r"`text_embeddings`.*7\)"),
        ({"text_embeddings": np.zeros((3, 6))}, r"`text_embeddings`.*\(3, 6\)"),
        ({"text_mask": np.ones((3, 4))}, r"`text_mask`.*\(3, 4\)"),
        (
            {"negative_text_embeddings": np.zeros((3, 5, 6))},
            "`negative_text_mask`",
        ),
        (
            {
                "negative_text_embeddings": np.zeros((3, 4, 6)),
                "negative_text_mask": np.ones((3, 4)),
            },
            r"`negative_text_embeddings` must have the shape.*\(3, 4, 6\)",
        ),
        ({"num_steps": 0}, "Received: num_steps=0"),
        ({"seed": [1, 2]}, r"list of 3 ints.*\[1, 2\]"),
        ({"batch_size": 0}, "Received: batch_size=0"),
        ({"token_ids": np.zeros((16, 3), int)}, r"`token_ids`.*\(16, 3\)"),
        ({"token_ids": np.zeros((2, 4, 4), int)}, r"`token_ids`.*\(2, 4, 4\)"),
        ({"token_ids": np.full((3, 16), 17)}, "`token_ids`.*from 17 to 17"),
        ({"token_ids": np.full((3, 16), -1)}, "`token_ids`.*from -1 to -1"),
        ({"token_ids": np.zeros((3, 16))}, "`token_ids`.*float64"),
    ],
)
def test_arguments_that_do_not_fit_raise(model, changes, message):
    with pytest.raises(ValueError, match=message):
        generate(model, **changes)


def test_no_texts_raise(model):
    with pytest.raises(ValueError, match="`text_embeddings` must not be empty"):
        generate(model, **{k: x[:0] for k, x in tiny_text(1).items()})


def test_texts_without_rows_raise(model):
    text = {k: x[:, :0] for k, x in tiny_text(1).items()}
    with pytest.raises(ValueError, match="`text_embeddings` must not be empty"):
        generate(model, **text)


def test_good_text_passes_as_it_is():
    embeddings = np.random.normal(size=(2, 5, 6))
    text = check_text(embeddings, [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], 6)
    np.testing.assert_allclose(text["text_embeddings"], embeddings, rtol=1e-6)
    assert text["text_mask"].dtype == "bool"
    assert text["text_mask"].sum() == 4


@pytest.mark.parametrize("shape", [(2, 6), (2, 5, 7)])
def test_wrong_embeddings_are_named(shape):
    with pytest.raises(ValueError, match="`text_embeddings` must be of shape"):
        check_text(np.zeros(shape), np.ones((2, 5)), 6)


def test_wrong_mask_is_named():
    with pytest.raises(ValueError, match=r"`text_mask`.*shape=\(2, 4\)"):
        check_text(np.zeros((2, 5, 6)), np.ones((2, 4)), 6)


def test_a_text_without_its_mask_is_refused():
    for prefix in ("", "negative_"):
        expected = f"`{prefix}text_mask` must be given .*text_mask=None"
        with pytest.raises(ValueError, match=expected):
            check_text(np.zeros((2, 5, 6)), None, 6, prefix)


def test_no_negative_text_has_nothing_to_attend_to():
    text = check_text(np.ones((2, 5, 6)), np.ones((2, 5)), 6)
    negative = check_negative_text(text, None, None, 6)
    assert not negative["text_mask"].any()
    assert negative["text_embeddings"].shape == (2, 5, 6)


def test_negative_text_must_match():
    text = check_text(np.ones((2, 5, 6)), np.ones((2, 5)), 6)
    with pytest.raises(ValueError, match="`negative_text_embeddings` must"):
        check_negative_text(text, np.ones((1, 5, 6)), np.ones((1, 5)), 6)
