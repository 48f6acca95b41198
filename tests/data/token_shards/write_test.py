import os

import numpy as np
import pytest
from PIL import Image

from keras_muse.data import read_token_shards
from keras_muse.data import write_token_shards
from keras_muse.data.image_text import load_image_text
from tests.helpers.token_shards import PixelTokenizer
from tests.helpers.token_shards import WordEncoder
from tests.helpers.token_shards import flat
from tests.helpers.token_shards import hashes
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import order
from tests.helpers.token_shards import picture
from tests.helpers.token_shards import picture_folder
from tests.helpers.token_shards import stop_after
from tests.helpers.token_shards import write


def test_a_size_without_its_tokenizer_raises(tmp_path):
    with pytest.raises(ValueError, match="`high_res_tokenizer`.*size=16"):
        write(make_rows(), tmp_path / "shards", high_res_image_size=16)
    assert not (tmp_path / "shards").exists()


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


def test_other_rows_of_an_iterable_are_refused(tmp_path):
    directory = str(tmp_path)
    stop_after(4, make_rows(), directory)
    rows = make_rows()
    rows[3] = {**rows[3], "text": "another caption"}
    with pytest.raises(ValueError, match="`pairs` must give the rows"):
        write(rows, directory)
    write(rows, directory, overwrite=True)
    assert read_token_shards(directory, 5).num_records == 10


def test_other_pictures_under_the_same_names_replace_unfinished_shards(
    tmp_path,
):
    """Of one complete shard of two; the other one is kept."""
    pairs = picture_folder(tmp_path / "pictures", 10)
    directory, whole = str(tmp_path / "tokens"), str(tmp_path / "whole")
    stop_after(8, pairs, directory)
    Image.fromarray(picture(99)).save(tmp_path / "pictures/5.png")
    tokenizer = PixelTokenizer()
    write(pairs, directory, tokenizer=tokenizer, overwrite=True)
    assert len(tokenizer.shapes) == 2
    write(pairs, whole)
    assert hashes(directory) == hashes(whole)


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


@pytest.mark.parametrize("size", [np.int64(8), np.array([8, 8]), (8, 8)])
def test_sizes_of_any_library_are_taken(tmp_path, size):
    for name, image_size in (("a", 8), ("b", size)):
        write(make_rows(3), str(tmp_path / name), image_size=image_size)
    a, b = (
        read_token_shards(str(tmp_path / name), 3, shuffle=False)[0]
        for name in "ab"
    )
    np.testing.assert_array_equal(a["token_ids"], b["token_ids"])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"overwrite": "no"}, "`overwrite` must be True or False"),
        ({"tokenizer": None}, "`tokenizer` must be a model"),
        ({"tokenizer": "vqgan"}, "`tokenizer` must be a model.*'vqgan'"),
        ({"text_encoder": None}, "`text_encoder` must be a model"),
        ({"text_encoder": "minilm"}, "`text_encoder` must be a model.*minilm"),
        ({"high_res_tokenizer": "vq"}, "`high_res_tokenizer` must be a model"),
        ({"pairs": None}, "`pairs` must be captioned pictures"),
        ({"random_flip": True}, "`random_flip`.*num_views=1, random_flip=True"),
    ],
)
def test_what_is_no_argument_is_named(tmp_path, changes, words):
    arguments = {
        "pairs": make_rows(2),
        "directory": str(tmp_path / "shards"),
        "tokenizer": PixelTokenizer(),
        "text_encoder": WordEncoder(),
    }
    with pytest.raises(ValueError, match=words):
        write_token_shards(**{**arguments, **changes})
    assert not (tmp_path / "shards").exists()


def test_no_caption_of_a_row_is_lost_in_silence(tmp_path):
    rows = [*make_rows(2), {"image": picture(0), "text": [b"a red", "cat"]}]
    report = write(rows, str(tmp_path / "shards"))
    assert (report["num_records"], report["num_skipped"]) == (2, 1)


@pytest.mark.parametrize("texts", ["abc", ["a"], None])
def test_a_batch_has_a_caption_for_each_picture(tmp_path, texts):
    images = np.stack([picture(i) for i in range(3)])
    batch = {"image": images, "text": texts}
    with pytest.raises(ValueError, match="a `text` for each `image`.*3 pict"):
        write([batch], str(tmp_path / "shards"))
