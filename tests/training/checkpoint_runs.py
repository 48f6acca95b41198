"""What `checkpoint_test.py` runs in processes of their own.

    python -m tests.training.checkpoint_runs kills TOKENS DIRECTORY SEED
    python -m tests.training.checkpoint_runs layouts TOKENS DIRECTORY
    python -m tests.training.checkpoint_runs process TOKENS DIRECTORY HOST ID
    python -m tests.training.checkpoint_runs backend TOKENS DIRECTORY

Each trains the same tiny model on the same token shards, with interruptions.
"""

import itertools
import json
import os
import pathlib
import random
import signal
import sys
import time
import traceback

import keras
import numpy as np

from keras_muse.data import read_token_shards
from keras_muse.models.muse_model import MuseModel
from keras_muse.training import Checkpoint
from keras_muse.training import average_checkpoints
from keras_muse.training import distribution
from keras_muse.training import load_checkpoint
from keras_muse.training import saved_variables
from tests.helpers import tiny

# What shards of `tests/helpers/token_shards.py` hold.
TOKENS = {"codebook_size": 256, "grid_size": (2, 2), "text_dim": 4}
WIDE = {"hidden_dim": 32, "num_heads": 8, "intermediate_dim": 64}
BATCH_SIZE, STEPS_PER_EPOCH = 8, 5


class Line(MuseModel):
    """Two layers and some noise: what a step needs a state for."""

    def __init__(self, units=3, num_layers=2, name="line"):
        super().__init__(name=name)
        self.units = units
        self.hidden = [keras.layers.Dense(units) for _ in range(num_layers)]
        self.seed_generator = keras.random.SeedGenerator(0)
        self(np.zeros((1, units), "float32"))

    def call_outputs(self, inputs):
        for layer in self.hidden:
            inputs = layer(inputs)
        return inputs

    def loss_inputs(self, inputs, training):
        shape = keras.ops.shape(inputs)
        noise = keras.random.normal(shape, seed=self.seed_generator)
        return self.call_outputs(inputs + noise)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return keras.ops.mean(keras.ops.square(y_pred - 1))


class TokenLine(Line):
    """A line over what token shards hold."""

    def __init__(self):
        super().__init__(units=TOKENS["text_dim"])

    def loss_inputs(self, inputs, training):
        mask = keras.ops.cast(inputs["text_mask"], "float32")[..., None]
        text = keras.ops.sum(inputs["text_embeddings"] * mask, axis=1)
        tokens = keras.ops.cast(inputs["token_ids"], "float32") / 256
        return super().loss_inputs(text + tokens, training)


def make_model():
    base = tiny.tiny_base(False, num_layers=1, **TOKENS, **WIDE)
    base.compile(keras.optimizers.Adam(1e-3))
    return base


def make_dataset(tokens, **kwargs):
    return read_token_shards(
        tokens, BATCH_SIZE, steps_per_epoch=STEPS_PER_EPOCH, **kwargs
    )


class Stop(keras.callbacks.Callback):
    """Ends a training at a step, and keeps what it was restored to."""

    def __init__(self, dataset, step):
        super().__init__()
        self.dataset, self.step = dataset, step
        self.restored = None

    def on_epoch_begin(self, epoch, logs=None):
        self.first = self.dataset.step
        if self.restored is None:
            self.restored = state_of(self.model)

    def on_train_batch_end(self, batch, logs=None):
        if self.first + batch + 1 == self.step:
            self.model.stop_training = True


def state_of(model):
    """All variables, the optimizer's and the seeds' too, whole."""
    gather = keras.ops.convert_to_numpy
    if keras.distribution.distribution() is not None:
        from jax.experimental import multihost_utils

        def gather(variable):
            return multihost_utils.process_allgather(variable.value, tiled=True)

    return {
        f"{part} {name}": np.array(gather(variable))
        for part, variables in saved_variables.parts_of(model).items()
        for name, variable in variables.items()
    }


def train(tokens, directory, stop_at=None, epochs=2, **kwargs):
    """Trains, or goes on, up to a step; returns the states it had."""
    model, dataset = make_model(), make_dataset(tokens, **kwargs)
    stop = Stop(dataset, stop_at)
    checkpoint = Checkpoint(directory, dataset, save_freq=1, max_to_keep=None)
    model.fit(dataset, epochs=epochs, verbose=0, callbacks=[stop, checkpoint])
    return stop.restored, state_of(model)


# === Killed ===

# A life ends before it is done: 20 times 10 steps at most are 40 epochs.
NUM_KILLS, MAX_STEPS, NUM_EPOCHS = 20, 10, 40
OFTEN, SELDOM = 2, 50  # steps between two saves


def live(tokens, directory, save_freq, max_steps=None):
    """One life of the program; its log tells which records it was served.

    After `max_steps` it waits to be killed: whoever does may be slower.
    """
    keras.utils.set_random_seed(0)
    model, dataset = TokenLine(), make_dataset(tokens)
    model.compile(keras.optimizers.Adam(1e-2))
    log = os.open(directory / "log", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    read, served = dataset.batch, itertools.count()

    def batch(step):
        if next(served) == max_steps:
            time.sleep(60)  # and not for ever: nobody may be left
        batch = read(step)
        records = batch["token_ids"][:, 0].tolist()
        os.write(log, f"{json.dumps([step, records])}\n".encode())
        return batch

    dataset.batch = batch
    checkpoint = Checkpoint(directory / "run", dataset, save_freq=save_freq)
    model.fit(dataset, epochs=NUM_EPOCHS, verbose=0, callbacks=[checkpoint])
    np.savez(directory / "end.npz", **state_of(model))


def fork(*arguments):
    """A life in a child, which needs not import everything again."""
    child = os.fork()
    if child:
        return child
    try:
        live(*arguments)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def kill_after(child, log, num_steps, delay):
    """Kills a life when it has logged so many steps, and a moment later."""
    while log.read_bytes().count(b"\n") < num_steps:
        if os.waitpid(child, os.WNOHANG)[0]:
            raise RuntimeError("The life ended before it was killed.")
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def run_kills(tokens, directory, seed):
    saved_variables.orbax()
    draw = random.Random(int(seed))
    lives = []
    for _ in range(NUM_KILLS):
        log = directory / "log"
        log.write_bytes(b"")
        steps, delay = draw.randint(1, MAX_STEPS), draw.uniform(0, 0.05)
        child = fork(tokens, directory, OFTEN, MAX_STEPS)
        kill_after(child, log, steps, delay)
        lives.append(log.read_text().splitlines())
        torn = [p for p in (directory / "run").glob("*orbax-checkpoint-tmp*")]
        print("killed", "while saving" if torn else "", flush=True)
    log.write_bytes(b"")
    status = os.waitpid(fork(tokens, directory, SELDOM), 0)[1]
    lives.append(log.read_text().splitlines())
    (directory / "lives.json").write_text(json.dumps(lives))
    whole = directory / "whole"
    whole.mkdir()
    sys.exit(status or os.waitpid(fork(tokens, whole, SELDOM), 0)[1])


# === On other devices ===


def run_layouts(tokens, directory):
    """On 8 devices, on 4 and on 1, each of which goes on mid-epoch."""
    run, results = directory / "run", {}
    devices = keras.distribution.list_devices()
    before = None
    for name, stop_at in ((8, 2), (4, 6), (1, None)):
        if name == 1:
            keras.distribution.set_distribution(None)
        else:
            distribution.model_parallel(
                2, fully_sharded=True, devices=devices[:name]
            )
        restored, state = train(tokens, run, stop_at)
        for key, value in (before or {}).items():
            np.testing.assert_array_equal(restored[key], value, err_msg=key)
        before = state
        if name == 8:
            results["parts"] = average(run, directory)
    results.update(state)
    _, whole = train(tokens, directory / "whole")
    results.update({f"whole {key}": value for key, value in whole.items()})
    return results


def average(run, directory):
    """Averages on the devices; how the kernel of a layer lies on them."""
    paths = [run / "1", run / "2"]
    output = average_checkpoints(paths, directory / "average", decay=0.75)
    weights = saved_variables.full_path(output) / saved_variables.WEIGHTS
    shapes = saved_variables.saved_shapes(weights)
    (kernel,) = [v for k, v in shapes.items() if "intermediate_dense/k" in k]
    sharding = kernel.sharding.to_jax_sharding()
    return sharding.shard_shape(tuple(kernel.shape))


def run_process(tokens, directory, address, process_id):
    """Half of each batch, in one of two processes."""
    process_id = int(process_id)
    distribution.initialize(address, 2, process_id)
    distribution.model_parallel(2, fully_sharded=True)
    half = {"process_index": process_id, "process_count": 2}
    run = directory / "run"
    _, saved = train(tokens, run, 3, **half)
    restored, state = train(tokens, run, **half)
    for key, value in saved.items():
        np.testing.assert_array_equal(restored[key], value, err_msg=key)
    average_checkpoints([run / "1", run / "2"], directory / "average", 0.75)
    averaged = make_model()
    load_checkpoint(averaged, directory / "average")
    kernel = state_of(averaged)["weights muse_base/text_projection/kernel"]
    return {**state, "averaged": kernel}


def run_backend(tokens, directory):
    _, saved = train(tokens, directory / "run", 3)
    restored, state = train(tokens, directory / "run")
    for key, value in saved.items():
        np.testing.assert_array_equal(restored[key], value, err_msg=key)
    _, whole = train(tokens, directory / "whole")
    return {**state, **{f"whole {key}": value for key, value in whole.items()}}


if __name__ == "__main__":
    if keras.config.backend() != "tensorflow":
        # Keras would import it to seed it: three seconds in each life.
        from tests.helpers import no_tensorflow  # noqa: F401
    mode, tokens, directory, *arguments = sys.argv[1:]
    run = {
        "kills": run_kills,
        "layouts": run_layouts,
        "process": run_process,
        "backend": run_backend,
    }[mode]
    results = run(tokens, pathlib.Path(directory), *arguments)
    output = "-".join(["results", *arguments[1:]])
    np.savez(pathlib.Path(directory, output), **results)
