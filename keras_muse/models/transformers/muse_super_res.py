"""MuseSuperRes: from a text and low-resolution tokens to a large picture."""

import math

import keras
from keras import ops

from keras_muse.layers.token_embedding import TokenEmbedding
from keras_muse.layers.transformer_layer import layer_norm
from keras_muse.models.transformers.decoding import check_negative_text
from keras_muse.models.transformers.decoding import check_text
from keras_muse.models.transformers.decoding import check_token_ids
from keras_muse.models.transformers.decoding import decode_tokens
from keras_muse.models.transformers.muse_transformer import MuseTransformer
from keras_muse.models.transformers.training import flatten_grid
from keras_muse.models.transformers.training import recompute_layer
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints


@keras.saving.register_keras_serializable(package="keras_muse")
class MuseSuperRes(MuseTransformer):
    """The super-resolution transformer: low- to high-resolution tokens.

    The low-resolution tokens pass through self-attention layers of their own
    and join the text as keys and values of the cross-attention. Among the
    many high-resolution tokens attention is multi-axis: half of the heads in
    blocks, half across blocks.

    The defaults are the paper's, for pictures of 512 pixels, T5-XXL and an
    accelerator. For less there are sizes by name, with `load_weights=False`:
    `"muse_super_res_tiny"` for 16 x 16 tokens, `"muse_super_res_small"` for
    32 x 32.

    Args:
        codebook_size: int. Codes of the high-resolution tokenizer.
        low_res_codebook_size: int. Codes of the low-resolution tokenizer.
        grid_size: pair of ints. `(height, width)` of the high-resolution
            grid. Defaults to `(64, 64)`.
        low_res_grid_size: pair of ints. Defaults to `(16, 16)`.
        text_dim: int. Width of the text embeddings. Defaults to `4096`.
        num_layers: int. Multi-axis layers. Defaults to `32`.
        low_res_num_layers: int. Layers over the low-resolution tokens.
            Defaults to `16`.
        hidden_dim: int. Width of the transformer. Defaults to `1024`.
        num_heads: int, even. Attention heads. Defaults to `16`.
        intermediate_dim: int. Width of the MLPs. Defaults to `4096`.
        block_size: int or `None`. Side of the attention blocks; it divides
            both sides of the grid. `None` is attention between all tokens, as
            in the layers of low resolution. Defaults to `8`.
        use_gated_activation: bool. As in `MuseBase`. Defaults to `False`.
        use_query_key_norm: bool. As in `MuseBase`. Defaults to `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict as `MuseBase` takes it, with the high-resolution
            `"token_ids"`, and with `"low_res_token_ids"`, int of shape
            `(batch, low_res_num_tokens)` or as a grid, never masked.

    Returns:
        float32 logits of shape `(batch, num_tokens, codebook_size)`.
        `predict` gives token ids in place of logits.

    Example:
    ```python
    import numpy as np
    import keras_muse

    super_res = keras_muse.MuseSuperRes(
        codebook_size=32, low_res_codebook_size=32, grid_size=(8, 8),
        low_res_grid_size=(4, 4), text_dim=8, num_layers=2,
        low_res_num_layers=1, hidden_dim=16, num_heads=2,
        intermediate_dim=32, block_size=4,
    )
    token_ids = super_res.generate(
        np.random.normal(size=(2, 5, 8)), np.ones((2, 5), "bool"),
        np.random.randint(0, 32, (2, 4, 4)), num_steps=2, seed=0,
    )  # (2, 8, 8)
    ```

    Reference:
        - [Muse, section 2.4](https://arxiv.org/abs/2301.00704)
    """

    first_noise_step = 1 << 20

    def __init__(
        self,
        codebook_size,
        low_res_codebook_size,
        grid_size=(64, 64),
        low_res_grid_size=(16, 16),
        text_dim=4096,
        num_layers=32,
        low_res_num_layers=16,
        hidden_dim=1024,
        num_heads=16,
        intermediate_dim=4096,
        block_size=8,
        use_gated_activation=False,
        use_query_key_norm=False,
        dtype=None,
        **kwargs,
    ):
        super().__init__(
            codebook_size,
            grid_size,
            text_dim,
            num_layers,
            hidden_dim,
            num_heads,
            intermediate_dim,
            block_size=block_size,
            use_gated_activation=use_gated_activation,
            use_query_key_norm=use_query_key_norm,
            dtype=dtype,
            **kwargs,
        )
        self.low_res_codebook_size = check_int(
            low_res_codebook_size, "low_res_codebook_size"
        )
        self.low_res_grid_size = check_ints(
            low_res_grid_size, "low_res_grid_size", length=2
        )
        self.low_res_num_layers = check_int(
            low_res_num_layers, "low_res_num_layers", low=0
        )
        policy = self.dtype_policy
        self.low_res_embedding = TokenEmbedding(
            self.low_res_codebook_size,
            self.hidden_dim,
            self.low_res_grid_size,
            dtype=policy,
            name="low_res_embedding",
        )
        self.low_res_layers = [
            self.make_layer(f"low_res_layer_{i}", use_cross_attention=False)
            for i in range(self.low_res_num_layers)
        ]
        self.low_res_norm = layer_norm("low_res_norm", policy)
        self.build()

    def build(self, input_shape=None):
        num_tokens = math.prod(self.low_res_grid_size)
        self.low_res_embedding.build((None, num_tokens))
        for layer in (*self.low_res_layers, self.low_res_norm):
            layer.build((None, num_tokens, self.hidden_dim))
        super().build(input_shape)

    def _id_ranges(self):
        return {
            "token_ids": ("high_res", self.codebook_size, self.grid_size),
            "low_res_token_ids": (
                "low_res",
                self.low_res_codebook_size,
                self.low_res_grid_size,
            ),
        }

    def context(self, inputs):
        """The text, then the encoded low-resolution tokens."""
        text, text_mask = super().context(inputs)
        x = self.low_res_embedding(
            flatten_grid(
                inputs["low_res_token_ids"],
                self.low_res_grid_size,
                "low_res_token_ids",
            )
        )
        for layer in self.low_res_layers:
            x = recompute_layer(layer, x) if self.recomputes else layer(x)
        x = self.low_res_norm(x)  # (batch, low_res_num_tokens, hidden_dim)
        return (
            ops.concatenate([text, x], axis=1),
            ops.concatenate(
                [text_mask, ops.ones(ops.shape(x)[:2], dtype="bool")], axis=1
            ),
        )

    def generate(
        self,
        text_embeddings,
        text_mask,
        low_res_token_ids,
        negative_text_embeddings=None,
        negative_text_mask=None,
        *,
        token_ids=None,
        num_steps=8,
        guidance_scale=3.0,
        seed=None,
        sampler=None,
        batch_size=None,
        callback=None,
        verbose="auto",
    ):
        """Decodes high-resolution tokens.

        Args:
            text_embeddings: float array of shape `(batch, text_length,
                text_dim)`.
            text_mask: bool array of shape `(batch, text_length)`.
            low_res_token_ids: int array of shape `(batch, h, w)` or flat, as
                `MuseBase.generate` gives it.
            negative_text_embeddings: as in `MuseBase.generate`, like all that
                follow.
            negative_text_mask: bool array or `None`.
            token_ids: int array or `None`.
            num_steps: int. Decoding steps. Defaults to `8`.
            guidance_scale: float. Defaults to `3`.
            seed: int, list of ints or `None`.
            sampler: a `keras_muse.samplers.Sampler`, or its name.
            batch_size: int or `None`.
            callback: function of `(step, start, token_ids)` or `None`.
            verbose: `"auto"`, 0 or 1. Defaults to `"auto"`.

        Returns:
            int32 numpy array of shape `(batch, height, width)`.

        Raises:
            ValueError: as `MuseBase.generate`.
        """
        inputs = check_text(text_embeddings, text_mask, self.text_dim)
        negative = check_negative_text(
            inputs, negative_text_embeddings, negative_text_mask, self.text_dim
        )
        low_res = check_token_ids(
            low_res_token_ids,
            len(inputs["text_mask"]),
            self.low_res_grid_size,
            self.low_res_codebook_size,
            "low_res_token_ids",
        )
        inputs["low_res_token_ids"] = low_res
        negative["low_res_token_ids"] = low_res
        return decode_tokens(
            self,
            inputs,
            negative,
            token_ids=token_ids,
            num_steps=num_steps,
            guidance_scale=guidance_scale,
            seed=seed,
            sampler=sampler,
            batch_size=batch_size,
            callback=callback,
            verbose=verbose,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "low_res_codebook_size": self.low_res_codebook_size,
            "low_res_grid_size": self.low_res_grid_size,
            "low_res_num_layers": self.low_res_num_layers,
            "block_size": self.block_size,
        }
