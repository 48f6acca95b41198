"""`keras-muse train`: what the command makes of its words."""

import importlib
import inspect

import pytest

from keras_muse import cli
from keras_muse import train


def test_train_passes_its_options_on(monkeypatch):
    module = importlib.import_module("keras_muse.recipes.train")
    calls = []
    monkeypatch.setattr(
        module, "train", lambda **arguments: calls.append(arguments)
    )
    cli.main(["train", "pictures", "--output", "here", "--minutes", "5"])
    flags = "--preset p --lora 4 --style ink --random-flip --seed 3".split()
    cli.main(["train", "pictures", "--output", "here", *flags])
    first, second = calls
    given = {"pictures": "pictures", "output": "here"}
    defaults = inspect.getfullargspec(train).kwonlydefaults
    # Every argument of the function is an option of the command.
    assert first == {**given, "minutes": 5.0, **defaults}
    assert second == {
        **{**given, "minutes": 30.0, **defaults},
        **{"preset": "p", "lora_rank": 4, "style": "ink"},
        **{"random_flip": True, "seed": 3},
    }


@pytest.mark.parametrize(
    "minutes, words",
    [("1", "--minutes.*at least 3.*1"), ("nan", "minutes=nan")],
)
def test_minutes_that_are_too_few_are_said_before_the_work(
    tmp_path, minutes, words
):
    output = str(tmp_path / "y")
    with pytest.raises(SystemExit, match=words):
        cli.main(["train", "x", "--output", output, "--minutes", minutes])
    assert not (tmp_path / "y").exists()


def test_what_cannot_be_trained_on_is_said_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, words in (("empty", "empty folder"), ("gone", "must be there")):
        with pytest.raises(SystemExit, match=words) as caught:
            cli.main(
                [
                    *("train", str(tmp_path / name)),
                    *("--output", str(tmp_path / "out")),
                ]
            )
        assert "\n" not in caught.value.code
    assert not (tmp_path / "out").exists()
