"""Sheets on the way, evenly in the time of a training."""

import types

import pytest

from keras_muse.recipes import drawings
from keras_muse.recipes.drawings import SheetsOnTheWay


class Pairs:
    def __init__(self):
        self.asked = []

    def select_evenly(self, count):
        self.asked.append(count)
        return self

    def resized(self, size):
        self.asked.append(size)
        return self


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of each sheet."""
    calls = []
    monkeypatch.setattr(
        drawings, "draw_captions", lambda *args: calls.append(args)
    )
    return calls


@pytest.mark.parametrize(
    "begin, expected",
    [(0, [25, 50, 75, 100]), (50, [75, 100]), (99, [100])],
)
def test_sheets_come_evenly_in_time(drawn, capsys, begin, expected):
    pairs = Pairs()
    budget = types.SimpleNamespace(seconds=100, spent=begin)
    callback = SheetsOnTheWay(
        *("muse", types.SimpleNamespace(shown=pairs), 32),
        *(budget, "progress.png", 7),
    )
    assert pairs.asked == [drawings.NUM_ON_THE_WAY, 32]
    callback.on_train_begin()
    when = []
    for budget.spent in range(begin + 1, 101):
        before = len(drawn)
        callback.on_epoch_end(0)
        if len(drawn) > before:
            when.append(budget.spent)
    assert when == expected
    assert drawn == [("muse", pairs, "progress.png", 7)] * len(when)
    assert capsys.readouterr().out.count("drawn: progress.png") == len(when)


def test_what_was_missed_is_drawn_once(drawn):
    budget = types.SimpleNamespace(seconds=100, spent=0)
    collection = types.SimpleNamespace(shown=Pairs())
    callback = SheetsOnTheWay("muse", collection, 32, budget, "a.png", 7)
    callback.on_train_begin()
    budget.spent = 90
    for _ in range(3):
        callback.on_epoch_end(0)
    assert len(drawn) == 1
    # Of no time at all nothing is divided.
    budget.seconds = budget.spent = 0
    callback.on_train_begin()
    callback.on_epoch_end(0)
    assert len(drawn) == 1
