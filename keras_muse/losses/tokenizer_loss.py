"""What a VQGAN is trained on, beside what its quantizer asks for."""

import keras
from keras import ops

from keras_muse.ops import images as image_ops
from keras_muse.runtime.checks import check_choice

LOSS_NAMES = (
    "reconstruction_loss",
    "perceptual_loss",
    "adversarial_loss",
    "discriminator_loss",
)


class TokenizerLoss(keras.layers.Layer):
    """Reconstruction, perceptual and adversarial loss.

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

    Call arguments:
        images: tensor of shape `(batch, height, width, 3)`, uint8 or float.
        restored: float tensor of the same shape, the tokenizer's pictures.
        training: bool.

    Returns:
        A dict of float32 scalars, unweighted, by the name of the loss.
    """

    def __init__(
        self,
        reconstruction,
        perceptual,
        perceptual_weight,
        adversarial,
        adversarial_weight,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        check_choice(reconstruction, "reconstruction", ("l1", "l2"))
        self.reconstruction = reconstruction
        self.perceptual = perceptual
        self.adversarial = adversarial
        weights = (
            1.0,
            perceptual_weight if perceptual is not None else 0.0,
            adversarial_weight if adversarial is not None else 0.0,
            1.0 if adversarial is not None else 0.0,
        )
        # Of the losses in use.
        self.term_weights = {
            name: weight
            for name, weight in zip(LOSS_NAMES, weights, strict=True)
            if weight
        }
        self.built = True

    def call(self, images, restored, training=False):
        real = image_ops.to_model_range(images)
        fake = ops.cast(restored, "float32")
        terms = {"reconstruction_loss": self._reconstruction_loss(real, fake)}
        if "perceptual_loss" in self.term_weights:
            terms["perceptual_loss"] = ops.mean(self.perceptual(real, fake))
        if self.adversarial is not None:
            terms.update(self.adversarial(real, fake, training=training))
        return terms

    def _reconstruction_loss(self, real, fake):
        difference = real - fake
        if self.reconstruction == "l1":
            return ops.mean(ops.abs(difference))
        return ops.mean(ops.square(difference))
