"""The work behind the buttons."""

import threading

import numpy as np
import pytest

from keras_muse.demo import drawing
from keras_muse.demo.drawing import Artist
from keras_muse.demo.drawing import Drawn
from keras_muse.demo.drawing import Unfinished
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny_muse import shared_muse

OPTIONS = {"num_steps": 3, "super_res_num_steps": 2, "batch_size": 1}


@pytest.fixture(scope="module")
def artist():
    artist = Artist(shared_muse(), "tiny")
    yield artist
    artist.close()


def finished(updates):
    return [one for one in updates if isinstance(one, Drawn)]


def test_pictures_are_those_of_python_and_say_how_they_were_drawn(artist):
    updates = artist.draw(["a cat", "a cat"], "blue", [7, 2**32 - 1], OPTIONS)
    drawn = finished(updates)
    expected = shared_muse().generate(
        ["a cat", "a cat"],
        "blue",
        seed=[7, 2**32 - 1],
        verbose=0,
        **OPTIONS,
    )
    for one, image, seed in zip(drawn, expected, (7, 2**32 - 1), strict=True):
        np.testing.assert_array_equal(one.image, image)
        assert one.made["seed"] == seed and one.made["prompt"] == "a cat"
        assert one.made["negative_prompt"] == "blue"
        assert one.made["batch_size"] == 1 and one.made["preset"] == "tiny"


def test_unfinished_pictures_are_seen_and_take_their_share_only(
    artist, monkeypatch
):
    """With all the time of the world, each step is shown."""
    monkeypatch.setattr(drawing, "SHARE", 1e9)
    updates = list(artist.draw(["a cat"], "", [7], OPTIONS))
    seen = [(x.stage, x.step) for x in updates if isinstance(x, Unfinished)]
    base, super_res = shared_muse().cascade.stages
    assert seen == [
        *((base, step) for step in (1, 2, 3)),
        *((super_res, step) for step in (1, 2)),
    ]
    grey = np.all(updates[0].image == 128, -1)
    assert grey.any() and not grey.all()
    # With none, nothing: what each takes is known by now.
    monkeypatch.setattr(drawing, "SHARE", 0.0)
    updates = list(artist.draw(["a cat"], "", [7], OPTIONS))
    seen = [(x.stage, x.step) for x in updates if isinstance(x, Unfinished)]
    assert seen == []


def test_edits_are_those_of_python(artist):
    (picture,) = tiny_images(1, size=32)
    mask = np.zeros((32, 32), "bool")
    mask[:9] = True
    texts = ("a cat", "")
    updates = artist.edit(
        *("inpaint", picture, *texts, 5, OPTIONS, {"masks": mask}),
        blend_width=2,
    )
    (drawn,) = finished(updates)
    np.testing.assert_array_equal(drawn.image[~mask], picture[~mask])
    (expected,) = shared_muse().inpaint(
        picture, mask, "a cat", seed=5, verbose=0, blend_width=2, **OPTIONS
    )
    np.testing.assert_array_equal(drawn.image, expected)
    assert drawn.made["task"] == "inpaint" and drawn.made["blend_width"] == 2

    rounds = {
        "num_rounds": 2,
        "mask_ratio": 0.1,
        "top_k": 3,
        "guidance_scale": 5.0,
        "batch_size": 1,
    }
    (drawn,) = finished(artist.edit("edit", picture, *texts, 5, rounds))
    (expected,) = shared_muse().edit(
        picture, "a cat", seed=5, verbose=0, **rounds
    )
    np.testing.assert_array_equal(drawn.image, expected)
    assert drawn.made["sampler"]["sampler"] == "resampling"


def test_an_error_reaches_the_person_and_the_next_picture_is_drawn(artist):
    with pytest.raises(ValueError, match="`padding` must be four"):
        list(
            artist.edit(
                "outpaint",
                tiny_images(1, size=32)[0],
                *("a cat", "", 5),
                OPTIONS,
                padding=(1, 2),
            )
        )
    assert len(finished(artist.draw(["a cat"], "", [1], OPTIONS))) == 1


def test_who_lets_go_stops_the_work(artist, monkeypatch):
    monkeypatch.setattr(drawing, "SHARE", 1e9)
    options = {**OPTIONS, "num_steps": 60}
    updates = artist.draw(["a cat"], "", [7], options)
    assert next(updates).step == 1
    updates.close()
    # Else the next one would wait for 60 steps and a second stage.
    steps = []
    monkeypatch.setattr(
        artist.muse, "preview", lambda *seen: steps.append(seen) or [None]
    )
    list(artist.draw(["a cat"], "", [7], OPTIONS))
    assert len(steps) == 5


def test_pictures_of_many_wait_for_each_other(artist, monkeypatch):
    """One thread draws, whoever asks; each gets its own."""
    threads, drawn = set(), {}
    generate = type(artist.muse).generate

    def spied(self, *args, **kwargs):
        threads.add(threading.get_ident())
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(type(artist.muse), "generate", spied)

    def draw(seed):
        (drawn[seed],) = finished(artist.draw(["a cat"], "", [seed], OPTIONS))

    asking = [threading.Thread(target=draw, args=(seed,)) for seed in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(threads) == 1
    expected = shared_muse().generate(
        ["a cat"] * 8, seed=list(range(8)), verbose=0, **OPTIONS
    )
    for seed, image in enumerate(expected):
        np.testing.assert_array_equal(drawn[seed].image, image)


@pytest.mark.parametrize("task", ["generate", "inpaint", "outpaint", "edit"])
def test_programs_are_compiled_ahead_once(artist, task):
    first = artist.prepare(task)
    first.result()
    assert artist.prepare(task) is first and artist.is_ready(task)


def test_seeds_of_one_click_follow_each_other():
    assert drawing.following_seeds(7, 3) == [7, 8, 9]
    assert drawing.following_seeds(2**32 - 1, 2) == [2**32 - 1, 0]
    assert drawing.following_seeds(None, 1) != drawing.following_seeds(None, 1)
