"""How a VQGAN is trained: the recipe behind `compile` and `fit`."""

import re

import keras

from keras_muse.losses.adversarial import AdversarialLoss
from keras_muse.losses.lpips import LPIPS
from keras_muse.losses.tokenizer_loss import LOSS_NAMES
from keras_muse.losses.tokenizer_loss import TokenizerLoss
from keras_muse.metrics.codebook_usage import CodebookPerplexity
from keras_muse.metrics.codebook_usage import CodebookUsage
from keras_muse.models.discriminator import Discriminator
from keras_muse.models.step_outputs import StepOutputsModel
from keras_muse.training.nan_guard import NaNGuard


class TokenizerTraining(StepOutputsModel):
    """The training half of `VQGANTokenizer`.

    Args:
        codebook_size: int. Number of codes.
        **kwargs: arguments of `keras.Model`.
    """

    def __init__(self, codebook_size, **kwargs):
        super().__init__(**kwargs)
        self.codebook_size = codebook_size
        self.tokenizer_loss = None  # what `compile` attaches
        self._loss_means = {
            name: keras.metrics.Mean(name=name) for name in LOSS_NAMES
        }
        self.codebook_usage = CodebookUsage(codebook_size)
        self.codebook_perplexity = CodebookPerplexity(codebook_size)

    def compile(
        self,
        optimizer=None,
        discriminator_optimizer=None,
        *,
        reconstruction="l2",
        perceptual="alexnet",
        perceptual_weight=0.05,
        adversarial_weight=0.1,
        adversarial_start=10_000,
        discriminator=None,
        regularization="lecam",
        regularization_weight=None,
        commitment_weight=0.25,
        entropy_weight=0.1,
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
            reconstruction: string. `"l2"` or `"l1"`.
            perceptual: `"alexnet"` (bundled), `"vgg16"`, a
                `keras_muse.losses.LPIPS` or `None`.
            perceptual_weight: float.
            adversarial_weight: float. `0` trains without a discriminator.
            adversarial_start: int. Steps before the adversarial losses
                count: too early, they ruin the reconstructions.
            discriminator: a `keras_muse.Discriminator`, or `None` for a
                default one.
            regularization: `"lecam"`, `"r1"` or `None`. Regularization of
                the discriminator.
            regularization_weight: float or `None` for its usual weight.
            commitment_weight: float.
            entropy_weight: float. `0` saves time where codes are many.
            **kwargs: other arguments of `keras.Model.compile`.
        """
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
                perceptual_weight,
                adversarial,
                adversarial_weight,
                commitment_weight,
                entropy_weight,
                name="tokenizer_loss",
            )
        )
        optimizer = keras.optimizers.get(optimizer or default_optimizer())
        if adversarial is not None:
            optimizer = keras.optimizers.MultiOptimizer(
                keras.optimizers.OptimizerMap(
                    optimizer,
                    {
                        paths_of(discriminator): keras.optimizers.get(
                            discriminator_optimizer or default_optimizer()
                        )
                    },
                )
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

    def fit(self, x=None, *args, callbacks=None, **kwargs):
        """`keras.Model.fit` on pictures, with a guard against NaN.

        Args:
            x: array of shape `(num_images, height, width, 3)`, uint8 or
                float, or a dataset of batches of such pictures.
            callbacks: Keras callback, or list of them.
            **kwargs: other arguments of `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.
        """
        if hasattr(x, "__len__") and len(x) == 0:
            raise ValueError(f"`x` must not be empty. Received: x={x!r}")
        callbacks = keras.tree.flatten(callbacks or [])
        if not any(isinstance(c, NaNGuard) for c in callbacks):
            # First, so that it ends the training before another one saves.
            callbacks.insert(0, NaNGuard())
        return super().fit(x, *args, callbacks=callbacks, **kwargs)

    @property
    def metrics(self):
        if self.tokenizer_loss is None:
            return super().metrics
        means = [self._loss_means[name] for name in self.tokenizer_loss.terms]
        health = [self.codebook_usage, self.codebook_perplexity]
        return [self._loss_tracker, *means, *health]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        terms = self.tokenizer_loss(x, y_pred, training=training)
        loss = terms.pop("loss")
        for name, value in terms.items():
            self._loss_means[name].update_state(value)
        self.codebook_usage.update_state(y_pred["token_ids"])
        self.codebook_perplexity.update_state(y_pred["token_ids"])
        return loss


def paths_of(model):
    """A regular expression for the paths of a model's variables."""
    # Not the model's own path: a functional model's variables lack it.
    return "|".join(re.escape(v.path) for v in model.trainable_variables)


def default_optimizer():
    """The paper's optimizer of tokenizers (Muse, Table 5)."""
    return keras.optimizers.AdamW(
        1e-4, beta_1=0.9, beta_2=0.99, weight_decay=1e-4
    )
