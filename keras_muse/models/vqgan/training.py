"""How a VQGAN is trained: the recipe behind `compile` and `fit`."""

import re
import warnings

import keras

from keras_muse.files.hdf5 import open_hdf5
from keras_muse.losses.adversarial import AdversarialLoss
from keras_muse.losses.lpips import LPIPS
from keras_muse.losses.tokenizer_loss import LOSS_NAMES
from keras_muse.losses.tokenizer_loss import TokenizerLoss
from keras_muse.metrics.codebook_usage import CodebookPerplexity
from keras_muse.metrics.codebook_usage import CodebookUsage
from keras_muse.models.muse_model import MuseModel
from keras_muse.models.vqgan.discriminator import Discriminator
from keras_muse.ops import images as image_ops
from keras_muse.optimizers.warmup_cosine import default_learning_rate
from keras_muse.runtime.batches import first_batch
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import show
from keras_muse.runtime.variables import unchanged_on_failure

WARMUP_STEPS = 10_000  # of the paper, Table 5


class TokenizerTraining(MuseModel):
    """The training half of `VQGANTokenizer`.

    Args:
        quantizer: a layer such as `VectorQuantizer`.
        **kwargs: arguments of `keras.Model`.
    """

    # A critic that begins to count would else look like a worse tokenizer.
    passing_losses = ("adversarial_loss", "discriminator_loss")
    larger_is_better = ("codebook_usage", "codebook_perplexity")

    def __init__(self, quantizer, **kwargs):
        super().__init__(**kwargs)
        self.quantizer = quantizer
        self.tokenizer_loss = None  # what `compile` attaches
        self._quantizer_weights = {}
        self._track_losses((*LOSS_NAMES, *quantizer.loss_weights))
        self.codebook_usage = CodebookUsage(quantizer.codebook_size)
        self.codebook_perplexity = CodebookPerplexity(quantizer.codebook_size)

    def compile(
        self,
        optimizer=None,
        discriminator_optimizer=None,
        *,
        total_steps=None,
        reconstruction="l2",
        perceptual="alexnet",
        perceptual_weight=None,
        adversarial_weight=0.1,
        adversarial_start=10_000,
        discriminator=None,
        regularization="lecam",
        regularization_weight=None,
        commitment_weight=None,
        entropy_weight=None,
        **kwargs,
    ):
        """Sets up the training recipe.

        The weights of the losses and the optimizers default to the paper's
        where it states them. The networks that are attached here never enter
        a preset or a `.keras` file; a weights checkpoint of a training has
        them.

        Args:
            optimizer: Keras optimizer of the tokenizer. Defaults to
                `AdamW(1e-4, beta_1=0.9, beta_2=0.99, weight_decay=1e-4)`.
            discriminator_optimizer: Keras optimizer of the discriminator.
                Defaults to the same settings.
            total_steps: int or `None`. Steps of the whole training, over which
                the learning rates of default optimizers take the paper's
                course: up to 1e-4 in 10,000 steps, or in a tenth of them if
                they are fewer than 100,000; from there to zero along a cosine.
                `None` keeps them constant. Defaults to `None`.
            reconstruction: string. `"l2"` or `"l1"`. Defaults to `"l2"`.
            perceptual: `"alexnet"` (bundled), `"vgg16"`, a
                `keras_muse.losses.LPIPS` or `None`. Defaults to `"alexnet"`.
            perceptual_weight: float. Defaults to `0.05`.
            adversarial_weight: float. `0` trains without a discriminator.
                Defaults to `0.1`.
            adversarial_start: int. Steps before the adversarial losses
                count: too early, they ruin the reconstructions. Defaults to
                `10_000`.
            discriminator: a `keras_muse.Discriminator`, or `None` for a
                default one.
            regularization: `"lecam"`, `"r1"` or `None`. Regularization of
                the discriminator. Defaults to `"lecam"`.
            regularization_weight: float or `None` for its usual weight.
            commitment_weight: float. Defaults to the quantizer's, `0.25`.
            entropy_weight: float. `0` saves time where codes are many.
                Defaults to the quantizer's, `0.1`.
            **kwargs: other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if an argument is out of its range, or weighs a loss
                that the quantizer does not have; if there is an optimizer
                beside `total_steps`, or if the weights are float16.
        """
        check_number(adversarial_weight, "adversarial_weight", low=0)
        check_choice(reconstruction, "reconstruction", ("l1", "l2"))
        for name, weight in (
            ("perceptual_weight", perceptual_weight),
            ("regularization_weight", regularization_weight),
            ("commitment_weight", commitment_weight),
            ("entropy_weight", entropy_weight),
        ):
            if weight is not None:
                check_number(weight, name, low=0)
        check_int(adversarial_start, "adversarial_start", low=0)
        check_choice(regularization, "regularization", ("lecam", "r1", None))
        if not isinstance(perceptual, keras.layers.Layer):
            check_choice(perceptual, "perceptual", ("alexnet", "vgg16", None))
        if adversarial_weight:
            _check_mixable("optimizer", optimizer)
            _check_mixable("discriminator_optimizer", discriminator_optimizer)
        _check_of_use(
            "perceptual", perceptual, perceptual_weight=perceptual_weight
        )
        _check_of_use(
            "adversarial_weight",
            adversarial_weight,
            discriminator=discriminator,
            discriminator_optimizer=discriminator_optimizer,
            regularization_weight=regularization_weight,
        )
        _check_of_use(
            "regularization",
            regularization,
            regularization_weight=regularization_weight,
        )
        weights = {
            "commitment_loss": commitment_weight,
            "entropy_loss": entropy_weight,
        }
        learning_rate = default_learning_rate(
            total_steps, WARMUP_STEPS, optimizer
        )
        self._quantizer_weights = _weights_in_use(self.quantizer, weights)
        adversarial = None
        if adversarial_weight:
            if discriminator is None:
                dtype = self.dtype_policy
                if regularization == "r1":
                    dtype = "float32"
                discriminator = Discriminator(dtype=dtype)
            adversarial = AdversarialLoss(
                discriminator,
                adversarial_start,
                regularization,
                regularization_weight,
                name="adversarial",
            )
        if isinstance(perceptual, str):
            perceptual = LPIPS(perceptual)
        self._attach(
            TokenizerLoss(
                reconstruction,
                perceptual,
                0.05 if perceptual_weight is None else perceptual_weight,
                adversarial,
                adversarial_weight,
                name="tokenizer_loss",
            )
        )
        optimizer = keras.optimizers.get(
            optimizer or _default_optimizer(learning_rate)
        )
        if adversarial is not None:
            optimizer = keras.optimizers.MultiOptimizer(
                keras.optimizers.OptimizerMap(
                    optimizer,
                    {
                        paths_of(discriminator): keras.optimizers.get(
                            discriminator_optimizer
                            or _default_optimizer(learning_rate)
                        )
                    },
                ),
                # One loss is scaled, for both.
                loss_scale_factor=optimizer.loss_scale_factor,
            )
        super().compile(optimizer=optimizer, **kwargs)

    def _attach(self, tokenizer_loss):
        # A built model takes no new layers unless told so, and keeps those it
        # had: without the removal a second `compile` would train two critics.
        # Keras knows layers by their address, and forgets it in `untrack` only.
        self._tracker.unlock()
        if self.tokenizer_loss is not None:
            self._tracker.untrack(self.tokenizer_loss)
        self.tokenizer_loss = tokenizer_loss
        self._tracker.lock()

    def load_weights(self, filepath, *args, **kwargs):
        """`keras.Model.load_weights`, also of what `compile` attached.

        Raises:
            ValueError: if the file is of another model, or lacks a network
                of the losses; the tokenizer is left as it was.
        """
        variables = list(self.variables)
        if self.compiled:
            variables += self.optimizer.variables
        try:
            with unchanged_on_failure(variables):
                super().load_weights(filepath, *args, **kwargs)
        except ValueError as error:
            if not (missing := self._networks_missing_in(filepath)):
                raise
            raise ValueError(
                "`load_weights` must come before `compile` where a file was "
                "saved without the networks that `compile` attaches. "
                f"Received: filepath={show(filepath)}, without the "
                f"{' and the '.join(missing)} that the tokenizer "
                f"{self.name!r} has"
            ) from error

    def _networks_missing_in(self, filepath):
        """Names of the losses' networks that a file of weights lacks."""
        if self.tokenizer_loss is None or not str(filepath).endswith(
            ".weights.h5"
        ):
            return []
        with open_hdf5(filepath) as file:
            saved = set(file.get("layers/tokenizer_loss", ()))
        networks = {"perceptual": "LPIPS", "adversarial": "discriminator"}
        return [
            network
            for name, network in networks.items()
            if name not in saved
            and getattr(self.tokenizer_loss, name) is not None
        ]

    def check_data(self, x, argument, training=True):
        """Refuses empty data, and what is no pictures."""
        if hasattr(x, "batch_names"):
            raise ValueError(
                f"`{argument}` must be pictures alone, such as `pairs.images` "
                f"of captioned ones. Received: batches of {x.batch_names}"
            )
        images = first_batch(x)
        if images is None and x is not None:
            return
        if 0 in getattr(images, "shape", ()):
            raise ValueError(
                f"`{argument}` must not be empty. Received: {argument}.shape="
                f"{tuple(images.shape)}"
            )
        self.check_images(images, argument)
        image_ops.check_range(images, argument)
        if training:
            self._warn_of_few_tokens(images.shape[1:3])

    def _warn_of_few_tokens(self, size):
        """Says so where a whole picture would be a handful of tokens."""
        factor = self.downsampling_factor
        height, width = (side // factor for side in size)
        if factor < 8 or min(height, width) >= 4:
            return
        name = "vqgan_f4_small" if min(size) < 64 else "vqgan_f8_small"
        warnings.warn(
            f"Pictures of {size[0]} x {size[1]} pixels become {height} x "
            f"{width} tokens, too few to draw with. The default sizes are the "
            "paper's, for 256 pixels and an accelerator; for small pictures "
            f'there is VQGANTokenizer.from_preset("{name}", '
            "load_weights=False).",
            stacklevel=4,
        )

    @property
    def term_weights(self):
        if self.tokenizer_loss is None:
            return {}
        return {**self.tokenizer_loss.term_weights, **self._quantizer_weights}

    def loss_terms(self, inputs, outputs, training):
        if self.tokenizer_loss is None:
            raise ValueError(
                "The losses of a tokenizer need `compile`, which attaches "
                "their networks. Received: a tokenizer that is not compiled"
            )
        for health in (self.codebook_usage, self.codebook_perplexity):
            health.count(outputs["token_ids"])
        terms = self.tokenizer_loss(
            inputs, outputs["images"], training=training
        )
        return {**terms, **outputs["losses"]}


def _check_mixable(argument, optimizer):
    """Refuses optimizers that Keras cannot have beside another."""
    kinds = (
        keras.optimizers.LossScaleOptimizer,
        keras.optimizers.MultiOptimizer,
    )
    if isinstance(optimizer, kinds):
        raise ValueError(
            f"`{argument}` must be a plain optimizer beside a discriminator, "
            "which has its own; Keras scales the loss of both by itself in "
            f"'mixed_float16'. Received: {argument} of type "
            f"{type(optimizer).__name__}"
        )


def _check_of_use(name, value, **given):
    """Refuses arguments that are given where one is off that they go with."""
    for argument, x in given.items():
        if x is not None and not value:
            raise ValueError(
                f"`{argument}` is of use only with `{name}`. Received: "
                f"{argument}={show(x)}, {name}={value}"
            )


def _weights_in_use(quantizer, given):
    """What each loss of the quantizer counts, by its name."""
    given = {
        name: weight for name, weight in given.items() if weight is not None
    }
    if unknown := [
        name for name in given if name not in quantizer.loss_weights
    ]:
        raise ValueError(
            f"`{unknown[0].replace('loss', 'weight')}` is of use only with a "
            f"quantizer that has such a loss. Received: a "
            f"{type(quantizer).__name__} with {list(quantizer.loss_weights)}"
        )
    weights = {**quantizer.loss_weights, **given}
    return {name: weight for name, weight in weights.items() if weight}


def paths_of(model):
    """A regular expression for the paths of a model's variables."""
    # Not the model's own path: a functional model's variables lack it.
    return "|".join(re.escape(v.path) for v in model.trainable_variables)


def _default_optimizer(learning_rate):
    """The paper's optimizer of tokenizers (Muse, Table 5)."""
    return keras.optimizers.AdamW(
        learning_rate, beta_1=0.9, beta_2=0.99, weight_decay=1e-4
    )
