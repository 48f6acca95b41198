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
        # Where there is no TensorFlow the package can be imported, and is
        # empty.
        from tensorflow_datasets import core
        from tensorflow_datasets import data_source
        from tensorflow_datasets import decode
    except ImportError as error:
        raise ImportError(
            "A 'tfds:' `path` needs the packages tensorflow-datasets and "
            f"tensorflow. Received: path={'tfds:' + name!r}"
        ) from error
    try:
        source = data_source(
            name,
            split=split,
            download=False,  # of what may be tens of gigabytes
            decoders={"image": decode.SkipDecoding()},
        )
    except core.DatasetNotFoundError:
        raise ValueError(
            "`path` must name a dataset of TensorFlow Datasets. Received: "
            f"path={'tfds:' + name!r}"
        ) from None  # it lists all that there are
    except Exception as error:  # each thing that is wrong has its own kind
        raise ValueError(
            "`path` must name a dataset of TensorFlow Datasets that has been "
            "downloaded and is stored as array records, which "
            f"`tensorflow_datasets.data_source({name!r})` does. Received: "
            f"path={'tfds:' + name!r}, split={split!r}, "
            f"{type(error).__name__}: {error}"
        ) from error
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
