"""The card of a trained model: what it is made of and how good it is."""

import os
import shlex

from keras_muse.files.whole import write_text

FRONT = """---
library_name: keras_muse
pipeline_tag: text-to-image
tags: [muse, masked-image-modeling, keras]
---

# A Muse of {num_pictures} pictures

Draws at {image_size} pixels. Trained by `keras-muse train`.

```
keras-muse generate {prompt} --preset THIS_DIRECTORY --output picture.png
```

## Data

{num_pictures} pictures with {num_texts} different captions{held_out}. What the
pictures show, and under which licence, is for who trained it to say.

## Training

"""


def write_card(preset, recipe, image_size):
    """Writes `README.md` into a preset.

    Args:
        preset: string. The directory.
        recipe: a `Recipe` that is done.
        image_size: pair of ints, height and width of what is drawn; a preset
            that is fine-tuned may have super-resolution, which no `Sizes`
            tells.
    """
    write_text(os.path.join(preset, "README.md"), card_of(recipe, image_size))


def card_of(recipe, image_size):
    """The text of the card."""
    train, held_out = recipe.collection.train, recipe.collection.held_out
    text = FRONT.format(
        num_pictures=train.num_examples,
        num_texts=len(set(train.texts)),
        image_size=" by ".join(map(str, reversed(image_size))),
        prompt=shlex.quote(_shown_prompt(train.texts)),
        held_out=(
            ", all of them trained on"
            if held_out is None
            else f"; {held_out.num_examples} others were held out"
        ),
    )
    return text + "\n".join(_training(recipe)) + "\n"


def _shown_prompt(texts):
    """The shortest caption that a shell, and the command, takes as it is."""
    plain = [x for x in texts if x.isprintable() and x[0] != "-"]
    return min(plain, key=len, default="a picture")


def _training(recipe):
    source = recipe.options.source
    for name in ("tokenizer", "base", "super_res"):
        size = getattr(recipe.sizes, name)
        if size is not None:
            from_where = f"of `{source}`" if size == "preset" else f"`{size}`"
            yield f"- {name}: {from_where}"
    if recipe.options.lora_rank:
        yield f"- low-rank additions of rank {recipe.options.lora_rank}"
    if recipe.options.style:
        yield f'- captions end in ", {recipe.options.style} style"'
    rows = "held-out" if recipe.collection.held_out else "training"
    yield ""
    yield f"Measured on {rows} rows; the loss is a masked cross-entropy."
    yield ""
    yield "| stage | what | value |"
    yield "|---|---|---|"
    for stage, values in recipe.results.items():
        for name, value in values.items():
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"| {stage} | {name} | {shown} |"
