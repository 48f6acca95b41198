"""How the masked-token models are trained: the step behind `fit`."""

import keras
from keras import ops

from keras_muse.losses.masked_cross_entropy import is_best_guess
from keras_muse.losses.masked_cross_entropy import mean_over_mask
from keras_muse.losses.masked_cross_entropy import token_cross_entropy
from keras_muse.models import micro_batches
from keras_muse.models.step_outputs import StepOutputsModel
from keras_muse.ops import masking
from keras_muse.ops import noise
from keras_muse.ops.parts import map_parts
from keras_muse.optimizers.adafactor import AdafactorMomentum

MAX_LOGITS = 2**27  # of a batch at a time: 512 MiB


class MaskedTokenTraining(StepOutputsModel):
    """The training half of `MaskedTokenModel`.

    A training step masks tokens, drops some texts and computes the loss on
    the masked tokens, in one forward pass.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(0)
        self.accuracy = keras.metrics.Mean(name="accuracy")

    def compile(
        self,
        optimizer=None,
        *,
        label_smoothing=0.0,
        text_dropout=0.1,
        remat=False,
        gradient_accumulation_steps=1,
        **kwargs,
    ):
        """Sets up training.

        Two options let a larger model or batch fit in memory. They change the
        result by no more than rounding, and can be had together.

        Args:
            optimizer: Keras optimizer. Defaults to the paper's,
                `keras_muse.optimizers.AdafactorMomentum()`.
            label_smoothing: float in [0, 1). Defaults to `0`.
            text_dropout: float in [0, 1]. Part of the examples whose text is
                hidden, so that guidance has an unconditional model to lean
                on. Defaults to `0.1`.
            remat: bool. Whether the backward pass computes the inside of each
                transformer layer again, in place of keeping it from the
                forward pass; a step takes about a third longer. Defaults to
                `False`.
            gradient_accumulation_steps: int. In how many parts a step takes
                its batch, one after the other, before it updates the weights.
                It divides the rows of a batch on each device. Defaults to
                `1`.
            **kwargs: other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if an argument is out of its range, or if the optimizer
                accumulates too.

        Example:

        The states of the texts are written once, so that the language model
        is never in memory beside the model that is trained:
        ```python
        keras_muse.data.write_token_shards(
            pairs, "tokens/", tokenizer, text_encoder
        )
        text_encoder.release()

        base = keras_muse.MuseBase(codebook_size=8192)
        base.compile(remat=True, gradient_accumulation_steps=4)
        base.fit(keras_muse.data.read_token_shards("tokens/", batch_size=64))
        ```
        """
        optimizer = keras.optimizers.get(optimizer or AdafactorMomentum())
        _check_parts(label_smoothing, text_dropout)
        _check_accumulation(gradient_accumulation_steps, optimizer)
        self.label_smoothing = label_smoothing
        self.text_dropout = text_dropout
        self.remat = remat
        self.gradient_accumulation_steps = gradient_accumulation_steps
        super().compile(optimizer=optimizer, **kwargs)

    def train_step(self, *args, **kwargs):
        if self.gradient_accumulation_steps == 1:
            return super().train_step(*args, **kwargs)
        with self._inside("train"):
            return micro_batches.train_step(self, *args, **kwargs)

    @property
    def recomputes(self):
        """bool. Whether what runs now is a training step with `remat`."""
        return self._step == "train" and self.remat

    def training_outputs(self, inputs, training):
        if "mask" not in inputs:  # micro-batches come masked
            inputs = self.mask_inputs(inputs, training)
        return {
            "features": self.hidden(inputs),
            "token_ids": inputs["clean_token_ids"],
            "mask": inputs["mask"],
        }

    def mask_inputs(self, inputs, training):
        """Masks the tokens of a batch and, in training, drops some texts.

        Args:
            inputs: dict as the model takes it, of clean tokens.
            training: bool.

        Returns:
            The dict with `"token_ids"` and `"text_mask"` changed, and with
            `"clean_token_ids"` and `"mask"`, of shape `(batch, num_tokens)`.
        """
        token_ids = flatten_grid(
            inputs["token_ids"], self.grid_size, "token_ids"
        )
        # In evaluation a row's mask follows from the row: the loss repeats.
        seeds = (
            self._draw_seeds(token_ids)
            if training
            else noise.hash_rows(token_ids)
        )
        mask = masking.random_mask(
            noise.uniform(seeds, noise.MASK_RATIO_STREAM),
            noise.uniform(
                seeds, noise.MASK_ORDER_STREAM, num_positions=self.num_tokens
            ),
        )
        inputs = {
            **inputs,
            "token_ids": ops.where(mask, self.mask_token_id, token_ids),
            "clean_token_ids": token_ids,
            "mask": mask,
        }
        if training:
            chance = noise.uniform(seeds, noise.TEXT_DROPOUT_STREAM)
            inputs["text_mask"] = ops.logical_and(
                ops.cast(inputs["text_mask"], "bool"),
                chance >= self.text_dropout,  # (batch, 1): whole examples
            )
        return inputs

    def _draw_seeds(self, token_ids):
        seed = ops.cast(self.seed_generator.next(), "int32")
        rows = ops.arange(ops.shape(token_ids)[0], dtype="int32")
        return noise.threefry((seed[0], seed[1]), (rows, 0))[0]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        mask = y_pred["mask"]
        cross_entropy, is_right = self._score_tokens(
            y_pred["features"], y_pred["token_ids"]
        )
        self.accuracy.update_state(mean_over_mask(is_right, mask))
        # A mean over rows, each of which is one over its masked tokens: so
        # equal parts of a batch count alike.
        return ops.mean(mean_over_mask(cross_entropy, mask))

    def _score_tokens(self, features, token_ids):
        """Cross-entropy and whether the best guess is right, of each token.

        Where the logits of the batch are many, they are formed for a part of
        the tokens at a time, and again in the backward pass.

        Args:
            features: float tensor of shape `(batch, num_tokens, hidden_dim)`.
            token_ids: int tensor of shape `(batch, num_tokens)`.

        Returns:
            Two float32 tensors of shape `(batch, num_tokens)`.
        """

        def score(features, token_ids):
            logits = self.head(features)
            return (
                token_cross_entropy(token_ids, logits, self.label_smoothing),
                is_best_guess(token_ids, logits),
            )

        num_parts = 1
        # TensorFlow hands no gradients to the weights of a loop's body.
        if keras.config.backend() != "tensorflow":
            num_logits = len(features) * self.num_tokens * self.codebook_size
            num_parts = min(-(-num_logits // MAX_LOGITS), self.num_tokens)
        if num_parts > 1:
            score = keras.remat(score)
        return map_parts(
            lambda part, _: score(*part),
            (features, token_ids),
            num_parts,
            axis=1,
        )


def flatten_grid(token_ids, grid_size, argument):
    """Brings ids, given flat or as a grid, to `(batch, num_tokens)`."""
    height, width = grid_size
    shape = tuple(token_ids.shape[1:])
    if shape not in ((height * width,), (height, width)):
        raise ValueError(
            f"`{argument}` must be of shape (batch, {height * width}) or "
            f"(batch, {height}, {width}). Received: {argument}.shape="
            f"{tuple(token_ids.shape)}"
        )
    return ops.reshape(ops.cast(token_ids, "int32"), (-1, height * width))


def _check_parts(label_smoothing, text_dropout):
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            "`label_smoothing` must be at least 0 and less than 1. Received: "
            f"label_smoothing={label_smoothing}"
        )
    if not 0 <= text_dropout <= 1:
        raise ValueError(
            "`text_dropout` must be between 0 and 1. Received: "
            f"text_dropout={text_dropout}"
        )


def _check_accumulation(steps, optimizer):
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(
            "`gradient_accumulation_steps` must be a positive int. Received: "
            f"gradient_accumulation_steps={steps}"
        )
    of_optimizer = getattr(optimizer, "gradient_accumulation_steps", None)
    if steps > 1 and of_optimizer:
        raise ValueError(
            "`gradient_accumulation_steps` cannot be given to the optimizer "
            "too, where it would save no memory. Received: "
            f"gradient_accumulation_steps={steps}, and {of_optimizer} of "
            f"{type(optimizer).__name__}"
        )
