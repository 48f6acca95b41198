"""TensorFlow Datasets by name, read at random without TensorFlow."""

import functools

from keras_muse.data.sources.row import Row
from keras_muse.data.sources.tables import texts_of


def tfds_rows(name, split):
    """Rows of the dataset `name`, which must have been downloaded before.

    The captions of all rows are read here; the pictures stay encoded and are
    read again when they are wanted.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "A 'tfds:' `path` needs the package tensorflow-datasets. "
            f"Received: path={'tfds:' + name!r}"
        ) from error
    try:
        source = tensorflow_datasets.data_source(
            name,
            split=split,
            decoders={"image": tensorflow_datasets.decode.SkipDecoding()},
        )
    except tensorflow_datasets.core.DatasetNotFoundError:
        raise ValueError(
            "`path` must name a dataset of TensorFlow Datasets. Received: "
            f"path={'tfds:' + name!r}"
        ) from None  # it lists all that there are
    rows = []
    for index in range(len(source)):
        row_name = f"{name}/{split}/{index}"
        try:
            record = source[index]
            texts = tuple(texts_of(record))
        except (TypeError, ValueError, OSError):
            rows.append(Row(row_name, problem="unreadable caption"))
            continue
        metadata = {k: v for k, v in record.items() if k != "image"}
        rows.append(
            Row(
                name=row_name,
                texts=texts,
                read=functools.partial(_read_image, source, index),
                metadata=metadata,
            )
        )
    return rows


def _read_image(source, index):
    return source[index]["image"]
