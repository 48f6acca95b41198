"""What `processes_test.py` runs in processes of their own, on JAX.

    python -m tests.data.tokenize_runs DIRECTORY RECORDS [ADDRESS COUNT ID]

Each process writes the same jobs into the folders of DIRECTORY. It kills
itself after so many RECORDS, if that is not 0.
"""

import functools
import os
import pathlib
import signal
import sys

import jax
import keras
import numpy as np

from keras_muse.data import load_image_text
from keras_muse.data import processes
from keras_muse.data import read_token_shards
from keras_muse.data import write_token_shards
from keras_muse.data.token_shards import shard
from keras_muse.training import data_parallel
from tests.helpers import tiny
from tests.helpers import tiny_muse

WORDS = ["a red apple", "a blue cat", "green", "a cat on a red cat"]


def captions(i):
    return [WORDS[i % 4], WORDS[i % 3] + " " * (i == 5)]


def iterate():
    """Rows, without an index; number 4 is broken."""
    for i, image in enumerate(tiny.tiny_images(11)):
        yield {"image": image, "text": "" if i == 4 else captions(i)}


def die_after(num_records):
    pack_record = shard.pack_record
    packed = []

    def pack(*args):
        packed.append(args)
        if len(packed) > num_records:
            os.kill(os.getpid(), signal.SIGKILL)
        return pack_record(*args)

    shard.pack_record = pack


@functools.cache
def models():
    return tiny_muse.tiny_picture_tokenizer(), tiny_muse.tiny_text_encoder()


def write(name, pairs, directory, **kwargs):
    return write_token_shards(
        pairs,
        str(directory / name),
        *models(),
        rows_per_shard=3,
        batch_size=2,
        num_views=2,
        verbose=0,
        **kwargs,
    )


def message_of(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except ValueError as error:
        return str(error)
    return "nothing was raised"


def check(directory):
    """What must be refused; and what a process reads without being told."""
    number = processes.this_process().shard_index
    images = tiny.tiny_images(11, size=18 if number == 1 else 16)
    rows = [{"image": image, "text": "a cat"} for image in images]
    messages = {
        # The tokenizer of the second process does not take such pictures.
        "failed": message_of(write, "failed", rows, directory),
        "settings": message_of(
            write, "settings", list(iterate()), directory, seed=number % 2
        ),
    }
    batch = read_token_shards(str(directory / "folder"), 6)[0]
    write("ids", iterate(), directory, store="text_ids")
    data_parallel()
    messages["text_ids"] = message_of(
        read_token_shards, str(directory / "ids"), 6, text_encoder=models()[1]
    )
    messages["devices"] = message_of(write, "devices", iterate(), directory)
    messages["mesh"] = message_of(
        read_token_shards, str(directory / "folder"), 9
    )
    np.savez(directory / f"checked_{number}.npz", **batch, **messages)


def main(directory, num_records, *job):
    directory = pathlib.Path(directory)
    if job:
        address, count, number = job
        processes.join(address, int(count), int(number))
        keras.utils.set_random_seed(0)
    if int(num_records):
        die_after(int(num_records))
    pictures = load_image_text(directory.parent / "pictures", verify=None)
    write("folder", pictures, directory, image_size=16)
    write("iterable", iterate(), directory)
    print(jax.process_count(), "processes")
    if job:
        check(directory)


if __name__ == "__main__":
    # Keras would import it to seed it: four seconds in each process.
    from tests.helpers import no_tensorflow  # noqa: F401

    main(*sys.argv[1:])
