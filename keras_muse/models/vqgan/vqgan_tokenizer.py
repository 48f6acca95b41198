"""VQGANTokenizer: pictures to a grid of tokens and back."""

import keras
import numpy as np
from keras import ops

from keras_muse.layers.vector_quantizer import VectorQuantizer
from keras_muse.layers.vqgan_decoder import VQGANDecoder
from keras_muse.layers.vqgan_encoder import VQGANEncoder
from keras_muse.models.exporting import check_sizes
from keras_muse.models.exporting import of_any_size
from keras_muse.models.layouts import TOKENIZER_RULES
from keras_muse.models.layouts import layout_map_method
from keras_muse.models.vqgan.decoder_growth import can_grow
from keras_muse.models.vqgan.decoder_growth import grow_decoder
from keras_muse.models.vqgan.training import TokenizerTraining
from keras_muse.ops import images as image_ops
from keras_muse.runtime.batches import map_batches
from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_image_shape
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import show
from keras_muse.runtime.compiled import fetchable

# What is said of the VectorQuantizer that is made where none is given.
QUANTIZER_DEFAULTS = {
    "codebook_size": 8192,
    "codebook_dim": 256,
    "normalize_codes": False,
    "revival_steps": 50,
}


@keras.saving.register_keras_serializable(package="keras_muse")
class VQGANTokenizer(TokenizerTraining):
    """A fully convolutional VQGAN: pictures to discrete tokens and back.

    `compile()` and `fit(images)` run the whole recipe; `encode` and `decode`
    are what the transformers use. Without attention, it takes pictures of any
    size that its downsampling factor divides.

    The defaults are the paper's where it states them (128 channels, 2 blocks a
    level, 8,192 codes), for pictures of 256 pixels and an accelerator. For
    smaller ones there are sizes by name, with
    `load_weights=False`: `"vqgan_f4_tiny"` and `"vqgan_f4_small"` for 32 to
    64 pixels, `"vqgan_f8_tiny"` and `"vqgan_f8_small"` for 64 to 256.

    Args:
        base_channels: int. Channels at full resolution. Defaults to `128`.
        channel_multipliers: tuple of ints. Channels of each level in units of
            `base_channels`; the downsampling factor is
            `2 ** (len(channel_multipliers) - 1)`. Defaults to
            `(1, 1, 2, 2, 4)`, factor 16; `(1, 2, 2, 4)` is factor 8.
        num_res_blocks: int. Residual blocks a level. Defaults to `2`.
        codebook_size: int. Number of codes. Defaults to `8192`.
        codebook_dim: int. Width of a code. Defaults to `256`.
        decoder_base_channels: int. `base_channels` of the decoder; defaults
            to the encoder's.
        decoder_num_res_blocks: int. `num_res_blocks` of the decoder; defaults
            to the encoder's.
        num_groups: int. Groups of the normalizations. Defaults to `32`.
        use_bias: bool. Whether convolutions in the blocks have a bias.
            Defaults to `False`.
        downsampling: string. `"avg_pool"` or `"conv"`. Defaults to
            `"avg_pool"`.
        attention_levels: tuple of ints. Levels, as indices into
            `channel_multipliers`, whose residual blocks are each followed by
            attention. Defaults to none.
        use_middle_attention: bool. Whether there is attention between the
            two middle blocks of encoder and decoder. Defaults to `False`.
        use_quant_conv: bool. Whether 1 x 1 convolutions stand on both sides
            of the codebook; the encoder then ends in a 3 x 3 convolution
            before its one. Defaults to `False`.
        latent_dim: int. Channels on the far side of these convolutions.
            Defaults to `codebook_dim`.
        normalize_codes: bool. Whether vectors and codes are brought to
            length 1 before they are compared and looked up. Defaults to
            `False`.
        revival_steps: int. A code that served no vector for so many steps of
            a training is revived; `0` keeps all codes where they are until
            they serve. Defaults to `50`.
        pixel_range: pair of floats. Black and white, as encoder and decoder
            know them. It changes nothing for callers, whose floats are in
            [-1, 1]. Defaults to `(-1, 1)`.
        freeze_tokens: bool. Whether encoder and codebook are frozen, as
            `finetune_decoder` leaves them. Defaults to `False`.
        quantizer: a layer that maps vectors to codes, such as
            `keras_muse.layers.FSQ`; `codebook_size` and `codebook_dim` are
            then its own. Defaults to a `keras_muse.layers.VectorQuantizer`
            of the arguments above.
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

    converters = ("diffusers_vq", "taming", "llamagen", "maskgit")
    get_layout_map = layout_map_method(TOKENIZER_RULES)

    def __init__(
        self,
        base_channels=128,
        channel_multipliers=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        codebook_size=QUANTIZER_DEFAULTS["codebook_size"],
        codebook_dim=QUANTIZER_DEFAULTS["codebook_dim"],
        decoder_base_channels=None,
        decoder_num_res_blocks=None,
        num_groups=32,
        use_bias=False,
        downsampling="avg_pool",
        attention_levels=(),
        use_middle_attention=False,
        use_quant_conv=False,
        latent_dim=None,
        normalize_codes=QUANTIZER_DEFAULTS["normalize_codes"],
        revival_steps=QUANTIZER_DEFAULTS["revival_steps"],
        pixel_range=(-1, 1),
        freeze_tokens=False,
        quantizer=None,
        dtype=None,
        **kwargs,
    ):
        base_channels = check_int(base_channels, "base_channels")
        channel_multipliers = check_ints(
            channel_multipliers, "channel_multipliers"
        )
        num_res_blocks = check_int(num_res_blocks, "num_res_blocks")
        num_groups = check_int(num_groups, "num_groups")
        if np.size(attention_levels):
            levels = check_ints(attention_levels, "attention_levels", low=0)
        else:
            levels = ()
        pixel_range = check_pixel_range(pixel_range)
        is_default = quantizer is None
        if is_default:
            quantizer = VectorQuantizer(
                codebook_size,
                codebook_dim,
                revival_steps=revival_steps,
                normalize_codes=normalize_codes,
                dtype=dtype,
                name="quantizer",
            )
        else:
            quantizer = _as_quantizer(quantizer)
            _check_quantizer(
                quantizer,
                codebook_size=codebook_size,
                codebook_dim=codebook_dim,
                revival_steps=revival_steps,
                normalize_codes=normalize_codes,
            )
        codebook_size = quantizer.codebook_size
        codebook_dim = quantizer.codebook_dim
        # Layers cast for themselves; in bfloat16 pixels would be rounded
        # before they are in the range of the encoder.
        super().__init__(quantizer, dtype=dtype, autocast=False, **kwargs)
        self.has_default_quantizer = is_default
        if latent_dim is not None and not use_quant_conv:
            raise ValueError(
                "`latent_dim` is of use with `use_quant_conv` only. Received: "
                f"latent_dim={latent_dim}, use_quant_conv={use_quant_conv}"
            )
        self.base_channels = base_channels
        self.channel_multipliers = channel_multipliers
        self.num_res_blocks = num_res_blocks
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.decoder_base_channels = _int_or(
            decoder_base_channels, "decoder_base_channels", base_channels
        )
        self.decoder_num_res_blocks = _int_or(
            decoder_num_res_blocks, "decoder_num_res_blocks", num_res_blocks
        )
        self.num_groups = num_groups
        self._check_num_groups()
        self.use_bias = check_bool(use_bias, "use_bias")
        self.downsampling = downsampling
        self.attention_levels = levels
        self.use_middle_attention = check_bool(
            use_middle_attention, "use_middle_attention"
        )
        self.use_quant_conv = check_bool(use_quant_conv, "use_quant_conv")
        self.latent_dim = _int_or(latent_dim, "latent_dim", None)
        self.normalize_codes = normalize_codes
        self.revival_steps = revival_steps
        self.pixel_range = pixel_range
        self.freeze_tokens = check_bool(freeze_tokens, "freeze_tokens")
        published_options = {  # what encoders and decoders of others have
            "attention_levels": levels,
            "use_middle_attention": use_middle_attention,
            "latent_dim": (
                latent_dim or codebook_dim if use_quant_conv else None
            ),
            "dtype": self.dtype_policy,
        }
        self.encoder = VQGANEncoder(
            base_channels,
            channel_multipliers,
            num_res_blocks,
            codebook_dim,
            num_groups,
            use_bias,
            downsampling,
            **published_options,
            name="encoder",
        )
        self.decoder = VQGANDecoder(
            self.decoder_base_channels,
            channel_multipliers,
            self.decoder_num_res_blocks,
            num_groups,
            use_bias,
            **published_options,
            name="decoder",
        )
        self.build()
        if freeze_tokens:
            for layer in self._token_layers:
                layer.trainable = False

    @property
    def _token_layers(self):
        """What says which tokens a picture has."""
        return self.encoder, self.quantizer

    def _check_num_groups(self):
        bases = self.base_channels, self.decoder_base_channels
        channels = {b * m for b in bases for m in self.channel_multipliers}
        channels = sorted(channels | {self.base_channels})
        if any(x % self.num_groups for x in channels):
            raise ValueError(
                "`num_groups` must divide the channels of every level, which "
                f"are {channels}. Received: num_groups={self.num_groups}"
            )

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

    def __call__(self, inputs, *args, **kwargs):
        if isinstance(inputs, np.ndarray):  # the values of tensors stay unseen
            inputs = self._checked(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call_outputs(self, inputs):
        return self._images(self._codes(inputs)["quantized"])

    def loss_inputs(self, inputs, training):
        codes = self._codes(
            inputs, training, loss_names=tuple(self._quantizer_weights)
        )
        return {**codes, "images": self._images(codes["quantized"])}

    def _codes(self, images, training=False, loss_names=()):
        """What the quantizer makes of pictures, a dict."""
        return self.quantizer(
            self._latents(images), training=training, loss_names=loss_names
        )

    def _latents(self, images):
        self.check_images(images)
        images = image_ops.to_model_range(images)
        images = _change_range(images, (-1, 1), self.pixel_range)
        images = ops.cast(images, self.compute_dtype)
        return self.encoder(images)  # (batch, h, w, codebook_dim)

    def _images(self, codes):
        return _change_range(self.decoder(codes), self.pixel_range, (-1, 1))

    def _checked(self, images):
        """Pictures as an array, of a shape and values that it can take."""
        images = check_array(images, "images")
        self.check_images(images)
        image_ops.check_range(images)
        if np.isnan(images).any():
            raise ValueError(
                "`images` must be numbers. Received: pictures with NaN, "
                f"{np.isnan(images).any(axis=(1, 2, 3)).sum()} of {len(images)}"
            )
        return images

    def check_images(self, images, argument="images"):
        """Refuses what has not the shape of pictures it can cut in tokens."""
        check_image_shape(images, argument)
        shape, factor = tuple(images.shape), self.downsampling_factor
        if any(side is not None and side % factor for side in shape[1:3]):
            raise ValueError(
                f"The height and width of `{argument}` must be divisible by "
                f"the downsampling factor {factor}. Received: "
                f"{argument}.shape={shape}"
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

        Raises:
            ValueError: if `images` are not such, or `f` does not divide them.
        """
        images = self._checked(images)
        batch_size = check_int(batch_size, "batch_size")
        encode = self._compiled.get(
            "encode", lambda x: fetchable(self._codes(x)["token_ids"])
        )
        return map_batches(encode, [images], batch_size)

    def decode(self, token_ids, batch_size=32):
        """Turns tokens into pictures.

        Args:
            token_ids: int array of shape `(batch, h, w)`.
            batch_size: int. How many go through the decoder at once. Defaults
                to `32`.

        Returns:
            float32 numpy array of shape `(batch, h * f, w * f, 3)` near
            [-1, 1], with `f` the downsampling factor.

        Raises:
            ValueError: if `token_ids` are not such, or not all are codes.
        """
        token_ids = check_array(token_ids, "token_ids")
        batch_size = check_int(batch_size, "batch_size")
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
        decode = self._compiled.get("decode", self._decode_tokens)
        return map_batches(decode, [token_ids.astype("int32")], batch_size)

    def _decode_tokens(self, token_ids):
        codes = self.quantizer.lookup(token_ids)
        return fetchable(self._images(ops.cast(codes, self.compute_dtype)))

    # === A larger decoder ===

    def finetune_decoder(self, num_res_blocks=4, base_channels=256):
        """A new tokenizer with these codes and a larger decoder to train.

        Its tokens are this tokenizer's, bit for bit: encoder and codebook are
        copied and frozen. With a multiple of this decoder's channels, at
        least its residual blocks and no attention, the new decoder paints as
        this one does until it is trained; else it starts afresh.

        Args:
            num_res_blocks: int. Residual blocks a level of the new decoder.
                Defaults to `4`.
            base_channels: int. Channels of the new decoder. Defaults to
                `256`.

        Returns:
            A `VQGANTokenizer` to `compile` and `fit`.

        Reference:
            - [Muse, section 2.5](https://arxiv.org/abs/2301.00704)
            - [Net2Net](https://arxiv.org/abs/1511.05641)
        """
        tokenizer = self._copy(
            decoder_num_res_blocks=check_int(num_res_blocks, "num_res_blocks"),
            decoder_base_channels=check_int(base_channels, "base_channels"),
            freeze_tokens=True,
            trainable=True,
            frozen=(),
        )
        if can_grow(self.decoder, tokenizer.decoder):
            grow_decoder(self.decoder, tokenizer.decoder)
        return tokenizer

    def enable_lora(self, *args, **kwargs):
        """LoRA is for transformers: this raises."""
        raise ValueError(
            "`enable_lora` is for transformers; `fit` or `finetune_decoder` "
            f"trains a tokenizer. Received: {type(self).__name__}"
        )

    # === Loading and saving ===

    def export_options(self, format, input_signature, options):
        spec = keras.tree.flatten(input_signature)[0]
        self.check_images(spec, "input_signature")
        if format != "tf_saved_model":
            check_sizes(spec.shape)
        elif keras.config.backend() == "jax":
            shapes = [of_any_size(spec.shape, self.downsampling_factor)]
            given = options.get("jax2tf_kwargs") or {}
            jax2tf_kwargs = {"polymorphic_shapes": shapes, **given}
            options = {**options, "jax2tf_kwargs": jax2tf_kwargs}
        return options

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Loads a tokenizer.

        Args:
            preset: string. A directory or handle (`hf://`, `kaggle://`) of a
                tokenizer, of this package or of `diffusers`, or of a whole
                `Muse`; a local file of taming, LlamaGen or MaskGIT; the name
                of a bundled model, or, without weights, of a size.
            load_weights: bool. `False` leaves the weights random. Defaults to
                `True`.
            **kwargs: arguments of the constructor to override. With another
                `codebook_size` the codebook starts afresh, as a message says,
                and nothing is frozen. A `quantizer` takes the place of the
                preset's; with weights it must be the one that they were
                trained with.

        Returns:
            A `VQGANTokenizer`.

        Raises:
            ValueError: if there is no tokenizer, or one whose files are
                damaged, or arguments do not fit its weights.
        """
        if kwargs.get("quantizer") is None:
            return super().from_preset(preset, load_weights, **kwargs)
        kwargs["quantizer"] = quantizer = _as_quantizer(kwargs["quantizer"])
        if not load_weights:  # what the preset says is of its own quantizer
            kwargs = {**QUANTIZER_DEFAULTS, **kwargs}
            return super().from_preset(preset, load_weights, **kwargs)
        del kwargs["quantizer"]
        tokenizer = super().from_preset(preset, **kwargs)
        own, other = map(_in_words, (tokenizer.quantizer, quantizer))
        if own != other:
            raise ValueError(
                f"`quantizer` must be that of the weights, a {own}; with "
                f"`load_weights=False` all are random. Received: a {other}, "
                f"preset={preset!r}"
            )
        return tokenizer

    def _copy(self, **changes):
        """A tokenizer without training attachments and with these weights."""
        copy = self.from_config({**self.get_config(), **changes})
        for part in ("encoder", "quantizer", "decoder"):
            if part == "decoder" and changes:
                continue
            getattr(copy, part).set_weights(getattr(self, part).get_weights())
        return copy

    def save(self, *args, **kwargs):
        """Saves the tokenizer, without what `compile` attached."""
        super(VQGANTokenizer, self._copy()).save(*args, **kwargs)

    def save_to_preset(self, *args, **kwargs):
        """Saves the tokenizer as a preset, without what `compile` attached."""
        super(VQGANTokenizer, self._copy()).save_to_preset(*args, **kwargs)

    def get_config(self):
        config = super().get_config()
        frozen = config.pop("frozen", [])
        if self.freeze_tokens:  # which says it of these, and can be overridden
            known = [layer.name for layer in self._token_layers]
            frozen = [path for path in frozen if path not in known]
        return {
            **config,
            **({"frozen": frozen} if frozen else {}),
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
            "attention_levels": self.attention_levels,
            "use_middle_attention": self.use_middle_attention,
            "use_quant_conv": self.use_quant_conv,
            "latent_dim": self.latent_dim,
            "normalize_codes": self.normalize_codes,
            "revival_steps": self.revival_steps,
            "pixel_range": self.pixel_range,
            "freeze_tokens": self.freeze_tokens,
            "quantizer": (
                None
                if self.has_default_quantizer
                else keras.layers.serialize(self.quantizer)
            ),
        }


def check_pixel_range(pixel_range):
    """Black and a larger white, as a pair of floats."""
    try:
        black, white = (check_number(x, "pixel_range") for x in pixel_range)
    except Exception:  # each library has its own
        black, white = 0.0, 0.0
    if black >= white:
        raise ValueError(
            "`pixel_range` must be a pair of black and a larger white. "
            f"Received: pixel_range={show(pixel_range)}"
        )
    return black, white


def _int_or(value, argument, default):
    return default if value is None else check_int(value, argument)


def _as_quantizer(quantizer):
    """A quantizer, which a file has as a dict."""
    if isinstance(quantizer, dict):
        quantizer = keras.layers.deserialize(quantizer)
    if not isinstance(quantizer, keras.layers.Layer) or not hasattr(
        quantizer, "codebook_size"
    ):
        raise ValueError(
            "`quantizer` must be a layer as VectorQuantizer or FSQ. Received: "
            f"quantizer={show(quantizer)}"
        )
    return quantizer


def _check_quantizer(quantizer, **given):
    """Refuses arguments that say otherwise than a quantizer does.

    Args:
        quantizer: a layer.
        **given: values of `QUANTIZER_DEFAULTS`.
    """
    for argument, value in given.items():
        default = QUANTIZER_DEFAULTS[argument]
        own = getattr(quantizer, argument, default)
        if value not in (own, default):
            raise ValueError(
                f"`{argument}` must be left to `quantizer`, a "
                f"{type(quantizer).__name__} with {argument}={own}; else it "
                "is of the VectorQuantizer that is made without one. "
                f"Received: {argument}={value}"
            )


def _in_words(quantizer):
    """The class of a quantizer, with all that tells it from others."""
    arguments = {
        name: value
        for name, value in quantizer.get_config().items()
        if name not in ("name", "trainable", "dtype")
    }
    return f"{type(quantizer).__name__} with {arguments}"


def _change_range(images, old, new):
    """Moves black and white from `old` to `new`."""
    if old == new:
        return images
    scale = (new[1] - new[0]) / (old[1] - old[0])
    return (images - old[0]) * scale + new[0]
