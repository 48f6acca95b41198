"""Many devices and processes give what one device gives, on JAX."""

import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_muse.training import check_layout
from keras_muse.training import data_parallel
from keras_muse.training import distribution
from keras_muse.training import model_parallel
from tests.helpers import tiny
from tests.helpers.ports import free_address
from tests.helpers.xla_flags import xla_flags

ROOT = pathlib.Path(__file__).parent.parent.parent
RUNS = "tests.training.distribution_runs"
MODELS = ["base", "super_res"]
LAYOUTS = ["8", "1x8", "2x4", "4x2", "sharded"]


def start(num_devices, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", RUNS, *map(str, arguments)],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": xla_flags(num_devices),
            # Nobody listens there, and no process is to be found by it.
            "http_proxy": "http://127.0.0.1:9",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results_of(process, output):
    log = process.communicate()[0]
    assert process.returncode == 0, log[-5000:]
    with np.load(output) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Results of each layout of eight devices, and of one device."""
    output = tmp_path_factory.mktemp("layouts") / "results.npz"
    results = results_of(start(8, "layouts", output), output)
    by_layout = {name: {} for name in ["one", *LAYOUTS]}
    for key, value in results.items():
        name, key = key.split(" ")
        by_layout[name][key] = value
    return by_layout


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Results of two processes of four devices each, both of them."""
    directory = tmp_path_factory.mktemp("processes")
    address = free_address()
    outputs = [directory / f"{i}.npz" for i in range(2)]
    started = [
        start(4, "process", output, address, i)
        for i, output in enumerate(outputs)
    ]
    try:
        return [
            results_of(*pair) for pair in zip(started, outputs, strict=True)
        ]
    finally:
        for process in started:
            process.kill()


# === Equal to one device ===


@pytest.mark.parametrize(
    "model, layout",
    [
        *itertools.product(["base", "uvit"], ["2x4", "sharded"]),
        ("super_res", "2x4"),
        *itertools.product(MODELS, ["8", "1x8", "4x2"]),
    ],
)
def test_losses_are_those_of_one_device(layouts, model, layout):
    key = f"{model}_losses"
    expected = layouts["one"][key]
    assert len(set(expected)) == 3  # it did train
    np.testing.assert_allclose(layouts[layout][key], expected, rtol=1e-5)


@pytest.mark.parametrize("layout", ["2x4", "sharded"])
def test_losses_of_micro_batches_are_those_of_one_device(layouts, layout):
    """Recomputed, and of two micro-batches with rows on each device."""
    np.testing.assert_allclose(
        layouts[layout]["accumulated_losses"],
        layouts["one"]["base_losses"],
        rtol=1e-5,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_generated_tokens_are_those_of_one_device(layouts, layout):
    """Three pictures, which the devices cannot share equally."""
    one, many = layouts["one"], layouts[layout]
    names = [key for key in ("base_tokens", "uvit_tokens") if key in many]
    for name in names:
        np.testing.assert_array_equal(many[name], one[name])
        assert len(np.unique(one[name])) > 2


def test_a_mesh_serves_the_other_models_too(layouts):
    one, many = layouts["one"], layouts["2x4"]
    for name in ("super_res_tokens", "predicted"):
        np.testing.assert_array_equal(many[name], one[name])
    for name in ("texts", "clip_texts"):
        np.testing.assert_allclose(many[name], one[name], atol=1e-5)


def test_a_partial_batch_is_filled_up(layouts):
    predicted = layouts["2x4"]["predicted"]
    given = tiny.tiny_ids(tiny.tiny_base(), 11)["token_ids"]
    assert predicted.shape == (11, 16)
    np.testing.assert_array_equal(predicted[:, 1::2], given[:, 1::2])
    assert (predicted < 16).all()


def check_tokenizer(many, one):
    """Codes idle for a step are put on vectors of the whole batch."""
    np.testing.assert_allclose(
        many["tokenizer_losses"], one["tokenizer_losses"], rtol=1e-5
    )
    np.testing.assert_array_equal(many["idle_steps"], one["idle_steps"])
    np.testing.assert_array_equal(many["encoded"], one["encoded"])
    for name in ("codebook", "decoded"):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-4, atol=1e-4)


def test_tokenizer_is_that_of_one_device(layouts):
    one, many = layouts["one"], layouts["8"]
    check_tokenizer(many, one)
    np.testing.assert_allclose(many["evaluated"], one["evaluated"], rtol=1e-5)


def check_pictures(many, one):
    """To a level in 255: XLA rounds a decoder of fewer rows otherwise."""
    for name in ("drawn", "inpainted"):
        assert many[name].shape == one[name].shape == (3, 32, 32, 3)
        difference = many[name].astype(int) - one[name]
        assert np.abs(difference).max() <= 1, name
    assert (one["drawn"] != one["inpainted"]).any()


def test_the_cascade_draws_what_one_device_draws(layouts, processes):
    for many in (layouts["8"], *processes):
        check_pictures(many, layouts["one"])


def test_two_processes_are_as_one(layouts, processes):
    """`data_parallel` of the tokenizer, `model_parallel` of the others."""
    one = layouts["one"]
    for many in processes:
        assert many["mesh"].tolist() == [2, 4]  # the devices of one host
        check_tokenizer(many, one)
        np.testing.assert_allclose(
            many["base_losses"], one["base_losses"], rtol=1e-5
        )
        for name in ("base_tokens", "predicted"):
            np.testing.assert_array_equal(many[name], one[name])
        np.testing.assert_allclose(many["texts"], one["texts"], atol=1e-5)
        # Each would draw a seed of its own.
        error = str(many["error_seed"])
        assert re.search("each of the 2 processes.*seed=None", error)
        # A replica on both hosts would get other examples from each.
        error = str(many["error_size"])
        assert re.search("those of this host, 4. Received.*size=8", error)


# === Layouts ===


@pytest.mark.parametrize(
    "layout, parts",
    [("one", "1, 1"), ("8", "1, 1"), ("1x8", "1, 8"), ("2x4", "1, 4"),
     ("4x2", "1, 2"), ("sharded", "4, 2")],
)  # fmt: skip
def test_columns_and_their_slots_are_split(layouts, layout, parts):
    assert layouts[layout]["columns"].tolist() == [f"[{parts}]"]


def test_check_layout_tells_what_is_whole(layouts):
    reports = json.loads(str(layouts["2x4"]["reports"]))
    assert reports["base"]["mesh"] == {"batch": 2, "model": 4}
    assert reports["base"]["replicated"] == {}
    for name in ("base", "t5"):
        report = reports[name]
        assert report["bytes"] / 4 < report["bytes_per_device"]
        assert report["bytes_per_device"] < report["bytes"] / 3
    # Its text, its convolutions and its projections are whole.
    assert reports["uvit"]["bytes_per_device"] < reports["uvit"]["bytes"] / 1.5
    assert reports["t5"]["replicated"] == {"position_bias/embeddings": 1024}
    tokenizer = reports["tokenizer"]
    assert tokenizer["bytes"] == tokenizer["bytes_per_device"]
    sizes = list(tokenizer["replicated"].values())
    assert sizes == sorted(sizes, reverse=True) and min(sizes) >= 1000


@pytest.mark.parametrize(
    "name, message",
    [
        ("fit", "multiple of 2.*batches of 8 rows, the last of 3"),
        ("evaluate", "multiple of 2.*batches of 11 rows, the last of 11"),
        ("dataset", "multiple of 2.*batches of 8 rows, the last of 3"),
        ("validation", "multiple of 2.*batches of 8 rows, the last of 3"),
        ("parts", "multiple of 16.*steps=8 times the 2 device.* of 8 rows"),
        ("heads", "num_heads=2, model=4"),
        ("columns", r"head_logits/kernel of shape \(32, 18\).*model=4"),
        ("size", "`model_parallel_size`.* 8. Received: model_parallel_size=3"),
        ("size_2", "`model_parallel_size` must be a pos.*size='2'"),
        ("size_2.0", "`model_parallel_size` must be a pos.*size=2.0"),
        ("size_True", "`model_parallel_size` must be a pos.*size=True"),
        ("devices", "`devices` must be among.*cpu:7.*'cpu:99'"),
        ("no_devices", r"`devices` must be a list of.*cpu:7.*devices=\[\]"),
        ("name", "`devices` must be a list of.*cpu:7.*devices='cpu:0'"),
        ("same_devices", "`devices` must be different.*'cpu:0', 'cpu:0'"),
        ("split", "multiple of 2.*batches of 3 rows, the last of 3"),
        ("one_batch", "multiple of 2.*batches of 11 rows, the last of 11"),
        ("callbacks", "multiple of 2.*batches of 8 rows, the last of 3"),
        ("unused", r"\['layer_0/query/kernel'\], which match none"),
        ("twice", "layer_0/self_attention/query/kernel, which .* match"),
        ("order", "must be made after the distribution is set"),
    ],
)
def test_what_does_not_fit_raises(layouts, name, message):
    assert re.search(message, str(layouts["2x4"][f"error_{name}"]))


# === Without devices to speak of ===


def test_check_layout_needs_a_distribution():
    with pytest.raises(ValueError, match="Received: distribution=None"):
        check_layout(tiny.tiny_base())


@pytest.mark.parametrize(
    "function", [data_parallel, model_parallel, distribution.initialize]
)
def test_it_is_for_jax_only(function, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="JAX only.*backend='torch'"):
        function()


@pytest.mark.parametrize(
    "arguments", [("host:1", 2, None), ("host:1", None, 0), ("host:1", 2, 2)]
)
def test_initialize_checks_its_arguments(arguments, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="Received: num_processes="):
        distribution.initialize(*arguments)


@pytest.mark.parametrize(
    "arguments, name",
    [
        (("host:1", "2", "0"), "num_processes"),
        (("host:1", 2, "0"), "process_id"),
        (("host:1", 2, -1), "process_id"),
        ((7, 2, 0), "job_addresses"),
    ],
)
def test_initialize_names_what_is_of_another_type(arguments, name, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=f"`{name}` must be.*Received: {name}"):
        distribution.initialize(*arguments)


def test_check_layout_names_what_is_of_another_type():
    with pytest.raises(ValueError, match="`model` must be a model.*None"):
        check_layout(None)
    with pytest.raises(ValueError, match="`min_bytes`.*Received: min_bytes='1"):
        check_layout(tiny.tiny_base(), "1")
