"""`write_token_shards`: pictures and captions, tokenized once and stored."""

import functools
import itertools

import keras

from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.data.picture_views import picture_views
from keras_muse.data.token_encoding import CaptionTexts
from keras_muse.data.token_encoding import PictureTokens
from keras_muse.data.token_encoding import valid_rows
from keras_muse.data.token_records import ShardWriter
from keras_muse.data.token_records import check_positive
from keras_muse.data.token_records import pack_record


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

    The shards are array_record files with one record a picture, and a
    `metadata.json`, which is written last: a directory that has it is whole.
    An interrupted run leaves nothing that can be read; started again, it
    starts clean. A row whose picture or caption is broken is skipped and
    named in the report.

    The text states are stored without padding in bfloat16.

    Args:
        pairs: what `load_image_text` gives, or any iterable of rows
            `{"image", "text"}` (or batches of them): a uint8 array of shape
            `(height, width, 3)` in [0, 255], and a caption or a list of
            captions.
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
            one an epoch. The first is the picture itself, the others are
            random parts of it. Defaults to `1`.
        crop_scale: pair of floats in (0, 1]. The range of the area of a
            random part. Defaults to `(0.7, 1.0)`.
        random_flip: bool. Whether random views are mirrored half of the time.
            Defaults to `False`: writing in pictures must not be mirrored.
        rows_per_shard: int. Records in a shard. Defaults to `8192`.
        batch_size: int. Pictures tokenized at once. Defaults to `32`.
        store: `"text_embeddings"`, or `"text_ids"` to store only the ids of
            the captions and run the encoder while training (the states of
            T5-XXL are up to 1 MiB a caption).
        seed: int. The seed of the random views.
        overwrite: bool. Whether finished shards in `directory` may be
            replaced; they stay until the new ones are done.
        verbose: 0 or 1. Whether to show a progress bar.

    Returns:
        The report, also kept in the metadata: a dict of `"num_rows"`,
        `"num_records"`, `"num_skipped"` and `"skipped"`, a list of
        `{"row", "reason"}`.

    Raises:
        ValueError: when `directory` holds finished shards, when an argument
            is out of range, or when no row remains.

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
    if store not in ("text_embeddings", "text_ids"):
        raise ValueError(
            "`store` must be 'text_embeddings' or 'text_ids'. "
            f"Received: store={store!r}"
        )
    check_positive("num_views", num_views)
    check_positive("rows_per_shard", rows_per_shard)
    check_positive("batch_size", batch_size)
    if not 0 < crop_scale[0] <= crop_scale[1] <= 1:
        raise ValueError(
            "`crop_scale` must be a pair of rising numbers in (0, 1]. "
            f"Received: crop_scale={crop_scale}"
        )
    low_res = PictureTokens("image_size", tokenizer, image_size)
    high_res = None
    if high_res_tokenizer is not None:
        high_res = PictureTokens(
            "high_res_image_size", high_res_tokenizer, high_res_image_size
        )
    texts = CaptionTexts(text_encoder, store)
    views_of = functools.partial(
        picture_views,
        num_views=num_views,
        crop_scale=crop_scale,
        random_flip=random_flip,
    )
    report = {"num_rows": 0, "num_records": 0, "num_skipped": 0, "skipped": []}
    rows = valid_rows(pairs, report)
    progress = _progress_bar(pairs, verbose)
    with ShardWriter(directory, rows_per_shard, overwrite) as shards:
        while batch := list(itertools.islice(rows, batch_size)):
            views = []
            for row, image, _ in batch:
                size = _view_size(image, low_res, high_res)
                views.append(views_of(image, size, seed=(seed, row)))
            captions = [row_captions for _, _, row_captions in batch]
            columns = [low_res.encode(views), captions, texts.encode(captions)]
            if high_res:
                columns.append(high_res.encode(views))
            for record in zip(*columns, strict=True):
                shards.write(pack_record(*record))
            progress.update(report["num_rows"])
        report["num_records"] = shards.num_records
        if not shards.num_records:
            raise ValueError(
                "`pairs` has no row with a picture and a caption. "
                f"Received: pairs with {report['num_rows']} rows, skipped: "
                f"{report['skipped'][:5]}"
            )
        shards.commit(
            {
                "low_res": low_res.metadata(),
                "high_res": high_res.metadata() if high_res else None,
                "num_views": num_views,
                "text": texts.metadata(),
                "report": report,
            }
        )
    progress.update(report["num_rows"], finalize=True)
    return report


def _view_size(image, low_res, high_res):
    """The larger size of a picture's views; the smaller is a copy of it."""
    low_size = low_res.size_of(image)
    if high_res is None:
        return low_size
    size = high_res.size_of(image)
    if low_size[0] * size[1] != low_size[1] * size[0]:
        raise ValueError(
            "`image_size` and `high_res_image_size` must have one aspect. "
            f"Received: image_size={low_size}, high_res_image_size={size}"
        )
    return size


def _progress_bar(pairs, verbose):
    if isinstance(pairs, ImageTextDataset):
        target = pairs.num_examples
    else:
        target = len(pairs) if isinstance(pairs, (list, tuple)) else None
    return keras.utils.Progbar(target, verbose=verbose, unit_name="row")
