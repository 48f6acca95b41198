from keras_muse.data import read_token_shards
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
