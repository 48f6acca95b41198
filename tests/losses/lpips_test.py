import json

import keras
import numpy as np
import pytest
import torch
from keras import ops
from safetensors.numpy import load_file
from safetensors.numpy import save_file
from torch.nn import functional

from keras_muse.files.bundled import ASSETS
from keras_muse.losses.lpips import LPIPS

_VGG16_CHANNELS = (64, 64, 128, 128, 256, 256, 256) + (512,) * 6
_VGG16_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def waves(size, phase=0.0):
    """Two colourful pictures in [-1, 1], without a random generator."""
    row, column = np.mgrid[:size, :size] / size
    waves = [
        np.sin(2 * np.pi * (f * row + (4 - f) * column + phase))
        for f in range(6)
    ]
    return (
        np.stack(waves, -1)
        .reshape(size, size, 2, 3)
        .transpose(2, 0, 1, 3)
        .astype("float32")
    )


def torch_lpips(network, weights, heads, images, reconstructions):
    """The published network, from torch's own functions."""

    def features(x):
        x = torch.as_tensor(x).permute(0, 3, 1, 2)
        mean = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
        deviation = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
        x = (x - mean) / deviation

        def convolve(x, index, **kwargs):
            kernel = torch.as_tensor(weights[f"features.{index}.weight"])
            bias = torch.as_tensor(weights[f"features.{index}.bias"])
            x = functional.conv2d(x, kernel.float(), bias.float(), **kwargs)
            return functional.relu(x)

        taps = []
        if network == "alexnet":
            taps.append(convolve(x, 0, stride=4, padding=2))
            x = functional.max_pool2d(taps[-1], 3, 2)
            taps.append(convolve(x, 3, padding=2))
            x = functional.max_pool2d(taps[-1], 3, 2)
            taps.append(convolve(x, 6, padding=1))
            taps.append(convolve(taps[-1], 8, padding=1))
            taps.append(convolve(taps[-1], 10, padding=1))
            return taps
        for index in _VGG16_INDICES:
            if index in (5, 10, 17, 24):
                x = functional.max_pool2d(x, 2, 2)
            x = convolve(x, index, padding=1)
            if index in (2, 7, 14, 21, 28):
                taps.append(x)
        return taps

    distance = 0.0
    for i, (first, second) in enumerate(
        zip(features(images), features(reconstructions), strict=True)
    ):
        first = first / (first.norm(dim=1, keepdim=True) + 1e-10)
        second = second / (second.norm(dim=1, keepdim=True) + 1e-10)
        head = torch.as_tensor(heads[f"heads.{i}"]).view(1, -1, 1, 1)
        distance += ((first - second) ** 2 * head).sum(1).mean((1, 2))
    return distance


def bundled(name):
    return load_file(ASSETS / f"lpips/{name}.safetensors")


def gradient(function, x):
    """d function(x) / d x on whichever backend runs."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(function))(x))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x).numpy()
    x = torch.tensor(x, requires_grad=True)
    function(x).backward()
    return x.grad.numpy()


@pytest.fixture(scope="module")
def alexnet():
    return LPIPS("alexnet")


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory):
    generator = np.random.default_rng(0)
    tensors, channels = {}, 3
    for index, filters in zip(_VGG16_INDICES, _VGG16_CHANNELS, strict=True):
        deviation = np.float32(np.sqrt(2 / (9 * channels)))
        shape = (filters, channels, 3, 3)
        kernel = generator.standard_normal(shape, "float32") * deviation
        bias = generator.standard_normal(filters, "float32") * 0.1
        tensors[f"features.{index}.weight"] = kernel.astype("float16")
        tensors[f"features.{index}.bias"] = bias.astype("float16")
        channels = filters
    # Published files bring the classifier too.
    tensors["head.fc.weight"] = np.zeros((2, 2), "float16")
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    save_file(tensors, path)
    return path


def test_alexnet_equals_torch(alexnet):
    images, reconstructions = waves(80), waves(80, 0.1)
    expected = torch_lpips(
        "alexnet",
        bundled("alexnet"),
        bundled("alexnet_heads"),
        images,
        reconstructions,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(alexnet(images, reconstructions)),
        expected.numpy(),
        rtol=1e-4,
        atol=1e-6,
    )


def test_vgg16_equals_torch(vgg16_file):
    images, reconstructions = waves(64), waves(64, 0.1)
    expected = torch_lpips(
        "vgg16",
        load_file(vgg16_file),
        bundled("vgg16_heads"),
        images,
        reconstructions,
    )
    lpips = LPIPS("vgg16", weights=vgg16_file)
    np.testing.assert_allclose(
        ops.convert_to_numpy(lpips(images, reconstructions)),
        expected.numpy(),
        rtol=1e-4,
        atol=1e-6,
    )


def test_golden_values(alexnet):
    # From the float32 weights, before they were rounded for the bundle.
    distances = alexnet(waves(64), waves(64, 0.1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(distances), [0.0329390, 0.0313963], rtol=5e-4
    )
    distances = LPIPS("alexnet", min_size=32)(waves(32), waves(32, 0.1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(distances), [0.0173353, 0.0439970], rtol=5e-4
    )


def test_small_images_are_enlarged(alexnet):
    small, other = waves(32), waves(32, 0.1)
    enlarged = [
        ops.image.resize(x, (64, 64), data_format="channels_last")
        for x in (small, other)
    ]
    np.testing.assert_allclose(
        ops.convert_to_numpy(alexnet(small, other)),
        ops.convert_to_numpy(alexnet(*enlarged)),
        rtol=1e-4,
    )
    # The longer side follows.
    assert alexnet(small[:, :, :24], other[:, :, :24]).shape == (2,)


def test_a_distance_ranks_damage(alexnet):
    images = waves(64)
    noise = np.random.default_rng(0).standard_normal(images.shape)
    distances = [
        ops.convert_to_numpy(
            alexnet(images, (images + s * noise).astype("float32"))
        )
        for s in (0.0, 0.05, 0.2)
    ]
    np.testing.assert_allclose(distances[0], 0.0, atol=1e-7)
    assert (distances[1] > 1e-3).all()
    assert (distances[2] > 2 * distances[1]).all()


def test_gradient_equals_torch():
    images, reconstructions = waves(32), waves(32, 0.1)
    lpips = LPIPS("alexnet", min_size=32)
    weights, heads = bundled("alexnet"), bundled("alexnet_heads")
    moved = torch.tensor(reconstructions, requires_grad=True)
    torch_lpips("alexnet", weights, heads, images, moved).sum().backward()
    expected = moved.grad.numpy()

    actual = gradient(lambda x: ops.sum(lpips(images, x)), reconstructions)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-4)
    # And in the other argument, by symmetry.
    actual = gradient(lambda x: ops.sum(lpips(x, images)), reconstructions)
    np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-4)


def test_gradient_is_finite_everywhere(alexnet):
    flat = np.full((1, 32, 32, 3), -1.0, "float32")
    assert np.isfinite(
        gradient(lambda x: ops.sum(alexnet(waves(32)[:1], x)), flat)
    ).all()
    equal = gradient(lambda x: ops.sum(alexnet(flat, x)), flat)
    np.testing.assert_allclose(equal, 0.0, atol=1e-6)


def test_weights_stay_frozen():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.lpips = LPIPS("alexnet")
    model.trainable = True
    assert not model.lpips.trainable_variables
    assert len(model.lpips.non_trainable_variables) == 15


def test_computes_in_its_own_dtype():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        full = LPIPS("alexnet")
    finally:
        keras.config.set_dtype_policy("float32")
    half = LPIPS("alexnet", dtype="mixed_bfloat16")
    assert full.compute_dtype == "float32"
    assert half.compute_dtype == "bfloat16"
    images, reconstructions = waves(64), waves(64, 0.1)
    precise = full(images, reconstructions)
    rough = half(images, reconstructions)
    assert keras.backend.standardize_dtype(rough.dtype) == "float32"
    precise = ops.convert_to_numpy(precise)
    rough = ops.convert_to_numpy(rough)
    np.testing.assert_allclose(rough, precise, rtol=0.05)
    assert (rough != precise).any()


def test_config_round_trip():
    weights = ASSETS / "lpips/alexnet.safetensors"
    lpips = LPIPS("alexnet", weights=weights, min_size=48, name="distance")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(lpips)
    )
    assert copy.get_config() == lpips.get_config()
    sized = LPIPS(min_size=np.int64(48))
    assert json.loads(json.dumps(sized.get_config()))["min_size"] == 48
    np.testing.assert_array_equal(
        ops.convert_to_numpy(lpips(waves(32), waves(32, 0.1))),
        ops.convert_to_numpy(copy(waves(32), waves(32, 0.1))),
    )


def test_vgg16_is_downloaded_unless_given(monkeypatch, vgg16_file):
    asked = []

    def get_file(name, origin, **kwargs):
        asked.append(origin)
        return str(vgg16_file)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    LPIPS("alexnet")
    assert not asked
    LPIPS("vgg16")
    assert len(asked) == 1 and asked[0].endswith("model.safetensors")


def test_refuses_what_it_cannot_compare(alexnet, tmp_path):
    with pytest.raises(ValueError, match="`network`.*Received: network='vgg'"):
        LPIPS("vgg")
    with pytest.raises(ValueError, match="Received: min_size=16"):
        LPIPS(min_size=16)
    path = tmp_path / "other.safetensors"
    save_file({"features.0.weight": np.zeros((1, 1))}, path)
    with pytest.raises(ValueError, match="features.0.weight.*Received"):
        LPIPS(weights=path)
    with pytest.raises(ValueError, match="floats.*Received"):
        alexnet(np.zeros((1, 64, 64, 3), "uint8"), np.zeros((1, 64, 64, 3)))
    with pytest.raises(ValueError, match="shape.*Received"):
        alexnet(np.zeros((1, 64, 64, 1)), np.zeros((1, 64, 64, 1)))


@pytest.mark.parametrize("place", ["images", "reconstructions"])
def test_pixels_that_were_cast_to_float_are_refused(alexnet, place):
    pictures = {name: waves(64) for name in ("images", "reconstructions")}
    pictures[place] = (pictures[place] + 1) * 127.5
    with pytest.raises(ValueError, match=f"`{place}` must be floats in"):
        alexnet(**pictures)
    # What a decoder overshoots is none of it.
    pictures[place] = waves(64) * 1.5
    assert (ops.convert_to_numpy(alexnet(**pictures)) > 0).all()


def test_pictures_of_other_shapes_are_refused():
    lpips = LPIPS()
    images = np.zeros((3, 64, 64, 3), "float32")
    for other in (images[:1], np.zeros((3, 66, 64, 3), "float32")):
        with pytest.raises(ValueError, match="must be of the same shape"):
            lpips(images, other)
