"""MuseBase: from a text to the tokens of a small picture."""

import keras

from keras_muse.models.transformers.muse_transformer import MuseTransformer


@keras.saving.register_keras_serializable(package="keras_muse")
class MuseBase(MuseTransformer):
    """The base transformer of Muse: text to low-resolution tokens.

    Each layer attends among the image tokens, then to the projected text,
    then applies an MLP. `fit` takes clean tokens and masks them itself,
    `generate` decodes all tokens in a few parallel steps.

    The defaults are those of `"muse_base_632m"`, for pictures of 256 pixels,
    T5-XXL and an accelerator. The paper does not give the shape of its 632
    million weights; these are 627 million. For less there are sizes by name,
    with `load_weights=False`: `"muse_base_tiny"` and `"muse_base_small"` for
    8 x 8 tokens, `"muse_base_medium"` for 16 x 16.

    Args:
        codebook_size: int. Number of codes of the image tokenizer.
        grid_size: pair of ints. `(height, width)` of the token grid. Defaults
            to `(16, 16)`.
        text_dim: int. Width of the text embeddings. Defaults to `4096`,
            T5-XXL's.
        num_layers: int. Transformer layers. Defaults to `36`.
        hidden_dim: int. Width of the transformer. Defaults to `1024`.
        num_heads: int. Attention heads. Defaults to `16`.
        intermediate_dim: int. Width of the MLPs. Defaults to `4096`.
        use_gated_activation: bool. Whether the MLPs have a gate, a third
            matrix; with two thirds of `intermediate_dim` they have as many
            weights as without. Small models learn faster with it. Defaults to
            `False`, the paper's MLP.
        use_query_key_norm: bool. Whether attention normalizes its queries and
            keys, which keeps it from becoming too sharp. Defaults to `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict of `"token_ids"`, int of shape `(batch, num_tokens)` or
            `(batch, height, width)`, where `codebook_size` is [MASK];
            `"text_embeddings"`, float of shape `(batch, text_length,
            text_dim)`; `"text_mask"`, bool of shape `(batch, text_length)`,
            true at real tokens.

    Returns:
        float32 logits of shape `(batch, num_tokens, codebook_size)`.
        `predict` gives token ids in place of logits.

    Example:
    ```python
    import numpy as np
    import keras_muse

    base = keras_muse.MuseBase(
        codebook_size=32, grid_size=(4, 4), text_dim=8, num_layers=2,
        hidden_dim=16, num_heads=2, intermediate_dim=32,
    )
    data = {
        "token_ids": np.random.randint(0, 32, (8, 16)),
        "text_embeddings": np.random.normal(size=(8, 5, 8)),
        "text_mask": np.ones((8, 5), "bool"),
    }
    base.compile()
    base.fit(data, batch_size=4, verbose=0)
    token_ids = base.generate(
        data["text_embeddings"], data["text_mask"], num_steps=4, seed=0
    )  # (8, 4, 4)
    ```

    Reference:
        - [Muse, section 2.3](https://arxiv.org/abs/2301.00704)
    """

    def __init__(
        self,
        codebook_size,
        grid_size=(16, 16),
        text_dim=4096,
        num_layers=36,
        hidden_dim=1024,
        num_heads=16,
        intermediate_dim=4096,
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
            use_gated_activation=use_gated_activation,
            use_query_key_norm=use_query_key_norm,
            dtype=dtype,
            **kwargs,
        )
        self.build()
