"""What MuseBase and MuseSuperRes share: a transformer over masked tokens."""

import keras
from keras import ops

from keras_muse.layers.dense import apply_to_rows
from keras_muse.layers.dense import dense
from keras_muse.layers.token_embedding import TokenEmbedding
from keras_muse.layers.transformer_layer import TransformerLayer
from keras_muse.layers.transformer_layer import layer_norm
from keras_muse.models.layouts import MASKED_TOKEN_RULES
from keras_muse.models.layouts import layout_map_method
from keras_muse.models.masked_token_training import MaskedTokenTraining
from keras_muse.models.masked_token_training import flatten_grid
from keras_muse.models.token_generation import TokenGeneration
from keras_muse.models.training_data import check_training_data


class MaskedTokenModel(TokenGeneration, MaskedTokenTraining):
    """Predicts masked image tokens from the others and from a text.

    `fit` takes clean tokens: the training step masks them, drops some texts
    and computes the loss on the masked tokens, in one forward pass. `call`
    never masks by itself; in its inputs the id `codebook_size` is [MASK].

    Args:
        codebook_size: int. Number of codes a token can take.
        grid_size: pair of ints. `(height, width)` of the token grid.
        text_dim: int. Width of the text embeddings.
        num_layers: int. Transformer layers.
        hidden_dim: int. Width of the transformer.
        num_heads: int. Attention heads.
        intermediate_dim: int. Width of the MLPs.
        block_size: int or `None`. Side of the blocks of multi-axis attention;
            `None` for full attention.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Reference:
        - [Muse, sections 2.3 and 2.6](https://arxiv.org/abs/2301.00704)
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
        dtype=None,
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.codebook_size = codebook_size
        self.grid_size = tuple(grid_size)
        self.text_dim = text_dim
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.block_size = block_size
        policy = self.dtype_policy
        self.token_embedding = TokenEmbedding(
            codebook_size + 1,  # the last id is [MASK]
            hidden_dim,
            grid_size,
            dtype=policy,
            name="token_embedding",
        )
        self.text_projection = dense(
            "text_projection", hidden_dim, policy, use_bias=False
        )
        self.text_norm = layer_norm("text_norm", policy)
        self.transformer_layers = [
            TransformerLayer(
                num_heads,
                intermediate_dim,
                grid_size=grid_size,
                block_size=block_size,
                dtype=policy,
                name=f"layer_{i}",
            )
            for i in range(num_layers)
        ]
        self.output_norm = layer_norm("output_norm", policy)
        self.head_dense = dense("head_dense", hidden_dim, policy, "gelu")
        self.head_norm = layer_norm("head_norm", policy)
        self.head_logits = dense("head_logits", codebook_size, policy)
        self._compiled_functions = {}

    def build(self, input_shape=None):
        hidden_shape = (None, None, self.hidden_dim)
        self.token_embedding.build((None, None))
        self.text_projection.build((None, None, self.text_dim))
        for layer in (
            self.text_norm,
            *self.transformer_layers,
            self.output_norm,
            self.head_dense,
            self.head_norm,
            self.head_logits,
        ):
            layer.build(hidden_shape)
        self.built = True

    @property
    def mask_token_id(self):
        """int. The id of [MASK], one past the last code."""
        return self.codebook_size

    @property
    def num_tokens(self):
        """int. Tokens in a grid."""
        return self.grid_size[0] * self.grid_size[1]

    # === The transformer ===

    def inference(self, inputs):
        token_ids = flatten_grid(
            inputs["token_ids"], self.grid_size, "token_ids"
        )
        context, context_mask = self.context(inputs)
        return self.logits(
            token_ids, self.project_context(context), context_mask
        )

    def context(self, inputs):
        """What image tokens attend to: here, the projected text.

        Returns:
            Float tensor of shape `(batch, num_keys, hidden_dim)` and bool
            tensor of shape `(batch, num_keys)`, true at keys that exist.
        """
        embeddings = inputs["text_embeddings"]
        if embeddings.shape[-1] != self.text_dim:
            raise ValueError(
                "The last axis of `text_embeddings` must be text_dim="
                f"{self.text_dim}. Received: text_embeddings.shape="
                f"{tuple(embeddings.shape)}"
            )
        text = self.text_norm(apply_to_rows(self.text_projection, embeddings))
        return text, ops.cast(inputs["text_mask"], "bool")

    def project_context(self, context):
        """Keys and values of each layer; they do not change between steps."""
        if self.recomputes:
            return [context] * self.num_layers  # they are recomputed, too
        return [
            layer.project_context(context) for layer in self.transformer_layers
        ]

    def logits(self, token_ids, context_key_values, context_mask):
        """Logits of all tokens.

        Args:
            token_ids: int tensor of shape `(batch, num_tokens)`.
            context_key_values: list of `project_context`, one pair a layer.
            context_mask: bool tensor of shape `(batch, num_keys)`.

        Returns:
            float32 tensor of shape `(batch, num_tokens, codebook_size)`.
        """
        x = self.features(token_ids, context_key_values, context_mask)
        return ops.cast(apply_to_rows(self.head_logits, x), "float32")

    def features(self, token_ids, context_key_values, context_mask):
        """What the last linear layer turns into logits."""
        x = self.token_embedding(token_ids)  # (batch, num_tokens, hidden_dim)
        for layer, key_value in zip(
            self.transformer_layers, context_key_values, strict=True
        ):
            if self.recomputes:
                x = recompute_layer(layer, x, key_value, context_mask)
            else:
                x = layer(x, key_value, context_mask)
        x = apply_to_rows(self.head_dense, self.output_norm(x))
        return self.head_norm(x)

    # === Training ===

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit` on clean tokens.

        Args:
            x: dict of arrays as the model takes them, or a dataset of such
                dicts, as `keras_muse.data.read_token_shards` gives it.
            **kwargs: other arguments of `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: if there are no rows, or tokens or texts are of
                another codebook, grid or encoder than the model's.
        """
        check_training_data(x, self._id_ranges(), self.text_dim)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """`keras.Model.evaluate` on clean tokens; its masks are repeatable."""
        check_training_data(x, self._id_ranges(), self.text_dim)
        return super().evaluate(x, *args, **kwargs)

    def _id_ranges(self):
        return {"token_ids": ("low_res", self.codebook_size, self.grid_size)}

    def prediction(self, inputs):
        """Fills each masked token with its likeliest code, in one pass."""
        token_ids = flatten_grid(
            inputs["token_ids"], self.grid_size, "token_ids"
        )
        best = ops.cast(ops.argmax(self.inference(inputs), axis=-1), "int32")
        masked = ops.equal(token_ids, self.mask_token_id)
        return ops.where(masked, best, token_ids)

    def get_config(self):
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "grid_size": self.grid_size,
            "text_dim": self.text_dim,
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
        }


def recompute_layer(layer, x, context=None, context_mask=None):
    """Calls a layer of which the backward pass keeps nothing but the input.

    Args:
        layer: a `TransformerLayer`.
        x: tensor of shape `(batch, num_tokens, hidden_dim)`.
        context: tensor of shape `(batch, num_keys, hidden_dim)`, or `None` for
            a layer without cross-attention. Not yet projected.
        context_mask: bool tensor of shape `(batch, num_keys)`.

    Returns:
        The output of the layer.
    """
    if context is None:
        return keras.remat(lambda x: layer(x))(x)

    # TensorFlow hands gradients to arguments only, and takes no bool as one.
    def call(x, context):
        return layer(x, layer.project_context(context), context_mask)

    return keras.remat(call)(x, context)
