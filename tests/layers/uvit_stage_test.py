import numpy as np
import pytest

from keras_muse.layers import UViTStage
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def make(**kwargs):
    stage = UViTStage(2, 2, condition_dim=12, **kwargs)
    stage.build((None, None, None, 8))
    randomize(stage, scale=0.1)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 4, 6, 8)).astype("float32")
    context = generator.standard_normal((2, 1 + 5, 12)).astype("float32")
    return stage, x, stage.project_context(context)


@pytest.mark.parametrize(
    "kwargs, size",
    [
        ({}, (4, 6)),
        ({"downsample": True}, (2, 3)),
        ({"upsample": True}, (8, 12)),
    ],
)
def test_size(kwargs, size):
    stage, x, context = make(**kwargs)
    y = stage(x, context, np.ones((2, 5), "bool"))
    assert y.shape == (2, *size, 8)
    assert tuple(y.shape) == stage.compute_output_shape(x.shape)


def test_neighbours_are_seen_block_by_block():
    """Two 3 x 3 convolutions: a corner reaches two tokens far.

    Normalization over the whole picture, which makes channels compete, starts
    as the identity.
    """
    stage, x, context = make()
    for block in stage.conv_blocks:
        block.response_scale.assign(np.zeros(32))
    mask = np.ones((2, 5), "bool")
    changed = x.copy()
    changed[:, 0, 0, :4] += 1.0
    moved = to_numpy(stage(changed, context, mask) - stage(x, context, mask))
    rows, columns = np.nonzero(np.abs(moved).max(axis=(0, 3)) > 1e-6)
    assert rows.max() == 2 and columns.max() == 2
