import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest

from keras_muse.training import Checkpoint
from keras_muse.training import TimeBudget
from keras_muse.training import time_budget
from tests.helpers import tiny
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_data
from tests.helpers.tiny import to_numpy

ROOT = pathlib.Path(__file__).parent.parent.parent


class Clock(keras.callbacks.Callback):
    """A clock that goes on by a second a batch, and may stop the training."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.now = 100.0
        self.stop_after = stop_after

    def monotonic(self):
        return self.now

    def on_train_batch_end(self, batch, logs=None):
        self.now += 1.0
        if batch + 1 == self.stop_after:
            self.model.stop_training = True


@pytest.fixture
def train(monkeypatch, tmp_path):
    def train(model, seconds=10, stop_after=None, **kwargs):
        clock = Clock(stop_after)
        monkeypatch.setattr(
            time_budget,
            "time",
            types.SimpleNamespace(monotonic=clock.monotonic),
        )
        budget = TimeBudget(seconds, tmp_path / "state", **kwargs)
        # One epoch of all batches, so that `batch` counts the steps.
        data = np.ones((1000, 3), "float32"), np.ones((1000, 1), "float32")
        history = model.fit(
            *data, batch_size=1, callbacks=[clock, budget], verbose=0
        )
        return budget, history

    return train


def tiny_model(optimizer="adam", loss="mse"):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.compile(optimizer, loss=loss)
    return model


@pytest.mark.parametrize(
    "rate",
    [keras.optimizers.schedules.CosineDecay(1e-3, 9), lambda: 1e-3],
    ids=["schedule", "function"],
)
def test_another_schedule_is_refused(train, rate, tmp_path):
    model = tiny_model(keras.optimizers.Adam(rate))
    with pytest.raises(ValueError, match="`TimeBudget`.*`total_steps`.*Adam"):
        train(model, learning_rate=1e-3)
    assert not (tmp_path / "state").exists()


def state(model):
    weights = [*model.weights, *model.optimizer.variables]
    return {w.path: to_numpy(w) for w in weights if "rate" not in w.path}


def assert_same_state(model, other):
    for a, b in zip(state(model).values(), state(other).values(), strict=True):
        np.testing.assert_array_equal(a, b)


def expected_rate(second, seconds=10):
    if second == 0:
        return 1e-3 / 0.03  # the first step of the warm-up
    return math.cos(second / seconds * math.pi / 2)


def test_the_learning_rate_follows_the_clock(train):
    """The gradient is one, so the weight falls by each rate that was used."""

    def mean(y, prediction):
        return keras.ops.mean(prediction)

    model = tiny_model(keras.optimizers.SGD(), mean)
    before = to_numpy(model.weights[0])
    train(model, learning_rate=0.1)
    assert int(model.optimizer.iterations) == 10
    used = before - to_numpy(model.weights[0])
    expected = 0.1 * sum(expected_rate(second) for second in range(10))
    np.testing.assert_allclose(used, expected, rtol=1e-5)


@pytest.mark.parametrize("seconds", [5, 20])
def test_however_many_steps_the_rate_falls_to_zero(train, seconds):
    model = tiny_model("sgd")
    train(model, seconds=seconds, learning_rate=1.0)
    assert int(model.optimizer.iterations) == seconds
    assert float(model.optimizer.learning_rate) == pytest.approx(
        expected_rate(seconds - 1, seconds), rel=1e-5
    )


def test_all_optimizers_of_a_model_have_the_rate(train):
    """As a tokenizer and its critic have two."""

    def mean(y, prediction):
        return keras.ops.mean(prediction)

    critic = keras.optimizers.SGD(7.0)
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.SGD(3.0),
            {r"critic/.*": critic},
        )
    )
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    parts = [
        keras.layers.Dense(1, use_bias=False, name=name)(inputs)
        for name in ("tokenizer", "critic")
    ]
    model = keras.Model(inputs, keras.layers.add(parts))
    model.compile(optimizer, loss=mean)
    before = [to_numpy(w) for w in model.weights]
    train(model, learning_rate=0.1)
    expected = 0.1 * sum(expected_rate(second) for second in range(10))
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_allclose(old - to_numpy(new), expected, rtol=1e-5)
    assert float(critic.learning_rate) < 0.1


def test_it_warms_up(train):
    model = tiny_model("sgd")
    budget, _ = train(model, seconds=1000, stop_after=1, learning_rate=1.0)
    rates = []
    for spent in (0, 10, 30, 500, 999):
        budget.spent = spent
        rates.append(budget._rate_now())
    assert rates[0] < 0.05 and 0.3 < rates[1] < 0.4 and rates[2] > 0.99
    assert rates[3] == pytest.approx(math.sqrt(0.5), abs=1e-3)
    assert rates[4] < 0.01


def test_it_saves_now_and_then(train, monkeypatch):
    saved_at = []
    save = TimeBudget._save

    def record(self):
        saved_at.append(self.spent)
        save(self)

    monkeypatch.setattr(TimeBudget, "_save", record)
    budget, _ = train(tiny_model(), learning_rate=0.1, save_every=3)
    assert saved_at == [4, 8, 10]
    names = set(os.listdir(budget.directory))
    assert names == {"state.weights.h5", "clock.json"}


def test_it_goes_on_where_it_was(train, tmp_path):
    stopped = tiny_model()
    train(stopped, stop_after=4, learning_rate=0.1)
    resumed = tiny_model()
    budget = TimeBudget(10, tmp_path / "state", learning_rate=0.1)
    assert not budget.restore(resumed)
    assert budget.spent == 4
    assert_same_state(stopped, resumed)
    assert int(resumed.optimizer.iterations) == 4
    # The rest gives, to the bit, what an uninterrupted training gives.
    train(resumed, learning_rate=0.1)
    assert int(resumed.optimizer.iterations) == 10
    os.remove(tmp_path / "state" / "clock.json")
    whole = tiny_model()
    train(whole, learning_rate=0.1)
    assert_same_state(whole, resumed)


def test_a_spent_budget_trains_no_more(train, tmp_path):
    model = tiny_model()
    budget, _ = train(model, learning_rate=0.1)
    assert budget.finished
    loaded = tiny_model()
    again = TimeBudget(10, tmp_path / "state", learning_rate=0.1)
    assert again.restore(loaded)
    assert_same_state(model, loaded)
    # More time than it had is more training.
    assert not TimeBudget(11, tmp_path / "state", 0.1).restore(loaded)


def test_nothing_saved_is_nothing_restored(tmp_path):
    model = tiny_model()
    before = to_numpy(model.weights[0])
    assert not TimeBudget(10, tmp_path / "none", 0.1).restore(model)
    np.testing.assert_array_equal(to_numpy(model.weights[0]), before)
    assert not (tmp_path / "none").exists()


TRAIN = """
import sys, time, keras, numpy as np
from keras_muse.training import TimeBudget
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("adam", loss="mse")
budget = TimeBudget(600, sys.argv[1], learning_rate=0.1, save_every=0)
model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=10**6, verbose=0,
          callbacks=[budget])
"""


def test_a_killed_training_goes_on(tmp_path):
    clock = tmp_path / "clock.json"
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    seen = set()
    try:
        while len(seen) < 5:
            if clock.exists():
                seen.add(json.loads(clock.read_text())["spent"])
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    budget = TimeBudget(600, tmp_path, learning_rate=0.1)
    assert not budget.restore(model)
    assert max(seen) <= budget.spent < 600
    steps = int(model.optimizer.iterations)
    assert steps >= 5
    budget.seconds = budget.spent + 0.1
    model.fit(np.ones((8, 3)), np.ones((8, 1)), callbacks=[budget], verbose=0)
    assert int(model.optimizer.iterations) > steps


def test_a_model_with_lora_goes_on(tmp_path):
    """Saved by Keras and loaded again, its additions would be dead."""

    def train(seconds):
        base = tiny_base()
        base.enable_lora(2)
        base.compile("adam")
        budget = TimeBudget(seconds, tmp_path / "state", learning_rate=0.1)
        finished = budget.restore(base)
        before = [to_numpy(v) for v in base.trainable_variables]
        if not finished:
            data = tiny_data(base, 4)
            base.fit(data, epochs=3, callbacks=[budget], verbose=0)
        return finished, before, base

    finished, at_first, base = train(600)
    after = [to_numpy(v) for v in base.trainable_variables]
    assert not finished
    assert all(
        np.abs(a - b).max() > 0 for a, b in zip(at_first, after, strict=True)
    )
    finished, found, again = train(600)
    assert not finished
    for a, b in zip(found, after, strict=True):
        np.testing.assert_array_equal(a, b)
    for part in again.trainable_variables:
        assert part.name in ("lora_kernel_a", "lora_kernel_b")
    assert train(0)[0]


@pytest.mark.parametrize("rank", [None, 2])
def test_a_state_of_a_model_with_lora_is_not_one_without(tmp_path, rank):
    def model(rank):
        base = tiny_base(num_layers=1)
        if rank is not None:
            base.enable_lora(rank)
        base.compile("adam")
        return base

    def budget():
        return TimeBudget(600, tmp_path, learning_rate=0.1)

    base = model(rank)
    base.fit(tiny_data(base, 4), callbacks=[budget()], verbose=0)
    words = "without LoRA, and a model with it"
    if rank is not None:
        words = "with LoRA, and a model without it"
    with pytest.raises(ValueError, match=f"begun {words}"):
        budget().restore(model(2 if rank is None else None))
    assert not budget().restore(model(rank))


def test_a_state_of_another_model_leaves_this_one_as_it_was(train, tmp_path):
    def wider(widths, optimizer="adam"):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,))])
        for width in widths:
            model.add(keras.layers.Dense(width))
        model.compile(optimizer, loss="mse")
        return model

    train(wider([4, 5, 1]), stop_after=4, learning_rate=0.1)
    budget = TimeBudget(10, tmp_path / "state", 0.1)
    for other in (wider([4, 6, 1]), wider([4, 5, 1], "sgd")):
        other.optimizer.build(other.trainable_variables)
        before = state(other)
        with pytest.raises(ValueError, match="state.weights.h5.*not be loaded"):
            budget.restore(other)
        for name, value in state(other).items():
            np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_model_that_cannot_be_restored_is_named(train, tmp_path):
    train(tiny_model(), stop_after=4, learning_rate=0.1)
    budget = TimeBudget(10, tmp_path / "state", 0.1)
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must be built"):
        budget.restore(unbuilt)
    uncompiled = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must be compiled"):
        budget.restore(uncompiled)


def test_its_directory_stays_where_it_was(tmp_path, monkeypatch):
    """Wherever the program goes while it trains."""
    monkeypatch.chdir(tmp_path)
    budget = TimeBudget(600, "state", learning_rate=0.1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    data = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    tiny_model().fit(*data, callbacks=[budget], verbose=0)
    assert (tmp_path / "state" / "clock.json").exists()
    assert not os.listdir(".")


def test_what_is_not_finite_takes_no_good_states_place(train, tmp_path):
    model = tiny_model()
    train(model, seconds=5, learning_rate=1e-3)
    before = to_numpy(model.weights[0])

    def broken(y, prediction):
        return keras.ops.mean(prediction) * np.nan

    model = tiny_model(loss=broken)
    with pytest.raises(ValueError, match=r"dense\w*/kernel"):
        train(model, learning_rate=1e-3)
    model = tiny_model()
    TimeBudget(10, tmp_path / "state", 1e-3).restore(model)
    np.testing.assert_array_equal(to_numpy(model.weights[0]), before)


def test_the_rate_reaches_both_optimizers_of_a_scaled_loss(tmp_path):
    tokenizer = tiny.tiny_tokenizer(dtype="mixed_float16")
    critic = tiny.tiny_discriminator(dtype="mixed_float16")
    tokenizer.compile(perceptual=None, discriminator=critic)
    tokenizer.fit(
        tiny.tiny_images(4),
        batch_size=4,
        epochs=2,
        callbacks=[TimeBudget(1000, tmp_path / "state", learning_rate=0.25)],
        verbose=0,
    )
    parts = tokenizer.optimizer.inner_optimizer.optimizers
    rates = [float(part.learning_rate) for part in parts]
    assert len(rates) == 2 and 0 < rates[0] == rates[1] <= 0.25


def test_asking_for_the_clock_does_not_set_it_back(tmp_path):
    TimeBudget(1, tmp_path / "state", 0.1)
    begun = TimeBudget(1000, tmp_path / "state", 0.1)
    model = tiny.tiny_base()
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(tiny.tiny_data(model), epochs=1, callbacks=[begun], verbose=0)
    again = TimeBudget(1000, tmp_path / "state", 0.1)
    again.spent = begun.spent + 500
    assert not again.finished
    assert again.spent == begun.spent + 500
    again.seconds = begun.spent + 100
    assert again.finished


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_budget_that_is_spent_takes_not_one_step(tmp_path, has_begun):
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.compile(
        keras.optimizers.SGD(0.1), perceptual=None, adversarial_weight=0
    )
    images = tiny.tiny_images(4)
    if has_begun:
        budget = TimeBudget(1000, tmp_path / "state", 0.1)
        tokenizer.fit(images, epochs=2, callbacks=[budget], verbose=0)
    before = [tiny.to_numpy(v) for v in tokenizer.weights]
    steps = int(tokenizer.optimizer.iterations)
    for _ in range(2):
        spent = TimeBudget(0, tmp_path / "state", 0.1)
        tokenizer.fit(images, epochs=9, callbacks=[spent], verbose=0)
        assert spent.finished
    assert int(tokenizer.optimizer.iterations) == steps
    for old, v in zip(before, tokenizer.weights, strict=True):
        np.testing.assert_array_equal(tiny.to_numpy(v), old)
    assert (tmp_path / "state" / "clock.json").exists() == has_begun
    # The next training begins at its own first epoch.
    tokenizer.fit(images, epochs=1, verbose=0)
    assert int(tokenizer.optimizer.iterations) == steps + 1


@pytest.mark.parametrize("is_last", [True, False])
def test_a_checkpoint_beside_it_takes_no_step_either(tmp_path, is_last):
    """Nor does it hold the next training back."""
    data = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")

    def callbacks(seconds):
        budget = TimeBudget(seconds, tmp_path / "state", 0.1)
        checkpoint = Checkpoint(tmp_path / "checkpoints")
        return [budget, checkpoint] if is_last else [checkpoint, budget]

    model = tiny_model()
    model.fit(*data, epochs=2, callbacks=callbacks(1000), verbose=0)
    steps = int(model.optimizer.iterations)
    again = tiny_model()
    again.fit(*data, epochs=9, callbacks=callbacks(0), verbose=0)
    assert int(again.optimizer.iterations) == steps
    assert again.fit(*data, epochs=1, verbose=0).epoch == [0]


def test_the_bar_counts_steps_and_estimates_their_number(train, capsys):
    train(tiny_model(), learning_rate=1e-3, stop_after=4)
    # Not a terminal: one line a minute.
    assert re.findall(r"(\d+)/(\d+)", capsys.readouterr().out) == [("1", "10")]
    train(tiny_model(), learning_rate=1e-3)
    assert re.findall(r"(\d+)/(\d+)", capsys.readouterr().out) == [("1", "6")]


def test_a_terminal_sees_the_bar_move(train, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert time_budget._seconds_of_a_bar() < 1
