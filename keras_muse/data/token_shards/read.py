"""`read_token_shards`: what `write_token_shards` wrote, for `fit`."""

import grain
import keras

from keras_muse.data.processes import spans_processes
from keras_muse.data.processes import this_process
from keras_muse.data.token_shards.dataset import TokenDataset
from keras_muse.data.token_shards.encoding import codebook_fingerprint
from keras_muse.data.token_shards.records import read_metadata
from keras_muse.data.token_shards.same_texts import check_same_texts
from keras_muse.runtime.batches import num_local_replicas
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_path

LARGEST_SEED = 2**32 - 1  # of grain's shuffles


def read_token_shards(
    directory,
    batch_size,
    stage="base",
    *,
    shuffle=True,
    seed=0,
    steps_per_epoch=None,
    drop_remainder=True,
    text_encoder=None,
    codebook_size=None,
    tokenizer=None,
    process_index=None,
    process_count=None,
):
    """Reads what `write_token_shards` wrote, as a data set for `fit`.

    Every pass over the records has its own order, and draws one caption and
    one view of each record; both are fixed by `seed` and the number of the
    pass. See `step` of the result on how to resume exactly.

    Args:
        directory: string. Where the shards are.
        batch_size: int. Rows of a batch, over all processes together.
        stage: `"base"` or `"super_res"`. Whose training the batches are for.
            Defaults to `"base"`.
        shuffle: bool. Whether to shuffle over all shards, anew in every pass.
            With `False` the records come in the order in which they were
            written, and each pass is the same: for evaluation. Defaults to
            `True`.
        seed: int in [0, 2**32). Defaults to `0`.
        steps_per_epoch: int. Batches an epoch; the next epoch goes on where
            the last one stopped. Defaults to one pass over the records.
        drop_remainder: bool. Whether to leave out the records that are left
            at the end of a pass and fill no batch. Defaults to `True`.
        text_encoder: a text encoder. Needed for shards written with
            `store="text_ids"`; else only checked to be the one that was used,
            by what it makes of a caption.
        codebook_size: int. When given, what the shards must have been made
            with.
        tokenizer: `VQGANTokenizer`. When given, it must have the codebook
            that the tokens of `stage` were made with.
        process_index: int. The number of this process. Defaults to that in
            the job of `keras_muse.training.distribution.initialize`.
        process_count: int. Processes that train together; each reads its part
            of every batch, and the batches do not depend on their number.
            Defaults to those of the job, or to 1 where there is none.

    Returns:
        A `keras.utils.PyDataset` of dicts: `"token_ids"`, int32 of shape
        `(batch, num_tokens)`; `"text_embeddings"`, float32 of shape
        `(batch, text_length, text_dim)`; `"text_mask"`, bool of shape
        `(batch, text_length)`; and for `"super_res"` also
        `"low_res_token_ids"`, int32 of shape `(batch, num_low_res_tokens)`.
        It has `num_records`, `metadata`, `epoch`, and the settable `step`;
        `len()` is the number of batches in an epoch.

    Raises:
        ValueError: when a shard is missing or cut short, when the format is
            of another version, when an argument does not fit the shards,
            when processes or the mesh do not divide the batch, or when text
            ids are to be encoded under a mesh of several processes.

    Example:
    ```python
    import tempfile
    import numpy as np
    import keras_muse

    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=8, channel_multipliers=(1, 1), codebook_size=16,
        codebook_dim=4, num_groups=4,
    )
    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    row = {"image": np.zeros((8, 8, 3), "uint8"), "text": "a black square"}
    directory = tempfile.mkdtemp()
    keras_muse.data.write_token_shards(
        [row] * 4, directory, tokenizer, encoder
    )
    dataset = keras_muse.data.read_token_shards(directory, batch_size=2)
    base = keras_muse.MuseBase(
        codebook_size=16, grid_size=(4, 4), text_dim=encoder.text_dim,
        num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32,
    )
    base.compile()
    # The same program, after a kill, goes on with the very next batch.
    checkpoint = keras_muse.training.Checkpoint(tempfile.mkdtemp(), dataset)
    base.fit(dataset, epochs=2, callbacks=[checkpoint])
    ```
    """
    batch_size = check_int(batch_size, "batch_size")
    if steps_per_epoch is not None:
        steps_per_epoch = check_int(steps_per_epoch, "steps_per_epoch")
    check_choice(stage, "stage", ("base", "super_res"))
    directory = check_path(directory, "directory")
    seed = check_int(seed, "seed", low=0, high=LARGEST_SEED)
    shuffle = check_bool(shuffle, "shuffle")
    drop_remainder = check_bool(drop_remainder, "drop_remainder")
    metadata = read_metadata(directory)
    _check_tokens(metadata, stage, codebook_size, tokenizer)
    _check_text_encoder(metadata["text"], text_encoder)
    if text_encoder is not None:
        check_same_texts(directory, metadata, text_encoder)
    if metadata["text"]["store"] == "text_ids" and spans_processes():
        raise ValueError(
            "Shards of `store='text_ids'` are encoded by each process alone, "
            "which a distribution over several processes does not allow: "
            "write them with `store='text_embeddings'`. Received: "
            f"distribution={keras.distribution.distribution()}"
        )
    process = _process(process_index, process_count)
    _check_processes(process, batch_size, drop_remainder)
    _check_mesh(process, batch_size, metadata["num_records"], drop_remainder)
    if drop_remainder and metadata["num_records"] < batch_size:
        raise ValueError(
            f"`batch_size` is more than the {metadata['num_records']} records "
            "there are; lower it or pass `drop_remainder=False`. "
            f"Received: batch_size={batch_size}"
        )
    return TokenDataset(
        directory,
        metadata,
        batch_size=batch_size,
        stage=stage,
        shuffle=shuffle,
        seed=seed,
        steps_per_epoch=steps_per_epoch,
        drop_remainder=drop_remainder,
        text_encoder=text_encoder,
        process_index=process.shard_index,
        process_count=process.shard_count,
    )


def _check_tokens(metadata, stage, codebook_size, tokenizer):
    tokens = metadata["low_res" if stage == "base" else "high_res"]
    if tokens is None:
        raise ValueError(
            "`stage='super_res'` needs shards written with "
            f"`high_res_tokenizer`. Received: stage={stage!r}"
        )
    if codebook_size not in (None, tokens["codebook_size"]):
        raise ValueError(
            "`codebook_size` must be what the shards were made with, "
            f"{tokens['codebook_size']}. "
            f"Received: codebook_size={codebook_size}"
        )
    if tokenizer is not None:
        fingerprint = codebook_fingerprint(tokenizer)
        if fingerprint != tokens["codebook_fingerprint"]:
            raise ValueError(
                "`tokenizer` has another codebook than the one the shards "
                f"were made with. Received: tokenizer={tokenizer}"
            )


def _check_text_encoder(text, text_encoder):
    if text_encoder is None:
        if text["store"] == "text_ids":
            raise ValueError(
                "`text_encoder` is needed: the shards hold only text ids, of "
                f"{text['text_encoder']}. Received: text_encoder=None"
            )
        return
    found = {
        "text_encoder": type(text_encoder).__name__,
        "text_dim": text_encoder.text_dim,
        "sequence_length": text_encoder.sequence_length,
    }
    written = {name: text[name] for name in found}
    if found != written:
        raise ValueError(
            "`text_encoder` must be the one that the shards were written "
            f"with, {written}. Received: {found}"
        )


def _process(process_index, process_count):
    """The given process as grain's `ShardOptions`, or the running one."""
    if process_index is None and process_count is None:
        return this_process()
    if process_index is None or process_count is None:
        raise ValueError(
            "`process_index` and `process_count` go together. Received: "
            f"process_index={process_index}, process_count={process_count}"
        )
    process_count = check_int(process_count, "process_count")
    process_index = check_int(
        process_index, "process_index", low=0, high=process_count - 1
    )
    return grain.sharding.ShardOptions(process_index, process_count)


def _check_processes(process, batch_size, drop_remainder):
    count = process.shard_count
    if count > 1 and (batch_size % count or not drop_remainder):
        raise ValueError(
            "`process_count` must divide `batch_size`, and `drop_remainder` "
            f"be set. Received: process_count={count}, "
            f"batch_size={batch_size}, drop_remainder={drop_remainder}"
        )


def _check_mesh(process, batch_size, num_records, drop_remainder):
    """Refuses batches that the devices cannot share equally."""
    num_parts = num_local_replicas()
    sizes = [batch_size // process.shard_count]
    if not drop_remainder:
        sizes.append(num_records % batch_size)
    if any(size % num_parts for size in sizes):
        raise ValueError(
            "`batch_size` must be a multiple of the parts into which the "
            "distribution splits a batch, and so must be what is left for the "
            f"last one. Received: batch_size={batch_size} for "
            f"{process.shard_count} processes with {num_parts} parts each, "
            f"num_records={num_records}, drop_remainder={drop_remainder}"
        )
