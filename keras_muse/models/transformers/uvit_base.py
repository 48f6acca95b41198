"""UViTBase: aMUSEd's transformer, from a text to the tokens of a picture."""

import keras
import numpy as np
from keras import ops

from keras_muse.layers import initializers
from keras_muse.layers.conditional_norm import rms_norm
from keras_muse.layers.dense import apply_to_rows
from keras_muse.layers.dense import dense
from keras_muse.layers.uvit_stage import UViTStage
from keras_muse.layers.uvit_transformer_layer import UViTTransformerLayer
from keras_muse.models.layouts import UVIT_RULES
from keras_muse.models.layouts import layout_map_method
from keras_muse.models.transformers.masked_token_model import MaskedTokenModel
from keras_muse.models.transformers.training import recompute_layer
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_finite_array
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.inputs import Input

NUM_CONDITIONS = 5


@keras.saving.register_keras_serializable(package="keras_muse")
class UViTBase(MaskedTokenModel):
    """The U-ViT of aMUSEd: a `MuseBase` with convolutions at both ends.

    It takes the place of `MuseBase` in a `Muse`, and is trained and asked for
    tokens in the same way. Three things are its own:

    - The first row of a text is one vector for all of it, as
      `CLIPTextEncoder` gives it; it acts on each layer's normalizations.
    - What guidance compares with is the text `""`, not the lack of one: its
      embeddings are the weights `empty_text`, which `set_empty_text` fills.
    - It is told about the picture: width, height, the corner it was cropped
      at, and an aesthetic score. These are the weights `micro_conditions`,
      the same for each picture; assign others to them to ask for others.

    Convolutions know places, so there are no position embeddings.

    Args:
        codebook_size: int. Number of codes of the image tokenizer.
        grid_size: pair of ints. `(height, width)` of the token grid. Defaults
            to `(16, 16)`.
        text_dim: int. Width of the text embeddings. Defaults to `768`.
        text_length: int. Rows of the text embeddings, the first included.
            Defaults to `78`.
        num_layers: int. Transformer layers. Defaults to `22`.
        hidden_dim: int. Width of the transformer. Defaults to `1024`.
        num_heads: int. Its attention heads. Defaults to `16`.
        intermediate_dim: int. Width of its MLPs. Defaults to `2816`.
        stage_dim: int. Width of the convolutional stages. Defaults to `768`.
        stage_num_blocks: int. Blocks of a stage. Defaults to `3`.
        stage_num_heads: int. Attention heads of a stage. Defaults to `12`.
        condition_dim: int, even. Width of the waves that stand for each
            number of `micro_conditions`. Defaults to `256`.
        downsample: bool. Whether the transformer works on half the grid, as
            aMUSEd 512's does. Defaults to `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict of `"token_ids"`, int of shape `(batch, num_tokens)` or
            `(batch, height, width)`, where `codebook_size` is [MASK];
            `"text_embeddings"`, float of shape `(batch, text_length,
            text_dim)`; `"text_mask"`, bool of shape `(batch, text_length)`,
            all false in a row that has no text; and perhaps
            `"micro_conditions"`, float of shape `(batch, 5)`, where pictures
            differ in them.

    Returns:
        float32 logits of shape `(batch, num_tokens, codebook_size)`.
        `predict` gives token ids in place of logits.

    Example:
    ```python
    import numpy as np
    import keras_muse

    base = keras_muse.UViTBase(
        codebook_size=32, grid_size=(4, 4), text_dim=8, text_length=6,
        num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32,
        stage_dim=8, stage_num_blocks=1, stage_num_heads=2, condition_dim=4,
    )
    data = {
        "token_ids": np.random.randint(0, 32, (8, 16)),
        "text_embeddings": np.random.normal(size=(8, 6, 8)),
        "text_mask": np.ones((8, 6), "bool"),
    }
    base.compile()
    base.fit(data, batch_size=4, verbose=0)
    token_ids = base.generate(
        data["text_embeddings"], data["text_mask"], num_steps=4, seed=0
    )  # (8, 4, 4)
    ```

    Reference:
        - [aMUSEd](https://arxiv.org/abs/2401.01808)
        - [U-ViT](https://arxiv.org/abs/2301.11093)
    """

    get_layout_map = layout_map_method(UVIT_RULES)
    converters = ("amused",)

    def __init__(
        self,
        codebook_size,
        grid_size=(16, 16),
        text_dim=768,
        text_length=78,
        num_layers=22,
        hidden_dim=1024,
        num_heads=16,
        intermediate_dim=2816,
        stage_dim=768,
        stage_num_blocks=3,
        stage_num_heads=12,
        condition_dim=256,
        downsample=False,
        dtype=None,
        **kwargs,
    ):
        # Layers cast for themselves; in bfloat16 a width of 515 would be 516.
        super().__init__(
            codebook_size, grid_size, text_dim, dtype, autocast=False, **kwargs
        )
        check_bool(downsample, "downsample")
        if downsample and any(side % 2 for side in self.grid_size):
            raise ValueError(
                "`grid_size` must be even with `downsample`. Received: "
                f"grid_size={grid_size}"
            )
        self.text_length = check_int(text_length, "text_length", low=2)
        self.num_layers = check_int(num_layers, "num_layers")
        self.hidden_dim = check_int(hidden_dim, "hidden_dim")
        self.num_heads = check_int(num_heads, "num_heads")
        self.intermediate_dim = check_int(intermediate_dim, "intermediate_dim")
        self.stage_dim = check_int(stage_dim, "stage_dim")
        self.stage_num_blocks = check_int(stage_num_blocks, "stage_num_blocks")
        self.stage_num_heads = check_int(stage_num_heads, "stage_num_heads")
        self.condition_dim = check_int(condition_dim, "condition_dim", low=2)
        if self.condition_dim % 2:
            raise ValueError(
                "`condition_dim` must be even: a cosine and a sine make a "
                f"wave. Received: condition_dim={condition_dim}"
            )
        self.downsample = downsample
        policy = self.dtype_policy

        def projection(name, width):
            return dense(name, width, policy, use_bias=False)

        self.text_projection = projection("text_projection", self.hidden_dim)
        self.text_norm = rms_norm("text_norm", policy)
        self.condition_dense = projection("condition_dense", self.hidden_dim)
        self.condition_output = projection("condition_output", self.hidden_dim)
        self.token_embedding = keras.layers.Embedding(
            self.codebook_size + 1,  # the last id is [MASK]
            self.stage_dim,
            embeddings_initializer=initializers.TruncatedNormal(stddev=0.02),
            dtype=policy,
            name="token_embedding",
        )
        self.embedding_norm = rms_norm("embedding_norm", policy)
        self.embedding_projection = projection(
            "embedding_projection", self.stage_dim
        )
        self.first_stage = self._stage("first_stage", downsample=downsample)
        self.input_norm = rms_norm("input_norm", policy)
        self.input_projection = projection("input_projection", self.hidden_dim)
        self.transformer_layers = [
            UViTTransformerLayer(
                self.num_heads,
                self.intermediate_dim,
                dtype=policy,
                name=f"layer_{i}",
            )
            for i in range(self.num_layers)
        ]
        self.output_norm = rms_norm("output_norm", policy)
        self.output_projection = projection("output_projection", self.stage_dim)
        self.last_stage = self._stage("last_stage", upsample=downsample)
        self.head_dense = projection("head_dense", self.stage_dim)
        self.head_norm = rms_norm("head_norm", policy)
        self.head_logits = projection("head_logits", self.codebook_size)
        self.build()

    def _stage(self, name, **kwargs):
        return UViTStage(
            self.stage_num_blocks,
            self.stage_num_heads,
            self.hidden_dim,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def build(self, input_shape=None):
        hidden_shape = (None, None, self.hidden_dim)
        stage_shape = (None, None, self.stage_dim)
        self.text_projection.build((None, None, self.text_dim))
        self.condition_dense.build(
            (None, self.text_dim + NUM_CONDITIONS * self.condition_dim)
        )
        self.condition_output.build((None, self.hidden_dim))
        self.token_embedding.build((None, None))
        for layer in (
            self.text_norm,
            *self.transformer_layers,
            self.output_norm,
            self.output_projection,
        ):
            layer.build(hidden_shape)
        for layer in (
            self.embedding_norm,
            self.embedding_projection,
            self.input_norm,
            self.input_projection,
            self.head_dense,
            self.head_norm,
            self.head_logits,
        ):
            layer.build(stage_shape)
        for stage in (self.first_stage, self.last_stage):
            stage.build((None, None, None, self.stage_dim))
        self.empty_text = self._fixed_weight(
            "empty_text", (self.text_length, self.text_dim), "zeros"
        )
        self.micro_conditions = self._fixed_weight(
            "micro_conditions", (NUM_CONDITIONS,), self._usual_conditions
        )
        self.built = True

    def _fixed_weight(self, name, shape, initializer):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            trainable=False,
            autocast=False,
            name=name,
        )

    def _usual_conditions(self, shape, dtype):
        """Of a whole picture from a tokenizer of factor 16, and score 6."""
        height, width = self.grid_size
        values = [16 * width, 16 * height, 0, 0, 6]
        return ops.convert_to_tensor(values, dtype=dtype)

    def set_empty_text(self, text_embeddings):
        """Says what the text `""` is, which guidance leads away from.

        Args:
            text_embeddings: float array of shape `(text_length, text_dim)`,
                the row of `text_encoder.encode([""])`.
        """
        embeddings = check_finite_array(text_embeddings, "text_embeddings")
        if embeddings.shape != tuple(self.empty_text.shape):
            raise ValueError(
                "`text_embeddings` must be of shape (text_length, text_dim) = "
                f"{tuple(self.empty_text.shape)}. Received: shape="
                f"{embeddings.shape}"
            )
        self.empty_text.assign(embeddings)

    def batch_inputs(self, training):
        conditions = Input(((NUM_CONDITIONS,),), is_optional=True)
        return {
            **super().batch_inputs(training),
            "micro_conditions": conditions,
        }

    # === The context: the condition, then the text ===

    def context(self, inputs):
        """What image tokens attend to, behind what the layers are told.

        Returns:
            Float tensor of shape `(batch, text_length, hidden_dim)`:
            the condition, then the text; and the bool mask of the text.
        """
        embeddings, mask = self._with_empty_texts(
            inputs["text_embeddings"], ops.cast(inputs["text_mask"], "bool")
        )
        text = apply_to_rows(self.text_projection, embeddings[:, 1:])
        condition = self._condition(
            embeddings[:, 0], inputs.get("micro_conditions")
        )
        context = ops.concatenate(
            [condition[:, None], self.text_norm(text)], axis=1
        )
        return context, mask[:, 1:]

    def _with_empty_texts(self, embeddings, mask):
        """Puts the empty text into the rows that have none."""
        self.check_text_dim(embeddings)
        length = embeddings.shape[1]
        if length is not None and length < self.text_length:
            raise ValueError(
                "`text_embeddings` must have at least text_length="
                f"{self.text_length} rows. Received: text_embeddings.shape="
                f"{tuple(embeddings.shape)}"
            )
        length = ops.shape(embeddings)[1]  # TensorFlow may know it later
        padding = ops.zeros((length - self.text_length, self.text_dim))
        empty = ops.concatenate(
            [self.empty_text, ops.cast(padding, self.empty_text.dtype)], axis=0
        )
        has_text = ops.any(mask, axis=1, keepdims=True)  # (batch, 1)
        embeddings = ops.where(
            has_text[..., None], embeddings, ops.cast(empty, embeddings.dtype)
        )
        empty_mask = ops.arange(length) < self.text_length
        return embeddings, ops.where(has_text, mask, empty_mask[None])

    def _condition(self, pooled_text, micro_conditions):
        """One vector of the whole text and the picture's numbers."""
        batch_size = ops.shape(pooled_text)[0]
        if micro_conditions is None:
            micro_conditions = ops.broadcast_to(
                self.micro_conditions, (batch_size, NUM_CONDITIONS)
            )
        waves = sinusoids(micro_conditions, self.condition_dim)
        waves = ops.reshape(waves, (batch_size, -1))
        x = ops.concatenate(
            [
                ops.cast(part, self.compute_dtype)
                for part in (pooled_text, waves)
            ],
            axis=1,
        )
        x = keras.activations.silu(self.condition_dense(x))
        return self.condition_output(x)  # (batch, hidden_dim)

    @property
    def _blocks(self):
        return [self.first_stage, *self.transformer_layers, self.last_stage]

    def project_context(self, context):
        """What each block makes of the context, the same in all steps."""
        if self.recomputes:
            return [context] * len(self._blocks)
        return [block.project_context(context) for block in self._blocks]

    # === The U ===

    def features(self, token_ids, contexts, context_mask):
        """What the last linear layer turns into logits."""

        def apply(block, x, context):
            if self.recomputes:
                return recompute_layer(block, x, context, context_mask)
            return block(x, context, context_mask)

        height, width = self.grid_size
        x = self.embedding_norm(self.token_embedding(token_ids))
        x = apply_to_rows(self.embedding_projection, x)
        x = ops.reshape(x, (-1, height, width, self.stage_dim))
        x = apply(self.first_stage, x, contexts[0])
        inner_shape = x.shape[1:]
        x = ops.reshape(x, (-1, inner_shape[0] * inner_shape[1], x.shape[3]))
        x = apply_to_rows(self.input_projection, self.input_norm(x))
        for layer, context in zip(
            self.transformer_layers, contexts[1:-1], strict=True
        ):
            x = apply(layer, x, context)  # (batch, tokens, hidden_dim)
        x = apply_to_rows(self.output_projection, self.output_norm(x))
        x = ops.reshape(x, (-1, *inner_shape))
        x = apply(self.last_stage, x, contexts[-1])
        x = ops.reshape(x, (-1, height * width, self.stage_dim))
        return self.head_norm(apply_to_rows(self.head_dense, x))

    def get_config(self):
        return {
            **super().get_config(),
            "text_length": self.text_length,
            "num_layers": self.num_layers,
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "stage_dim": self.stage_dim,
            "stage_num_blocks": self.stage_num_blocks,
            "stage_num_heads": self.stage_num_heads,
            "condition_dim": self.condition_dim,
            "downsample": self.downsample,
        }


def sinusoids(values, dim):
    """Numbers as waves, cosines before sines.

    Args:
        values: float tensor of shape `(batch, num_values)`.
        dim: int, even.

    Returns:
        float32 tensor of shape `(batch, num_values, dim)`.
    """
    num_waves = dim // 2
    frequencies = 10000.0 ** (-np.arange(num_waves) / num_waves)
    angles = ops.cast(values, "float32")[..., None] * ops.convert_to_tensor(
        frequencies, "float32"
    )
    return ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)
