"""The format of token shards: bytes of a record, files of a directory."""

import json
import os
import zlib

import ml_dtypes
import numpy as np
from safetensors import numpy as safetensors

from keras_muse.files.json_files import check_entries
from keras_muse.files.json_files import check_file_name
from keras_muse.files.json_files import read_object

FORMAT = "keras_muse.token_shards"
FORMAT_VERSION = 1
METADATA_FILE = "metadata.json"
_END = 2**16  # bytes of a shard by which it is known


def pack_record(token_ids, captions, texts, high_res_token_ids=None):
    """Packs one picture with its captions into bytes (safetensors).

    Args:
        token_ids: int array of shape `(num_views, num_tokens)`.
        captions: list of strings, kept beside the text for people to read.
        texts: list of arrays, one per caption: bfloat16 text states of shape
            `(length, text_dim)`, or int32 text ids of shape `(length,)`.
        high_res_token_ids: optional int array of shape
            `(num_views, num_high_res_tokens)`.

    Returns:
        bytes.
    """
    text = np.concatenate(texts)
    if text.dtype == ml_dtypes.bfloat16:
        # safetensors writes no bfloat16 from numpy: the same bits as uint16.
        text = text.view("uint16")
    record = {
        "token_ids": _smallest(token_ids),
        "captions": np.frombuffer(json.dumps(captions).encode(), "uint8"),
        "text_ends": np.cumsum([len(one) for one in texts], dtype="int32"),
        "text": text,
    }
    if high_res_token_ids is not None:
        record["high_res_token_ids"] = _smallest(high_res_token_ids)
    return safetensors.save(record)


def unpack_record(data):
    """Reverses `pack_record`: a dict of its arguments."""
    record = safetensors.load(data)
    text = record["text"]
    if text.dtype == np.uint16:
        text = text.view(ml_dtypes.bfloat16)
    return {
        "token_ids": record["token_ids"],
        "high_res_token_ids": record.get("high_res_token_ids"),
        "captions": json.loads(record["captions"].tobytes()),
        "texts": np.split(text, record["text_ends"][:-1]),
    }


def _smallest(token_ids):
    dtype = "uint16" if token_ids.max() < 2**16 else "int32"
    return np.ascontiguousarray(token_ids, dtype)


def read_metadata(directory):
    """Reads `metadata.json` and checks that every shard is there, whole.

    Args:
        directory: string. What `write_token_shards` wrote.

    Returns:
        The metadata, a dict.

    Raises:
        ValueError: when there are no finished shards, when they are of
            another format version, or when one is missing, cut short or of
            another run.
    """
    path = os.path.join(directory, METADATA_FILE)
    if not os.path.isfile(path):
        raise ValueError(
            f"`directory` holds no finished token shards ({METADATA_FILE} is "
            "written last, when all is done). "
            f"Received: directory={directory}"
        )
    metadata = read_object(path)
    found = metadata.get("format"), metadata.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise ValueError(
            f"`directory` must hold {FORMAT} of format version "
            f"{FORMAT_VERSION}; this one has format={found[0]}, "
            f"format_version={found[1]}. Received: directory={directory}"
        )
    _check_metadata(metadata, path)
    for shard in metadata["shards"]:
        problem = _problem(os.path.join(directory, shard["name"]), shard)
        if problem:
            raise ValueError(
                f"`directory` is not whole: shard {shard['name']} {problem}. "
                f"Received: directory={directory}"
            )
    return metadata


def _problem(path, shard):
    """What is the matter with a shard, if anything."""
    if not os.path.isfile(path):
        return "is missing"
    num_bytes = os.path.getsize(path)
    if num_bytes != shard["num_bytes"]:
        return f"has {num_bytes} bytes instead of {shard['num_bytes']}"
    # Those of earlier versions are known by their size alone.
    if shard.get("ends") not in (None, ends_of(path)):
        return "is of another run, or damaged"
    return None


def ends_of(path):
    """A checksum of how a shard begins and ends, to read no gigabytes."""
    with open(path, "rb") as file:
        first = file.read(_END)
        file.seek(max(0, os.path.getsize(path) - _END))
        return zlib.crc32(file.read(), zlib.crc32(first))


def _check_metadata(metadata, path):
    nothing = type(None)
    check_entries(
        metadata,
        path,
        num_records=int,
        shards=list,
        low_res=dict,
        high_res=(dict, nothing),
        text=dict,
    )
    for size in ("low_res", "high_res"):
        if metadata[size] is not None:
            check_entries(
                metadata[size],
                path,
                f"`{size}`",
                codebook_size=int,
                codebook_fingerprint=(str, nothing),
                grid_size=list,
            )
            _check_sides(metadata[size]["grid_size"], path)
    check_entries(
        metadata["text"],
        path,
        "`text`",
        store=str,
        text_encoder=str,
        text_dim=int,
        sequence_length=int,
    )
    for name in ("text_dim", "sequence_length"):
        if metadata["text"][name] < 1:
            raise ValueError(
                f"`{name}` in `{path}` must be positive. Received: "
                f"{name}={metadata['text'][name]}"
            )
    for shard in metadata["shards"]:
        check_entries(
            shard, path, "`shards`", name=str, num_bytes=int, num_records=int
        )
        check_file_name(shard["name"], path)
    total = sum(shard["num_records"] for shard in metadata["shards"])
    if metadata["num_records"] != total or total < 1:
        raise ValueError(
            f"`{path}` must have the records of its shards, {total}. Received: "
            f"num_records={metadata['num_records']}"
        )


def _check_sides(sides, path):
    if len(sides) != 2 or any(type(s) is not int or s < 1 for s in sides):
        raise ValueError(
            f"`grid_size` in `{path}` must be two positive integers. "
            f"Received: grid_size={sides!r}"
        )
