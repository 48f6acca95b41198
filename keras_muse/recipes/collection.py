"""Captioned pictures, read and parted in those to train on and others."""

import dataclasses
import hashlib
import json
import os
import statistics
import warnings

from keras_muse.data.hold_out import split_of
from keras_muse.data.image_text import NoPictures
from keras_muse.data.image_text import load_image_text
from keras_muse.data.image_text_dataset import BROKEN
from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import show

# About this part of the pictures is held out, but not more than so many, and
# nothing of so few that each one counts.
HELD_OUT_SHARE, MOST_HELD_OUT, FEWEST_TO_PART = 0.1, 512, 20
FEWEST = 50  # to train a model from its beginnings
NUM_SIZES = 64  # pictures whose headers are looked at
# Of up to so many each is decoded once, to know those that cannot be.
MOST_DECODED = 1000
DECODED_SIZE = 8  # pixels a side, which nobody looks at
NUM_NAMES = 3  # of those skipped for one reason

CAPTIONS_HELP = (
    "Put a .txt file with its caption beside each picture (cat.png, cat.txt), "
    "or a metadata.jsonl or metadata.csv with the columns file_name and text; "
    "a .csv or .tsv of another name is given itself, in place of its folder"
)


@dataclasses.dataclass(frozen=True)
class Collection:
    """Captioned pictures.

    Attributes:
        train: `ImageTextDataset`. The rows to train on.
        held_out: `ImageTextDataset` of rows that are never trained on, or
            `None` where there are none.
        side: int. The median of the pictures' shorter sides.
    """

    train: ImageTextDataset
    held_out: ImageTextDataset | None
    side: int

    @property
    def shown(self):
        """The rows to look at: those held out, else those of the training."""
        return self.held_out or self.train

    @property
    def has_one_caption(self):
        """bool. Whether all pictures are called the same."""
        return len(set(self.train.texts)) == 1

    def fingerprint(self):
        """A hash of what is trained on, and what is held out."""
        digest = hashlib.sha256()
        for part in (self.train, self.held_out):
            if part is not None:
                rows = zip(part.rows, part.digests, strict=True)
                contents = [[row["name"], row["texts"], x] for row, x in rows]
                digest.update(json.dumps(contents).encode())
        return digest.hexdigest()


def read_collection(pictures, held_out=None, fewest=FEWEST):
    """Reads pictures, says what they are, and holds a part of them out.

    Rows whose `split` is not `train` are never trained on, however few they
    are and whatever else is held out.

    Args:
        pictures: what `load_image_text` takes, or an `ImageTextDataset`.
        held_out: the same, of what is never trained on; `None` takes a part
            of `pictures`.
        fewest: int. So many pictures there must be.

    Returns:
        A `Collection`.
    """
    # By a column `split` alone, if there is one.
    pairs, others = _read(pictures, "pictures").hold_out(0)
    if not pairs.num_examples:
        raise ValueError(
            "`pictures` must have rows of the split 'train'. Received: "
            f"{others.num_examples} rows of other splits"
        )
    pairs = _whole(pairs)
    _check_number(pairs, fewest)
    by_what = "as given"
    why_none = "They are too few to hold any out: all are trained on."
    if held_out is not None:
        held_out = _readable(_read(held_out, "held_out"))
        if held_out is None:
            raise ValueError(
                "`held_out` must have pictures, and such as can be decoded. "
                "Received: none"
            )
    elif others.num_examples:
        held_out, by_what = _readable(others), "by their `split`"
        why_none = "None is held out: no picture of another `split` is whole."
    elif any(split_of(row) is not None for row in pairs.rows):
        why_none = "All are of the `split` 'train': none is held out."
    elif pairs.num_examples >= FEWEST_TO_PART:
        pairs, others = _parted(pairs)
        held_out, by_what = _readable(others), "chosen by a hash"
        why_none = "None is held out: those a hash chooses are not whole."
        if not others.num_examples:
            why_none = "They are copies of one picture: none is held out."
    if held_out is not None:
        pairs = _without(pairs, held_out, fewest)
    collection = Collection(pairs, held_out, _median_side(pairs))
    print(_summary(collection, by_what, why_none))
    return collection


def _check_number(pairs, fewest):
    if pairs.num_examples < fewest:
        raise ValueError(
            f"`pictures` must be at least {fewest} for a model of their own. "
            "With fewer, fine-tune one that can draw: `--preset muse_emoji "
            '--lora 16 --style "my style"`, in Python `preset="muse_emoji", '
            'lora_rank=16, style="my style"`. Received: '
            f"{pairs.num_examples} pictures"
        )


def _parted(pairs):
    """Pictures to train on, and others, chosen by a hash of their bytes.

    Copies stay together. Of copies of one picture alone, none are others.
    """
    share = min(HELD_OUT_SHARE, MOST_HELD_OUT / pairs.num_examples)
    parts = pairs.hold_out(share)
    if all(part.num_examples for part in parts):
        return parts
    # By chance all are on one side.
    smallest = min(filter(None, pairs.digests), default=None)
    sides = [], []
    for i, digest in enumerate(pairs.digests):
        sides[digest == smallest].append(i)
    return [pairs.select(x) for x in (sides if sides[0] else sides[::-1])]


def _whole(pairs):
    """Pictures without those that cannot be decoded, unless they are many.

    Of few a sheet might have none of the others.
    """
    if pairs.num_examples > MOST_DECODED:
        return pairs
    whole = _readable(pairs)
    if whole is None:
        raise ValueError(
            "`pictures` must be such as can be decoded. Received: "
            f"{pairs.num_examples} pictures, all of them broken"
        )
    return whole


def _readable(pairs):
    """Those that can be decoded; `None` of none."""
    try:
        # At one size, for they may differ in their own.
        whole = pairs.resized(DECODED_SIZE).readable()
    except ValueError:
        return None
    whole.image_size = pairs.image_size
    return whole


def _without(pairs, held_out, fewest):
    """The rows whose pictures are not among those held out."""
    known = set(held_out.digests) - {None}
    kept = [i for i, digest in enumerate(pairs.digests) if digest not in known]
    num_copies = pairs.num_examples - len(kept)
    if not kept:
        raise ValueError(
            "`pictures` must have some that are not held out. Received: "
            f"{num_copies} pictures, all of which are in `held_out`"
        )
    if num_copies:
        print(
            f"{num_copies} pictures are among those held out, too: they are "
            "not trained on."
        )
        pairs = pairs.select(kept)
        _check_number(pairs, fewest)
    return pairs


def _read(pictures, argument):
    """Pictures as a dataset; what was skipped is said."""
    if isinstance(pictures, ImageTextDataset):
        if augment := pictures.identity["augment"]:
            raise ValueError(
                f"`{argument}` must not be augmented: the training takes "
                "its own random views of what it trains on. Received: "
                f"{argument} with augment={augment}"
            )
        return pictures
    path = check_path(pictures, argument)
    if not path.startswith("tfds:") and not any(c in path for c in "*{"):
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"`{argument}` must be there. Received: {argument}={path!r}"
            )
        if os.path.isdir(path) and not os.listdir(path):
            raise ValueError(
                f"`{argument}` is an empty folder. {CAPTIONS_HELP}. Received: "
                f"{argument}={path!r}"
            )
    with warnings.catch_warnings():
        # All that is skipped is said below.
        warnings.filterwarnings("ignore", ".* were skipped", UserWarning)
        try:
            pairs = load_image_text(path)
        except NoPictures as error:
            if set(error.skipped) == {BROKEN}:
                raise  # captions would not help
            raise ValueError(f"{CAPTIONS_HELP}: {error}") from error
    for reason, names in pairs.report["skipped"].items():
        shown = ", ".join(names[:NUM_NAMES])
        more = f" and {len(names) - NUM_NAMES} more"
        print(
            f"Skipped, {reason}: {shown}"
            f"{more if len(names) > NUM_NAMES else ''}"
        )
    return pairs


def _median_side(pairs):
    sample = pairs.select_evenly(NUM_SIZES)
    sizes = [sample.picture_size(i) for i in range(sample.num_examples)]
    sides = [min(size) for size in sizes if size is not None]
    if not sides:
        raise ValueError(
            "`pictures` must be readable. Received: all of the "
            f"{sample.num_examples} that were looked at are broken"
        )
    return int(statistics.median_low(sides))


def _summary(collection, by_what, why_none):
    train, held_out = collection.train, collection.held_out
    texts = set(train.texts)
    lines = [
        f"{train.num_examples} pictures of about {collection.side} pixels "
        f"with {len(texts)} different captions, such as {show(min(texts))}."
    ]
    if held_out is None:
        lines.append(why_none)
    else:
        lines.append(
            f"{held_out.num_examples} others are held out, {by_what}: they "
            "are never trained on."
        )
    if collection.has_one_caption:
        lines.append(
            "All have the same caption: whatever is asked for, the model will "
            "draw the like of them."
        )
    return "\n".join(lines)
