"""Which variables are split over which axis of a mesh."""

import math

import keras
import pytest

from keras_muse.models import layouts
from tests.helpers import tiny

MESH = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
COLUMNS = (None, "model")
ROWS = ("model", None)


def axes_of(rules, path, fully_sharded=False):
    layout = layouts.layout_map(rules, MESH, fully_sharded)[path]
    return None if layout is None else tuple(layout.axes)


@pytest.mark.parametrize(
    "path, axes",
    [
        ("base/layer_3/self_attention/query/kernel", COLUMNS),
        ("base/layer_3/self_attention/attention_output/kernel", ROWS),
        ("base/layer_3/feed_forward/gate_dense/kernel", COLUMNS),
        ("base/layer_3/feed_forward/intermediate_dense/bias", ("model",)),
        ("base/layer_3/feed_forward/output_dense/kernel", ROWS),
        # Added to a sum over devices, a bias is whole on each.
        ("base/layer_3/feed_forward/output_dense/bias", None),
        ("base/layer_3/self_attention/query_norm/scale", None),
        ("base/token_embedding/codes/embeddings", COLUMNS),
        ("base/token_embedding/positions", (None, None, "model")),
        # Kernels of CLIP's attention in KerasHub have three axes.
        ("clip/layer_0/attention/query/kernel", None),
        ("vqgan/encoder/middle_attention/query/kernel", None),
        ("vqgan/decoder/level_1_attention_0/attention_output/kernel", None),
    ],
)
def test_heads_and_columns_are_split_and_rows_that_read_them(path, axes):
    assert axes_of(layouts.MASKED_TOKEN_RULES, path) == axes
    # Moments of an optimizer are split as their variables.
    assert axes_of(layouts.MASKED_TOKEN_RULES, f"adam/{path}") == axes


@pytest.mark.parametrize("fully_sharded", [False, True])
def test_what_layers_hand_on_stays_apart_by_examples(fully_sharded):
    expected = ("batch",) if fully_sharded else None
    for name in ("layer_3", "final_norm", "layer_3/self_attention"):
        path = f"base/{name}/attention_output/output"
        assert axes_of(layouts.ALL_RULES, path, fully_sharded) == expected
    for name in ("query_norm", "key_norm"):  # within a head
        path = f"base/layer_3/self_attention/{name}/output"
        assert axes_of(layouts.ALL_RULES, path, fully_sharded) is None


@pytest.fixture(scope="module")
def base():
    return tiny.tiny_base(random_weights=False)


@pytest.mark.parametrize("fully_sharded", [False, True])
def test_each_axis_of_a_variable_is_spoken_of(base, fully_sharded):
    found = base.get_layout_map(MESH, fully_sharded)
    split = 0
    for variable in base.trainable_variables:
        layout = found[variable.path]
        if layout is not None:
            assert len(layout.axes) == len(variable.shape), variable.path
            split += math.prod(variable.shape)
        elif len(variable.shape) == 2 and variable.path.endswith("/kernel"):
            pytest.fail(f"{variable.path} is whole on each device")
    assert split > 0.6 * base.count_params()
