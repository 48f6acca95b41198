"""The quick start: `train` on a part of the bundled drawings.

Only the sizes are chosen here, small ones: on two processor cores it takes the
minutes it is given.
"""

from keras_muse import data
from keras_muse.recipes.train import train

SMALL, LARGE = 32, 64  # pixels, out of the base and of the super-res model
STYLES = ("fluent 3d", "noto", "twemoji")
GROUPS = ("smileys & emotion", "animals & nature", "food & drink")


def quickstart(output, minutes=18.0, seed=0):
    """Trains a small Muse on the bundled emoji and draws with it.

    Started again after a kill, it goes on where it was.

    Args:
        output: string. Directory for the preset, the pictures and the state
            of the work.
        minutes: float. Time it may take, all in all.
        seed: int. Seed of weights, batches and pictures.

    Returns:
        The trained `Muse`.
    """
    return train(
        load_pictures("train"),
        output,
        minutes,
        held_out=load_pictures("test_pair"),
        image_size=LARGE,
        base_image_size=SMALL,
        tokenizer="vqgan_f4_tiny",
        base="muse_base_tiny",
        super_res="muse_super_res_tiny",
        seed=seed,
    )


def load_pictures(split):
    """The bundled drawings that the quick start uses."""
    pairs = data.load_emoji(
        image_size=LARGE,
        split=split,
        styles=STYLES,
        prompts="styled",
        shuffle=False,
    )
    kept = [i for i, row in enumerate(pairs.rows) if row["group"] in GROUPS]
    return pairs.select(kept)
