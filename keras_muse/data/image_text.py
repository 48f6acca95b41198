"""`load_image_text`: captioned pictures as a Keras dataset."""

import warnings

from keras_muse.data import decoding
from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.data.sources import find_rows
from keras_muse.data.sources.limits import Limits
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_path

VERIFY = ("header", "decode", None)


class NoPictures(ValueError):
    """Of a source no row can be used.

    Args:
        message: string.
        skipped: dict of reason to list of names.
    """

    def __init__(self, message, skipped):
        super().__init__(message)
        self.skipped = skipped


def load_image_text(
    path,
    image_size=None,
    batch_size=32,
    shuffle=None,
    seed=0,
    split=None,
    augment=False,
    balance=None,
    verify="header",
    max_pixels=decoding.MAX_PIXELS,
    max_bytes=Limits.max_bytes,
    max_line_bytes=Limits.max_line_bytes,
    **kwargs,
):
    """Reads captioned pictures from a folder, a table, archives or TFDS.

    The form of the source is recognised from `path`:

    - a folder with a `metadata.jsonl` or `metadata.csv`, at its top or in
      its subfolders (the image-folder convention of Hugging Face): one
      record per picture, with `file_name`, `text`, and any other columns;
    - a folder of pictures with a `.txt` or `.caption` file (one caption a
      line) or a `.json` file (`text` or `caption`) of the same name beside
      each; `.tar` and `.zip` files in the folder and its subfolders are read
      as well. Links to folders are followed, once each;
    - a `.csv` or `.tsv` file with a column of pictures (`file_name`,
      `image`, `image_path`, `filename` or `path`, relative to the file) and
      one of captions (`text`, `texts`, `caption` or `captions`);
    - `.tar` files, with pairs of the same name (the webdataset convention)
      or with a `metadata.jsonl`: one file, a pattern such as
      `"shard-{0000..0003}.tar"` or `"shard-*.tar"`, or a folder of them;
    - a `.zip` of any of the folders above;
    - `"tfds:coco_captions"`, a dataset of TensorFlow Datasets that has been
      downloaded and is stored as array records.

    A picture may have several captions: several lines, a list, or several
    records. Nothing is decoded before it is wanted, but captions and the
    headers of the pictures are checked at once. Each row of a source is a
    picture with its captions, or named in `.report` with what is wrong of it;
    one warning announces that there are such. Pictures are AVIF, BMP, GIF,
    JPEG, JPEG 2000, PNG, PPM, TIFF or WebP, whatever their ending says, and
    are decoded in this process: what a collection holds is never run.

    Args:
        path: string or path. The source.
        image_size: int, or pair of ints `(height, width)`, or None.
            Pictures are scaled to cover this size and their centre is kept.
            With None they must all have one size. Defaults to `None`.
        batch_size: int. Pictures a batch. Defaults to `32`.
        shuffle: bool. Whether to draw a new order for every epoch, and one
            caption for every picture in it. Otherwise the order of the
            source and the first captions are used. Defaults to `None`: so it
            is in `fit` of the models here, unless it is told
            `shuffle=False`, and nowhere else.
        seed: int. Order, captions and augmentation are a function of the
            seed and the epoch alone. Defaults to `0`.
        split: string. Keeps the rows with this value in their `split` column
            or in a folder of this name. Defaults to `None`, all rows, or
            `"train"` for TFDS. Of all rows, those in folders `train`, `test`,
            `val`, `valid` and `validation` at the top (or in one folder
            around all), in small letters or not, get a column `split` where
            there is none, so that `hold_out` tells them apart.
        augment: bool or dict. Whether to take random resized crops and
            mirror half of them (keras_cv, which needs TensorFlow). A dict
            changes its options: `{"enlarge": 1.25, "flip": True}`. Defaults
            to `False`.
        balance: string. A column; every epoch then draws uniformly from its
            values, and uniformly among the pictures of a value. Needs
            `shuffle`. Defaults to `None`.
        verify: `"header"`, `"decode"` or None. What is checked of each
            picture when loading: that it can be opened, that it can be
            decoded in full, or nothing. Defaults to `"header"`.
        max_pixels: int. Pictures of more are left out, before they are
            unpacked. At most `178_956_970`, beyond which Pillow opens none.
            Defaults to `89_478_485`, beyond which it warns.
        max_bytes: int. So are files and members of archives of more bytes,
            unpacked. Defaults to `2**28`.
        max_line_bytes: int. So are longer lines of a table. Defaults to
            `2**24`.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of
            `keras.utils.PyDataset`. Worker processes cannot report broken
            pictures; load with `verify="decode"` to know them.

    Returns:
        A `keras_muse.data.ImageTextDataset`.

    Raises:
        ValueError: if `path` is of no known form or holds no usable pair, or
            none of its rows is of `split`.

    Example:

    ```python
    import pathlib, tempfile
    from PIL import Image
    import keras_muse

    folder = pathlib.Path(tempfile.mkdtemp())
    for color in ("red", "green", "blue"):
        Image.new("RGB", (40, 30), color).save(folder / f"{color}.png")
        (folder / f"{color}.txt").write_text(f"a {color} wall")

    pairs = keras_muse.data.load_image_text(folder, image_size=32)
    pairs[0]["image"].shape  # (3, 32, 32, 3)
    pairs.texts  # ["a blue wall", "a green wall", "a red wall"]
    ```
    """
    check_choice(verify, "verify", VERIFY)
    path = check_path(path, "path")
    limits = Limits(max_bytes, max_line_bytes)
    options = {
        "image_size": image_size,
        "batch_size": batch_size,
        "shuffle": shuffle,
        "seed": seed,
        "augment": augment,
        "balance": balance,
        "max_pixels": max_pixels,
        **kwargs,
    }
    # What is wrong of them is said before any file is read.
    ImageTextDataset([], **options)
    rows = find_rows(path, split, limits)
    usable, skipped = sort_out(rows, verify, max_pixels)
    if not usable:
        counts = {reason: len(names) for reason, names in skipped.items()}
        raise NoPictures(
            "`path` holds no picture with a caption. Received: "
            f"path={str(path)!r}, split={split!r}, skipped={counts}",
            skipped,
        )
    if skipped:
        num_skipped = sum(map(len, skipped.values()))
        warnings.warn(
            f"{num_skipped} of {num_skipped + len(usable)} entries of "
            f"{str(path)!r} were skipped ({', '.join(skipped)}); "
            "`.report` names them.",
            stacklevel=2,
        )
    return ImageTextDataset(usable, skipped=skipped, **options)


def sort_out(rows, verify, max_pixels=decoding.MAX_PIXELS):
    """Separates the usable rows from the others, by reason.

    Args:
        rows: list of `Row`.
        verify, max_pixels: as in `load_image_text`.

    Returns:
        `(usable rows, {reason: [names]})`.
    """
    usable, skipped = [], {}
    for row in rows:
        problem = row.problem or _problem(row, verify, max_pixels)
        if problem:
            skipped.setdefault(problem, []).append(row.name)
        else:
            usable.append(row)
    return usable, skipped


def _problem(row, verify, max_pixels):
    if not any(text.strip() for text in row.texts):
        return "empty caption"
    if verify is None:
        return None
    try:
        content = row.read()
        if verify == "decode":
            decoding.decode(content, max_pixels=max_pixels)
        else:
            decoding.check_header(content, max_pixels)
    except FileNotFoundError:
        return "missing picture"
    except Exception:
        # Pillow's readers raise errors of many kinds on damaged files.
        return "broken picture"
    return None
