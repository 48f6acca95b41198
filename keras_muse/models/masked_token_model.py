"""What all masked-token models share, whatever their layers are."""

import keras
from keras import ops

from keras_muse.layers.dense import apply_to_rows
from keras_muse.models.masked_token_training import MaskedTokenTraining
from keras_muse.models.masked_token_training import flatten_grid
from keras_muse.models.token_generation import TokenGeneration
from keras_muse.models.training_data import check_training_data


class MaskedTokenModel(TokenGeneration, MaskedTokenTraining):
    """Predicts masked image tokens from the others and from a text.

    `fit` takes clean tokens: the training step masks them, drops some texts
    and computes the loss on the masked tokens, in one forward pass. `call`
    never masks by itself; in its inputs the id `codebook_size` is [MASK].

    A subclass has `head_logits`, its last linear layer; it says in `context`
    what image tokens attend to, in `project_context` what each layer makes of
    it, and in `features` what the head takes.

    Args:
        codebook_size: int. Number of codes a token can take.
        grid_size: pair of ints. `(height, width)` of the token grid.
        text_dim: int. Width of the text embeddings.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Reference:
        - [Muse, sections 2.3 and 2.6](https://arxiv.org/abs/2301.00704)
    """

    def __init__(self, codebook_size, grid_size, text_dim, dtype, **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.codebook_size = codebook_size
        self.grid_size = tuple(grid_size)
        self.text_dim = text_dim
        self._compiled_functions = {}
        self._decode_programs = {}

    @property
    def mask_token_id(self):
        """int. The id of [MASK], one past the last code."""
        return self.codebook_size

    @property
    def num_tokens(self):
        """int. Tokens in a grid."""
        return self.grid_size[0] * self.grid_size[1]

    # === Forward passes ===

    def inference(self, inputs):
        return self.head(self.hidden(inputs))

    def hidden(self, inputs):
        """What the head takes, `(batch, num_tokens, hidden_dim)`."""
        token_ids = flatten_grid(
            inputs["token_ids"], self.grid_size, "token_ids"
        )
        context, context_mask = self.context(inputs)
        return self.features(
            token_ids, self.project_context(context), context_mask
        )

    def head(self, x):
        """float32 logits `(batch, num_tokens, codebook_size)` of `hidden`."""
        return ops.cast(apply_to_rows(self.head_logits, x), "float32")

    def check_text_dim(self, text_embeddings):
        """Refuses text embeddings of another encoder."""
        if text_embeddings.shape[-1] != self.text_dim:
            raise ValueError(
                "The last axis of `text_embeddings` must be text_dim="
                f"{self.text_dim}. Received: text_embeddings.shape="
                f"{tuple(text_embeddings.shape)}"
            )

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
