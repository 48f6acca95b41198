"""muse-maskgit-pytorch's masked transformer, where a `MuseBase` stands."""

import numpy as np
import torch
import transformers
from muse_maskgit_pytorch import MaskGit
from muse_maskgit_pytorch import MaskGitTransformer
from muse_maskgit_pytorch import VQGanVAE
from muse_maskgit_pytorch import t5


class Tokens(VQGanVAE):
    """A tokenizer that has no pictures: tokens go in and come out."""

    def __init__(self, codebook_size, grid_size):
        torch.nn.Module.__init__(self)
        self.codebook_size, self.side = codebook_size, grid_size[0]

    def copy_for_eval(self):
        return self

    def get_encoded_fmap_size(self, image_size):
        return self.side

    def decode_from_ids(self, ids):
        return ids


class LucidrainsBase:
    """A `MaskGit` of the shape of a `MuseBase`, as its package trains it.

    Args:
        codebook_size, grid_size, text_dim, num_layers, hidden_dim, num_heads,
            intermediate_dim: as in `keras_muse.MuseBase`.
        text_drop: float. Part of the texts that are dropped in training.
    """

    def __init__(
        self,
        codebook_size,
        grid_size,
        text_dim,
        num_layers,
        hidden_dim,
        num_heads,
        intermediate_dim,
        text_drop=0.1,
    ):
        self.codebook_size, self.grid_size = codebook_size, grid_size
        self.text_dim = text_dim
        name = f"text of width {text_dim}"
        config = transformers.T5Config(d_model=text_dim)
        t5.T5_CONFIGS[name] = {"config": config}
        self.maskgit = MaskGit(
            image_size=8 * grid_size[0],
            transformer=MaskGitTransformer(
                num_tokens=codebook_size,
                seq_len=grid_size[0] * grid_size[1],
                dim=hidden_dim,
                depth=num_layers,
                heads=num_heads,
                dim_head=hidden_dim // num_heads,
                ff_mult=intermediate_dim // hidden_dim,
                t5_name=name,
                # Its masks do not fit into bfloat16; the sums are the same.
                flash=False,
            ),
            vae=Tokens(codebook_size, grid_size),
            cond_drop_prob=text_drop,
        )

    def count_params(self):
        return sum(x.numel() for x in self.maskgit.parameters())

    def __call__(self, batch):
        """Logits, `(batch, num_tokens, codebook_size)`, of masked tokens."""
        return self.maskgit.transformer(
            torch.as_tensor(batch["token_ids"]).long(),
            text_embeds=_text(batch["text_embeddings"], batch["text_mask"]),
        )

    def loss(self, batch):
        """The loss of one batch of token shards."""
        return self.maskgit(
            torch.as_tensor(batch["token_ids"]).long(),
            text_embeds=_text(batch["text_embeddings"], batch["text_mask"]),
        )

    def generate(
        self,
        text_embeddings,
        text_mask,
        *,
        num_steps,
        guidance_scale,
        seed,
        batch_size,
        **options,
    ):
        """Token grids, as `MuseBase.generate`, by the package's sampler."""
        grids = []
        for start in range(0, len(text_mask), batch_size):
            rows = slice(start, start + batch_size)
            text = _text(text_embeddings[rows], text_mask[rows])
            self.maskgit.transformer.encode_text = lambda texts, x=text: x
            torch.manual_seed(seed[start])
            grids.append(
                self.maskgit.generate(
                    [""] * len(text),
                    timesteps=num_steps,
                    cond_scale=guidance_scale,
                )
            )
        return torch.cat(grids).numpy().astype("int32")


def _text(embeddings, mask):
    # Where all numbers are zero there is no token.
    embeddings = np.where(np.asarray(mask)[..., None], embeddings, 0)
    return torch.as_tensor(embeddings, dtype=torch.float32)
