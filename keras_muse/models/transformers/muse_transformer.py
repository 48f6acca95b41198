"""The transformer of Muse, which the base and super-resolution share."""

from keras import ops

from keras_muse.layers.dense import apply_to_rows
from keras_muse.layers.dense import dense
from keras_muse.layers.token_embedding import TokenEmbedding
from keras_muse.layers.transformer_layer import TransformerLayer
from keras_muse.layers.transformer_layer import layer_norm
from keras_muse.models.layouts import MASKED_TOKEN_RULES
from keras_muse.models.layouts import layout_map_method
from keras_muse.models.transformers.masked_token_model import MaskedTokenModel
from keras_muse.models.transformers.training import recompute_layer
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int


class MuseTransformer(MaskedTokenModel):
    """Token embedding, pre-norm layers that read the text, and a head.

    Args:
        codebook_size, grid_size, text_dim: as in `MaskedTokenModel`.
        num_layers: int. Transformer layers.
        hidden_dim: int. Width of the transformer.
        num_heads: int. Attention heads.
        intermediate_dim: int. Width of the MLPs.
        block_size: int or `None`. Side of the blocks of multi-axis attention;
            `None` for full attention.
        use_gated_activation: bool. Whether the MLPs are gated. Defaults to
            `False`, as the paper has them.
        use_query_key_norm: bool. Whether attention normalizes its queries and
            keys. Defaults to `False`, as in the paper.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Reference:
        - [Muse, sections 2.3 and 2.4](https://arxiv.org/abs/2301.00704)
    """

    get_layout_map = layout_map_method(MASKED_TOKEN_RULES)

    def __init__(
        self,
        codebook_size,
        grid_size,
        text_dim,
        num_layers,
        hidden_dim,
        num_heads,
        intermediate_dim,
        block_size=None,
        use_gated_activation=False,
        use_query_key_norm=False,
        dtype=None,
        **kwargs,
    ):
        super().__init__(codebook_size, grid_size, text_dim, dtype, **kwargs)
        self.num_layers = check_int(num_layers, "num_layers")
        self.hidden_dim = check_int(hidden_dim, "hidden_dim")
        self.num_heads = check_int(num_heads, "num_heads")
        self.intermediate_dim = check_int(intermediate_dim, "intermediate_dim")
        if block_size is not None:
            block_size = check_int(block_size, "block_size")
        self.block_size = block_size
        self.use_gated_activation = check_bool(
            use_gated_activation, "use_gated_activation"
        )
        self.use_query_key_norm = check_bool(
            use_query_key_norm, "use_query_key_norm"
        )
        policy = self.dtype_policy
        self.token_embedding = TokenEmbedding(
            self.codebook_size + 1,  # the last id is [MASK]
            self.hidden_dim,
            self.grid_size,
            dtype=policy,
            name="token_embedding",
        )
        self.text_projection = dense(
            "text_projection", self.hidden_dim, policy, use_bias=False
        )
        self.text_norm = layer_norm("text_norm", policy)
        self.transformer_layers = [
            self.make_layer(
                f"layer_{i}", grid_size=self.grid_size, block_size=block_size
            )
            for i in range(self.num_layers)
        ]
        self.output_norm = layer_norm("output_norm", policy)
        self.head_dense = dense("head_dense", self.hidden_dim, policy, "gelu")
        self.head_norm = layer_norm("head_norm", policy)
        self.head_logits = dense("head_logits", self.codebook_size, policy)

    def make_layer(self, name, **kwargs):
        """A `TransformerLayer` of the model's width and options."""
        return TransformerLayer(
            self.num_heads,
            self.intermediate_dim,
            use_gated_activation=self.use_gated_activation,
            use_query_key_norm=self.use_query_key_norm,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def build(self, input_shape=None):
        # Only the last axis matters; the others are for `summary`.
        hidden_shape = (None, self.num_tokens, self.hidden_dim)
        self.token_embedding.build((None, self.num_tokens))
        self.text_projection.build((None, None, self.text_dim))
        self.text_norm.build((None, None, self.hidden_dim))
        for layer in (
            *self.transformer_layers,
            self.output_norm,
            self.head_dense,
            self.head_norm,
            self.head_logits,
        ):
            layer.build(hidden_shape)
        self.built = True

    def context(self, inputs):
        """What image tokens attend to: here, the projected text.

        Returns:
            Float tensor of shape `(batch, num_keys, hidden_dim)` and bool
            tensor of shape `(batch, num_keys)`, true at keys that exist.
        """
        embeddings = inputs["text_embeddings"]
        self.check_text_dim(embeddings)
        text = self.text_norm(apply_to_rows(self.text_projection, embeddings))
        return text, ops.cast(inputs["text_mask"], "bool")

    def project_context(self, context):
        """Keys and values of each layer; they do not change between steps."""
        if self.recomputes:
            return [context] * self.num_layers  # they are recomputed, too
        return [
            layer.project_context(context) for layer in self.transformer_layers
        ]

    def features(self, token_ids, context_key_values, context_mask):
        """What the last linear layer turns into logits."""
        x = self.token_embedding(token_ids)  # (batch, num_tokens, hidden_dim)
        recomputes = self.recomputes
        for layer, key_value in zip(
            self.transformer_layers, context_key_values, strict=True
        ):
            if recomputes:
                x = recompute_layer(layer, x, key_value, context_mask)
            else:
                x = layer(x, key_value, context_mask)
        x = apply_to_rows(self.head_dense, self.output_norm(x))
        return self.head_norm(x)

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "use_gated_activation": self.use_gated_activation,
            "use_query_key_norm": self.use_query_key_norm,
        }
