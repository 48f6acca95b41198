"""What people hand to `Muse`, checked before anything is computed."""

import numpy as np

from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_ints
from keras_muse.runtime.checks import check_texts
from keras_muse.runtime.checks import show

MAX_PADDING = 2**14  # pixels of a side
_MASK_VALUES = ((0,), (1,), (255,), (0, 1), (0, 255))
PROMPT_KEYS = {"prompts", "negative_prompts"}
EMBEDDING_KEYS = {
    "text_embeddings",
    "text_mask",
    "negative_text_embeddings",
    "negative_text_mask",
}


# === Prompts ===


def check_prompts(prompts, negative_prompts, num_images=1):
    """Prompts in one of two forms; see `Muse.generate`.

    Args:
        prompts: string, list of strings, or dict.
        negative_prompts: string, list of strings or `None`.
        num_images: int. For how many pictures one string stands.

    Returns:
        Dict of embeddings as it came, or `{"prompts": list,
        "negative_prompts": list or None}`, as many of both.
    """
    if isinstance(prompts, dict):
        prompts = {
            name: x
            for name, x in prompts.items()
            if x is not None or not str(name).startswith("negative")
        }
        _check_keys(prompts, negative_prompts)
        if "text_embeddings" in prompts:
            # Their rows are counted first; the base looks at the rest.
            if check_array(prompts["text_mask"], "text_mask").ndim < 1:
                raise ValueError(
                    "`text_mask` must have a row per prompt. Received: "
                    f"text_mask={show(prompts['text_mask'])}"
                )
            return dict(prompts)
        negative_prompts = prompts.get("negative_prompts", negative_prompts)
        prompts = prompts["prompts"]
    prompts = _as_list(prompts, "prompts", num_images)
    if negative_prompts is None:
        return {"prompts": prompts, "negative_prompts": None}
    negative = _as_list(negative_prompts, "negative_prompts", len(prompts))
    if len(negative) != len(prompts):
        raise ValueError(
            "`negative_prompts` must be one string, or one per prompt "
            f"({len(prompts)}). Received: {len(negative)} negative prompts"
        )
    return {"prompts": prompts, "negative_prompts": negative}


def num_prompts(prompts):
    """How many prompts there are, of what `check_prompts` gives."""
    return len(prompts["text_mask" if "text_mask" in prompts else "prompts"])


def embed_prompts(text_encoder, prompts, batch_size):
    """Checked prompts in the words of `MuseBase.generate`."""
    if "text_embeddings" in prompts:
        return prompts
    embeddings, mask = text_encoder.encode(prompts["prompts"], batch_size)
    text = {"text_embeddings": embeddings, "text_mask": mask}
    negative = prompts["negative_prompts"]
    if negative is None:
        return text
    embeddings, mask = text_encoder.encode(negative, batch_size)
    # An empty negative prompt is none: nothing to attend to.
    given = np.array([bool(text.strip()) for text in negative])
    text["negative_text_embeddings"] = embeddings
    text["negative_text_mask"] = mask & given[:, None]
    return text


def _check_keys(prompts, negative_prompts):
    keys = set(map(str, prompts))
    if "text_embeddings" in keys:
        negative = keys - {"text_embeddings", "text_mask"}
        valid = {"text_mask"} <= keys <= EMBEDDING_KEYS and len(negative) != 1
    else:
        valid = {"prompts"} <= keys <= PROMPT_KEYS
    # A negative prompt can be given in one place only.
    if not valid or (negative_prompts is not None and keys != {"prompts"}):
        raise ValueError(
            f"`prompts` as a dict must have the keys {sorted(PROMPT_KEYS)} or "
            f"{sorted(EMBEDDING_KEYS)} (negative ones may be missing, and are "
            "not given beside it). Received: keys "
            f"{sorted(keys)}, negative_prompts={show(negative_prompts)}"
        )


def _as_list(texts, argument, num_copies):
    copies = num_copies if isinstance(texts, str) else 1
    return check_texts(texts, argument) * copies


# === Pictures ===


def check_images(images, size=None):
    """One picture or several as uint8 `(batch, height, width, 3)`.

    Args:
        images: array.
        size: pair of ints, the height and width they must have, or `None`.
    """
    images = check_array(images, "images")
    pictures = images[None] if images.ndim == 3 else images
    height, width = size or ("height", "width")
    if (
        images.dtype != np.uint8
        or pictures.ndim != 4
        or pictures.shape[-1] != 3
        or not pictures.size
        or (size and pictures.shape[1:3] != tuple(size))
    ):
        raise ValueError(
            f"`images` must be uint8 of shape (batch, {height}, {width}, 3) "
            f"or ({height}, {width}, 3), and not empty. Received: "
            f"{images.dtype} of shape {images.shape}"
        )
    return pictures


def check_masks(masks, images):
    """Masks of checked pictures as bool `(batch, height, width)`."""
    masks, shape = check_array(masks, "masks"), images.shape[:3]
    if masks.shape not in (shape, (*shape, 1), shape[1:]):
        raise ValueError(
            f"`masks` must be of shape {shape} or {(*shape, 1)}, one a "
            f"picture, or {shape[1:]} for all. Received: masks.shape="
            f"{masks.shape}"
        )
    values = np.unique(masks)
    is_known = set(values.tolist()) in map(set, _MASK_VALUES)
    if masks.dtype.kind == "f" or not is_known:
        raise ValueError(
            "`masks` must be bool, or integers 0 and 1 or 0 and 255. "
            f"Received: masks of {masks.dtype} with the values {values[:8]}"
        )
    if masks.ndim == 4:
        masks = masks[..., 0]
    return np.broadcast_to(masks != 0, shape)


def check_padding(padding, images, window_size):
    """Pixels as ints `(top, bottom, left, right)`, enough for a window."""
    padding = check_ints(padding, "padding", low=0, length=4)
    if max(padding) > MAX_PADDING:
        raise ValueError(
            f"`padding` must be at most {MAX_PADDING} a side. Received: "
            f"padding={padding}"
        )
    top, bottom, left, right = padding
    height, width = images.shape[1:3]
    canvas_size = (top + height + bottom, left + width + right)
    if any(c < w for c, w in zip(canvas_size, window_size, strict=True)):
        raise ValueError(
            "`images` with their `padding` must be at least as large as what "
            f"is drawn at once, {tuple(window_size)}. Received: padding="
            f"{padding}, images of size {(height, width)}, together "
            f"{canvas_size}"
        )
    return padding


def repeat_per_prompt(prompts, *arrays):
    """Repeats what belongs to a single picture for each of several prompts.

    Args:
        prompts: dict, from `check_prompts`.
        *arrays: arrays whose rows are pictures, or belong to pictures.

    Returns:
        List of the arrays, with as many rows as there are prompts.
    """
    count, num_images = num_prompts(prompts), len(arrays[0])
    if num_images not in (1, count):
        raise ValueError(
            "`prompts` must be one string, or one for each picture of "
            "`images`; a single picture takes any number. Received: "
            f"{count} prompts for {num_images} images"
        )
    copies = count // num_images
    return [np.repeat(array, copies, axis=0) for array in arrays]
