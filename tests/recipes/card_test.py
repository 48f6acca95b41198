import types

from keras_muse.recipes.card import card_of
from keras_muse.recipes.card import write_card
from keras_muse.recipes.options import Options
from keras_muse.recipes.sizes import Sizes


def recipe(held_out=None, results=None, **options):
    def part(texts):
        return types.SimpleNamespace(num_examples=len(texts), texts=texts)

    texts = ["a large red apple", "a cat", "a cat"]
    return types.SimpleNamespace(
        collection=types.SimpleNamespace(
            train=part(texts), held_out=held_out and part(held_out)
        ),
        sizes=Sizes(64, 64, "preset", "muse_base_tiny", None, False),
        options=Options(minutes=5, **options),
        results=results or {},
    )


def test_it_says_what_a_model_is_made_of():
    text = card_of(recipe(), (64, 64))
    assert text.startswith("---\nlibrary_name: keras_muse\n")
    assert "# A Muse of 3 pictures" in text and "64 by 64 pixels" in text
    # The shortest caption is drawn, by a command that can be typed.
    assert "keras-muse generate 'a cat' --preset" in text
    words = "3 pictures with 2 different captions, all of them trained on."
    assert words in text
    assert "- tokenizer: of `muse_emoji`\n- base: `muse_base_tiny`\n" in text
    assert "super_res" not in text and "rank" not in text
    assert "Measured on training rows" in text


def test_it_says_how_good_it_is_on_rows_that_it_never_saw():
    results = {
        "base": {"loss": 3.14159, "reads captions": True, "steps": 12000}
    }
    text = card_of(recipe(["a dog"] * 2, results), (64, 64))
    assert "captions; 2 others were held out." in text
    assert "Measured on held-out rows" in text
    assert "| base | loss | 3.142 |\n" in text
    assert "| base | reads captions | True |" in text
    assert "| base | steps | 12000 |" in text


def test_it_says_what_was_added_to_a_preset(tmp_path):
    tuned = recipe(preset="mine", lora_rank=4, style="ink")
    text = card_of(tuned, (64, 96))
    assert "96 by 64 pixels" in text  # width first, as people say it
    assert "of `mine`" in text and "additions of rank 4" in text
    assert '- captions end in ", ink style"' in text
    write_card(str(tmp_path), tuned, (64, 96))
    assert (tmp_path / "README.md").read_text() == text


def test_a_name_that_is_no_unicode_is_spelled_out(tmp_path):
    """The card is the last thing that a training writes."""
    tuned = recipe(preset="m\udcff")  # as Python has bytes that are not UTF-8
    write_card(str(tmp_path), tuned, (64, 64))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert r"- tokenizer: of `m\udcff`" in text
