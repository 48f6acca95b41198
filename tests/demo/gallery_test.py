"""The pictures of a session, and what is left of them."""

import gc
import os
import pathlib

import numpy as np
from PIL import Image

import keras_muse
from keras_muse.demo import gallery
from keras_muse.demo import limits
from keras_muse.demo.drawing import Drawn
from keras_muse.demo.drawing import Unfinished

MADE = {
    "task": "generate",
    "prompt": "a cat",
    "num_steps": 3,
    "guidance_scale": 3.0,
    "sampler": {"sampler": "confidence"},
    "preset": "tiny",
    "version": "0.1.0",
}


def drawn(seed):
    image = np.full((8, 8, 3), seed, "uint8")
    return Drawn(image, {**MADE, "seed": seed})


def files(folder):
    return [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]


def test_the_newest_is_in_front_and_remembers_how_it_was_drawn(tmp_path):
    kept = gallery.keep([], drawn(1), tmp_path)
    kept = gallery.keep(kept, drawn(2), tmp_path)
    assert [one.made["seed"] for one in kept] == [2, 1]
    assert keras_muse.read_parameters(kept[0].path)["seed"] == 2
    np.testing.assert_array_equal(
        np.asarray(Image.open(kept[1].path)), drawn(1).image
    )


def test_no_more_are_kept_than_there_is_room_for(tmp_path):
    kept = []
    for seed in range(limits.MAX_KEPT + 3):
        kept = gallery.keep(kept, drawn(seed), tmp_path)
    assert len(kept) == limits.MAX_KEPT == len(files(tmp_path))
    assert {str(path) for path in files(tmp_path)} == {x.path for x in kept}


def test_of_a_session_that_has_ended_nothing_is_left(tmp_path):
    session, other = gallery.Session(), gallery.Session()
    for one in (session, other):
        place = one.place(tmp_path)
        assert one.place(tmp_path) == place
        one.gallery = gallery.keep(one.gallery, drawn(1), place)
        seen = Unfinished(drawn(1).image, "base", 1)
        one.unfinished.append(gallery.keep_unfinished(seen, tmp_path))
    os.remove(session.gallery[0].path)  # whoever was faster
    del session, one
    gc.collect()
    left = {other.gallery[0].path, *other.unfinished}
    assert {str(path) for path in files(tmp_path)} == left
    assert len(os.listdir(tmp_path / "pictures")) == 1
