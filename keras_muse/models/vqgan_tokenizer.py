"""VQGANTokenizer: pictures to a grid of tokens and back."""

import re

import keras
import numpy as np
from keras import ops

from keras_muse.layers.vector_quantizer import VectorQuantizer
from keras_muse.layers.vqgan_decoder import VQGANDecoder
from keras_muse.layers.vqgan_encoder import VQGANEncoder
from keras_muse.losses.adversarial import AdversarialLoss
from keras_muse.losses.lpips import LPIPS
from keras_muse.losses.tokenizer_loss import LOSS_NAMES
from keras_muse.losses.tokenizer_loss import TokenizerLoss
from keras_muse.metrics.codebook_usage import CodebookPerplexity
from keras_muse.metrics.codebook_usage import CodebookUsage
from keras_muse.models.compiled import compile_function
from keras_muse.models.compiled import map_batches
from keras_muse.models.discriminator import Discriminator
from keras_muse.models.step_outputs import StepOutputsModel
from keras_muse.ops import images as image_ops
from keras_muse.training.nan_guard import NaNGuard


@keras.saving.register_keras_serializable(package="keras_muse")
class VQGANTokenizer(StepOutputsModel):
    """A fully convolutional VQGAN: pictures to discrete tokens and back.

    `compile()` and `fit(images)` run the whole recipe; `encode` and `decode`
    are what the transformers use. Without attention, it takes pictures of any
    size that its downsampling factor divides.

    Args:
        base_channels: int. Channels at full resolution. Defaults to `128`.
        channel_multipliers: tuple of ints. Channels of each level in units of
            `base_channels`; the downsampling factor is
            `2 ** (len(channel_multipliers) - 1)`. Defaults to
            `(1, 1, 2, 2, 4)`, the paper's factor 16; `(1, 2, 2, 4)` is its
            factor 8.
        num_res_blocks: int. Residual blocks a level. Defaults to `2`.
        codebook_size: int. Number of codes. Defaults to `8192`.
        codebook_dim: int. Width of a code. Defaults to `256`.
        decoder_base_channels: int. The same for the decoder; defaults to
            `base_channels`.
        decoder_num_res_blocks: int. The same for the decoder; defaults to
            `num_res_blocks`.
        num_groups: int. Groups of the normalizations. Defaults to `32`.
        use_bias: bool. Whether convolutions in the blocks have a bias.
            Defaults to `False`.
        downsampling: string. `"avg_pool"` or `"conv"`. Defaults to
            `"avg_pool"`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: tensor of shape `(batch, height, width, 3)`, uint8 in [0, 255]
            or float in [-1, 1].

    Returns:
        float32 tensor of shape `(batch, height, width, 3)` near [-1, 1]: the
        pictures after a round trip through tokens.

    Raises:
        ValueError: if the inputs are not pictures whose height and width the
            downsampling factor divides.

    Example:
    ```python
    import numpy as np
    import keras_muse

    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=8, channel_multipliers=(1, 2, 2), num_res_blocks=1,
        codebook_size=32, codebook_dim=8, num_groups=4,
    )
    images = np.random.randint(0, 256, (8, 16, 16, 3), "uint8")
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    tokenizer.fit(images, batch_size=4, verbose=0)
    token_ids = tokenizer.encode(images)  # (8, 4, 4)
    restored = tokenizer.decode(token_ids)  # (8, 16, 16, 3)
    ```

    Reference:
        - [Muse, section 2.2, appendix A.2](https://arxiv.org/abs/2301.00704)
        - [VQGAN](https://arxiv.org/abs/2012.09841)
    """

    def __init__(
        self,
        base_channels=128,
        channel_multipliers=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        codebook_size=8192,
        codebook_dim=256,
        decoder_base_channels=None,
        decoder_num_res_blocks=None,
        num_groups=32,
        use_bias=False,
        downsampling="avg_pool",
        dtype=None,
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.decoder_base_channels = decoder_base_channels or base_channels
        self.decoder_num_res_blocks = decoder_num_res_blocks or num_res_blocks
        self.num_groups = num_groups
        self.use_bias = use_bias
        self.downsampling = downsampling
        self.encoder = VQGANEncoder(
            base_channels,
            channel_multipliers,
            num_res_blocks,
            codebook_dim,
            num_groups,
            use_bias,
            downsampling,
            dtype=self.dtype_policy,
            name="encoder",
        )
        self.quantizer = VectorQuantizer(
            codebook_size,
            codebook_dim,
            dtype=self.dtype_policy,
            name="quantizer",
        )
        self.decoder = VQGANDecoder(
            self.decoder_base_channels,
            channel_multipliers,
            self.decoder_num_res_blocks,
            num_groups,
            use_bias,
            dtype=self.dtype_policy,
            name="decoder",
        )
        self.tokenizer_loss = None  # what `compile` attaches
        self._loss_means = {
            name: keras.metrics.Mean(name=name) for name in LOSS_NAMES
        }
        self.codebook_usage = CodebookUsage(codebook_size)
        self.codebook_perplexity = CodebookPerplexity(codebook_size)
        self._encode = self._decode = None
        self.build()

    def build(self, input_shape=None):
        self.encoder.build((None, None, None, 3))
        self.quantizer.build((None, None, None, self.codebook_dim))
        self.decoder.build((None, None, None, self.codebook_dim))
        self.built = True

    @property
    def downsampling_factor(self):
        """int. Pixels a token, along each side of the picture."""
        return 2 ** (len(self.channel_multipliers) - 1)

    # === Forward passes ===

    def inference(self, inputs):
        return self._reconstruct(inputs, training=False)["images"]

    def training_outputs(self, inputs, training):
        return self._reconstruct(inputs, training)

    def _reconstruct(self, inputs, training):
        codes = self.quantizer(self._latents(inputs), training=training)
        return {**codes, "images": self.decoder(codes["quantized"])}

    def _latents(self, images):
        self._check_images(images)
        images = image_ops.to_model_range(images, self.compute_dtype)
        return self.encoder(images)  # (batch, h, w, codebook_dim)

    def _check_images(self, images):
        shape, factor = tuple(images.shape), self.downsampling_factor
        if len(shape) != 4 or shape[-1] != 3:
            raise ValueError(
                "`images` must be of shape (batch, height, width, 3). "
                f"Received: images.shape={shape}"
            )
        if shape[0] == 0:
            raise ValueError(
                f"`images` must not be empty. Received: images.shape={shape}"
            )
        if any(side is not None and side % factor for side in shape[1:3]):
            raise ValueError(
                "The height and width of `images` must be divisible by the "
                f"downsampling factor {factor}. Received: images.shape={shape}"
            )

    # === Tokens ===

    def encode(self, images, batch_size=32):
        """Turns pictures into tokens.

        Args:
            images: array of shape `(batch, height, width, 3)`, uint8 in
                [0, 255] or float in [-1, 1].
            batch_size: int. How many go through the encoder at once.
                Defaults to `32`.

        Returns:
            int32 numpy array of shape `(batch, height / f, width / f)`, with
            `f` the downsampling factor.
        """
        images = np.asarray(images)
        self._check_images(images)
        if self._encode is None:
            self._encode = compile_function(
                self, lambda x: self.quantizer(self._latents(x))["token_ids"]
            )
        return map_batches(self._encode, [images], batch_size)

    def decode(self, token_ids, batch_size=32):
        """Turns tokens into pictures.

        Args:
            token_ids: int array of shape `(batch, h, w)`.
            batch_size: int. How many go through the decoder at once. Defaults
                to `32`.

        Returns:
            float32 numpy array of shape `(batch, h * f, w * f, 3)` near
            [-1, 1], with `f` the downsampling factor.
        """
        token_ids = np.asarray(token_ids)
        if token_ids.ndim != 3 or token_ids.size == 0:
            raise ValueError(
                "`token_ids` must be of shape (batch, h, w) and must not be "
                f"empty. Received: token_ids.shape={token_ids.shape}"
            )
        if token_ids.dtype.kind not in "iu":
            raise ValueError(
                "`token_ids` must be integers. Received: token_ids.dtype="
                f"{token_ids.dtype}"
            )
        if token_ids.min() < 0 or token_ids.max() >= self.codebook_size:
            raise ValueError(
                "`token_ids` must be in [0, codebook_size = "
                f"{self.codebook_size}). Received: values from "
                f"{token_ids.min()} to {token_ids.max()}"
            )
        if self._decode is None:
            self._decode = compile_function(self, self._decode_tokens)
        return map_batches(
            self._decode, [token_ids.astype("int32")], batch_size
        )

    def _decode_tokens(self, token_ids):
        codes = self.quantizer.lookup(token_ids)
        return self.decoder(ops.cast(codes, self.compute_dtype))

    # === Training ===

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
        if self.tokenizer_loss is not None:
            self._layers.remove(self.tokenizer_loss)
        self._tracker.unlock()
        self.tokenizer_loss = tokenizer_loss
        self._tracker.lock()

    def fit(self, x=None, *args, callbacks=None, **kwargs):
        """`keras.Model.fit` on pictures, with a guard against NaN.

        Args:
            x: array of shape `(num_images, height, width, 3)`, uint8 or
                float, or a dataset of batches of such pictures.
            callbacks: list of Keras callbacks.
            **kwargs: other arguments of `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.
        """
        if hasattr(x, "__len__") and len(x) == 0:
            raise ValueError(f"`x` must not be empty. Received: x={x!r}")
        callbacks = list(callbacks or [])
        if not any(isinstance(c, NaNGuard) for c in callbacks):
            callbacks.append(NaNGuard())
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

    def finetune_decoder(self, num_res_blocks=4, base_channels=256):
        """A new tokenizer with these codes and a larger decoder to train.

        Its tokens are this tokenizer's, bit for bit: encoder and codebook are
        copied and frozen. The decoder starts afresh, its shapes being others.

        Args:
            num_res_blocks: int. Residual blocks a level of the new decoder.
            base_channels: int. Channels of the new decoder.

        Returns:
            A `VQGANTokenizer` to `compile` and `fit`.

        Reference:
            - [Muse, section 2.5](https://arxiv.org/abs/2301.00704)
        """
        tokenizer = self._copy(
            decoder_num_res_blocks=num_res_blocks,
            decoder_base_channels=base_channels,
        )
        tokenizer.encoder.trainable = False
        tokenizer.quantizer.trainable = False
        return tokenizer

    # === Saving ===

    def _copy(self, **changes):
        """A tokenizer without training attachments and with these weights."""
        copy = self.from_config({**self.get_config(), **changes})
        for part in ("encoder", "quantizer", "decoder"):
            if part == "decoder" and changes:
                continue
            getattr(copy, part).set_weights(getattr(self, part).get_weights())
        return copy

    def save(self, filepath, **kwargs):
        """Saves the tokenizer, without what `compile` attached."""
        super(VQGANTokenizer, self._copy()).save(filepath, **kwargs)

    def save_to_preset(self, preset_dir, **kwargs):
        """Saves the tokenizer as a preset, without what `compile` attached."""
        super(VQGANTokenizer, self._copy()).save_to_preset(preset_dir, **kwargs)

    def get_config(self):
        return {
            **super().get_config(),
            "base_channels": self.base_channels,
            "channel_multipliers": self.channel_multipliers,
            "num_res_blocks": self.num_res_blocks,
            "codebook_size": self.codebook_size,
            "codebook_dim": self.codebook_dim,
            "decoder_base_channels": self.decoder_base_channels,
            "decoder_num_res_blocks": self.decoder_num_res_blocks,
            "num_groups": self.num_groups,
            "use_bias": self.use_bias,
            "downsampling": self.downsampling,
        }


def paths_of(model):
    """A regular expression for the paths of a model's variables."""
    # Not the model's own path: a functional model's variables lack it.
    return "|".join(re.escape(v.path) for v in model.trainable_variables)


def default_optimizer():
    """The paper's optimizer of tokenizers (Muse, Table 5)."""
    return keras.optimizers.AdamW(
        1e-4, beta_1=0.9, beta_2=0.99, weight_decay=1e-4
    )
