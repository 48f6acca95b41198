import re

import keras
import numpy as np
import pytest

from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.models import PictureTextScorer
from keras_muse.runtime.inputs import as_native
from tests.helpers import tiny
from tests.helpers import tiny_muse
from tests.helpers.picture_rows import make_rows
from tests.helpers.tiny import to_numpy


def features():
    generator = np.random.default_rng(0)
    return {
        "image_features": generator.normal(size=(4, 1280)).astype("float32"),
        "text_features": generator.normal(size=(4, 384)).astype("float32"),
        "caption_ids": np.arange(4),
    }


@pytest.fixture(scope="module")
def models():
    """Models by name, each with data as it takes them."""
    base = tiny.tiny_base(num_layers=1)
    super_res = tiny.tiny_super_res(num_layers=1)
    uvit = tiny.tiny_uvit(num_layers=1)
    scorer = PictureTextScorer(hidden_dim=8, embedding_dim=4)
    for model in (base, super_res, uvit, scorer):
        model.compile("sgd")
    tokenizer = tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    tokenizer.compile("sgd", perceptual=None, adversarial_weight=0)
    encoder = tiny_muse.tiny_text_encoder()
    return {
        "base": (base, tiny.tiny_data(base)),
        "super_res": (super_res, tiny.tiny_data(super_res)),
        "uvit": (uvit, tiny.tiny_data(uvit)),
        "scorer": (scorer, features()),
        "encoder": (encoder, encoder.tokenize(["a", "red", "cat", "on"])),
        "tokenizer": (tokenizer, tiny.tiny_images(4, size=8)),
    }


OF_DICTS = ("base", "super_res", "uvit", "scorer", "encoder")
ALL = (*OF_DICTS, "tokenizer")


def verbs(model):
    """What takes data, with `None` for a call."""
    trained = () if hasattr(model, "tokenize") else ("fit", "evaluate")
    return (*trained, "predict", "__call__")


def refusal(model, verb, *args):
    """The message of a refusal, which is short and holds no array."""
    options = {} if verb == "__call__" else {"verbose": 0}
    before = [np.array(to_numpy(v)) for v in model.variables]
    with pytest.raises(ValueError) as error:
        getattr(model, verb)(*args, **options)
    message = str(error.value)
    assert len(message) < 900 and not re.search(r"\[\s*-?\d+[. ]", message)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), value)
    return message


@pytest.mark.parametrize("name", OF_DICTS)
def test_what_is_missing_is_named(models, name):
    model, good = models[name]
    for missing in good:
        rest = {key: x for key, x in good.items() if key != missing}
        for verb in verbs(model):
            if missing == "caption_ids" and verb in ("predict", "__call__"):
                continue
            for bad in (rest, {**rest, missing: None}):
                message = refusal(model, verb, bad)
                assert f"missing: ['{missing}']" in message


@pytest.mark.parametrize("name", OF_DICTS)
def test_what_is_unknown_is_named(models, name):
    model, good = models[name]
    for verb in verbs(model):
        message = refusal(model, verb, {**good, "colour": np.zeros(4)})
        assert "unknown: ['colour']" in message


@pytest.mark.parametrize("name", OF_DICTS)
def test_an_array_or_a_tuple_is_no_dict(models, name):
    model, good = models[name]
    bads = [next(iter(good.values())), tuple(good.values()), None, "a", ["a"]]
    for verb in verbs(model)[:-1]:
        for bad in bads:
            assert f"missing: {list(good)[:2]}"[:-1] in refusal(
                model, verb, bad
            )
    if name != "encoder":
        assert "missing: [" in refusal(model, "__call__", bads[0])


def test_rows_and_shapes_are_named(models):
    for name in OF_DICTS:
        model, good = models[name]
        first, second = list(good)[:2]
        for verb in verbs(model):
            short = {**good, first: good[first][:2]}
            assert "the same batch" in refusal(model, verb, short)
            long = {**good, second: np.concatenate([good[second]] * 2, 1)}
            message = refusal(model, verb, long)
            assert (
                f"`{second}` must be of shape" in message
                or "the same text_length" in message
            )


@pytest.mark.parametrize("name", ["base", "tokenizer"])
def test_pairs_are_refused_before_a_picture_is_decoded(models, name):
    model, _ = models[name]
    pairs = ImageTextDataset(make_rows(4), image_size=8, batch_size=2)
    for verb in ("fit", "evaluate", "predict"):
        message = refusal(model, verb, pairs)
        assert "image" in message and "text" in message
    assert "without `y`" in refusal(model, "fit", pairs.images, ["a"] * 4)
    assert "are a dict of" in refusal(
        models["base"][0], "fit", tiny.tiny_images(4), np.array(["a"] * 4)
    )


def test_what_is_no_pictures_is_refused(models):
    tokenizer, images = models["tokenizer"]
    bads = {
        "ids": np.zeros((4, 16), "int32"),
        "dict": {"image": images},
        "tuple": (images, images),
        "None": None,
        "texts": ["a", "b"],
        "indivisible": images[:, :7],
    }
    for bad in bads.values():
        for verb in ("fit", "evaluate", "predict"):
            assert "`x`" in refusal(tokenizer, verb, bad)


class Batches(keras.utils.PyDataset):
    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


def test_datasets_are_looked_at_too(models):
    for name in OF_DICTS:
        model, good = models[name]
        batches = Batches({"image": np.zeros(4), "text": ["a"] * 4})
        for verb in verbs(model)[:-1]:
            assert f"missing: ['{next(iter(good))}'" in refusal(
                model, verb, batches
            )


def test_byte_order_and_lists_change_no_number(models):
    for name in ("base", "scorer", "encoder"):
        model, good = models[name]
        swapped = {
            key: x.astype(x.dtype.newbyteorder(">")) for key, x in good.items()
        }
        lists = {key: x.tolist() for key, x in good.items()}
        expected = model.predict(good, verbose=0)
        for other in (swapped, lists):
            actual = model.predict(other, verbose=0)
            keras.tree.map_structure(
                lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
                actual,
                expected,
            )
    images = models["tokenizer"][1].astype(">f8") / 127.5 - 1
    assert as_native(images).dtype == "float64"
    tokenizer = models["tokenizer"][0]
    np.testing.assert_allclose(
        tokenizer.predict(images, verbose=0),
        tokenizer.predict(images.astype("float32"), verbose=0),
        atol=1e-5,
    )


def test_texts_without_rows_are_refused(models):
    for name in ("base", "super_res"):
        model, good = models[name]
        short = {
            key: x[:, :0] if key.startswith("text") else x
            for key, x in good.items()
        }
        for verb in verbs(model):
            assert "must not be empty" in refusal(model, verb, short)


def test_unsigned_ids_of_64_bits_are_taken(models):
    model, good = models["base"]
    ids = good["token_ids"].astype("uint64")
    np.testing.assert_array_equal(
        model.predict({**good, "token_ids": ids}, verbose=0),
        model.predict(good, verbose=0),
    )
    ids[0] += 2**63
    message = refusal(model, "predict", {**good, "token_ids": ids})
    assert "`token_ids` must be tokens in [0, " in message


def test_float_ids_are_refused_everywhere(models):
    for name in ("base", "super_res", "uvit", "encoder"):
        model, good = models[name]
        floats = {**good, "token_ids": good["token_ids"].astype("float32")}
        for verb in verbs(model):
            assert "`token_ids` must be integers" in refusal(
                model, verb, floats
            )


def test_values_of_tensors_are_looked_at_too(models):
    for name in ("base", "super_res", "uvit", "encoder"):
        model, good = models[name]
        ids = keras.ops.convert_to_tensor(good["token_ids"] + 5000)
        for verb in verbs(model)[:-1]:
            message = refusal(model, verb, {**good, "token_ids": ids})
            assert "`token_ids` must be " in message and "in [0, " in message
    base, good = models["base"]
    masked = keras.ops.full((4, 16), base.mask_token_id, "int32")
    assert "clean tokens" in refusal(base, "fit", {**good, "token_ids": masked})


def test_a_mask_that_is_added_to_logits_is_refused(models):
    for name in ("base", "super_res", "uvit", "encoder"):
        model, good = models[name]
        mask = "padding_mask" if name == "encoder" else "text_mask"
        added = np.where(good[mask], 0.0, -1e9).astype("float32")
        for verb in verbs(model)[:-1]:
            for bad in (added, keras.ops.convert_to_tensor(added)):
                message = refusal(model, verb, {**good, mask: bad})
                assert f"`{mask}` must be bool, or 0 and 1. Rec" in message


def test_masks_of_numbers_are_taken(models):
    model, good = models["base"]
    expected = model.predict(good, verbose=0)
    for dtype in ("int32", "float32"):
        mask = good["text_mask"].astype(dtype)
        np.testing.assert_array_equal(
            model.predict({**good, "text_mask": mask}, verbose=0), expected
        )


def test_what_is_no_array_is_named(models):
    for name in OF_DICTS:
        model, good = models[name]
        first = next(iter(good))
        for verb in verbs(model)[:-1]:
            for bad in (5, "x", range(4)):
                message = refusal(model, verb, {**good, first: bad})
                assert f"`{first}` must be an array. Received" in message
                assert f"of type {type(bad).__name__}" in message


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_what_is_optional_may_be_none(models):
    model, good = models["uvit"]
    nothing = {**good, "micro_conditions": None}
    expected = model.predict(good, verbose=0), model.evaluate(good, verbose=0)
    np.testing.assert_array_equal(
        model.predict(nothing, verbose=0), expected[0]
    )
    datasets = [nothing, iter_of(nothing)]
    if keras.config.backend() != "tensorflow":  # Keras takes no `None` there
        datasets.append(Batches(nothing))
    for data in datasets:
        np.testing.assert_allclose(
            model.evaluate(data, verbose=0), expected[1], rtol=1e-5
        )
    assert np.isfinite(model.test_on_batch(nothing)).all()
    masked = model.mask_inputs(nothing, training=True)  # for micro-batches
    assert all(x is not None for x in masked.values())


def iter_of(*batches):
    yield from batches
