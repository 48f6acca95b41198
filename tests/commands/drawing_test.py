"""What the commands that draw have in common."""

import argparse

import pytest

from keras_muse.commands import drawing


def parsed(*words, blend=False):
    parser = argparse.ArgumentParser()
    drawing.add_picture_and_prompts(parser, picture="it", prompts="words")
    drawing.add_decoding_arguments(parser)
    drawing.add_arguments(parser)
    if blend:
        drawing.add_blending_argument(parser)
    return parser.parse_args(["in.png", "a cat", "--output", "a.png", *words])


def test_what_is_not_given_is_left_to_the_model():
    options = parsed(blend=True)
    assert drawing.given_arguments(options) == {}
    assert drawing.blending_of(options) == {}
    assert drawing.preset_of(options) == drawing.DEFAULT_PRESET == "muse_emoji"
    assert options.num_images == 1 and options.seed is None


def test_what_is_given_is_given_on():
    options = parsed(
        *("--num-steps", "3", "--guidance-scale", "0", "--batch-size", "2"),
        *("--super-res-num-steps", "1", "--super-res-guidance-scale", "2.5"),
        *("--blend-width", "0", "--preset", ""),
        blend=True,
    )
    assert drawing.given_arguments(options) == {
        "num_steps": 3,
        "guidance_scale": 0.0,  # which is not nothing
        "batch_size": 2,
        "super_res_num_steps": 1,
        "super_res_guidance_scale": 2.5,
    }
    assert drawing.blending_of(options) == {"blend_width": 0}
    assert drawing.preset_of(options) == ""  # to be refused by its name


@pytest.mark.parametrize(
    "words, is_bundled",
    [
        ((), True),
        (("--preset", "muse_emoji"), True),
        (("--preset", "kaggle://me/muse"), False),
        # Its parts may be anywhere.
        (("--preset", "my_muse"), False),
    ],
)
def test_what_a_hub_needs_is_there_unless_all_is_bundled(words, is_bundled):
    unneeded = drawing.unneeded_packages(parsed(*words))
    assert ("kagglehub" in unneeded) == is_bundled
    assert {"grain", "matplotlib"} < {*unneeded, ""}
    # A picture may name a preset of this machine.
    again = argparse.Namespace(preset=None, source="apple.png")
    assert "kagglehub" not in drawing.unneeded_packages(again)


def test_a_picture_and_a_prompt_are_needed(capsys):
    parser = argparse.ArgumentParser()
    drawing.add_picture_and_prompts(parser, picture="it", prompts="words")
    found = parser.parse_args(["in.png", "a", "b"])
    assert (found.picture, found.prompts) == ("in.png", ["a", "b"])
    with pytest.raises(SystemExit):
        parser.parse_args(["in.png"])
    assert "PROMPT" in capsys.readouterr().err
