"""Which settings nothing else beats, in a distance and in what it brings."""

import numpy as np
import pytest
from PIL import Image

from keras_muse.evaluation import front


def settings(*points, names=("kernel_distance", "r_precision")):
    return [dict(zip(names, point, strict=True)) for point in points]


def test_the_front_is_what_nothing_beats_in_both():
    rows = settings((1, 0.1), (2, 0.5), (3, 0.4), (9, 0.9))
    front.mark_front(rows)
    assert [r["on_front"] for r in rows] == [True, True, False, True]


def test_equal_settings_are_both_on_the_front():
    rows = settings((1, 0.5), (1, 0.5), (1, 0.4))
    front.mark_front(rows)
    assert [r["on_front"] for r in rows] == [True, True, False]


def test_the_scores_of_the_paper_trade_off_too():
    names = ("frechet_distance", "clip_score")
    rows = settings((5, 0.2), (4, 0.3), names=names)
    assert front.trade_off(rows) == names
    front.mark_front(rows)
    assert [r["on_front"] for r in rows] == [False, True]
    # What was not measured of each setting is held against none.
    assert front.trade_off([*rows, *settings((1, 0.5))]) is None


@pytest.mark.parametrize(
    "rows",
    [settings((1, 0.5)), settings((1,), (2,), names=("kernel_distance",))],
)
def test_without_others_or_a_second_score_there_is_no_front(rows):
    front.mark_front(rows)
    assert not any("on_front" in row for row in rows)


def test_the_curve_of_each_split_has_a_colour_of_its_own(tmp_path):
    rows = [
        {**row, "split": split, "guidance_scale": 2.0, "num_steps": 8}
        for split in ("all", "other")
        for row in settings((1, 0.1), (2, 0.5))
    ]
    for row in rows:
        row["on_front"] = True
    front.draw_front(rows, tmp_path / "front.png")
    pixels = np.asarray(Image.open(tmp_path / "front.png").convert("RGB"))
    # The first two of matplotlib.
    for color in [(31, 119, 180), (255, 127, 14)]:
        assert (pixels == color).all(axis=-1).any()
