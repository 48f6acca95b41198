"""Captions, of which a text encoder reads the first tokens alone."""

import bisect
import dataclasses
import re

from keras_muse.runtime.checks import show

TOGETHER = 4096  # captions that become tokens at once


def fit_captions(collection, text_encoder, style=None):
    """Adds a style to all captions, where the text encoder reads it.

    Of a caption that would push the style out of sight, words at its end go.
    It says how many are shortened, and without a style how many are cut.

    Args:
        collection: a `Collection`.
        text_encoder: a `TextEncoder`.
        style: string or `None`.

    Returns:
        A `Collection`.
    """
    ending = "" if style is None else f", {style} style"
    captions = _captions_of(collection)
    long = _cut(captions, ending, text_encoder)
    where = f"{len(long)} of {len(captions)} different captions"
    reads = f"the {text_encoder.sequence_length} tokens that the text encoder"
    if style is None:
        if long:
            print(f"The end of {where} is not learned: beyond {reads} reads.")
        return collection
    shortened = {x: _shortened(x, ending, style, text_encoder) for x in long}
    print(f"The captions end in {show(ending)}.")
    if long:
        print(f"Before it {where} are shortened, to {reads} reads.")

    def with_style(pairs):
        return pairs.map_texts(lambda x: f"{shortened.get(x, x)}{ending}")

    held_out = collection.held_out
    return dataclasses.replace(
        collection,
        train=with_style(collection.train),
        held_out=held_out and with_style(held_out),
    )


def _captions_of(collection):
    """Each caption once."""
    captions = {}
    for pairs in (collection.train, collection.held_out):
        if pairs is not None:
            for row in pairs.rows:
                captions.update(dict.fromkeys(row["texts"]))
    return list(captions)


def _cut(captions, ending, text_encoder):
    """Those that the text encoder would cut, with an ending."""
    cut = []
    for start in range(0, len(captions), TOGETHER):
        some = captions[start : start + TOGETHER]
        is_cut = text_encoder.is_cut([f"{x}{ending}" for x in some])
        cut += [x for x, yes in zip(some, is_cut, strict=True) if yes]
    return cut


def _shortened(caption, ending, style, text_encoder):
    """As many of its first words as leave room for the ending.

    Of a script without spaces, as many of its characters.
    """
    for parts in (re.findall(r"\s*\S+", caption), list(caption)):

        def is_cut(number, parts=parts):
            text = "".join(parts[:number]) + ending
            return text_encoder.is_cut([text])[0]

        numbers = range(1, len(parts) + 1)
        if number := bisect.bisect_left(numbers, True, key=is_cut):
            return "".join(parts[:number])
    raise ValueError(
        "`style` must be short enough to be read after a caption, of which "
        f"the text encoder reads {text_encoder.sequence_length} tokens in "
        f"all. Received: style={style!r}"
    )
