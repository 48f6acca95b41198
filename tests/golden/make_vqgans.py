"""Makes `vqgans.npz`: what other people's VQGANs make of random weights.

    PYTHONPATH=.:$TAMING:$LLAMAGEN:$MASKGIT python tests/golden/make_vqgans.py

`$TAMING` has the package `taming` of `pip install --no-deps
taming-transformers-rom1504`, `$LLAMAGEN` and `$MASKGIT` are checkouts of
FoundationVision/LlamaGen and google-research/maskgit. Beside torch and einops
it needs flax, for the latter.
"""

import json
import pathlib
import sys
import types

import numpy as np

from tests.helpers.random_tensors import random_tensors

OUTPUT = pathlib.Path(__file__).parent / "vqgans.npz"
CHANNEL_MULTIPLIERS = [1, 1, 2]


def images():
    noise = np.random.RandomState(0).uniform(-1, 1, (2, 16, 16, 3))
    # Not noise alone: plain areas, edges and corners are to be seen as well.
    noise[:, 4:12, 2:9] = noise[:, :1, :1]
    return noise.astype("float32")


def to_torch(pixels):
    import torch

    return torch.from_numpy(pixels.transpose(0, 3, 1, 2))


def run_torch(model, quantize, look_up):
    """A model's shapes, latent vectors, tokens and pictures."""
    import torch

    shapes = {k: list(v.shape) for k, v in model.state_dict().items()}
    tensors = random_tensors(shapes)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
    model.eval()
    with torch.no_grad():
        latents = model.quant_conv(model.encoder(to_torch(images())))
        batch, _, height, width = latents.shape
        token_ids = quantize(latents).reshape(batch, height, width)
        decoded = model.decode(look_up(token_ids.flatten(), latents.shape))
    return shapes, {
        "latents": latents.permute(0, 2, 3, 1).numpy(),
        "token_ids": token_ids.numpy().astype("int32"),
        "decoded": decoded.permute(0, 2, 3, 1).numpy(),
    }


def taming():
    import torch

    # Their trainer is of no use here, and is not installed.
    lightning = types.ModuleType("pytorch_lightning")
    lightning.LightningModule = torch.nn.Module
    trainer = types.ModuleType("taming.main")
    trainer.instantiate_from_config = lambda config: torch.nn.Identity()
    sys.modules.update({"pytorch_lightning": lightning, "taming.main": trainer})
    from taming.models.vqgan import VQModel

    params = {
        "embed_dim": 6,
        "n_embed": 32,
        "ddconfig": {
            "double_z": False,
            "z_channels": 8,
            "resolution": 16,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 32,
            "ch_mult": CHANNEL_MULTIPLIERS,
            "num_res_blocks": 1,
            "attn_resolutions": [4],
            "dropout": 0.0,
        },
    }
    model = VQModel(**params, lossconfig=None)
    config = {
        "model": {
            "target": "taming.models.vqgan.VQModel",
            "params": {
                **params,
                "lossconfig": {"target": "taming.modules.losses.DummyLoss"},
            },
        }
    }
    shapes, outputs = run_torch(
        model,
        lambda latents: model.quantize(latents)[2][2],
        lambda ids, shape: model.quantize.get_codebook_entry(
            ids, (shape[0], *shape[2:], shape[1])
        ),
    )
    return config, shapes, outputs


def llamagen():
    from tokenizer.tokenizer_image.vq_model import ModelArgs
    from tokenizer.tokenizer_image.vq_model import VQModel

    config = {
        "codebook_size": 32,
        "codebook_embed_dim": 6,
        "codebook_l2_norm": True,
        "codebook_show_usage": True,
        "commit_loss_beta": 0.25,
        "entropy_loss_ratio": 0.0,
        "encoder_ch_mult": [1, 2],
        "decoder_ch_mult": [1, 2],
        "z_channels": 8,
        "dropout_p": 0.0,
    }
    model = VQModel(ModelArgs(**config))
    shapes, outputs = run_torch(
        model,
        lambda latents: model.quantize(latents)[2][2],
        model.quantize.get_codebook_entry,
    )
    return config, shapes, outputs


def maskgit():
    import flax
    import jax
    from maskgit.nets.vqgan_tokenizer import VQVAE

    settings = types.SimpleNamespace(
        quantizer="vq",
        codebook_size=32,
        filters=32,
        num_res_blocks=2,
        channel_multipliers=CHANNEL_MULTIPLIERS,
        embedding_dim=6,
        conv_downsample=False,
        activation_fn="swish",
        norm_type="GN",
    )
    config = types.SimpleNamespace(vqvae=settings)
    model = VQVAE(config=config, train=False)
    pixels = (images() + 1) / 2  # theirs are in [0, 1]
    with jax.default_matmul_precision("highest"):
        variables = jax.eval_shape(
            model.init, jax.random.PRNGKey(0), {"image": pixels}
        )
        shapes = {
            ".".join(path): list(leaf.shape)
            for path, leaf in flax.traverse_util.flatten_dict(
                variables["params"]
            ).items()
        }
        params = flax.traverse_util.unflatten_dict(
            {tuple(k.split(".")): v for k, v in random_tensors(shapes).items()}
        )
        _, result = model.apply(
            {"params": params}, {"image": pixels}, method=model.encode
        )
        decoded = model.apply(
            {"params": params},
            result["encoding_indices"],
            method=model.decode_from_indices,
        )
    outputs = {
        "latents": result["raw"],
        "token_ids": result["encoding_indices"].astype("int32"),
        "decoded": decoded,
    }
    return {}, shapes, outputs


def main():
    golden = {"images": images()}
    for make in (taming, llamagen, maskgit):
        config, shapes, outputs = make()
        name = make.__name__
        golden[f"{name}/config"] = json.dumps(config)
        golden[f"{name}/shapes"] = json.dumps(shapes)
        for key, value in outputs.items():
            golden[f"{name}/{key}"] = np.asarray(value)
    np.savez_compressed(OUTPUT, **golden)


if __name__ == "__main__":
    main()
