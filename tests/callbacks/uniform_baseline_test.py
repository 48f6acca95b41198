import keras
import numpy as np
import pytest

from keras_muse.training import UniformBaseline


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_stands_beside_the_loss(verbose, capsys):
    """A model whose logits are all zero has exactly that loss."""
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(32, kernel_initializer="zeros")]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = model.fit(
        np.ones((4, 2)),
        np.array([1, 2, 3, 31]),
        epochs=2,
        callbacks=[UniformBaseline(32)],
        verbose=verbose,
    ).history
    np.testing.assert_allclose(history["uniform_baseline"], np.log(32))
    np.testing.assert_allclose(history["loss"], np.log(32), rtol=1e-6)
    printed = capsys.readouterr().out
    assert ("uniform_baseline: 3.4657" in printed) == (verbose > 0)


def test_unusable_size_raises():
    with pytest.raises(ValueError, match="Received: codebook_size=0"):
        UniformBaseline(0)
