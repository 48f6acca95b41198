"""All that a VQGAN is trained on, as one weighted sum."""

import keras
from keras import ops

from keras_muse.ops import images as image_ops
from keras_muse.ops import quantization

LOSS_NAMES = (
    "reconstruction_loss",
    "perceptual_loss",
    "adversarial_loss",
    "discriminator_loss",
    "commitment_loss",
    "entropy_loss",
)


class TokenizerLoss(keras.layers.Layer):
    """Reconstruction, perceptual, adversarial, commitment and entropy loss.

    It holds the networks that training needs and inference does not. A term
    of weight zero is not computed. All is float32, whatever the global policy.

    Args:
        reconstruction: string. `"l1"` or `"l2"`, the mean difference or
            squared difference of pixels in [-1, 1]. Its weight is 1.
        perceptual: a `keras_muse.losses.LPIPS`, or `None` for no such term.
        perceptual_weight: float.
        adversarial: a `keras_muse.losses.AdversarialLoss`, or `None` for no
            such term.
        adversarial_weight: float. Weight of the generator's part.
        commitment_weight: float. Pulls latent vectors to their codes.
        entropy_weight: float. Spreads vectors over all codes.

    Call arguments:
        images: tensor of shape `(batch, height, width, 3)`, uint8 or float.
        outputs: dict with the tokenizer's `"images"`, float of the same
            shape, and its quantizer's `"distances"`.
        training: bool.

    Returns:
        A dict of float32 scalars, unweighted, by the name of the loss; and
        `"loss"`, their weighted sum.
    """

    def __init__(
        self,
        reconstruction,
        perceptual,
        perceptual_weight,
        adversarial,
        adversarial_weight,
        commitment_weight,
        entropy_weight,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        if reconstruction not in ("l1", "l2"):
            raise ValueError(
                '`reconstruction` must be "l1" or "l2". Received: '
                f"reconstruction={reconstruction}"
            )
        self.reconstruction = reconstruction
        self.perceptual = perceptual
        self.adversarial = adversarial
        weights = (
            1.0,
            perceptual_weight if perceptual is not None else 0.0,
            adversarial_weight if adversarial is not None else 0.0,
            1.0 if adversarial is not None else 0.0,
            commitment_weight,
            entropy_weight,
        )
        self.term_weights = dict(zip(LOSS_NAMES, weights, strict=True))
        self.built = True

    @property
    def terms(self):
        """Names of the losses in use."""
        return [name for name, weight in self.term_weights.items() if weight]

    def call(self, images, outputs, training=False):
        real = image_ops.to_model_range(images)
        fake = ops.cast(outputs["images"], "float32")
        distances = outputs["distances"]
        terms = {"reconstruction_loss": self._reconstruction_loss(real, fake)}
        if "perceptual_loss" in self.terms:
            terms["perceptual_loss"] = ops.mean(self.perceptual(real, fake))
        if self.adversarial is not None:
            terms.update(self.adversarial(real, fake, training=training))
        if "commitment_loss" in self.terms:
            # The distance of a vector to its code, over their width.
            terms["commitment_loss"] = ops.mean(
                ops.min(distances, axis=1)
            ) / ops.cast(outputs["quantized"].shape[-1], "float32")
        if "entropy_loss" in self.terms:
            terms["entropy_loss"] = quantization.entropy_loss(distances)
        terms["loss"] = sum(
            self.term_weights[name] * terms[name] for name in self.terms
        )
        return terms

    def _reconstruction_loss(self, real, fake):
        difference = real - fake
        if self.reconstruction == "l1":
            return ops.mean(ops.abs(difference))
        return ops.mean(ops.square(difference))
