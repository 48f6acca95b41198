"""What every command says of itself."""

import inspect
import re

import pytest

import keras_muse
from keras_muse import cli


def shown(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    output = capsys.readouterr()
    return caught.value.code, " ".join((output.out + output.err).split())


def actions(name):
    """The options of a command, as its parser has them."""
    (commands,) = cli._parser()._subparsers._group_actions
    return commands.choices[name]._actions


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_says_what_each_option_does_and_its_default(name, capsys):
    code, text = shown(capsys, name, "--help")
    assert code == 0 and f"usage: keras-muse {name}" in text
    for action in actions(name):
        assert action.help or action.metavar == "PROMPT", action.dest
        # Of equal values 0 is one, and False is none.
        if action.default is False:
            continue
        if action.default not in (None, "==SUPPRESS=="):
            assert f"(default: {action.default})" in text, action.dest
    assert "None" not in text


def test_the_defaults_of_editing_are_those_of_python(capsys):
    _, text = shown(capsys, "edit", "--help")
    defaults = inspect.signature(keras_muse.Muse.edit).parameters
    for name in ("num_rounds", "mask_ratio", "top_k", "guidance_scale"):
        option = re.escape(f"--{name.replace('_', '-')}")
        found = re.search(rf"{option} [A-Z]+ [^(]*\(default: ([\d.]+)\)", text)
        assert float(found[1]) == defaults[name].default, name


def test_the_version_is_shown(capsys):
    expected = f"keras-muse {keras_muse.__version__}"
    assert shown(capsys, "--version") == (0, expected)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("generate", "a", "--output", "a.png", "--steps", "3"), "--steps 3"),
        (("generate", "a", "--output", "a.png", "--seed", "x"), "'x'"),
        (("inpaint", "a.png", "a cat", "--output", "b.png"), "--mask"),
        (("outpaint", "a.png", "a", "--output", "b.png"), "--padding"),
        (("edit", "a.png", "--output", "b.png"), "PROMPT"),
        (("evaluate", "a", "--output", "b", "--what"), "--what"),
        (
            ("generate", "a cat", "--seed", "1", "a dog", "--output", "a/"),
            "PROMPTs must stand together, apart from these: a dog",
        ),
        (
            ("edit", "a.png", "a", "--seed", "1", "2", "--output", "a/"),
            "PROMPTs must stand together, apart from these: 2",
        ),
    ],
)
def test_errors_of_a_command_show_its_own_usage(arguments, words, capsys):
    code, text = shown(capsys, *arguments)
    assert code == 2 and text.startswith(f"usage: keras-muse {arguments[0]} ")
    assert f"keras-muse {arguments[0]}: error: " in text and words in text
