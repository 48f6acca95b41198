"""Trainings that are stopped and go on, as if they had not been stopped."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_muse.data.batch_stream import BatchStream
from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.training import Checkpoint
from keras_muse.training import average_checkpoints
from keras_muse.training import checkpoint as checkpoint_module
from keras_muse.training import load_checkpoint
from keras_muse.training import saved_variables
from tests.helpers import tiny
from tests.helpers.picture_rows import make_rows as make_pictures
from tests.helpers.ports import free_address
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import write
from tests.helpers.xla_flags import xla_flags
from tests.training import checkpoint_runs as runs

ROOT = pathlib.Path(__file__).parent.parent.parent
ON_JAX = keras.config.backend() == "jax"


class Stream(BatchStream):
    """Random rows; it remembers what it was asked for."""

    def __init__(self, seed=0, units=3, **kwargs):
        super().__init__(steps_per_epoch=4, **kwargs)
        self.seed, self.units = seed, units
        self.served = []

    identity = property(lambda self: {"seed": self.seed})

    def batch(self, step):
        self.served.append(step)
        generator = np.random.default_rng([self.seed, step])
        return generator.standard_normal((4, self.units)).astype("float32")


class StopAt(keras.callbacks.Callback):
    """As a kill does, it leaves no time to save."""

    def __init__(self, num_batches):
        super().__init__()
        self.num_batches = num_batches

    def on_train_batch_end(self, batch, logs=None):
        self.num_batches -= 1
        if not self.num_batches:
            raise KeyboardInterrupt


def make_line(**kwargs):
    keras.utils.set_random_seed(0)
    line = runs.Line(**kwargs)
    line.compile(keras.optimizers.Adam(1e-2))
    return line


def fit(directory, stop_at=None, epochs=3, dataset=None, **kwargs):
    """Trains a line; returns it and the numbers of its batches."""
    line = make_line()
    dataset = dataset or Stream()
    checkpoint = Checkpoint(directory, dataset, **{"save_freq": 1, **kwargs})
    callbacks = [checkpoint] + ([StopAt(stop_at)] if stop_at else [])
    try:
        line.fit(
            dataset,
            epochs=epochs,
            verbose=0,
            callbacks=callbacks,
            validation_data=Stream(),
        )
    except KeyboardInterrupt:
        checkpoint.close()
    return line, dataset.served


def check_same(first, second):
    """Every variable, the optimizer's and the seeds' too."""
    check_states(runs.state_of(first), runs.state_of(second))


def check_states(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


# === In one process ===


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("unbroken"))[0]


@pytest.mark.parametrize("stops", [(6,), (4,), (1, 2, 5)])
def test_goes_on_with_the_next_batch(tmp_path, recwarn, unbroken, stops):
    """In the middle of an epoch and at its end."""
    done = 0
    for stop in stops:
        _, served = fit(tmp_path, stop)
        assert served == list(range(done, done + stop))
        # The last batch of an epoch is saved when its validation is over.
        done = int(max(os.listdir(tmp_path), key=int))
    line, served = fit(tmp_path)
    assert served == list(range(done, 12))
    check_same(line, unbroken)
    assert not [w for w in recwarn if "ran out" in str(w.message)]


def test_loaders_may_read_ahead(tmp_path, unbroken):
    """Threads do; nothing is served twice, nor skipped."""
    for stop in (6, None):
        line, served = fit(tmp_path, stop, dataset=Stream(workers=2))
    assert served == [*range(6, 12)]
    check_same(line, unbroken)


def test_an_epoch_ends_where_it_would_have_ended(tmp_path):
    ends = []

    class Ends(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            ends.append((epoch, dataset.step))

    fit(tmp_path, stop_at=6)
    line = make_line()
    dataset = Stream()
    checkpoint = Checkpoint(tmp_path, dataset)
    line.fit(dataset, epochs=3, verbose=0, callbacks=[Ends(), checkpoint])
    assert ends == [(1, 8), (2, 12)]


def test_a_checkpoint_is_of_its_step(tmp_path):
    """Though training went on while it was written."""
    fit(tmp_path / "all", max_to_keep=None)
    for step in (3, 7):
        line, _ = fit(tmp_path / str(step), stop_at=step)
        loaded = make_line()
        load_checkpoint(loaded, tmp_path / "all" / str(step))
        for a, b in zip(loaded.weights, line.weights, strict=True):
            np.testing.assert_array_equal(tiny.to_numpy(a), tiny.to_numpy(b))


def test_a_finished_training_does_nothing(tmp_path, unbroken):
    fit(tmp_path)
    line, served = fit(tmp_path)
    assert served == []
    check_same(line, unbroken)
    assert fit(tmp_path, epochs=4)[1] == list(range(12, 16))


@pytest.mark.parametrize("epochs", [3, 4])  # of which 3 are done
def test_the_next_training_begins_at_its_own_beginning(tmp_path, epochs):
    fit(tmp_path)
    line, _ = fit(tmp_path, epochs=epochs)
    history = line.fit(Stream(), epochs=2, verbose=0)
    assert history.epoch == [0, 1]


@pytest.mark.parametrize(
    "options, steps",
    [
        ({"save_freq": "epoch"}, ["12", "4", "8"]),
        ({"save_freq": 5}, ["10", "12", "5"]),
        ({"save_freq": 5, "max_to_keep": 1}, ["12"]),
        ({"save_freq": 5, "max_to_keep": None}, ["10", "12", "5"]),
        ({"save_freq": 1, "max_to_keep": 2}, ["11", "12"]),
    ],
)
def test_save_freq_and_max_to_keep(tmp_path, options, steps):
    fit(tmp_path, **options)
    assert sorted(os.listdir(tmp_path)) == steps


def test_without_a_dataset_a_stopped_epoch_is_begun_anew(tmp_path):
    epochs = []

    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append((epoch, int(self.model.optimizer.iterations)))

    for stop in ([StopAt(6)], []):
        line = make_line()
        checkpoint = Checkpoint(tmp_path, save_freq=1)
        callbacks = [checkpoint, Epochs(), *stop]
        data = np.ones((16, 3), "float32")
        try:
            line.fit(
                data, batch_size=4, epochs=2, verbose=0, callbacks=callbacks
            )
        except KeyboardInterrupt:
            checkpoint.close()
    assert epochs == [(0, 0), (1, 4), (1, 6)]


def test_steps_per_epoch_is_the_datasets_affair(tmp_path):
    line = make_line()
    dataset = Stream()
    checkpoint = Checkpoint(tmp_path, dataset)
    line.fit(
        dataset,
        steps_per_epoch=3,
        epochs=2,
        verbose=0,
        shuffle=True,
        callbacks=[checkpoint],
    )
    assert dataset.served == list(range(6))
    assert sorted(os.listdir(tmp_path)) == ["3", "6"]


def test_validation_on_what_is_trained_on_moves_nothing(tmp_path):
    line, dataset = make_line(), Stream()
    checkpoint = Checkpoint(tmp_path, dataset)
    line.fit(
        dataset,
        epochs=3,
        verbose=0,
        callbacks=[checkpoint],
        validation_data=dataset,
    )
    assert dataset.step == 12
    assert sorted(os.listdir(tmp_path)) == ["12", "4", "8"]
    # Each epoch is of the batches behind those of the last one.
    expected, _ = fit(tmp_path / "another", dataset=Stream())
    check_same(line, expected)


def test_a_tokenizer_goes_on_with_its_critic(tmp_path):
    """Two optimizers; pictures in an order of their own."""
    tokenizer = tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    tokenizer.compile(
        perceptual=None,
        adversarial_start=0,
        discriminator=tiny.tiny_discriminator(),
    )
    start = None

    def fit(directory, stop_at=None):
        """Begins with the same state each time, and compiles once."""
        nonlocal start
        pairs = ImageTextDataset(make_pictures(12), image_size=8, batch_size=2)
        for variable, value in (start or {}).values():
            variable.assign(value)
        checkpoint = Checkpoint(directory, pairs, save_freq=1)
        stop = [StopAt(stop_at)] if stop_at else []
        callbacks = [Begin(), *stop, checkpoint]
        try:
            tokenizer.fit(
                pairs.images, epochs=2, verbose=0, callbacks=callbacks
            )
        except KeyboardInterrupt:
            checkpoint.close()
        return runs.state_of(tokenizer)

    class Begin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            nonlocal start
            if start is None:
                variables = tokenizer.variables + tokenizer.optimizer.variables
                start = {
                    id(v): (v, np.array(tiny.to_numpy(v))) for v in variables
                }

    whole = fit(tmp_path / "whole")
    fit(tmp_path / "run", stop_at=9)
    assert max(map(int, os.listdir(tmp_path / "run"))) == 8
    check_states(fit(tmp_path / "run"), whole)
    # The critic stays behind where there is none.
    fresh = tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    load_checkpoint(fresh, tmp_path / "run")
    np.testing.assert_array_equal(
        tiny.to_numpy(fresh.quantizer.codebook),
        tiny.to_numpy(tokenizer.quantizer.codebook),
    )


# === What does not fit ===


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"units": 5}, r"line/dense/kernel: \(5, 5\) and \(3, 3\)"),
        ({"num_layers": 3}, r"line/dense/kernel#3: \(3, 3\) and absent"),
        ({"num_layers": 1}, r"line/dense/kernel#2: absent and \(3, 3\)"),
    ],
)
def test_another_architecture_is_refused(tmp_path, changes, message):
    fit(tmp_path, epochs=1)
    line = make_line(**changes)
    before = [np.array(tiny.to_numpy(w)) for w in line.weights]
    dataset = Stream(units=line.units)
    with pytest.raises(ValueError, match=f"architecture.*{message}"):
        line.fit(dataset, verbose=0, callbacks=[Checkpoint(tmp_path, dataset)])
    with pytest.raises(ValueError, match=f"architecture.*{message}"):
        load_checkpoint(line, tmp_path)
    assert dataset.step == 0
    for value, weight in zip(before, line.weights, strict=True):
        np.testing.assert_array_equal(value, tiny.to_numpy(weight))


def test_a_model_of_another_name_is_told_what_to_be_called(tmp_path):
    fit(tmp_path, epochs=1)
    line, dataset = make_line(name="mine"), Stream()
    words = "the name that it was saved under: pass name='line' to it"
    with pytest.raises(ValueError, match=words):
        line.fit(dataset, verbose=0, callbacks=[Checkpoint(tmp_path, dataset)])
    with pytest.raises(ValueError, match=words):
        load_checkpoint(line, tmp_path)
    load_checkpoint(make_line(name="line"), tmp_path)


def test_an_optimizer_of_another_name_is_another_one(tmp_path):
    fit(tmp_path, epochs=1)
    line, dataset = make_line(), Stream()
    line.compile(keras.optimizers.AdamW(1e-2))
    with pytest.raises(ValueError, match="architecture and optimizer.*adam_w/"):
        line.fit(dataset, verbose=0, callbacks=[Checkpoint(tmp_path, dataset)])


def test_another_optimizer_is_refused(tmp_path):
    fit(tmp_path, epochs=1)
    line = make_line()
    line.compile("sgd")
    dataset = Stream()
    with pytest.raises(ValueError, match="sgd/iteration: .* and absent"):
        line.fit(dataset, verbose=0, callbacks=[Checkpoint(tmp_path, dataset)])


def test_another_dataset_is_refused(tmp_path):
    fit(tmp_path, epochs=1)
    with pytest.raises(ValueError, match="'seed': 0.*'seed': 9"):
        fit(tmp_path, dataset=Stream(seed=9))
    line = make_line()
    with pytest.raises(ValueError, match="the one given to `fit`.*4 steps"):
        other = Stream()
        other.steps_per_epoch = 3
        line.fit(Stream(), verbose=0, callbacks=[Checkpoint(tmp_path, other)])


def test_a_torn_checkpoint_is_ignored(tmp_path, unbroken):
    fit(tmp_path, stop_at=6)
    # As a kill leaves it: under another name, and cut short.
    torn = tmp_path / "7.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "6", torn)
    shutil.rmtree(torn / "optimizer")
    loaded = make_line()
    load_checkpoint(loaded, tmp_path)
    line, served = fit(tmp_path)
    assert served == list(range(6, 12))
    check_same(line, unbroken)
    assert not torn.exists()


def test_errors_while_saving_are_raised(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk is full")

    line = make_line()
    dataset = Stream()
    checkpoint = Checkpoint(tmp_path, dataset)
    ocp = saved_variables.orbax()
    monkeypatch.setattr(ocp.CheckpointManager, "wait_until_finished", fail)
    with pytest.raises(OSError, match="disk is full"):
        line.fit(dataset, verbose=0, callbacks=[checkpoint])


class Spoil(keras.callbacks.Callback):
    """As an update that overflows: the loss before it is finite."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            variable = self.of(self.model)
            self.path = variable.path
            variable.assign(np.full(variable.shape, np.inf))


@pytest.mark.parametrize(
    "of",
    [lambda line: line.weights[0], lambda line: line.optimizer.variables[2]],
    ids=["weight", "state of the optimizer"],
)
def test_what_is_not_finite_takes_no_good_ones_place(tmp_path, of):
    line, spoil = make_line(), Spoil(of)
    checkpoint = Checkpoint(tmp_path, save_freq=1, max_to_keep=1)
    with pytest.raises(ValueError, match="NaN or infinite values") as error:
        line.fit(Stream(), verbose=0, callbacks=[spoil, checkpoint])
    assert spoil.path in str(error.value)
    checkpoint.close()
    assert os.listdir(tmp_path) == ["2"]
    load_checkpoint(make_line(), tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [{"save_freq": 0}, {"save_freq": "step"}, {"max_to_keep": 0},
     {"dataset": [1, 2]}],
)  # fmt: skip
def test_unusable_arguments_raise(tmp_path, arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}="):
        Checkpoint(tmp_path, **arguments)
    with pytest.raises(ValueError, match="`path` must hold a whole"):
        load_checkpoint(make_line(), tmp_path)


# === Averages ===


def test_average_of_checkpoints(tmp_path):
    fit(tmp_path / "run", max_to_keep=None)
    paths = [tmp_path / "run" / str(step) for step in (2, 5, 9)]
    values = []
    for path in paths:
        line = make_line()
        load_checkpoint(line, path)
        values.append([tiny.to_numpy(v) for v in line.variables])
    output = tmp_path / "average"
    assert average_checkpoints(paths, output, decay=0.6) == output
    load_checkpoint(line, output)
    for *saved, variable in zip(*values, line.variables, strict=True):
        a, b, c = saved
        expected = 0.36 * a + 0.24 * b + 0.4 * c
        if "int" in c.dtype.name:
            expected = c  # of the last one: the seed
        np.testing.assert_allclose(tiny.to_numpy(variable), expected, atol=1e-6)
    with pytest.raises(ValueError, match="`output_path` must not exist"):
        average_checkpoints(paths, output)


def test_only_one_models_checkpoints_are_averaged(tmp_path):
    fit(tmp_path / "a", epochs=1)
    line = make_line(units=5)
    line.fit(np.ones((4, 5)), verbose=0, callbacks=[Checkpoint(tmp_path / "b")])
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ValueError, match=r"kernel: \(3, 3\) and \(5, 5\)"):
        average_checkpoints(paths, tmp_path / "average")
    assert not (tmp_path / "average").exists()


def test_an_average_is_not_spoilt_by_one_checkpoint(tmp_path, monkeypatch):
    # As one written by others, who did not look.
    monkeypatch.setattr(checkpoint_module, "check_finite", lambda _: None)
    line = make_line()
    checkpoint = Checkpoint(tmp_path / "run", save_freq=1, max_to_keep=None)
    spoil = Spoil(lambda line: line.weights[0])
    with pytest.raises(RuntimeError, match="Not a finite loss"):
        line.fit(Stream(), verbose=0, callbacks=[spoil, checkpoint])
    checkpoint.close()
    paths = [tmp_path / "run" / "2", tmp_path / "run" / "3"]
    with pytest.raises(ValueError, match="run/3.*line/dense.*NaN"):
        average_checkpoints(paths, tmp_path / "average")
    assert not (tmp_path / "average").exists()


# === In other processes ===


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("tokens"))
    write(make_rows(96), directory, rows_per_shard=32)
    return directory


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def start(*arguments, num_devices=1, backend="jax", **environment):
    return subprocess.Popen(
        [sys.executable, "-m", runs.__name__, *map(str, arguments)],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": xla_flags(num_devices),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    log = process.communicate()[0]
    assert process.returncode == 0, log[-5000:]
    return log


def results_of(directory, name="results"):
    """What a run ended with, and what it would have without a stop."""
    with np.load(directory / f"{name}.npz") as arrays:
        arrays = dict(arrays)
    whole = {
        name.removeprefix("whole "): value
        for name, value in arrays.items()
        if name.startswith("whole ")
    }
    return arrays, {name: arrays[name] for name in whole}, whole


only_on_jax = pytest.mark.skipif(not ON_JAX, reason="it starts JAX itself")


@only_on_jax
def test_twenty_kills_change_nothing(tmp_path, tokens, cache):
    """Bit for bit, and record for record; also killed while saving."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed of the kills:", seed)
    log = finish(start("kills", tokens, tmp_path, seed, **cache))
    with (
        np.load(tmp_path / "end.npz") as killed,
        np.load(tmp_path / "whole" / "end.npz") as whole,
    ):
        check_states(dict(killed), dict(whole))

    expected = (tmp_path / "whole" / "log").read_text().splitlines()
    expected = dict(map(json.loads, expected))
    lives = json.loads((tmp_path / "lives.json").read_text())
    lives = [list(map(json.loads, life)) for life in lives]
    served = {}
    for life in lives:
        first = life[0][0] if life else 0
        # Each goes on in one piece, at a step that was reached before.
        assert [step for step, _ in life] == [*range(first, first + len(life))]
        assert first <= max(served, default=-1) + 1
        served.update(map(tuple, life))
    assert served == expected
    # The test can fail: kills came at many steps, in saves and in epochs.
    assert len(lives) == runs.NUM_KILLS + 1
    assert len({life[-1][0] for life in lives if life}) >= 5
    assert log.count("killed while saving") >= 3
    starts = [life[0][0] for life in lives if life]
    assert sum(start % runs.STEPS_PER_EPOCH > 0 for start in starts) >= 3


@only_on_jax
def test_eight_devices_then_four_then_one(tmp_path, tokens, cache):
    """What is restored is checked there, bit for bit."""
    finish(start("layouts", tokens, tmp_path, num_devices=8, **cache))
    arrays, broken, whole = results_of(tmp_path)
    for name, value in whole.items():
        np.testing.assert_allclose(
            broken[name], value, rtol=1e-5, atol=1e-5, err_msg=name
        )
    # The average lies on the eight devices as its checkpoints do.
    assert arrays["parts"].tolist() == [32 // 4, 64 // 2]
    averaged, first, second = (runs.make_model() for _ in range(3))
    load_checkpoint(averaged, tmp_path / "average")
    load_checkpoint(first, tmp_path / "run" / "1")
    load_checkpoint(second, tmp_path / "run" / "2")
    for models in zip(
        *(model.weights for model in (averaged, first, second)), strict=True
    ):
        value, a, b = map(tiny.to_numpy, models)
        np.testing.assert_allclose(value, 0.75 * a + 0.25 * b, atol=1e-6)


@only_on_jax
def test_two_processes_go_on(tmp_path, tokens, cache):
    address = free_address()
    started = [
        start("process", tokens, tmp_path, address, i, num_devices=4, **cache)
        for i in range(2)
    ]
    try:
        for process in started:
            finish(process)
    finally:
        for process in started:
            process.kill()
    one = runs.train(tokens, tmp_path / "one")[1]
    averaged = make_average(tmp_path)
    for i in range(2):
        many, _, _ = results_of(tmp_path, f"results-{i}")
        for name, value in one.items():
            np.testing.assert_allclose(
                many[name], value, rtol=1e-5, atol=1e-5, err_msg=name
            )
        np.testing.assert_array_equal(many["averaged"], averaged)


def make_average(directory):
    """What two processes wrote, read and averaged by one."""
    kernels = []
    for step in (1, 2):
        model = runs.make_model()
        load_checkpoint(model, directory / "run" / str(step))
        kernels.append(tiny.to_numpy(model.text_projection.kernel))
    return 0.75 * kernels[0] + 0.25 * kernels[1]


@only_on_jax
@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_other_backends_go_on(tmp_path, tokens, backend):
    finish(start("backend", tokens, tmp_path, backend=backend))
    _, broken, whole = results_of(tmp_path)
    check_states(broken, whole)
    # And JAX reads what they wrote.
    model = runs.make_model()
    load_checkpoint(model, tmp_path / "run")
    for name, value in saved_variables.by_name(model.variables).items():
        np.testing.assert_array_equal(
            tiny.to_numpy(value), whole[f"weights {name}"], err_msg=name
        )
