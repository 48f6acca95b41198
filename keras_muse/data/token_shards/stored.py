"""The records of token shards by their numbers, each checked as it is read."""

import bisect
import itertools
import os

import grain
import numpy as np

from keras_muse.data.token_shards.records import unpack_record
from keras_muse.files.damage import check_numbers
from keras_muse.files.damage import reading


class StoredRecords:
    """Records of all shards in their order.

    Args:
        directory: string. Where the shards are.
        metadata: dict, as `read_metadata` gives it.
    """

    def __init__(self, directory, metadata):
        shards = metadata["shards"]
        # A program may go to another place meanwhile.
        directory = os.path.abspath(directory)
        self._metadata = metadata
        self._paths = [os.path.join(directory, s["name"]) for s in shards]
        self._ends = list(
            itertools.accumulate(s["num_records"] for s in shards)
        )
        with reading(directory):
            self._source = grain.sources.ArrayRecordDataSource(self._paths)
        if len(self._source) != metadata["num_records"]:
            raise ValueError(
                f"The shards in `{directory}` hold {len(self._source)} "
                "records. Received: metadata.json with "
                f"num_records={metadata['num_records']}"
            )

    def read(self, numbers):
        """Records as dicts, by a list of their numbers."""
        paths = sorted(set(map(self._path, numbers)))
        try:
            with reading(" or ".join(paths)):
                records = self._source.__getitems__(numbers)
        except ValueError as error:
            gone = [path for path in paths if not os.path.exists(path)]
            if not gone:
                raise
            raise ValueError(
                "The shards must stay where they are as long as they are "
                f"read. Received: `{gone[0]}`, which is not there any more"
            ) from error
        return [
            self._unpack(record, number)
            for record, number in zip(records, numbers, strict=True)
        ]

    def _path(self, number):
        return self._paths[bisect.bisect_right(self._ends, number)]

    def _unpack(self, data, number):
        with reading(self._path(number), f"has a damaged record {number}"):
            record = unpack_record(data)
            self._check(record)
            return record

    def _check(self, record):
        _check_ids(record["token_ids"], self._metadata["low_res"])
        if self._metadata["high_res"] is not None:
            _check_ids(record["high_res_token_ids"], self._metadata["high_res"])
        text = self._metadata["text"]
        is_ids = text["store"] == "text_ids"
        for one in record["texts"]:
            shape = (len(one),) if is_ids else (len(one), text["text_dim"])
            if one.shape != shape or not len(one):
                raise ValueError(f"a text is of shape {one.shape}")
            check_numbers(one, "text")
        captions = record["captions"]
        if not captions or not all(isinstance(c, str) for c in captions):
            raise ValueError("the captions are no texts")
        if len(record["texts"]) != len(captions):
            raise ValueError("there is not one text for each caption")


def _check_ids(token_ids, tokens):
    num_tokens = np.prod(tokens["grid_size"])
    if token_ids.ndim != 2 or token_ids.shape[1] != num_tokens:
        raise ValueError(f"token ids are of shape {token_ids.shape}")
    if not len(token_ids) or token_ids.dtype.kind not in "iu":
        raise ValueError(f"token ids are {len(token_ids)} {token_ids.dtype}")
    if not 0 <= token_ids.min() <= token_ids.max() < tokens["codebook_size"]:
        raise ValueError(
            f"token ids go from {token_ids.min()} to {token_ids.max()}, and "
            f"there are {tokens['codebook_size']} codes"
        )
