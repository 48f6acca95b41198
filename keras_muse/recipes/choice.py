"""The choice of what is trained: by the pictures, the machine and a try."""

from keras_muse.models.presets.weight_quantization import is_quantized
from keras_muse.muse.preset import load_parts
from keras_muse.recipes import sizes
from keras_muse.recipes.familiarity import familiarity_of
from keras_muse.recipes.sizes import PRESET
from keras_muse.recipes.sizes import Sizes


def choose(collection, options, text_encoder):
    """Chooses what is trained, and says why.

    Args:
        collection: a `Collection`.
        options: `Options`. What they fix stays as it is.
        text_encoder: that of the training, which is the bundled model's, too.

    Returns:
        `Sizes`.
    """
    if options.preset is not None:
        return _of_preset(options)
    why = "as asked for"
    image_size = options.image_size
    if image_size is None:
        image_size, why = sizes.natural_size(collection.side, options.minutes)
    base_size = options.base_image_size or sizes.base_size_of(image_size)
    start = {"tokenizer": options.tokenizer, "base": options.base}
    trains_tokenizer = True
    if not options.from_scratch and options.tokenizer is None:
        found = _try_bundled(
            collection, options, text_encoder, image_size, base_size
        )
        if found[0] != image_size:
            why = "those that the bundled model draws"
        image_size, base_size, trains_tokenizer, known = found
        start |= known
    print(f"Pictures of {image_size} pixels: {why}.")
    if image_size != base_size:
        print(f"The base draws them at {base_size}, then comes super-res.")
    return _with_names(
        collection, options, image_size, base_size, start, trains_tokenizer
    )


def _of_preset(options):
    """The sizes of a whole `Muse` that is fine-tuned."""
    parts = load_parts(options.preset, names=("base", "image_tokenizer"))
    base_size = _size_of(parts["base"], parts["image_tokenizer"])
    if is_quantized(parts["base"]) and not options.lora_rank:
        raise ValueError(
            "`preset` is quantized, and what is stored as integers is not "
            "trained: pass `lora_rank`. Received: preset="
            f"{options.preset!r}, lora_rank=None"
        )
    print(f"{options.preset} is fine-tuned: its base, at {base_size} pixels.")
    return Sizes(base_size, base_size, PRESET, PRESET, None, False)


def _size_of(base, tokenizer):
    height, width = base.grid_size
    if height != width:
        raise ValueError(
            "`preset` must draw squares to be fine-tuned here. Received: a "
            f"base of the grid {base.grid_size}"
        )
    return height * tokenizer.downsampling_factor


def _try_bundled(collection, options, text_encoder, image_size, base_size):
    """What of the bundled `Muse` is worth starting from.

    Returns:
        The two sizes, whether the tokenizer is to be trained, and the parts
        to take, a dict.
    """
    parts = load_parts(options.source, names=("base", "image_tokenizer"))
    tokenizer, base = parts["image_tokenizer"], parts["base"]
    own_size = _size_of(base, tokenizer)
    is_free = options.image_size is None and options.base_image_size is None
    if options.base is None and (
        own_size == base_size or (is_free and own_size <= 2 * collection.side)
    ):
        found = familiarity_of(
            collection.shown, own_size, tokenizer, text_encoder, base
        )
        print(
            f"The bundled model, shown these pictures at {own_size}: "
            f"{_words(found)}"
        )
        if found.has_good_base:
            print("It knows the like of them: tokenizer and base start there.")
            known = {"tokenizer": PRESET, "base": PRESET}
            large = own_size if is_free else image_size
            return large, own_size, False, known
    if base_size < 64 or base_size % tokenizer.downsampling_factor:
        return image_size, base_size, True, {}
    found = familiarity_of(collection.shown, base_size, tokenizer)
    trains = not found.has_good_tokens
    print(
        f"The bundled tokenizer at {base_size} pixels: {_words(found)}. It is "
        + ("trained on." if trains else "good enough and stays as it is.")
    )
    return image_size, base_size, trains, {"tokenizer": PRESET}


def _words(familiarity):
    words = f"reconstructions are at an LPIPS of {familiarity.distance:.3f}"
    losses = familiarity.losses
    return words if losses is None else f"{words}, {losses}"


def _with_names(collection, options, image_size, base_size, start, trains):
    """Names for what is not fixed yet, and the grids checked."""
    minutes, num_pictures = options.minutes, collection.train.num_examples
    tokenizer, base = start["tokenizer"], start["base"]
    if tokenizer is None:
        tokenizer, why = sizes.tokenizer_name(base_size, minutes)
        print(f"Tokenizer: {tokenizer}, for {why}.")
    factor = _factor(tokenizer, options)
    if base is None:
        base, why = sizes.base_name(
            (base_size // factor) ** 2, num_pictures, minutes
        )
        print(f"Base: {base}, for {why}.")
    super_res, block_size = None, 1
    if options.super_res is not None and image_size == base_size:
        raise ValueError(
            "`super_res` draws larger pictures than the base: give "
            "`base_image_size` below `image_size`. Received: super_res="
            f"{options.super_res!r}, both sizes {image_size}"
        )
    if image_size != base_size:
        super_res = options.super_res
        if super_res is None:
            super_res, why = sizes.super_res_name()
            print(f"Super-resolution: {super_res}, for {why}.")
        block_size = sizes.ARCHITECTURES[super_res][1]["block_size"]
    sizes.check_image_sizes(image_size, base_size, factor, block_size)
    return Sizes(image_size, base_size, tokenizer, base, super_res, trains)


def _factor(tokenizer, options):
    """Pixels a token, of a tokenizer that is only named yet."""
    if tokenizer == PRESET:
        parts = load_parts(options.source, names=("image_tokenizer",))
        return parts["image_tokenizer"].downsampling_factor
    multipliers = sizes.ARCHITECTURES[tokenizer][1]["channel_multipliers"]
    return 2 ** (len(multipliers) - 1)
