"""`load_emoji`: drawings of emoji in eight styles, shipped with the package."""

import dataclasses
import os

from keras_muse.data.image_text import sort_out
from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.data.sources import find_rows
from keras_muse.files.bundled import ASSETS
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import show

BUNDLED = ASSETS / "emoji/emoji_64.zip"
SPLITS = ("train", "test_pair", "test_concept")
PROMPTS = {
    "both": ("{text}, {style} style", "{text}"),
    "styled": ("{text}, {style} style",),
    "plain": ("{text}",),
}
SKIN_TONE = "skin tone"
COLUMNS = ("text", "style", "split")  # that prompts and choices are made of


def load_emoji(
    directory=None,
    image_size=64,
    split="train",
    styles=None,
    skin_tones=False,
    prompts="both",
    batch_size=32,
    shuffle=None,
    seed=0,
    augment=False,
    balance=None,
    **kwargs,
):
    """Loads drawings of emoji with their captions.

    The bundled set holds the drawings without skin tones at 64 by 64 pixels
    on white. Its licences (MIT, Apache-2.0, CC-BY-4.0) are in the NOTICE of
    the package; the column `licence` names each drawing's.

    Three splits are fixed: `"train"`; `"test_pair"`, things that were never
    trained on as drawn by this hand, though other hands' drawings of them
    were; `"test_concept"`, things that were never trained on at all.

    Args:
        directory: string or path. A folder of tars in the same form, at any
            size (`benchmarks/assets/build_emoji.py` makes one). Defaults to
            `None`, the bundled set.
        image_size: int or pair of ints. Defaults to `64`.
        split: `"train"`, `"test_pair"` or `"test_concept"`. Defaults to
            `"train"`.
        styles: list of strings out of `"emojione"`, `"fluent 3d"`,
            `"fluent flat"`, `"fluent gradient"`, `"fxemoji"`, `"noto"`,
            `"noto blob"` and `"twemoji"`. Defaults to `None`, all of them.
        skin_tones: bool. Whether to keep drawings that differ from another
            in skin tone only; the bundled set has none. Defaults to `False`.
        prompts: `"styled"` for `"<text>, <style> style"`, `"plain"` for
            `"<text>"`, or `"both"`: one of the two at random in training
            order, else the styled one. Defaults to `"both"`.
        batch_size: int. Defaults to `32`.
        shuffle: bool. Defaults to `True` for the training split, else to
            `None`; see `load_image_text`.
        seed, augment, balance, **kwargs: see `load_image_text`.
            `balance="concept"` draws every thing equally often, however many
            drawings of it there are.

    Returns:
        A `keras_muse.data.ImageTextDataset` whose rows have the columns
        `text`, `style`, `family`, `concept`, `tags`, `group`, `licence` and
        `split`.

    Raises:
        ValueError: for an unknown split, style or kind of prompt, or a
            `directory` of other pictures, or of none that is asked for.

    Example:

    ```python
    import keras_muse

    pairs = keras_muse.data.load_emoji(image_size=32, styles=["noto"])
    batch = pairs[0]
    batch["image"].shape, batch["text"][0]
    ```
    """
    check_choice(split, "split", SPLITS)
    check_choice(prompts, "prompts", tuple(PROMPTS))
    if directory is not None:
        directory = check_path(directory, "directory")
        if not os.path.exists(directory):
            raise ValueError(
                "`directory` names what is not there. Received: "
                f"directory={directory!r}"
            )
    if check_bool(skin_tones, "skin_tones") and directory is None:
        raise ValueError(
            "`skin_tones` needs a `directory`; the bundled set has none. "
            f"Received: skin_tones={skin_tones}, directory=None"
        )
    # Headers are not checked: these pictures were written by one program.
    rows, skipped = sort_out(find_rows(directory or BUNDLED), verify=None)
    if not all(name in row.metadata for row in rows for name in COLUMNS):
        raise ValueError(
            f"`directory` must have drawings with the columns {COLUMNS}; other "
            "pictures are read by `load_image_text`. Received: "
            f"directory={str(directory)!r}"
        )
    rows = [
        row
        for row in _in_styles(rows, styles)
        if row.metadata["split"] == split
        and (skin_tones or SKIN_TONE not in row.metadata["text"])
    ]
    if not rows:
        counts = {reason: len(names) for reason, names in skipped.items()}
        raise ValueError(
            "`directory` holds no such drawing. Received: directory="
            f"{str(directory or BUNDLED)!r}, split={split!r}, styles="
            f"{show(styles)}, skipped={counts}"
        )
    return ImageTextDataset(
        [_with_prompts(row, PROMPTS[prompts]) for row in rows],
        image_size=image_size,
        batch_size=batch_size,
        shuffle=True if shuffle is None and split == "train" else shuffle,
        seed=seed,
        augment=augment,
        balance=balance,
        skipped=skipped,
        **kwargs,
    )


def _in_styles(rows, styles):
    known = {row.metadata["style"] for row in rows}
    if styles is None:
        return rows
    is_list = isinstance(styles, list | tuple | set)
    is_known = is_list and all(
        isinstance(style, str) and style in known for style in styles
    )
    if not is_known or not styles:
        raise ValueError(
            f"`styles` must be a list of names out of {sorted(known)}. "
            f"Received: styles={show(styles)}"
        )
    return [row for row in rows if row.metadata["style"] in styles]


def _with_prompts(row, templates):
    texts = tuple(template.format_map(row.metadata) for template in templates)
    return dataclasses.replace(row, texts=texts)
