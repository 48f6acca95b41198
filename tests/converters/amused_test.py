import json
import os
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy
import torch

import keras_muse
from tests.helpers import tiny_amused
from tests.helpers.tiny import randomize
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny import to_numpy

PROMPTS = ["a red cat", "an apple"]
FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A pipeline of theirs, and the directory where it is saved."""
    directory = str(tmp_path_factory.mktemp("amused"))
    return tiny_amused.save_pipeline(directory), directory


@pytest.fixture(scope="module")
def muse(published):
    muse = keras_muse.Muse.from_preset(published[1])
    # A token is 2 pixels wide here, and 16 in the published models.
    muse.base.micro_conditions.assign([16, 16, 0, 0, 6])
    return muse


# === The transformer ===


@pytest.mark.parametrize("downsample", [False, True])
def test_logits_are_those_of_diffusers(downsample, tmp_path):
    theirs = tiny_amused.save_transformer(
        str(tmp_path), downsample=downsample, upsample=downsample
    )
    ours = keras_muse.UViTBase.from_preset(str(tmp_path), text_length=6)
    generator = np.random.default_rng(0)
    token_ids = generator.integers(0, ours.codebook_size + 1, (3, 8, 8))
    texts = generator.standard_normal((3, 6, 16)).astype("float32")
    numbers = generator.uniform(0, 512, (3, 5)).astype("float32")
    masked = token_ids == ours.mask_token_id
    their_ids = np.where(masked, tiny_amused.VOCABULARY_SIZE - 1, token_ids)
    with torch.no_grad():
        expected = theirs(
            torch.tensor(their_ids),
            encoder_hidden_states=torch.tensor(texts[:, 1:]),
            pooled_text_emb=torch.tensor(texts[:, 0]),
            micro_conds=torch.tensor(numbers),
        )
    # (batch, codebook_size, height, width) -> (batch, tokens, codebook_size)
    expected = expected.flatten(2).permute(0, 2, 1).numpy()
    actual = ours(
        {
            "token_ids": token_ids,
            "text_embeddings": texts,
            "text_mask": np.ones((3, 6), "bool"),
            "micro_conditions": numbers,
        }
    )
    assert masked.any() and expected.std() > 0.1
    np.testing.assert_allclose(to_numpy(actual), expected, atol=1e-4)


# === The whole pipeline ===


# In 12 steps their cosine, in float32, falls below a half where it is one,
# and masks a token less than the schedule says.
@pytest.mark.parametrize("num_steps", [1, 8])
@pytest.mark.parametrize("negative", [None, ["green", ""]])
def test_a_generation_is_theirs_token_for_token(
    published, muse, num_steps, negative, monkeypatch
):
    expected = tiny_amused.their_tokens(
        published[0],
        PROMPTS,
        num_steps,
        [3, 4],
        monkeypatch,
        guidance_scale=10.0,
        negative_prompt=negative,
    )
    seen = []
    images = muse.generate(
        PROMPTS,
        negative,
        num_steps=num_steps,
        guidance_scale=10.0,
        sampler=keras_muse.AmusedSampler(),
        seed=3,
        callback=lambda *args: seen.append(args[3]),
        verbose=0,
    )
    np.testing.assert_array_equal(seen[-1], expected)
    assert len(np.unique(expected)) > 20
    with torch.no_grad():
        pixels = published[0].vqvae.decode(
            torch.tensor(expected),
            force_not_quantize=True,
            shape=(2, 8, 8, 6),
        )
    pixels = pixels.sample.clip(0, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(images, 255 * pixels, atol=0.51)


def test_all_abilities_work_on_it(muse):
    images = tiny_images(2)
    masks = np.zeros((2, 16, 16), "bool")
    masks[:, :, 8:] = True
    options = {"num_steps": 2, "seed": 0, "verbose": 0}
    filled = muse.inpaint(images, masks, PROMPTS, **options)
    np.testing.assert_array_equal(filled[~masks], images[~masks])
    assert (filled != images).any()
    wide = muse.outpaint(images, PROMPTS, padding=(0, 0, 0, 8), **options)
    assert wide.shape == (2, 16, 24, 3)
    np.testing.assert_array_equal(wide[:, :, :16], images)
    assert muse.edit(images, PROMPTS, seed=0, verbose=0).shape == images.shape
    for sampler in (
        keras_muse.HaltonSampler(),
        keras_muse.ReMDMSampler(),
        keras_muse.ConfidenceSampler(),
    ):
        drawn = muse.generate(PROMPTS, sampler=sampler, **options)
        alone = muse.generate(
            PROMPTS[1], sampler=sampler, batch_size=2, **{**options, "seed": 1}
        )
        np.testing.assert_array_equal(alone[0], drawn[1])


def test_it_becomes_a_preset_of_keras(muse, tmp_path):
    directory = str(tmp_path / "preset")
    muse.save_to_preset(directory)
    loaded = keras_muse.Muse.from_preset(directory)
    options = {"num_steps": 3, "guidance_scale": 5.0, "seed": 1, "verbose": 0}
    np.testing.assert_array_equal(
        loaded.generate(PROMPTS, **options), muse.generate(PROMPTS, **options)
    )


def test_staged_parts_draw_the_same(published):
    options = {"num_steps": 2, "seed": 1, "verbose": 0}
    images = [
        keras_muse.Muse.from_preset(published[1], staged=staged).generate(
            PROMPTS, **options
        )
        for staged in (False, True)
    ]
    np.testing.assert_array_equal(*images)


def test_it_is_trained_further_on_other_tokens(published):
    base = keras_muse.UViTBase.from_preset(
        published[1], codebook_size=16, grid_size=(4, 4)
    )
    generator = np.random.default_rng(0)
    data = {
        "token_ids": np.repeat(generator.integers(0, 16, (1, 16)), 8, axis=0),
        "text_embeddings": generator.standard_normal((8, 78, 16)),
        "text_mask": np.ones((8, 78), "bool"),
    }
    base.compile(keras.optimizers.Adam(0.01))
    losses = base.fit(data, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_another_grid_is_told_its_size(published, capsys):
    base = keras_muse.UViTBase.from_preset(published[1], grid_size=(4, 6))
    np.testing.assert_array_equal(
        to_numpy(base.micro_conditions), [96, 64, 0, 0, 6]
    )
    assert "started afresh: nothing" in capsys.readouterr().out
    assert to_numpy(base.empty_text).any()


def test_a_transformer_alone_says_what_it_lacks(published, capsys):
    path = os.path.join(published[1], "transformer")
    base = keras_muse.UViTBase.from_preset(path)
    assert "call `set_empty_text`" in capsys.readouterr().out
    assert not to_numpy(base.empty_text).any()


# === Bad input ===


@pytest.fixture
def transformer(published, tmp_path):
    """A copy of the transformer alone, to be spoiled, and its tensors."""
    source = os.path.join(published[1], "transformer")
    directory = str(tmp_path / "copy")
    shutil.copytree(source, directory)
    tensors = safetensors.numpy.load_file(os.path.join(source, FILE))
    return directory, tensors


def check_refused(directory, tensors, message):
    path = os.path.join(directory, FILE)
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(ValueError, match=message):
        keras_muse.UViTBase.from_preset(directory)


NAME = "transformer_layers.1.ff.net.0.proj.weight"


def test_missing_tensor_is_named(transformer):
    directory, tensors = transformer
    del tensors[NAME]
    check_refused(directory, tensors, f"`{NAME}` is missing")


def test_tensor_without_a_place_is_named(transformer):
    directory, tensors = transformer
    tensors["transformer_layers.2.extra"] = np.zeros(3, "float32")
    check_refused(directory, tensors, "`transformer_layers.2.extra` has no pla")


@pytest.mark.parametrize("shape", [(96, 31), (95, 32), (96,), (96, 32, 1)])
def test_misshapen_tensor_is_named(transformer, shape):
    directory, tensors = transformer
    tensors[NAME] = np.zeros(shape, "float32")
    check_refused(directory, tensors, f"`{NAME}` does not fit .*{shape[0]}")


def test_a_file_cut_short_is_refused(transformer):
    directory, _ = transformer
    path = os.path.join(directory, FILE)
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(ValueError, match="cannot be read"):
        keras_muse.UViTBase.from_preset(directory)


@pytest.mark.parametrize(
    "change",
    [
        {"use_bias": True},
        {"layer_norm_eps": 1e-5},
        {"cond_embed_dim": 15},
        {"upsample": False},
    ],
)
def test_setting_of_another_architecture_is_named(transformer, change):
    directory, _ = transformer
    path = os.path.join(directory, "config.json")
    with open(path) as file:
        config = {**json.load(file), **change}
    with open(path, "w") as file:
        json.dump(config, file)
    [(name, value)] = change.items()
    with pytest.raises(ValueError, match=f"`{name}` must be.*{name}={value}"):
        keras_muse.UViTBase.from_preset(directory)


@pytest.mark.parametrize("cls", [keras_muse.MuseBase, keras_muse.UViTBase])
def test_unknown_architecture_is_named(cls, tmp_path):
    config = {"_class_name": "UNet2DConditionModel"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=f"{cls.__name__}.*UNet2DConditionModel"
    ):
        cls.from_preset(str(tmp_path))


def test_another_pipeline_is_named(tmp_path):
    index = {"_class_name": "StableDiffusionPipeline"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="is a StableDiffusionPipeline"):
        keras_muse.Muse.from_preset(str(tmp_path))


def test_a_muse_is_saved_over_the_pipeline_that_it_came_from(tmp_path):
    directory = str(tmp_path)
    tiny_amused.save_pipeline(directory)
    muse = keras_muse.Muse.from_preset(directory)
    randomize(muse.base)
    muse.generation_defaults = {"num_steps": 3}
    muse.save_to_preset(directory)
    loaded = keras_muse.Muse.from_preset(directory)
    assert loaded.generation_defaults == {"num_steps": 3}
    names = ("text_encoder", "base", "image_tokenizer")
    pairs = [(getattr(muse, name), getattr(loaded, name)) for name in names]
    pairs.append((muse.base, keras_muse.UViTBase.from_preset(directory)))
    for model, other in pairs:
        for a, b in zip(model.weights, other.weights, strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
