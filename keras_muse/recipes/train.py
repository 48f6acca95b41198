"""`train`: from captioned pictures to a `Muse` that draws them."""

import dataclasses

import keras

from keras_muse.files.places import check_place
from keras_muse.recipes.captions import fit_captions
from keras_muse.recipes.choice import choose
from keras_muse.recipes.collection import FEWEST
from keras_muse.recipes.collection import read_collection
from keras_muse.recipes.options import Options
from keras_muse.recipes.recipe import Recipe
from keras_muse.recipes.recipe import load_text_encoder
from keras_muse.recipes.sizes import Sizes
from keras_muse.recipes.sizes import faster_backend
from keras_muse.recipes.work import SIZES_FILE
from keras_muse.recipes.work import Work
from keras_muse.runtime.checks import check_path


def train(
    pictures,
    output,
    minutes=30.0,
    *,
    held_out=None,
    image_size=None,
    base_image_size=None,
    tokenizer=None,
    base=None,
    super_res=None,
    from_scratch=False,
    preset=None,
    lora_rank=None,
    style=None,
    num_views=None,
    random_flip=False,
    seed=0,
):
    """Trains a `Muse` on captioned pictures, and draws with it.

    It says what it finds, what it chooses and why, and after each stage
    whether the loss is normal. Started again after a kill, or with more
    minutes, it goes on where it was.

    `output` then holds `preset/`, the `Muse` with its card; `grid.png`, what
    it draws; `scores/`, the report of held-out pictures; `progress.png`, the
    last sheet on the way; and `work/`, which can be deleted when all is done.

    Args:
        pictures: what `keras_muse.data.load_image_text` takes: a folder, a
            .csv, .tar or .zip, or `"tfds:NAME"`; or an `ImageTextDataset`.
        output: string or path. The directory of this one training.
        minutes: float. About the time it takes, on a machine that does
            nothing else: what it does beside the training, reading, tokens
            and scores, is planned in but not cut short. Defaults to `30`.
        held_out: as `pictures`, of what is never trained on. Defaults to a
            tenth of `pictures`, about 512 at most, by a hash; where rows
            have a column `split`, those that are not of `"train"`.
        image_size: int. Pixels a side of what the model draws. Defaults to
            what suits pictures, machine and minutes.
        base_image_size: int. Pixels a side of what the base draws; where it
            is less, a super-resolution model follows. Defaults to
            `image_size`, and above 128 to a half or a quarter of it.
        tokenizer, base, super_res: strings. Names of architectures, such as
            `"vqgan_f8_small"`, `"muse_base_small"`, `"muse_super_res_tiny"`.
            Default to what suits.
        from_scratch: bool. Whether nothing of the bundled model is used, not
            even where it knows the like of the pictures. Defaults to `False`.
        preset: string. A `Muse` to fine-tune, in place of all that is above:
            its base learns the pictures, its other parts stay. Few pictures
            are enough.
        lora_rank: int. With `preset`: train low-rank additions of this rank
            alone, and save them as `base.lora.h5`, too.
        style: string. With `preset`: a name for what the pictures have in
            common; the captions become `"<caption>, <style> style"`, and so
            does a prompt for a picture of that style. The word "style" at its
            end is left out: `"my style"` is `"my"`. A caption is shortened
            where the text encoder would not read the style after it.
        num_views: int. Views of each picture to train on: itself, and random
            parts. Defaults to more of few pictures than of many.
        random_flip: bool. Whether half of those parts are mirrored: not for
            pictures with writing. Defaults to `False`.
        seed: int. Seed of weights, batches and pictures. Defaults to `0`.

    Returns:
        The trained `Muse`, as it is in `preset`: additions are merged.

    Raises:
        ValueError: before any work, if there are no pictures with captions,
            or too few, of sizes that have no grid of tokens, or if `output`
            is of another training, or one is at work there.
        OSError: before any work, if `output` cannot be written.

    Example:
    ```python
    import keras_muse

    muse = keras_muse.train("my_pictures/", "my_muse/", minutes=30)
    muse.generate("a red apple", seed=1)

    muse = keras_muse.train(
        "sixty_drawings/", "my_style/", minutes=10, preset="muse_emoji",
        lora_rank=16, style="my style",
    )
    muse.generate("a red apple, my style", seed=1)
    ```
    """
    options = Options(
        minutes=minutes,
        image_size=image_size,
        base_image_size=base_image_size,
        tokenizer=tokenizer,
        base=base,
        super_res=super_res,
        from_scratch=from_scratch,
        preset=preset,
        lora_rank=lora_rank,
        style=style,
        num_views=num_views,
        random_flip=random_flip,
        seed=seed,
    )
    output = check_path(output, "output")
    check_place(output, is_directory=True)
    options.check_output(output)
    keras.utils.set_random_seed(options.seed)
    fewest = FEWEST if preset is None else 1
    collection = read_collection(pictures, held_out, fewest)
    work = Work(output, options.identity(collection))
    # Before the choice, which another start at this moment would make, too.
    with work.claimed():
        text_encoder = load_text_encoder(options)
        collection = fit_captions(collection, text_encoder, options.style)
        if faster := faster_backend():
            print(
                f"On a processor {faster} takes 0.5 to 0.9 of the time a step: "
                f"KERAS_BACKEND={faster} trains longer in the same minutes."
            )
        sizes = work.once(
            SIZES_FILE,
            lambda: dataclasses.asdict(
                choose(collection, options, text_encoder)
            ),
            **Sizes.types(),
        )
        recipe = Recipe(collection, Sizes(**sizes), options, work, text_encoder)
        recipe.make_tokenizer()
        recipe.write_tokens()
        recipe.train_base()
        recipe.train_super_res()
        return recipe.finish()
