"""A staged `Muse` draws the same pictures, with one part at a time."""

import gc
import os
import weakref

import keras
import numpy as np
import pytest

from keras_muse import Muse
from tests.helpers import tiny
from tests.helpers.tiny_muse import tiny_muse

PARTS = (
    "text_encoder",
    "base",
    "image_tokenizer",
    "super_res",
    "high_res_image_tokenizer",
)
OPTIONS = {"seed": 3, "super_res_num_steps": 2, "verbose": 0}


@pytest.fixture(scope="module")
def muse():
    return tiny_muse(two_tokenizers=True)


@pytest.fixture(scope="module")
def preset(muse, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("preset") / "muse")
    muse.save_to_preset(directory)
    return directory


@pytest.fixture(scope="module")
def recorded(muse, preset):
    """A staged `Muse`, and the list of the parts whose weights it loads."""
    loads = []

    def record(cls, from_preset):
        def load(path, load_weights=True, **kwargs):
            if load_weights:
                loads.append(os.path.basename(path))
            return from_preset(path, load_weights=load_weights, **kwargs)

        return load

    with pytest.MonkeyPatch.context() as patch:
        for cls in {type(part) for part in parts_of(muse).values()}:
            patch.setattr(cls, "from_preset", record(cls, cls.from_preset))
        yield Muse.from_preset(preset, staged=True), loads


@pytest.fixture
def staged(recorded):
    """The same for all tests: its programs are compiled once."""
    for part in parts_of(recorded[0]).values():
        part.release()
    recorded[1].clear()
    return recorded[0]


@pytest.fixture
def loads(recorded):
    return recorded[1]


def parts_of(muse):
    parts = {name: getattr(muse, name) for name in PARTS}
    return {name: part for name, part in parts.items() if part is not None}


def loaded_parts(muse):
    return [n for n, part in parts_of(muse).items() if part._model is not None]


def draw(muse, **changes):
    prompts = ["a red apple", "a cat"]
    options = {"num_steps": 3, "negative_prompts": "blue", **OPTIONS}
    return muse.generate(prompts, **{**options, **changes})


# === The same pictures ===


def test_pictures_are_the_same_bit_for_bit(muse, staged, loads):
    assert loads == [] and loaded_parts(staged) == []
    images = draw(staged)
    np.testing.assert_array_equal(images, draw(muse))
    # The small pictures' tokenizer is not needed.
    expected = [
        *("text_encoder", "base", "super_res", "high_res_image_tokenizer")
    ]
    assert loads == expected
    # And again, with programs that are compiled already.
    np.testing.assert_array_equal(draw(staged), images)
    assert loads == 2 * expected
    np.testing.assert_array_equal(
        draw(staged, num_images_per_prompt=1, best_of=2, scorer=brightness),
        draw(muse, num_images_per_prompt=1, best_of=2, scorer=brightness),
    )


def brightness(images, prompts):
    return images.mean(axis=(1, 2, 3))


def test_editing_is_the_same_bit_for_bit(muse, staged):
    images = draw(muse)
    masks = np.zeros((32, 32), "bool")
    masks[8:, :16] = True
    padding = (0, 0, 0, 16)
    for method, *arguments, options in (
        ("inpaint", images, masks, "a cat", {"num_steps": 2}),
        ("outpaint", images, "a cat", {"num_steps": 2, "padding": padding}),
        ("edit", images, "a cat", {"num_rounds": 2}),
    ):
        actual, expected = (
            getattr(m, method)(*arguments, **OPTIONS, **options)
            for m in (staged, muse)
        )
        assert method == "outpaint" or (expected != images).any()
        np.testing.assert_array_equal(actual, expected)


def test_previews_are_the_same_and_load_their_tokenizer_once(
    muse, staged, loads
):
    frames = []
    for m in (muse, staged):

        def keep(stage, step, start, token_ids, m=m):
            frames.append(m.preview(stage, token_ids))

        draw(m, callback=keep)
    for expected, actual in zip(frames[:5], frames[5:], strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert loads == [
        *("text_encoder", "base", "image_tokenizer"),
        *("super_res", "high_res_image_tokenizer"),
    ]


# === Memory ===


def variable_bytes(variables):
    return sum(
        int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize for v in variables
    )


def live_bytes():
    """Of all variables that have a value, whoever holds them."""
    gc.collect()
    variables = [x for x in gc.get_objects() if isinstance(x, keras.Variable)]
    return variable_bytes(
        v
        for v in variables
        if v._value is not None
        and "meta" not in str(getattr(v._value, "device", ""))
    )


def array_bytes():
    """Of all that JAX holds, activations too."""
    if keras.config.backend() != "jax":
        return 0
    import jax

    return sum(x.nbytes for x in jax.live_arrays())


def test_one_part_is_in_memory_at_a_time(preset, staged):
    sizes = {
        name: variable_bytes(part.variables)
        for name, part in parts_of(Muse.from_preset(preset)).items()
    }
    before, arrays_before = live_bytes(), array_bytes()
    slack = 2000  # metrics
    Muse.from_preset(preset, staged=True)
    with keras.StatelessScope():
        pass  # at its end Keras initializes what waits for it
    assert live_bytes() - before < slack < sizes["base"] / 2
    seen = []

    def look(*args):
        seen.append((loaded_parts(staged), live_bytes() - before))

    staged.text_encoder.encode(["a red apple", "a cat"])
    look()
    draw(staged, callback=look)
    look()
    assert [names for names, _ in seen] == [
        ["text_encoder"],
        *3 * [["base"]],
        *2 * [["super_res"]],
        ["high_res_image_tokenizer"],
    ]
    for (name,), size in seen:
        assert sizes[name] <= size < sizes[name] + slack, name
    staged.high_res_image_tokenizer.release()
    assert loaded_parts(staged) == []
    assert live_bytes() - before < slack
    assert array_bytes() - arrays_before < slack


def test_the_weights_of_a_part_die_before_the_next_one_lives(staged):
    references = []

    def keep(stage, *args):
        if stage == "base":
            values = [v._value for v in staged.base._model.variables]
            references.extend(map(weakref.ref, values))
        else:
            assert not any(reference() for reference in references)

    draw(staged, callback=keep)
    assert len(references) > 100


def test_a_failed_stage_leaves_nothing_at_work(staged):
    def fail(*args):
        raise KeyError("broken")

    with pytest.raises(KeyError):
        draw(staged, callback=fail)
    staged.base.release()
    assert loaded_parts(staged) == []


@pytest.mark.skipif(
    keras.config.backend() != "jax",
    reason="programs of the other backends hold the weights",
)
def test_programs_are_compiled_once(staged):
    def programs():
        return list(staged.base._shell._compiled)

    draw(staged)
    first = programs()
    assert len(first) > 1
    draw(staged)
    assert programs() == first


# === What it can be used for ===


def test_frozen_parts_in_bfloat16(preset):
    staged = Muse.from_preset(preset, "bfloat16", staged=True)
    whole = Muse.from_preset(preset, "bfloat16")
    for name, part in parts_of(staged).items():
        assert part.compute_dtype == getattr(whole, name).compute_dtype
    np.testing.assert_array_equal(
        *[m.text_encoder.encode("a cat")[0] for m in (staged, whole)]
    )
    dtypes = {v.dtype for v in staged.text_encoder._model.weights}
    assert dtypes == {"bfloat16"}


def test_quantized_parts(tmp_path):
    muse = tiny_muse(cascade=False, base=tiny.tiny_base(num_layers=1))
    muse.base.quantize("int8")
    muse.save_to_preset(str(tmp_path / "muse"))
    whole, staged = (
        Muse.from_preset(str(tmp_path / "muse"), staged=staged)
        for staged in (False, True)
    )
    tokens = [
        m.base.generate(**tiny.tiny_text(1), num_steps=1, seed=0, verbose=0)
        for m in (staged, whole)
    ]
    np.testing.assert_array_equal(*tokens)


def test_parts_that_do_not_fit_are_named_before_any_is_loaded(
    staged, loads, tmp_path
):
    muse = tiny_muse(cascade=False)
    directory = str(tmp_path / "muse")
    muse.save_to_preset(directory)
    tiny.tiny_base(codebook_size=24).save_to_preset(f"{directory}/base")
    loads.clear()
    with pytest.raises(ValueError, match="same codebook_size.*24.*16"):
        Muse.from_preset(directory, staged=True)
    assert loads == []


def test_it_cannot_be_trained_nor_saved(staged, tmp_path):
    with pytest.raises(AttributeError, match="'compile' of MuseBase"):
        staged.base.compile()
    with pytest.raises(ValueError, match="copy the preset"):
        staged.save_to_preset(str(tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="copy the preset"):
        staged.get_config()


def test_whether_it_is_staged_is_a_bool(preset):
    with pytest.raises(ValueError, match="`staged` must be True or False"):
        Muse.from_preset(preset, staged="no")
