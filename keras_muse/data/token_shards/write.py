"""`write_token_shards`: pictures and captions, tokenized once and stored."""

import contextlib

import keras

from keras_muse.data.decoding import as_size
from keras_muse.data.processes import all_or_none
from keras_muse.data.processes import check_own_devices
from keras_muse.data.processes import this_process
from keras_muse.data.token_shards.encoding import PictureViews
from keras_muse.data.token_shards.files import ShardFiles
from keras_muse.data.token_shards.records import read_metadata
from keras_muse.data.token_shards.rows import Collection
from keras_muse.data.token_shards.shard import RowsDigest
from keras_muse.data.token_shards.shard import Shard
from keras_muse.data.token_shards.shard import ShardEncoder
from keras_muse.data.token_shards.views import check_flip
from keras_muse.runtime.checks import LARGEST_SEED
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_model
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import show


def write_token_shards(
    pairs,
    directory,
    tokenizer,
    text_encoder,
    *,
    high_res_tokenizer=None,
    image_size=None,
    high_res_image_size=None,
    num_views=1,
    crop_scale=(0.7, 1.0),
    random_flip=False,
    rows_per_shard=8192,
    batch_size=32,
    store="text_embeddings",
    seed=0,
    overwrite=False,
    verbose=1,
):
    """Tokenizes pictures and encodes captions once, for all trainings to come.

    The shards are array_record files with one record per picture, and a
    `metadata.json`, which is written last: a directory that has it is whole.
    A row whose picture or caption is broken is skipped and named in the
    report. The text states are stored without padding in bfloat16.

    A run that was stopped or killed goes on, started again with the same
    arguments, after the shards that it completed. What another run left,
    with other settings, models or pictures, is refused. Pictures of an
    `ImageTextDataset` are known by their names and captions, and with
    `overwrite=True`, for which they are read again, by what they show.

    Processes that were joined by `keras_muse.training.distribution.initialize`
    share the work: each writes its part of the shards, to a directory that all
    of them see, and returns when all is done. Each uses its own devices; for
    all of those, call `data_parallel(jax.local_devices())` before the models
    are made. The command `keras-muse tokenize` does all this.

    A shard is made of `rows_per_shard` rows of the collection, in batches of
    one shape. On devices of one kind its bytes do not depend on what was
    interrupted, nor on how many processes took part.

    Args:
        pairs: what `load_image_text` gives, or any iterable of rows
            `{"image", "text"}` (or batches of them): a uint8 array of shape
            `(height, width, 3)` in [0, 255], and a caption or a list of
            captions. An iterable without an index is walked as a whole by
            each process.
        directory: string. Where to write; created when missing.
        tokenizer: `VQGANTokenizer`. It makes the base model's tokens.
        text_encoder: a text encoder.
        high_res_tokenizer: `VQGANTokenizer` or None. It makes the
            super-resolution model's tokens of the same pictures.
        image_size: int, pair of ints `(height, width)` or None. The size of
            the pictures that `tokenizer` sees; larger ones are cut to the
            aspect and resized with antialiasing. Defaults to the size of the
            pictures.
        high_res_image_size: like `image_size`, for `high_res_tokenizer`.
        num_views: int. How many views of a picture to store; training draws
            one per epoch. The first is the picture itself, the others are
            random parts of it. Defaults to `1`.
        crop_scale: pair of floats in (0, 1]. The range of the area of a
            random part. Defaults to `(0.7, 1.0)`.
        random_flip: bool. Whether random views are mirrored half of the time;
            the first is none. Defaults to `False`: writing in pictures must
            not be mirrored.
        rows_per_shard: int. Rows of the collection in a shard. Defaults to
            `8192`.
        batch_size: int. Pictures, and captions, that a device takes at once.
            Defaults to `32`.
        store: `"text_embeddings"`, or `"text_ids"` to store only the ids of
            the captions and run the encoder while training (the states of
            T5-XXL are up to 1 MiB a caption), not under a distribution over
            several processes. Defaults to `"text_embeddings"`.
        seed: int. The seed of the random views. Defaults to `0`.
        overwrite: bool. Whether the shards of another run in `directory` may
            be replaced; finished ones stay until the new ones are done.
            Defaults to `False`.
        verbose: 0 or 1. Whether to show a progress bar. Defaults to `1`.

    Returns:
        The report, also kept in the metadata: a dict of `"num_rows"`,
        `"num_records"`, `"num_skipped"` and `"skipped"`, a list of
        `{"row", "reason"}`.

    Raises:
        ValueError: when `directory` holds shards of another run or is being
            written by one, when an argument is out of range, when no row
            remains, or when another process failed.

    Example:
    ```python
    import tempfile
    import numpy as np
    import keras_muse

    pictures = np.zeros((4, 32, 32, 3), "uint8")
    rows = [{"image": image, "text": "a black square"} for image in pictures]
    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=8, channel_multipliers=(1, 1), codebook_size=16,
        codebook_dim=4, num_groups=4,
    )
    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    directory = tempfile.mkdtemp()
    keras_muse.data.write_token_shards(rows, directory, tokenizer, encoder)
    dataset = keras_muse.data.read_token_shards(directory, batch_size=2)
    dataset[0]["token_ids"].shape  # (2, 256)
    ```
    """
    check_choice(store, "store", ("text_embeddings", "text_ids"))
    directory = check_path(directory, "directory")
    seed = check_int(seed, "seed", low=0, high=LARGEST_SEED)
    random_flip = check_bool(random_flip, "random_flip")
    overwrite = check_bool(overwrite, "overwrite")
    # By what strings, which have an `encode` too, do not have.
    check_model(tokenizer, "tokenizer", "codebook_size")
    check_model(text_encoder, "text_encoder", "text_dim")
    if high_res_tokenizer is not None:
        check_model(high_res_tokenizer, "high_res_tokenizer", "codebook_size")
    num_views = check_int(num_views, "num_views")
    check_flip(random_flip, num_views)
    rows_per_shard = check_int(rows_per_shard, "rows_per_shard")
    batch_size = check_int(batch_size, "batch_size")
    crop_scale = _check_crop_scale(crop_scale)
    if high_res_image_size is not None and high_res_tokenizer is None:
        raise ValueError(
            "`high_res_image_size` needs `high_res_tokenizer`, which may be "
            "`tokenizer` again. Received: "
            f"high_res_image_size={high_res_image_size}, "
            "high_res_tokenizer=None"
        )
    image_size = as_size(image_size)
    high_res_image_size = as_size(high_res_image_size, "high_res_image_size")
    check_own_devices()
    process = this_process()
    prepare = PictureViews(
        image_size,
        False if high_res_tokenizer is None else high_res_image_size,
        seed=seed,
        num_views=num_views,
        crop_scale=crop_scale,
        random_flip=random_flip,
    )
    collection = Collection(pairs, rows_per_shard, prepare)
    encoder = ShardEncoder(
        tokenizer, high_res_tokenizer, text_encoder, store, batch_size
    )
    settings = {
        "collection": collection.fingerprint,
        **encoder.fingerprints(),
        "image_size": image_size,
        "high_res_image_size": high_res_image_size,
        "num_views": num_views,
        "crop_scale": crop_scale,
        "random_flip": random_flip,
        "rows_per_shard": rows_per_shard,
        "batch_size": batch_size,
        "store": store,
        "seed": seed,
    }
    files = ShardFiles(directory, settings)
    with all_or_none():
        report = files.finished_report(overwrite)
    if report is not None:
        return report
    with contextlib.ExitStack() as claim:
        with all_or_none():
            if process.shard_index == 0:
                claim.enter_context(files.claimed())
                files.start(overwrite)
        with all_or_none():
            files.check_settings()
            _write_own_shards(
                collection, process, encoder, files, overwrite, verbose
            )
        with all_or_none():
            if process.shard_index == 0:
                _commit(collection, encoder, files)
    return read_metadata(directory)["report"]


def _check_crop_scale(crop_scale):
    try:
        smallest, largest = (check_number(x, "scale") for x in crop_scale)
    except Exception:  # each library has its own
        smallest, largest = 0.0, 0.0
    if not 0 < smallest <= largest <= 1:
        raise ValueError(
            "`crop_scale` must be a pair of rising numbers in (0, 1]. "
            f"Received: crop_scale={show(crop_scale)}"
        )
    return smallest, largest


def _write_own_shards(collection, process, encoder, files, overwrite, verbose):
    """Writes those shards of this process that are not there yet."""
    alone = process.shard_count == 1
    progress = keras.utils.Progbar(
        collection.num_rows if alone else None, verbose=verbose, unit_name="row"
    )
    for number, rows in collection.shards(process):
        note = files.note(number)
        if note is not None and (overwrite or not collection.is_indexed):
            is_same = _digest(rows) == note["rows"]
            if not is_same and not overwrite:
                raise ValueError(
                    "`pairs` must give the rows of which the unfinished "
                    "shards in `directory` were made; pass `overwrite=True` "
                    "to start anew. Received: other pairs, "
                    f"directory={files.directory}"
                )
            note = note if is_same else None
        if note is None:
            shard = Shard(rows, encoder, progress.add)
            files.write(number, shard.records(), shard.note)
        else:
            progress.add(note["num_rows"])
    if alone:
        progress.update(collection.num_rows, finalize=True)


def _digest(rows):
    digest = RowsDigest()
    for row in rows:
        digest.update(row)
    return digest.hexdigest()


def _commit(collection, encoder, files):
    notes = [files.note(number) for number in range(collection.num_shards)]
    missing = [number for number, note in enumerate(notes) if note is None]
    if missing:
        raise ValueError(
            "All shards must be there at the end; start the same again. "
            f"Received: directory={files.directory}, missing shards {missing}"
        )
    skipped = [row for note in notes for row in note["skipped"]]
    report = {
        "num_rows": collection.num_rows,
        "num_records": sum(note["num_records"] for note in notes),
        "num_skipped": len(skipped),
        "skipped": skipped,
    }
    if not report["num_records"]:
        files.discard()
        raise ValueError(
            "`pairs` has no row with a picture and a caption. Received: "
            f"pairs with {report['num_rows']} rows, skipped: {skipped[:5]}"
        )
    metadata = encoder.metadata([note["tokens"] for note in notes])
    files.commit(notes, {**metadata, "report": report})
