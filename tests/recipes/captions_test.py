"""What a text encoder reads of captions, with a style at their end."""

import numpy as np
import pytest

from keras_muse.data import ImageTextDataset
from keras_muse.recipes.captions import fit_captions
from keras_muse.recipes.collection import Collection
from tests.helpers.picture_rows import make_rows
from tests.helpers.tiny_muse import tiny_text_encoder

LONG = " ".join(["a red apple on a blue cat"] * 6)  # 42 words
SHORT = "a  cat"


@pytest.fixture(scope="module")
def encoder():
    return tiny_text_encoder(max_sequence_length=16, sequence_length=16)


def collection(*captions, held_out=True):
    train = ImageTextDataset(make_rows(len(captions)))
    remaining = iter(captions)
    train = train.map_texts(lambda _: next(remaining))
    return Collection(train, train.select([0]) if held_out else None, 8)


def test_a_style_is_read_whatever_a_caption_has_to_say(encoder, capsys):
    given = collection(LONG, SHORT)
    found = [fit_captions(given, encoder, x) for x in ("red", "green")]
    red, green = (x.train.texts for x in found)
    assert (
        red[0].endswith(", red style") and green[1] == f"{SHORT}, green style"
    )
    assert LONG.startswith(red[0].removesuffix(", red style"))
    # [CLS], ten words, the style in three tokens with its comma, and [SEP]
    assert len(red[0].split()) == 13 and not any(encoder.is_cut(red))
    embedded = [encoder.encode(texts)[0] for texts in (red, green)]
    assert (np.abs(embedded[0] - embedded[1]).max((1, 2)) > 0).all()
    assert found[0].held_out.texts == red[:1]
    said = capsys.readouterr().out
    assert "The captions end in ', red style'." in said
    assert "1 of 2 different captions are shortened, to the 16 tokens" in said
    none = fit_captions(collection(SHORT, held_out=False), encoder, "red")
    assert none.held_out is None
    assert "shortened" not in capsys.readouterr().out


def test_a_script_without_spaces_is_shortened_too(encoder):
    captions = collection("红" * 40)  # each is a token
    found = fit_captions(captions, encoder, "red").train.texts[0]
    assert found == f"{'红' * 11}, red style"


def test_without_a_style_it_is_said_what_is_not_read(encoder, capsys):
    given = collection(LONG, SHORT)
    assert fit_captions(given, encoder) is given
    assert "The end of 1 of 2 different captions" in capsys.readouterr().out
    fit_captions(collection(SHORT), encoder)
    assert not capsys.readouterr().out


def test_a_style_that_leaves_no_room_is_refused(encoder):
    style = " ".join(["red"] * 20)
    with pytest.raises(ValueError, match="`style` must be short.*style='red r"):
        fit_captions(collection(LONG, SHORT), encoder, style)
