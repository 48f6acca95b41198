"""A transformer that predicts image tokens one after another.

What VQGAN's authors draw with: each token from those before it, row by row.
It stands where a `MuseBase` does, with as many layers of the same width made
of KerasHub's decoder, so that a `Muse` can draw with it and be measured.

Reference:
    - [Esser et al., 2021](https://arxiv.org/abs/2012.09841)
"""

import keras
import numpy as np
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
        self.text_dim = text_dim
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
        text = self.text(inputs["text_embeddings"])
        empty = ops.cast(ops.repeat(self.empty, len(text), 0), text.dtype)
        # (batch, 1 + text_length, hidden_dim)
        text = ops.concatenate([empty, text], axis=1)
        mask = ops.pad(
            ops.cast(inputs["text_mask"], "int32"),
            ((0, 0), (1, 0)),
            constant_values=1,
        )
        for block in self.blocks:
            x = block(x, text, encoder_padding_mask=mask)
        return self.logits(self.norm(x))  # (batch, num_tokens, codebook_size)

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

    def _generate(self, text_embeddings, text_mask, guidance_scale, seeds):
        token_ids = np.zeros((len(text_mask), self.num_tokens), "int32")
        shape = (self.num_tokens, self.codebook_size)
        noise = np.stack(
            [np.random.default_rng(seed).gumbel(size=shape) for seed in seeds]
        )
        for i in range(self.num_tokens):
            # The second half has no text.
            logits = self.predict_on_batch(
                {
                    "token_ids": np.concatenate([token_ids] * 2),
                    "text_embeddings": np.concatenate([text_embeddings] * 2),
                    "text_mask": np.concatenate([text_mask, 0 * text_mask]),
                }
            )[:, i]
            guided, free = np.split(logits, 2)
            logits = free + guidance_scale * (guided - free)
            token_ids[:, i] = np.argmax(logits + noise[:, i], axis=-1)
        return token_ids.reshape(-1, *self.grid_size)
