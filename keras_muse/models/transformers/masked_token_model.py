"""What all masked-token models share, whatever their layers are."""

import dataclasses
import math

import keras
from keras import ops

from keras_muse.layers.dense import apply_to_rows
from keras_muse.losses.masked_cross_entropy import mean_over_batch
from keras_muse.losses.masked_cross_entropy import mean_over_mask
from keras_muse.models.muse_model import MuseModel
from keras_muse.models.transformers import micro_batches
from keras_muse.models.transformers.decoding import check_negative_text
from keras_muse.models.transformers.decoding import check_text
from keras_muse.models.transformers.decoding import decode_tokens
from keras_muse.models.transformers.training import check_accumulation
from keras_muse.models.transformers.training import check_training_data
from keras_muse.models.transformers.training import draw_seeds
from keras_muse.models.transformers.training import flatten_grid
from keras_muse.models.transformers.training import mask_tokens
from keras_muse.models.transformers.training import score_tokens
from keras_muse.ops import masking
from keras_muse.ops import noise
from keras_muse.optimizers.adafactor import AdafactorMomentum
from keras_muse.optimizers.warmup_cosine import default_learning_rate
from keras_muse.runtime.batches import without_none
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.inputs import Input
from keras_muse.runtime.inputs import check_inputs

WARMUP_STEPS = 5000  # of the paper, Table 4


class MaskedTokenModel(MuseModel):
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

    # Only what is masked counts in the loss of `evaluate`.
    passing_losses = ("visible_token_loss",)
    # Set by `compile`; losses can be computed without.
    label_smoothing, text_dropout, remat = 0.0, 0.1, False
    loss_average, visible_loss_weight = "rows", 0.0
    mask_schedule = "cosine"
    larger_is_better = ("accuracy",)
    compile_arguments = (
        "mask_schedule",
        "label_smoothing",
        "loss_average",
        "visible_loss_weight",
        "text_dropout",
        "remat",
        "gradient_accumulation_steps",
    )
    # Where the noise of decoding begins to count steps: it keeps apart two
    # models which decode with the same seeds.
    first_noise_step = 0

    def __init__(self, codebook_size, grid_size, text_dim, dtype, **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.codebook_size = check_int(codebook_size, "codebook_size")
        self.grid_size = check_ints(grid_size, "grid_size", length=2)
        self.text_dim = check_int(text_dim, "text_dim")
        self.mask_token_id = self.codebook_size  # one past the last code
        self.num_tokens = math.prod(self.grid_size)
        self.seed_generator = keras.random.SeedGenerator(0)
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self._track_losses(("masked_token_loss", "visible_token_loss"))

    # === Forward passes ===

    def call_outputs(self, inputs):
        check_inputs(inputs, self.batch_inputs(training=False), "inputs")
        return self.head(self.hidden(inputs))

    def hidden(self, inputs):
        """What the head takes, `(batch, num_tokens, hidden_dim)`."""
        token_ids = self._flat_token_ids(inputs)
        context, context_mask = self.context(inputs)
        return self.features(
            token_ids, self.project_context(context), context_mask
        )

    def head(self, x):
        """float32 logits `(batch, num_tokens, codebook_size)` of `hidden`."""
        return ops.cast(apply_to_rows(self.head_logits, x), "float32")

    def predict_outputs(self, inputs):
        """Fills each masked token with its likeliest code, in one pass."""
        best = ops.cast(ops.argmax(self.call_outputs(inputs), axis=-1), "int32")
        token_ids = self._flat_token_ids(inputs)
        masked = ops.equal(token_ids, self.mask_token_id)
        return ops.where(masked, best, token_ids)

    def check_text_dim(self, text_embeddings):
        """Refuses text embeddings of another encoder."""
        if text_embeddings.shape[-1] != self.text_dim:
            raise ValueError(
                "The last axis of `text_embeddings` must be text_dim="
                f"{self.text_dim}. Received: text_embeddings.shape="
                f"{tuple(text_embeddings.shape)}"
            )

    def _flat_token_ids(self, inputs):
        return flatten_grid(inputs["token_ids"], self.grid_size, "token_ids")

    def batch_inputs(self, training):
        inputs = {
            name: Input(
                ((math.prod(grid_size),), tuple(grid_size)),
                codebook_size,
                "clean tokens",
            )
            for name, (_, codebook_size, grid_size) in self._id_ranges().items()
        }
        if not training:  # masked ones are predicted
            inputs["token_ids"] = dataclasses.replace(
                inputs["token_ids"], high=self.codebook_size + 1, what="tokens"
            )
        return {
            **inputs,
            "text_embeddings": Input((("text_length", "text_dim"),)),
            "text_mask": Input((("text_length",),), is_flag=True),
        }

    def _id_ranges(self):
        return {"token_ids": ("low_res", self.codebook_size, self.grid_size)}

    # === Training ===

    def compile(
        self,
        optimizer=None,
        *,
        total_steps=None,
        mask_schedule="cosine",
        label_smoothing=0.0,
        loss_average="rows",
        visible_loss_weight=0.0,
        text_dropout=0.1,
        remat=False,
        gradient_accumulation_steps=1,
        **kwargs,
    ):
        """Sets up training.

        Two options let a larger model or batch fit in memory. They change the
        result by no more than rounding, and can be combined.

        Args:
            optimizer: Keras optimizer. Defaults to the paper's,
                `keras_muse.optimizers.AdafactorMomentum()`, at a learning rate
                of 1e-4.
            total_steps: int or `None`. Steps of the whole training, over which
                the learning rate of the default optimizer takes the paper's
                course: up to 1e-4 in 5,000 steps, or in a tenth of them if
                they are fewer than 50,000; from there to zero along a cosine.
                `None` keeps it constant. Defaults to `None`.
            mask_schedule: `"cosine"` or `"arccos"`. From which distribution
                the part of a row that is masked in training is drawn, see
                `keras_muse.ops.masking.random_mask_ratio`. `evaluate` and
                `val_loss` always mask as the paper does. Defaults to
                `"cosine"`.
            label_smoothing: float in [0, 1). Defaults to `0`.
            loss_average: `"rows"` or `"tokens"`. Whether each row counts
                alike, or each masked token of the batch: then a row with few
                masked tokens, which are easy, counts less. Defaults to
                `"rows"`.
            visible_loss_weight: float, at least 0. Weight of the cross-entropy
                of visible tokens, a mean over those of the batch, beside
                that of masked ones. To copy them is easy, and teaches what
                codes mean: small models learn much faster. MaskGen counts a
                visible token a tenth, which is about `0.06` here. `evaluate`
                and `val_loss` leave it out. Defaults to `0`, as in the paper.
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
            ValueError: if an argument is out of its range, if the optimizer
                accumulates too, if there is an optimizer beside `total_steps`,
                or if the weights are float16.

        Example:

        The states of the texts are written once, so that the language model
        is never in memory beside the model that is trained:
        ```python
        keras_muse.data.write_token_shards(
            pairs, "tokens/", tokenizer, text_encoder
        )
        text_encoder.release()

        base = keras_muse.MuseBase(codebook_size=8192)
        dataset = keras_muse.data.read_token_shards("tokens/", batch_size=64)
        base.compile(
            total_steps=10 * len(dataset),
            remat=True,
            gradient_accumulation_steps=4,
        )
        base.fit(dataset, epochs=10)
        ```

        Reference:
            - [MaskGen](https://arxiv.org/abs/2501.07730), for the visible
              tokens
        """
        learning_rate = default_learning_rate(
            total_steps, WARMUP_STEPS, optimizer
        )
        optimizer = keras.optimizers.get(
            optimizer or AdafactorMomentum(learning_rate)
        )
        self.mask_schedule = check_choice(
            mask_schedule, "mask_schedule", masking.MASK_SCHEDULES
        )
        self.label_smoothing = check_number(
            label_smoothing, "label_smoothing", 0, 1, open_at="high"
        )
        self.loss_average = check_choice(
            loss_average, "loss_average", ("rows", "tokens")
        )
        self.visible_loss_weight = check_number(
            visible_loss_weight, "visible_loss_weight", low=0
        )
        self.text_dropout = check_number(text_dropout, "text_dropout", 0, 1)
        self.remat = check_bool(remat, "remat")
        self.gradient_accumulation_steps = check_accumulation(
            gradient_accumulation_steps, optimizer
        )
        super().compile(optimizer=optimizer, **kwargs)

    def check_data(self, x, argument, training=True):
        check_training_data(
            x,
            argument,
            self.batch_inputs(training),
            self._id_ranges(),
            self.text_dim,
        )

    def train_step(self, *args, **kwargs):
        if self.gradient_accumulation_steps == 1:
            return super().train_step(*args, **kwargs)
        with self._inside("train"):
            return micro_batches.train_step(self, *args, **kwargs)

    @property
    def recomputes(self):
        """bool. Whether what runs now is a training step with `remat`."""
        return self._step == "train" and self.remat

    def loss_inputs(self, inputs, training):
        if "mask" not in inputs:  # micro-batches come masked
            inputs = self.mask_inputs(inputs, training)
        return {
            "features": self.hidden(inputs),
            "token_ids": inputs["clean_token_ids"],
            "mask": inputs["mask"],
            "mean_masked": inputs["mean_masked"],
        }

    def mask_inputs(self, inputs, training):
        """A batch of clean tokens as the loss needs it; see `mask_tokens`."""
        check_inputs(inputs, self.batch_inputs(training), "inputs")
        token_ids = self._flat_token_ids(inputs)
        inputs = {**without_none(inputs), "token_ids": token_ids}
        if training:
            seeds = draw_seeds(self.seed_generator, token_ids)
        else:
            # A row's mask follows from the row: the loss repeats.
            seeds = noise.hash_rows(token_ids)
        return mask_tokens(
            inputs,
            seeds,
            self.mask_token_id,
            # A loss of held-out rows is that of the paper's masks.
            self.mask_schedule if training else "cosine",
            self.text_dropout if training else 0,
        )

    @property
    def term_weights(self):
        weights = {"masked_token_loss": 1.0}
        if self.visible_loss_weight:
            weights["visible_token_loss"] = self.visible_loss_weight
        return weights

    @property
    def shown_terms(self):
        # One alone is the loss itself.
        return tuple(self.term_weights) if self.visible_loss_weight else ()

    def loss_terms(self, inputs, outputs, training):
        mask = outputs["mask"]  # (batch, num_tokens)
        cross_entropy, is_right = score_tokens(
            self,
            outputs["features"],
            outputs["token_ids"],
            self.label_smoothing,
        )
        self.accuracy.update_state(mean_over_mask(is_right, mask))
        # Of a part of a batch, its share in the mean over the whole one.
        mean_masked = outputs["mean_masked"]
        if self.loss_average == "tokens":
            loss = mean_over_batch(cross_entropy, mask, mean_masked)
        else:
            # A mean over rows, each of which is one over its masked tokens.
            loss = ops.mean(mean_over_mask(cross_entropy, mask))
        terms = {"masked_token_loss": loss}
        if self.visible_loss_weight:
            terms["visible_token_loss"] = mean_over_batch(
                cross_entropy,
                ops.logical_not(mask),
                self.num_tokens - mean_masked,
            )
        return terms

    # === Decoding ===

    def generate(
        self,
        text_embeddings,
        text_mask,
        negative_text_embeddings=None,
        negative_text_mask=None,
        *,
        token_ids=None,
        num_steps=24,
        guidance_scale=3.0,
        seed=None,
        sampler=None,
        batch_size=None,
        callback=None,
        verbose="auto",
    ):
        """Decodes the tokens of pictures from the embeddings of their texts.

        Args:
            text_embeddings: float array of shape `(batch, text_length,
                text_dim)`.
            text_mask: bool array of shape `(batch, text_length)`, true at
                real tokens.
            negative_text_embeddings: float array of the shape of
                `text_embeddings`, or `None`. Guidance leads away from it.
            negative_text_mask: bool array, with `negative_text_embeddings`.
                A row without a true value has no negative text.
            token_ids: int array of shape `(batch, num_tokens)` or as a grid,
                or `None`. Tokens that are not [MASK] are kept.
            num_steps: int. Decoding steps. Defaults to `24`.
            guidance_scale: float. Scale at the end of the sampler's schedule;
                `1` is no guidance. Defaults to `3`.
            seed: int, list of ints or `None`. Image `i` has the seed
                `seed + i`, or its own of the list. `None` draws one and
                prints it.
            sampler: a `keras_muse.samplers.Sampler`, or its name, as
                `"halton"`. Defaults to `"confidence"`.
            batch_size: int or `None`. Images decoded at once; short batches
                are filled up to it. Defaults to all, up to 16.
            callback: function of `(step, start, token_ids)` or `None`, called
                after each step with the grid `(images, height, width)` of the
                images from number `start` on; undecided tokens are [MASK]. If
                it returns `True` and nothing is masked, these images are done.
            verbose: `"auto"`, 0 or 1. Whether to draw a progress bar.
                Defaults to `"auto"`.

        Returns:
            int32 numpy array of shape `(batch, height, width)`.

        Raises:
            ValueError: if texts, tokens and seeds do not match, or an
                argument is out of its range.
        """
        inputs = check_text(text_embeddings, text_mask, self.text_dim)
        negative = check_negative_text(
            inputs, negative_text_embeddings, negative_text_mask, self.text_dim
        )
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
            "codebook_size": self.codebook_size,
            "grid_size": self.grid_size,
            "text_dim": self.text_dim,
        }
