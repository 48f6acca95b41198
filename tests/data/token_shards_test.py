import hashlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from keras_muse.data import read_token_shards
from keras_muse.data import write_token_shards
from keras_muse.data.image_text import load_image_text
from keras_muse.data.token_shards.encoding import CaptionTexts
from keras_muse.data.token_shards.records import unpack_record

LENGTH = 5
DIM = 4


class Part:
    """Weights of a model."""

    def __init__(self, codebook=None):
        self.codebook = codebook
        self.weights = [] if codebook is None else [codebook]

    def fingerprint(self):
        return str(self.codebook.sum())


class PixelTokenizer:
    """The mean of a 4 x 4 patch is its token."""

    codebook_size = 256

    def __init__(self, codebook_seed=0):
        generator = np.random.default_rng(codebook_seed)
        self.encoder = Part()
        self.quantizer = Part(generator.normal(size=(256, 2)))
        self.shapes = []

    def get_config(self):
        return {"name": str(id(self))}

    def encode(self, images, batch_size):
        assert images.dtype == np.uint8
        assert len(images) == batch_size
        self.shapes.append(images.shape)
        b, h, w, c = images.shape
        patches = images.reshape(b, h // 4, 4, w // 4, 4, c)
        return patches.mean(axis=(2, 4, 5)).round().astype("int32")


class WordEncoder:
    """One vector a word, after it a vector that ends the caption."""

    sequence_length = LENGTH
    text_dim = DIM

    def __init__(self, factor=1.0):
        self.encoded = []
        self.batch_sizes = []
        self.factor = factor
        self.weights = [np.array(factor)]

    def get_config(self):
        return {"sequence_length": self.sequence_length}

    def tokenize(self, texts):
        ids = np.zeros((len(texts), LENGTH), "int32")
        for row, text in zip(ids, texts, strict=True):
            words = [1 + sum(word.encode()) % 97 for word in text.split()]
            words = [*words[: LENGTH - 1], 99]
            row[: len(words)] = words
        return {"token_ids": ids, "padding_mask": ids > 0}

    def embedding_mask(self, padding_mask):
        return padding_mask

    def predict_on_batch(self, inputs):
        frequencies = self.factor * np.arange(1.0, 1 + DIM)
        angles = inputs["token_ids"][..., None] * frequencies
        return np.sin(angles, dtype="float32")  # not zero at padding

    def encode(self, texts, batch_size=None):
        self.encoded += texts
        self.batch_sizes.append(batch_size)
        tokens = self.tokenize(texts)
        mask = tokens["padding_mask"]
        return self.predict_on_batch(tokens) * mask[..., None], mask


def picture(value, size=8):
    return np.full((size, size, 3), value, "uint8")


def make_rows(count=10):
    return [
        {"image": picture(i), "text": f"picture number {i}"}
        for i in range(count)
    ]


def write(rows, directory, **kwargs):
    kwargs = {"verbose": 0, "batch_size": 4, "rows_per_shard": 4, **kwargs}
    encoder = kwargs.pop("text_encoder", WordEncoder())
    tokenizer = kwargs.pop("tokenizer", PixelTokenizer())
    return write_token_shards(rows, directory, tokenizer, encoder, **kwargs)


@pytest.fixture
def shards(tmp_path):
    directory = str(tmp_path / "tokens")
    write(make_rows(), directory)
    return directory


def order(batches):
    """Which record each row of the batches is; a picture's value names it."""
    return [int(row[0]) for batch in batches for row in batch["token_ids"]]


def flat(batches, name):
    return np.concatenate([batch[name] for batch in batches])


def test_batches_hold_tokens_and_padded_text(shards):
    dataset = read_token_shards(shards, 5, shuffle=False)
    assert (len(dataset), dataset.num_records) == (2, 10)
    batches = list(dataset)
    assert order(batches) == list(range(10))
    first = batches[0]
    assert {name: (x.dtype, x.shape) for name, x in first.items()} == {
        "token_ids": ("int32", (5, 4)),
        "text_embeddings": ("float32", (5, LENGTH, DIM)),
        "text_mask": ("bool", (5, LENGTH)),
    }
    texts = [row["text"] for row in make_rows(5)]
    embeddings, mask = WordEncoder().encode(texts)
    np.testing.assert_array_equal(first["text_mask"], mask)
    # Bit for bit what bfloat16 keeps.
    np.testing.assert_array_equal(
        first["text_embeddings"], embeddings.astype(ml_dtypes.bfloat16)
    )


def test_text_is_stored_without_padding(shards):
    import grain

    path = os.path.join(shards, "tokens-00000-of-00003.array_record")
    record = unpack_record(grain.sources.ArrayRecordDataSource([path])[1])
    assert record["captions"] == ["picture number 1"]
    (text,) = record["texts"]
    assert (text.dtype, text.shape) == (ml_dtypes.bfloat16, (4, DIM))


def test_each_epoch_is_a_new_permutation_fixed_by_the_seed(shards):
    dataset = read_token_shards(shards, 5, seed=3)
    epochs = [order(dataset) for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len(set(map(tuple, epochs))) == 3

    again = read_token_shards(shards, 5, seed=3)
    assert [order(again) for _ in range(3)] == epochs
    assert order(read_token_shards(shards, 5, seed=4)) != epochs[0]


def test_the_shuffle_mixes_all_shards(tmp_path):
    write(make_rows(200), str(tmp_path), rows_per_shard=20)
    records = np.array(order(read_token_shards(str(tmp_path), 20)))
    # Of ten shards, nearly all have a record among the first twenty.
    assert len(set(records[:20] // 20)) >= 6


def test_training_resumes_at_any_step(shards):
    steps = 7  # in the middle of the fourth pass
    dataset = read_token_shards(shards, 5)
    stream = order([batch for _ in range(6) for batch in dataset])
    resumed = read_token_shards(shards, 5)
    resumed.step = steps
    assert resumed.epoch == 3
    assert order(resumed) + order(resumed) == stream[5 * steps :][:20]


def test_epochs_may_be_shorter_or_longer_than_a_pass(shards):
    whole = read_token_shards(shards, 2)
    stream = order([batch for _ in range(2) for batch in whole])
    for steps in (3, 7):
        dataset = read_token_shards(shards, 2, steps_per_epoch=steps)
        assert len(dataset) == steps
        assert order(dataset) == stream[: 2 * steps]
        assert dataset.step == steps
    assert sorted(stream[:10]) == list(range(10))


def test_the_remainder_is_kept_when_asked_for(shards):
    assert len(read_token_shards(shards, 4)) == 2
    dataset = read_token_shards(shards, 4, drop_remainder=False)
    batches = list(dataset)
    assert [len(batch["token_ids"]) for batch in batches] == [4, 4, 2]
    assert sorted(order(batches)) == list(range(10))
    assert sorted(order(dataset)) == list(range(10))


def test_processes_share_the_same_global_batches(shards):
    alone = list(read_token_shards(shards, 4))
    parts = [
        list(read_token_shards(shards, 4, process_index=i, process_count=2))
        for i in range(2)
    ]
    for whole, *halves in zip(alone, *parts, strict=True):
        assert order(halves) == order([whole])


def test_grain_can_save_and_restore_its_own_iterator(shards):
    stream = read_token_shards(shards, 5).stream
    iterator = iter(stream.to_iter_dataset())
    next(iterator)
    state = iterator.get_state()
    expected = order([next(iterator), next(iterator)])
    restored = iter(stream.to_iter_dataset())
    restored.set_state(state)
    assert order([next(restored), next(restored)]) == expected


class Recorder(keras.Model):
    """A tiny model that keeps the tokens that it was trained on."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.total = self.add_weight(
            shape=(10,), initializer="zeros", trainable=False, name="total"
        )

    def call(self, inputs, training=False):
        if training:
            seen = keras.ops.one_hot(inputs["token_ids"][:, 0], 10)
            self.total.assign_add(keras.ops.sum(seen, axis=0))
        mask = keras.ops.cast(inputs["text_mask"], "float32")[..., None]
        return self.dense(keras.ops.sum(inputs["text_embeddings"] * mask, 1))

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return keras.ops.mean(keras.ops.square(y_pred))


@pytest.mark.parametrize("shuffle", [False, True])
def test_fit_takes_every_record_once_an_epoch(shards, recwarn, shuffle):
    training = read_token_shards(shards, 2)
    validation = read_token_shards(shards, 5, shuffle=False)
    model = Recorder()
    model.compile("sgd")
    history = model.fit(
        training,
        epochs=2,
        shuffle=shuffle,
        validation_data=validation,
        verbose=0,
    )
    total = keras.ops.convert_to_numpy(model.total)
    np.testing.assert_array_equal(total, np.full(10, 2))
    assert training.epoch == 2
    assert not [w for w in recwarn if "ran out of data" in str(w.message)]
    losses = [model.evaluate(validation, verbose=0) for _ in range(2)]
    assert losses[0] == losses[1]
    assert history.history["val_loss"][-1] == pytest.approx(losses[0])


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_order_of_shards_is_settled_when_they_are_read(shards, shuffle):
    """`fit` of our models asks for it so."""
    dataset = read_token_shards(shards, 2, shuffle=shuffle)
    with pytest.raises(ValueError, match="`shuffle` of `fit` must be that of"):
        with dataset.in_training(shuffle=not shuffle):
            pass
    for same in (shuffle, None):
        with dataset.in_training(shuffle=same):
            assert dataset.is_shuffled == shuffle


def test_fit_goes_on_with_the_stream_in_its_next_epoch(shards):
    """The second epoch of `fit` is the second of the stream, to the batch."""
    dataset = read_token_shards(shards, 2, steps_per_epoch=3)
    by_hand = read_token_shards(shards, 2)
    expected = np.bincount(
        order([*by_hand, *by_hand])[: 2 * 3 * 2], minlength=10
    )
    model = Recorder()
    model.compile("sgd")
    model.fit(dataset, epochs=2, shuffle=False, verbose=0)
    total = keras.ops.convert_to_numpy(model.total)
    np.testing.assert_array_equal(total, expected)


def test_captions_and_views_are_drawn_by_seed_and_epoch(tmp_path):
    directory = str(tmp_path / "tokens")
    generator = np.random.default_rng(0)
    rows = [
        {
            "image": generator.integers(0, 256, (16, 16, 3), "uint8"),
            "text": ["one", "one two", "one two three"],
        }
        for _ in range(12)
    ]
    write(rows, directory, num_views=3, crop_scale=(0.2, 0.5))

    def draws(dataset):
        batches = list(dataset)
        lengths = flat(batches, "text_mask").sum(axis=1).tolist()
        return lengths, flat(batches, "token_ids").tolist()

    dataset = read_token_shards(directory, 4, seed=1)
    epochs = [draws(dataset) for _ in range(2)]
    again = read_token_shards(directory, 4, seed=1)
    assert [draws(again) for _ in range(2)] == epochs
    assert {length for lengths, _ in epochs for length in lengths} == {2, 3, 4}

    views = {tuple(tokens) for _, epoch in epochs for tokens in epoch}
    assert len(views) > 12

    # Without shuffling a record has one caption and one view for ever.
    fixed = read_token_shards(directory, 4, seed=1, shuffle=False)
    assert draws(fixed) == draws(fixed)


def test_the_first_view_is_the_picture_and_the_others_are_its_parts(tmp_path):
    from keras_muse.data.token_shards.views import picture_views
    from keras_muse.data.token_shards.views import resize_view

    column = np.arange(64, dtype="uint8")
    image = np.broadcast_to(column[None, :, None], (64, 64, 3))
    arguments = dict(num_views=20, crop_scale=(0.25, 0.25))
    plain, mirrored = (
        picture_views(image, (1, 1), (0, 0), random_flip=flip, **arguments)
        for flip in (False, True)
    )
    np.testing.assert_array_equal(resize_view(plain[0], (64, 64)), image)
    rising = []
    for i in range(1, 20):
        _, (left, top, right, bottom) = plain[i]
        assert right - left == pytest.approx(32)
        assert bottom - top == pytest.approx(32)
        row = resize_view(plain[i], (32, 32))[0, :, 0].astype(int)
        np.testing.assert_allclose(row, left + np.arange(32), atol=1.1)
        row = resize_view(mirrored[i], (32, 32))[0, :, 0].astype(int)
        rising.append(row[-1] > row[0])
    assert 0 < sum(rising) < 19


def test_super_res_tokens_come_with_a_small_copy_of_the_picture(tmp_path):
    directory = str(tmp_path)
    # Stripes of one pixel: without antialiasing the copy would lose one.
    stripes = np.zeros((32, 32, 3), "uint8")
    stripes[:, ::2] = 200
    rows = [{"image": stripes, "text": "stripes"}] * 4
    low, high = PixelTokenizer(1), PixelTokenizer(2)
    write(
        rows,
        directory,
        tokenizer=low,
        high_res_tokenizer=high,
        image_size=8,
        high_res_image_size=(16, 16),
    )
    assert low.shapes == [(4, 8, 8, 3)]
    assert high.shapes == [(4, 16, 16, 3)]

    dataset = read_token_shards(directory, 2, "super_res", tokenizer=high)
    batch = dataset[0]
    assert batch["token_ids"].shape == (2, 16)
    assert batch["low_res_token_ids"].shape == (2, 4)
    np.testing.assert_allclose(batch["low_res_token_ids"], 100, atol=3)
    assert dataset.metadata["high_res"]["grid_size"] == [4, 4]

    batch = read_token_shards(directory, 2, "base", tokenizer=low)[0]
    assert batch["token_ids"].shape == (2, 4)
    assert "low_res_token_ids" not in batch
    with pytest.raises(ValueError, match="`tokenizer` has another codebook"):
        read_token_shards(directory, 2, "super_res", tokenizer=low)


def test_a_size_without_its_tokenizer_raises(tmp_path):
    with pytest.raises(ValueError, match="`high_res_tokenizer`.*size=16"):
        write(make_rows(), tmp_path / "shards", high_res_image_size=16)
    assert not (tmp_path / "shards").exists()


def test_text_ids_are_encoded_while_reading(tmp_path):
    states, ids = str(tmp_path / "states"), str(tmp_path / "ids")
    write(make_rows(), states)
    encoder = WordEncoder()
    encoder.weights = None  # as `release` leaves them
    write(make_rows(), ids, store="text_ids", text_encoder=encoder)
    assert encoder.encoded == []
    with pytest.raises(ValueError, match="`text_encoder` is needed"):
        read_token_shards(ids, 5)
    stored = read_token_shards(states, 5)[0]
    encoded = read_token_shards(ids, 5, text_encoder=encoder)[0]
    np.testing.assert_array_equal(encoded["text_mask"], stored["text_mask"])
    np.testing.assert_array_equal(
        encoded["text_embeddings"].astype(ml_dtypes.bfloat16),
        stored["text_embeddings"],
    )
    encoder.tokenize = lambda texts: WordEncoder().tokenize(["other words"])
    with pytest.raises(ValueError, match="`text_encoder`.*'picture number 0'"):
        read_token_shards(ids, 5, text_encoder=encoder)
    encoder.sequence_length = 9
    with pytest.raises(
        ValueError, match="`text_encoder`.*'sequence_length': 9"
    ):
        read_token_shards(ids, 5, text_encoder=encoder)


def test_a_caption_is_encoded_once(tmp_path, monkeypatch):
    rows = [
        {"image": picture(i), "text": ["a", f"b {i % 2}"]} for i in range(9)
    ]
    encoder = WordEncoder()
    write(
        rows,
        str(tmp_path),
        text_encoder=encoder,
        batch_size=2,
        rows_per_shard=9,
    )
    assert sorted(encoder.encoded) == ["a", "b 0", "b 1"]

    # Memory is bounded: what is forgotten is encoded again, and the same.
    monkeypatch.setattr(
        "keras_muse.data.token_shards.encoding._CACHE_BYTES", 20
    )
    encoder.encoded.clear()
    texts = CaptionTexts(encoder, "text_embeddings", 4)
    first, again = texts.encode([["a"], ["b"]]), texts.encode([["a"], ["b"]])
    np.testing.assert_array_equal(first, again)
    assert len(encoder.encoded) > 2


def test_broken_rows_are_skipped_and_named(tmp_path):
    rows = make_rows(3)
    rows.insert(1, {"image": picture(7), "text": "  "})
    rows.insert(2, {"image": picture(7).astype("float32"), "text": "float"})
    rows.append({"image": None, "text": "no picture", "name": "cat.png"})
    rows.append({"image": picture(9), "text": ["", "kept"]})
    report = write(rows, str(tmp_path))
    assert (report["num_rows"], report["num_records"]) == (7, 4)
    assert report["num_skipped"] == 3
    assert [skipped["row"] for skipped in report["skipped"]] == [1, 2, 5]
    assert report["skipped"][0]["reason"] == "empty caption"
    assert "float32" in report["skipped"][1]["reason"]
    assert report["skipped"][2]["name"] == "cat.png"
    dataset = read_token_shards(str(tmp_path), 4, shuffle=False)
    assert dataset.metadata["report"] == report
    assert order(dataset) == [0, 1, 2, 9]


def test_no_row_left_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="`pairs` has no row"):
        write([{"image": picture(0), "text": ""}], str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_picture_folder_is_written_with_all_its_captions(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(4):
        Image.fromarray(picture(i)).save(pictures / f"{i}.png")
        (pictures / f"{i}.txt").write_text("one\none two\n")
    (pictures / "2.png").write_bytes((pictures / "2.png").read_bytes()[:45])
    pairs = load_image_text(str(pictures), image_size=8)
    with pytest.warns(UserWarning, match="2.png"):
        report = write(pairs, str(tmp_path / "tokens"))
    assert report["num_records"] == 3
    assert "2.png" in report["skipped"][0]["name"]
    dataset = read_token_shards(str(tmp_path / "tokens"), 3, steps_per_epoch=8)
    batches = list(dataset)
    assert set(order(batches)) == {0, 1, 3}
    assert set(flat(batches, "text_mask").sum(axis=1)) == {2, 3}


def test_batches_of_rows_are_taken_too(tmp_path):
    rows = make_rows(6)
    batches = [
        {
            "image": np.stack([row["image"] for row in rows[i : i + 3]]),
            "text": [row["text"] for row in rows[i : i + 3]],
        }
        for i in (0, 3)
    ]
    assert write(batches, str(tmp_path))["num_records"] == 6
    dataset = read_token_shards(str(tmp_path), 6, shuffle=False)
    assert order(dataset) == list(range(6))


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    directory, whole = str(tmp_path / "tokens"), str(tmp_path / "whole")

    def interrupted():
        yield from make_rows(9)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(interrupted(), directory)
    with pytest.raises(ValueError, match="no finished token shards"):
        read_token_shards(directory, 5)

    tokenizer = PixelTokenizer()
    report = write(make_rows(), directory, tokenizer=tokenizer)
    assert tokenizer.shapes == [(4, 8, 8, 3)]  # the last two rows, filled up
    assert report == write(make_rows(), whole)
    assert hashes(directory) == hashes(whole)


def hashes(directory):
    """Of all files, to their names."""
    return {
        name: hashlib.sha256(
            pathlib.Path(directory, name).read_bytes()
        ).hexdigest()
        for name in os.listdir(directory)
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_may_be_stopped_anywhere(tmp_path, monkeypatch, overwrite):
    """Before each of the steps by which files get their names, or go."""
    pairs = picture_folder(tmp_path / "pictures", 5)
    directory, whole = str(tmp_path / "tokens"), str(tmp_path / "whole")
    options = {"rows_per_shard": 2, "overwrite": overwrite}
    if overwrite:
        write(make_rows(7), directory, rows_per_shard=1)
    write(pairs, whole, **options)

    class Stopped(BaseException):
        pass

    num_stops = 0
    while True:
        counter = itertools.count()

        def stopping(function, counter=counter):
            def call(*args, **kwargs):
                if next(counter) == num_stops:  # noqa: B023
                    raise Stopped
                return function(*args, **kwargs)

            return call

        try:
            with monkeypatch.context() as patch:
                for module, name in (
                    (os, "replace"),
                    (os, "remove"),
                    (shutil, "rmtree"),
                ):
                    patch.setattr(module, name, stopping(getattr(module, name)))
                write(pairs, directory, **options)
            break
        except Stopped:
            num_stops += 1
    assert num_stops > 3
    assert hashes(directory) == hashes(whole)


def picture_folder(folder, count):
    folder.mkdir()
    for i in range(count):
        Image.fromarray(picture(i)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"picture number {i}")
    return load_image_text(str(folder), image_size=8)


def stop_after(num_rows, pairs, directory, **kwargs):
    """Leaves an unfinished run."""

    class Stopping(PixelTokenizer):
        def encode(self, images, batch_size):
            if len(self.shapes) * batch_size >= num_rows:
                raise KeyboardInterrupt
            return super().encode(images, batch_size)

    with pytest.raises(KeyboardInterrupt):
        write(pairs, directory, tokenizer=Stopping(), **kwargs)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("seed", 1),
        ("num_views", 2),
        ("rows_per_shard", 2),
        ("batch_size", 2),
        ("store", "text_ids"),
        ("tokenizer", PixelTokenizer(codebook_seed=1)),
        ("text_encoder", WordEncoder(factor=2.0)),
        ("collection", None),
    ],
)
def test_unfinished_shards_of_another_run_are_refused(
    tmp_path, argument, value
):
    pairs = picture_folder(tmp_path / "pictures", 9)
    directory = str(tmp_path / "tokens")
    stop_after(4, pairs, directory)
    other, options = pairs, {argument: value}
    if argument == "collection":
        other, options = pairs.select(range(8)), {}
    before = hashes(os.path.join(directory, ".partial"))
    with pytest.raises(ValueError, match=f"`directory`.*another .*{argument}"):
        write(other, directory, **options)
    assert hashes(os.path.join(directory, ".partial")) == before

    write(other, directory, **options, overwrite=True)
    whole = str(tmp_path / "whole")
    write(other, whole, **options)
    assert hashes(directory) == hashes(whole)


def test_other_rows_of_an_iterable_are_refused(tmp_path):
    directory = str(tmp_path)
    stop_after(4, make_rows(), directory)
    rows = make_rows()
    rows[3] = {**rows[3], "text": "another caption"}
    with pytest.raises(ValueError, match="`pairs` must give the rows"):
        write(rows, directory)
    write(rows, directory, overwrite=True)
    assert read_token_shards(directory, 5).num_records == 10


def test_settings_without_a_shard_may_be_corrected(tmp_path):
    """Nothing is lost, so nothing is refused."""
    with pytest.raises(ValueError, match="image_size=None"):
        write([make_rows()[0], {"image": picture(0, 16), "text": "large"}],
              str(tmp_path))  # fmt: skip
    write(make_rows(), str(tmp_path), image_size=8)
    assert len(os.listdir(tmp_path)) == 4


def test_a_finished_run_of_a_collection_is_not_repeated(tmp_path):
    pairs = picture_folder(tmp_path / "pictures", 5)
    directory = str(tmp_path / "tokens")
    report = write(pairs, directory)
    before, tokenizer = hashes(directory), PixelTokenizer()
    assert write(pairs, directory, tokenizer=tokenizer) == report
    assert (tokenizer.shapes, hashes(directory)) == ([], before)
    with pytest.raises(ValueError, match="`overwrite=True`"):
        write(pairs, directory, seed=1)
    with pytest.raises(ValueError, match="`overwrite=True`"):
        write(pairs.select(range(4)), directory)


def test_what_killed_runs_left_is_removed(tmp_path):
    script = (
        "import os, sys\n"
        "from tests.data.token_shards_test import make_rows, write\n"
        "def rows():\n"
        "    yield from make_rows(9)\n"
        "    os._exit(9)\n"
        "write(rows(), sys.argv[1])\n"
    )
    directory = str(tmp_path)
    killed = subprocess.run([sys.executable, "-c", script, directory])
    assert killed.returncode == 9
    assert os.listdir(directory) != []
    with pytest.raises(ValueError, match="no finished token shards"):
        read_token_shards(directory, 5)
    write(make_rows(2), directory, overwrite=True)
    assert sorted(os.listdir(directory)) == [
        "metadata.json",
        "tokens-00000-of-00001.array_record",
    ]


def test_a_shard_is_a_block_of_rows(tmp_path):
    """A broken row leaves its shard shorter, and moves no other row."""
    rows = make_rows(12)
    for broken in (1, 8, 9, 10, 11):
        rows[broken]["text"] = ""
    write(rows, str(tmp_path))
    dataset = read_token_shards(str(tmp_path), 7, shuffle=False)
    counts = [shard["num_records"] for shard in dataset.metadata["shards"]]
    assert counts == [3, 4, 0]
    assert order(dataset) == [0, 2, 3, 4, 5, 6, 7]


def test_a_shard_does_not_depend_on_those_before_it(tmp_path):
    """The same captions go through the encoder, whatever it met before."""
    rows = [{"image": picture(i), "text": f"b {i % 2}"} for i in range(8)]
    encoder = WordEncoder()
    write(rows, str(tmp_path), text_encoder=encoder)
    assert encoder.encoded == ["b 0", "b 1"] * 2
    assert encoder.batch_sizes == [4, 4]


def test_finished_shards_are_replaced_only_when_asked_to(shards):
    with pytest.raises(ValueError, match="`overwrite=True`"):
        write(make_rows(3), shards)
    with pytest.raises(ValueError, match="`pairs` has no row"):
        write([], shards, overwrite=True)
    assert read_token_shards(shards, 5).num_records == 10
    write(make_rows(3), shards, overwrite=True)
    assert read_token_shards(shards, 3).num_records == 3
    assert len(os.listdir(shards)) == 2


def test_a_shard_cut_short_or_missing_is_refused(shards):
    path = os.path.join(shards, "tokens-00001-of-00003.array_record")
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 10)
    with pytest.raises(ValueError, match="`directory` is not whole.*00001-of"):
        read_token_shards(shards, 5)
    os.remove(path)
    with pytest.raises(ValueError, match="`directory` is not whole.*missing"):
        read_token_shards(shards, 5)


def test_another_format_version_is_refused(shards):
    path = os.path.join(shards, "metadata.json")
    with open(path) as file:
        metadata = json.load(file)
    with open(path, "w") as file:
        json.dump({**metadata, "format_version": 99}, file)
    with pytest.raises(ValueError, match="`directory`.*format_version=99"):
        read_token_shards(shards, 5)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("stage", "super_res"),
        ("stage", "upscale"),
        ("codebook_size", 512),
        ("tokenizer", PixelTokenizer(codebook_seed=1)),
        ("batch_size", 0),
        ("batch_size", 11),
        ("steps_per_epoch", 0),
        ("process_index", 1),
        ("process_count", 3),
        ("text_encoder", WordEncoder(factor=2.0)),
    ],
)
def test_reading_names_a_wrong_argument(shards, argument, value):
    arguments = {"batch_size": 5, argument: value}
    with pytest.raises(ValueError, match=f"`{argument}"):
        read_token_shards(shards, **arguments)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("store", "captions"),
        ("num_views", 0),
        ("crop_scale", (0.0, 1.0)),
        ("rows_per_shard", 0),
        ("batch_size", -1),
    ],
)
def test_writing_names_a_wrong_argument(tmp_path, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`"):
        write(make_rows(), str(tmp_path), **{argument: value})


def test_pictures_of_several_sizes_need_one_size(tmp_path):
    rows = [*make_rows(2), {"image": picture(0, size=16), "text": "large"}]
    with pytest.raises(ValueError, match="image_size=None"):
        write(rows, str(tmp_path))
    assert write(rows, str(tmp_path), image_size=8)["num_records"] == 3


def test_the_small_copy_must_have_the_same_aspect(tmp_path):
    with pytest.raises(ValueError, match="one aspect"):
        write(
            make_rows(),
            str(tmp_path),
            high_res_tokenizer=PixelTokenizer(),
            image_size=(4, 8),
        )


@pytest.mark.parametrize("kwargs", [{"process_index": 0}, {"process_count": 1}])
def test_a_process_is_given_by_two_numbers(shards, kwargs):
    with pytest.raises(ValueError, match="go together"):
        read_token_shards(shards, 5, **kwargs)


def test_processes_must_divide_the_batch(shards):
    with pytest.raises(ValueError, match="`process_count` must divide"):
        read_token_shards(shards, 5, process_index=0, process_count=2)


def test_tensorflow_is_not_needed(shards):
    script = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import keras_muse\n"
        "from tests.data.token_shards_test import make_rows, write\n"
        "dataset = keras_muse.data.read_token_shards(sys.argv[1], 5)\n"
        "write(make_rows(), sys.argv[1], overwrite=True)\n"
        "print(len(list(dataset)))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    output = subprocess.run(
        [sys.executable, "-c", script, shards],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert output.stdout.strip() == "2", output.stderr
