import numpy as np
import pytest

from keras_muse.data import read_token_shards
from keras_muse.data.token_shards.shard import RowsDigest
from keras_muse.data.token_shards.shard import ShardEncoder
from tests.helpers.token_shards import PixelTokenizer
from tests.helpers.token_shards import WordEncoder
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import order
from tests.helpers.token_shards import picture
from tests.helpers.token_shards import write


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


def digest(*rows):
    digest = RowsDigest()
    for row in rows:
        digest.update(row)
    return digest.hexdigest()


def test_rows_are_known_by_all_that_is_stored_of_them():
    def row(number=0, name="a", caption="a cat", value=1, shape=(1, 4, 2, 3)):
        views = [np.full(shape, value, "uint8")]
        prepared = {"captions": [caption], "views": views}
        return {"row": number, "name": name, "prepared": prepared}

    known = digest(row(), row(1))
    assert digest(row(), row(1)) == known
    others = [
        *(row(2), row(1, name="b"), row(1, caption="b"), row(1, value=2)),
        # The same bytes in another shape.
        *(row(1, shape=(1, 2, 4, 3)), {"row": 1, "name": "a", "problem": "x"}),
    ]
    found = {known, digest(row()), digest(row(1), row())}
    assert len(found | {digest(row(), other) for other in others}) == 9


def test_a_run_is_told_from_others_by_what_it_encodes_with():
    def fingerprints(tokenizer=0, factor=1.0, store="text_embeddings", high=0):
        return ShardEncoder(
            PixelTokenizer(tokenizer),
            PixelTokenizer(high) if high else None,
            WordEncoder(factor),
            store,
            4,
        ).fingerprints()

    known = fingerprints()
    assert fingerprints() == known and known["high_res_tokenizer"] is None
    assert fingerprints(tokenizer=1)["tokenizer"] != known["tokenizer"]
    assert fingerprints(factor=2.0)["text_encoder"] != known["text_encoder"]
    both = fingerprints(tokenizer=1, high=1)
    assert both["high_res_tokenizer"] == both["tokenizer"]
    # Ids do not depend on the encoder's weights.
    ids = [fingerprints(factor=x, store="text_ids") for x in (1.0, 2.0)]
    assert ids[0] == ids[1]


def test_processes_must_have_seen_pictures_of_one_size():
    encoder = ShardEncoder(PixelTokenizer(), None, WordEncoder(), "text_ids", 4)
    tokens = [
        {"image_size": [size, size], "grid_size": [2, 2]} for size in (8, 16)
    ]
    # A shard whose rows are all broken knows of none.
    metadata = encoder.metadata([[tokens[0]], [None], [tokens[0]]])
    assert metadata["low_res"] == tokens[0] and metadata["high_res"] is None
    with pytest.raises(ValueError, match=r"\(8, 8\), then \(16, 16\).*=None"):
        encoder.metadata([[tokens[0]], [tokens[1]]])
