"""Which models a training makes of its pictures, and why."""

import dataclasses
import importlib.util
import typing

import keras

from keras_muse.models.presets.architectures import ARCHITECTURES
from keras_muse.models.presets.architectures import DESCRIPTIONS
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.devices import on_processor

PRESET = "preset"  # in the place of a name: the part of a given `Muse`
LONG = 60  # minutes of a processor, for models that are not tiny
VERY_LONG = 120  # and for pictures of more than 64 pixels
FEW = 1000  # pictures, which a large base would only learn by heart


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is trained.

    Attributes:
        image_size: int. Pixels a side of what the `Muse` draws.
        base_image_size: int. Of what its base draws.
        tokenizer, base, super_res: names of architectures, `"preset"` for the
            part of a preset, or `None` for no such part.
        trains_tokenizer: bool.
    """

    image_size: int
    base_image_size: int
    tokenizer: str
    base: str
    super_res: str | None
    trains_tokenizer: bool

    @classmethod
    def types(cls):
        """Types by the names of what is kept in JSON, a dict."""
        fields = dataclasses.fields(cls)
        return {x.name: typing.get_args(x.type) or x.type for x in fields}


def faster_backend():
    """The installed backend that trains these models faster, or `None`.

    XLA does not use all that a processor has; measured in
    benchmarks/results/quickstart_backends.md.
    """
    if keras.config.backend() != "jax" or not on_processor():
        return None
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    return "tensorflow" if has_tensorflow else None


def natural_size(side, minutes):
    """Pixels a side that suit pictures and machine, and why."""
    size = next(s for s in (32, 64, 128, 256) if side < 1.5 * s or s == 256)
    why = f"the pictures have about {side} pixels a side"
    if on_processor():
        most = 64 if minutes < VERY_LONG else 128
        if size > most:
            size = most
            why += f", and a processor has {minutes:g} minutes"
    return size, why


def base_size_of(image_size):
    """Pixels of the base's own pictures: above 128 there are two stages."""
    while image_size > 128 and image_size % 2 == 0:
        image_size //= 2
    return image_size


def tokenizer_name(base_image_size, minutes):
    """Name of a tokenizer's architecture that suits, and why."""
    tiny = on_processor() and minutes < LONG
    factor = "f4" if base_image_size < 64 else "f8"
    name = f"vqgan_{factor}_{'tiny' if tiny else 'small'}"
    return name, DESCRIPTIONS[name]


def base_name(num_tokens, num_pictures, minutes):
    """Name of a base's architecture that suits, and why."""
    if on_processor():
        name = "muse_base_small"
        if minutes < LONG and num_tokens <= 64 or num_pictures < FEW:
            name = "muse_base_tiny"
    elif num_pictures < FEW:
        name = "muse_base_small"
    else:
        name = "muse_base_medium"
    why = f"{num_pictures} pictures of {num_tokens} tokens"
    if on_processor():
        why += f" and {minutes:g} minutes of a processor"
    return name, why


def super_res_name():
    name = f"muse_super_res_{'tiny' if on_processor() else 'small'}"
    return name, DESCRIPTIONS[name]


# === What is asked for ===


def check_name(name, argument, class_name):
    """Refuses what names no architecture of a class."""
    known = [n for n, (kind, _) in ARCHITECTURES.items() if kind == class_name]
    if name is not None:
        check_choice(name, argument, tuple(known))


def check_image_sizes(image_size, base_image_size, factor, block_size=1):
    """Refuses sizes of which there are no grids of tokens.

    Args:
        image_size, base_image_size: ints.
        factor: int. Pixels a token.
        block_size: int. Tokens a block of the super-resolution model.
    """
    unit = factor * block_size if image_size != base_image_size else factor
    check_int(image_size, "image_size")
    check_int(base_image_size, "base_image_size")
    for name, size, of in (
        ("image_size", image_size, unit),
        ("base_image_size", base_image_size, factor),
    ):
        least = of * -(-2 * factor // of)  # two tokens a side
        if size % of or size < least:
            raise ValueError(
                f"`{name}` must be a multiple of {of} pixels and at least "
                f"{least}, of which there is a grid of tokens, such as "
                f"{max(least, size // of * of)}. Received: {name}={size}"
            )
    if base_image_size > image_size:
        raise ValueError(
            "`base_image_size` must not be above `image_size`. Received: "
            f"base_image_size={base_image_size}, image_size={image_size}"
        )
