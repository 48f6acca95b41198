import numpy as np
import pytest

from keras_muse.data import read_token_shards
from keras_muse.data.token_shards.encoding import CaptionTexts
from keras_muse.data.token_shards.encoding import PictureTokens
from keras_muse.data.token_shards.encoding import model_fingerprint
from tests.helpers.token_shards import PixelTokenizer
from tests.helpers.token_shards import WordEncoder
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import picture
from tests.helpers.token_shards import write


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


def test_few_pictures_fill_a_batch_and_each_view_has_its_tokens():
    tokenizer = PixelTokenizer()
    pictures = PictureTokens("image_size", tokenizer, batch_size=4)
    assert pictures.metadata() is None
    views = [np.stack([picture(i), picture(10 + i)]) for i in range(3)]
    tokens = pictures.encode(views)
    assert tokenizer.shapes == [(4, 8, 8, 3)] * 2
    expected = np.arange(3)[:, None, None] + [[[0], [10]]]
    np.testing.assert_array_equal(tokens, np.broadcast_to(expected, (3, 2, 4)))
    about = pictures.metadata()
    assert (about["image_size"], about["grid_size"]) == ([8, 8], [2, 2])
    assert about["codebook_size"] == 256
    with pytest.raises(ValueError, match="Received: image_size=None"):
        pictures.check_size((8, 16))


def test_a_model_is_known_by_its_weights_and_not_by_its_name():
    class Model:
        def __init__(self, name="a", **config):
            self.config = {"name": name, **config}

        def get_config(self):
            return self.config

    class Part:
        def __init__(self, *weights):
            self.weights = weights

    weights = Part(np.arange(6.0))
    known = model_fingerprint(Model(), weights)
    assert model_fingerprint(Model("b"), weights) == known
    others = [
        (Model(width=2), weights),
        (Model(), Part(np.arange(6.0, dtype="float32"))),
        (Model(), Part(np.arange(6.0).reshape(2, 3))),
        (Model(), Part(np.arange(6.0)[::-1])),
        (Model(),),
    ]
    assert len({known, *(model_fingerprint(*other) for other in others)}) == 6
