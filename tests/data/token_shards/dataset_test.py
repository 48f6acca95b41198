import keras
import ml_dtypes
import numpy as np
import pytest

from keras_muse.data import read_token_shards
from tests.helpers.token_shards import DIM
from tests.helpers.token_shards import LENGTH
from tests.helpers.token_shards import WordEncoder
from tests.helpers.token_shards import flat
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import order
from tests.helpers.token_shards import write


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


def test_other_pictures_are_another_dataset(shards, tmp_path):
    """So that a `Checkpoint` does not go on with them."""
    others = [{**row, "image": row["image"] + 99} for row in make_rows()]
    found = []
    for name, rows in (("same", make_rows()), ("other", others)):
        write(rows, str(tmp_path / name))
        found.append(read_token_shards(str(tmp_path / name), 5).identity)
    mine = read_token_shards(shards, 5).identity
    assert found[0] == mine != found[1]


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
    assert not read_token_shards(shards, 4).is_shared
    assert read_token_shards(
        shards, 4, process_index=0, process_count=2
    ).is_shared
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
