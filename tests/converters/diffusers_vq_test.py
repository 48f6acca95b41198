import diffusers
import numpy as np
import pytest
import safetensors.torch
import torch

import keras_muse
from keras_muse.converters import diffusers_vq
from tests.helpers.tiny import to_numpy

CONFIGS = {
    "plain": {"mid_block_add_attention": False},
    "amused": {
        "mid_block_add_attention": False,
        "lookup_from_codebook": True,
        "force_upcast": True,
        "layers_per_block": 2,
    },
    "attention": {
        "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        "vq_embed_dim": 3,
    },
}
FILE = "diffusion_pytorch_model.safetensors"
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 16, 12, 3))
IMAGES = IMAGES.astype("float32")


def their_model(name):
    torch.manual_seed(0)
    model = diffusers.VQModel(
        **{
            "down_block_types": 2 * ["DownEncoderBlock2D"],
            "up_block_types": 2 * ["UpDecoderBlock2D"],
            "block_out_channels": [8, 16],
            "norm_num_groups": 4,
            "latent_channels": 5,
            "num_vq_embeddings": 24,
            **CONFIGS[name],
        }
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms are 1 and biases 0 otherwise
                parameter += 0.3 * torch.randn_like(parameter)
        latents = model.encode(to_theirs(IMAGES, model)).latents
        latents = latents.permute(0, 2, 3, 1).flatten(0, 2)
        codes = model.quantize.embedding.weight
        codes.copy_(latents[torch.randperm(len(latents))[: len(codes)]])
        codes += 0.1 * latents.std() * torch.randn_like(codes)
        codes[7] = codes[3]  # of equal codes the first is taken
    return model.eval()


@pytest.fixture(scope="module", params=CONFIGS)
def published(request, tmp_path_factory):
    """A model of theirs, and the directory where it is saved."""
    model = their_model(request.param)
    directory = str(tmp_path_factory.mktemp(request.param))
    model.save_pretrained(directory)
    return model, directory


def to_theirs(pixels, model):
    if model.config.lookup_from_codebook:  # in [0, 1]
        pixels = (pixels + 1) / 2
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def to_ours(pixels, model):
    pixels = pixels.permute(0, 2, 3, 1).numpy()
    return 2 * pixels - 1 if model.config.lookup_from_codebook else pixels


def check_parity(tokenizer, model):
    with torch.no_grad():
        pixels = to_theirs(IMAGES, model)
        latents = model.encode(pixels).latents
        expected_ids = model.quantize(latents)[2][2].reshape(2, 8, 6).numpy()
        decoded = to_ours(model.decode(latents).sample, model)
    ours = to_numpy(tokenizer.encoder(pixels.permute(0, 2, 3, 1).numpy()))
    expected = latents.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    token_ids = tokenizer.encode(IMAGES)
    np.testing.assert_array_equal(token_ids, expected_ids)
    assert len(np.unique(token_ids)) > 5 and 7 not in token_ids
    np.testing.assert_allclose(tokenizer.decode(token_ids), decoded, atol=1e-4)


def test_equals_diffusers(published):
    model, directory = published
    tokenizer = keras_muse.VQGANTokenizer.from_preset(directory)
    check_parity(tokenizer, model)


def test_saved_as_a_preset_it_stays_what_it_is(tmp_path):
    their_model("attention").save_pretrained(tmp_path / "theirs")
    tokenizer = keras_muse.VQGANTokenizer.from_preset(str(tmp_path / "theirs"))
    tokenizer.save_to_preset(str(tmp_path / "ours"))
    copy = keras_muse.VQGANTokenizer.from_preset(str(tmp_path / "ours"))
    assert copy.get_config() == tokenizer.get_config()
    for a, b in zip(copy.weights, tokenizer.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_uint8_of_amused_are_bytes_over_255(tmp_path):
    model = their_model("amused")
    model.save_pretrained(tmp_path)
    tokenizer = keras_muse.VQGANTokenizer.from_preset(str(tmp_path))
    images = np.round((IMAGES + 1) * 127.5).astype("uint8")
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        latents = model.encode(pixels).latents
        expected = model.quantize(latents)[2][2].reshape(2, 8, 6).numpy()
    np.testing.assert_array_equal(tokenizer.encode(images), expected)


OLD_NAMES = {
    "to_q": "query",
    "to_k": "key",
    "to_v": "value",
    "to_out.0": "proj_attn",
}


def test_old_names_in_a_pickle(tmp_path):
    model = their_model("attention")
    tensors = {}
    for name, tensor in model.state_dict().items():
        for new, old in OLD_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.")
        tensors[name] = tensor
    assert any("proj_attn" in name for name in tensors)
    model.save_config(tmp_path)
    torch.save(tensors, tmp_path / "diffusion_pytorch_model.bin")
    tokenizer = keras_muse.VQGANTokenizer.from_preset(str(tmp_path))
    check_parity(tokenizer, model)
    # Both are read by their own code, too.
    theirs = diffusers.VQModel.from_pretrained(
        tmp_path, use_safetensors=False, low_cpu_mem_usage=False
    )
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_a_loaded_codebook_survives_training(tmp_path):
    their_model("plain").save_pretrained(tmp_path)
    tokenizer = keras_muse.VQGANTokenizer.from_preset(str(tmp_path))
    before = to_numpy(tokenizer.quantizer.codebook)
    used = np.unique(tokenizer.encode(IMAGES))
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    tokenizer.train_on_batch(IMAGES)
    after = to_numpy(tokenizer.quantizer.codebook)
    unused = np.setdiff1d(np.arange(len(before)), used)
    assert len(unused) > 0 and len(used) > 5
    np.testing.assert_allclose(after[unused], before[unused], rtol=1e-6)
    moved = abs(after - before).max(axis=1)[used]
    # Running means: codes follow, by steps that are small beside them.
    assert moved.min() > 0 and moved.max() < 0.5 * abs(before).max()


def _without(tensors):
    del tensors["decoder.conv_in.bias"]


def _with_more(tensors):
    tensors["decoder.conv_more.bias"] = torch.zeros(3)


def _of_another_shape(tensors):
    tensors["quant_conv.weight"] = torch.zeros(5, 4, 1, 1)


@pytest.mark.parametrize(
    "damage, name",
    [
        (_without, "`decoder.conv_in.bias` is missing"),
        (_with_more, "`decoder.conv_more.bias` has no place"),
        (_of_another_shape, r"`quant_conv.weight` does not fit .*\(5, 4, 1, 1"),
    ],
)
def test_wrong_tensors_are_refused_by_name(tmp_path, damage, name):
    model = their_model("plain")
    model.save_config(tmp_path)
    tensors = dict(model.state_dict())
    damage(tensors)
    safetensors.torch.save_file(tensors, tmp_path / FILE)
    with pytest.raises(ValueError, match=name):
        keras_muse.VQGANTokenizer.from_preset(str(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"norm_type": "spatial"},
        {"act_fn": "gelu"},
        {"in_channels": 4},
        {"block_out_channels": [8, 12]},
        {"down_block_types": ["DownEncoderBlock2D", "SkipDownBlock2D"]},
        {"up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]},
        {"up_block_types": ["UpDecoderBlock2D"]},
    ],
)
def test_another_architecture_is_refused_by_its_setting(change):
    config = {**their_model("plain").config, **change}
    assert diffusers_vq.recognizes({**config, "_class_name": "VQModel"})
    with pytest.raises(ValueError, match=f"`{next(iter(change))}`"):
        diffusers_vq.constructor_arguments(config)


def test_other_models_are_not_recognized():
    assert not diffusers_vq.recognizes({"_class_name": "AutoencoderKL"})
    assert not diffusers_vq.recognizes({"model_type": "bert"})
