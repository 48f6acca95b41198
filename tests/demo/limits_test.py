import numpy as np
import pytest

from keras_muse.demo import limits


def test_prompts_are_texts_of_some_length():
    assert limits.check_prompt("  a cat\n") == "a cat"
    longest = "x" * limits.MAX_CHARACTERS
    assert limits.check_prompt(f" {longest} ") == longest
    assert limits.check_prompt(None, is_needed=False) == ""
    with pytest.raises(ValueError, match="`negative`.*500.*Received: 501"):
        limits.check_prompt(longest + "x", "negative")
    for empty in (None, "", " \n"):
        with pytest.raises(ValueError, match="prompt is empty"):
            limits.check_prompt(empty)
    for other in (3, ["a"], {"text": "a"}):
        with pytest.raises(ValueError, match="`prompt"):
            limits.check_prompt(other)


def test_pages_send_whole_numbers_as_floats():
    for value in (3, 3.0, np.int64(3)):
        found = limits.check_whole(value, "steps", 1, 8)
        assert found == 3 and type(found) is int
    for value in (2.5, 0.0, 9, float("nan"), float("inf"), "3", None, True):
        with pytest.raises(ValueError, match="`steps`.*Received: steps="):
            limits.check_whole(value, "steps", 1, 8)
