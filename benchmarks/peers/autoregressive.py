"""A transformer that predicts image tokens one after another.

What VQGAN's authors draw with: each token from those before it, row by row.
It stands where a `MuseBase` does, with as many layers of the same width made
of KerasHub's decoder, so that a `Muse` can draw with it and be measured.

Reference:
    - [Esser et al., 2021](https://arxiv.org/abs/2012.09841)
"""

import keras
import numpy as np
import torch
from keras import ops
from keras_hub.layers import TransformerDecoder


class AutoregressiveBase(keras.Model):
    """Logits of all tokens, each from the text and the tokens before it."""

    def __init__(
        self,
        codebook_size,
        grid_size,
        text_dim,
        num_layers,
        hidden_dim,
        num_heads,
        intermediate_dim,
    ):
        super().__init__()
        self.codebook_size, self.grid_size = codebook_size, grid_size
        self.text_dim, self.num_heads = text_dim, num_heads
        self.num_tokens = grid_size[0] * grid_size[1]
        # One id more, which stands before the first token.
        self.tokens = keras.layers.Embedding(codebook_size + 1, hidden_dim)
        self.positions = keras.layers.Embedding(self.num_tokens, hidden_dim)
        self.text = keras.layers.Dense(hidden_dim, use_bias=False)
        # What is attended to where there is no text.
        self.empty = self.add_weight((1, 1, hidden_dim), name="empty")
        self.blocks = [
            TransformerDecoder(
                intermediate_dim,
                num_heads,
                activation="gelu",
                normalize_first=True,
            )
            for _ in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization()
        self.logits = keras.layers.Dense(codebook_size, dtype="float32")

    def call(self, inputs):
        # (batch, num_tokens), the token before each
        before = ops.pad(
            inputs["token_ids"][:, :-1],
            ((0, 0), (1, 0)),
            constant_values=self.codebook_size,
        )
        x = self.tokens(before) + self.positions(ops.arange(self.num_tokens))
        text, mask = self._read(inputs["text_embeddings"], inputs["text_mask"])
        for block in self.blocks:
            x = block(x, text, encoder_padding_mask=mask)
        return self.logits(self.norm(x))  # (batch, num_tokens, codebook_size)

    def _read(self, text_embeddings, text_mask):
        """What the blocks attend to, `(batch, 1 + text_length, hidden_dim)`."""
        text = self.text(text_embeddings)
        empty = ops.cast(ops.repeat(self.empty, len(text), 0), text.dtype)
        mask = ops.pad(
            ops.cast(text_mask, "int32"), ((0, 0), (1, 0)), constant_values=1
        )
        return ops.concatenate([empty, text], axis=1), mask

    def generate(
        self,
        text_embeddings,
        text_mask,
        *,
        guidance_scale,
        seed,
        batch_size,
        **options,
    ):
        """Token grids, as `MuseBase.generate`; it has no steps to choose."""
        return np.concatenate(
            [
                self._generate(
                    text_embeddings[start : start + batch_size],
                    text_mask[start : start + batch_size],
                    guidance_scale,
                    seed[start : start + batch_size],
                )
                for start in range(0, len(text_mask), batch_size)
            ]
        )

    @torch.no_grad()
    def _generate(self, text_embeddings, text_mask, guidance_scale, seeds):
        # The second half has no text.
        text, mask = self._read(
            np.concatenate([text_embeddings] * 2),
            np.concatenate([text_mask, 0 * text_mask]),
        )
        caches = [list(self._empty_caches(text)) for _ in self.blocks]
        shape = (self.num_tokens, self.codebook_size)
        noise = np.stack(
            [np.random.default_rng(seed).gumbel(size=shape) for seed in seeds]
        )
        chosen = [np.full(len(seeds), self.codebook_size)]
        for i in range(self.num_tokens):
            before = np.concatenate([chosen[-1]] * 2)[:, None]
            logits = self._next(before, i, text, mask, caches)
            guided, free = np.split(ops.convert_to_numpy(logits), 2)
            logits = free + guidance_scale * (guided - free)
            chosen.append(np.argmax(logits + noise[:, i], axis=-1))
        token_ids = np.stack(chosen[1:], axis=1).astype("int32")
        return token_ids.reshape(-1, *self.grid_size)

    def _empty_caches(self, text):
        """Keys and values of a block: of the tokens, and of the text."""
        for length in (self.num_tokens, text.shape[1]):
            heads = (self.num_heads, text.shape[-1] // self.num_heads)
            yield ops.zeros((len(text), 2, length, *heads), text.dtype)

    def _next(self, before, position, text, mask, caches):
        """Logits of one token, `(batch, codebook_size)`; fills the caches."""
        x = self.tokens(before) + self.positions(np.array([position]))
        for i, block in enumerate(self.blocks):
            of_tokens, of_text = caches[i]
            x, *caches[i] = block(
                x,
                text,
                encoder_padding_mask=mask,
                self_attention_cache=of_tokens,
                self_attention_cache_update_index=position,
                cross_attention_cache=of_text,
                cross_attention_cache_update_index=0 if position == 0 else None,
            )
        return self.logits(self.norm(x))[:, 0]
