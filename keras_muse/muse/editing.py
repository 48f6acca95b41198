"""Zero-shot editing: the trained models draw parts of pictures anew.

Tokens of the picture are given to the transformers as known ones, and those
that are to change are masked. What comes here is checked, one picture a text.

Reference:
    - [Muse, section 3.3](https://arxiv.org/abs/2301.00704)
"""

import numpy as np

from keras_muse.muse.cascade import MID_GREY
from keras_muse.ops import pixel_masks
from keras_muse.ops.blending import blend_border
from keras_muse.samplers.seeds import NUM_SEEDS

# Odd, so that no two of 2^32 windows share the noise of a seed.
WINDOW_SEED_STEP = 0x9E3779B1


def inpaint(cascade, images, masks, text, seeds, options, blend_width=0):
    """Draws the masked parts of pictures anew; see `Muse.inpaint`.

    Args:
        cascade: a `Cascade`.
        images: uint8 array of shape `(batch, height, width, 3)`.
        masks: bool array of shape `(batch, height, width)`.
        text: dict of arrays, as `MuseBase.generate` takes them.
        seeds: uint32 array of shape `(batch,)`.
        options: `DrawOptions`.
        blend_width: int. Pixels of a band inside of the mask, as in
            `blending.blend_border`; 0 is none.

    Returns:
        uint8 array of the shape of `images`.
    """
    # No trace of what is masked reaches the encoder.
    filled = pixel_masks.fill_masked(images, masks, MID_GREY)
    token_ids = {}
    for name, stage in cascade.stages.items():
        grid = stage.to_tokens(filled, options.batch_size)
        masked = pixel_masks.touched_cells(masks, stage.model.grid_size)
        token_ids[name] = np.where(masked, stage.model.mask_token_id, grid)
    drawn = cascade.draw(text, seeds, options, token_ids)
    if blend_width:
        return blend_border(drawn, images, masks, blend_width)
    return np.where(masks[..., None], drawn, images)


def outpaint(cascade, images, padding, text, seeds, options, blend_width=0):
    """Draws on beyond the borders of pictures; see `Muse.outpaint`.

    Args:
        cascade, images, text, seeds, options, blend_width: as in `inpaint`,
            with pictures of any size.
        padding: ints `(top, bottom, left, right)`.

    Returns:
        uint8 array of shape `(batch, top + height + bottom, left + width +
        right, 3)`.
    """
    sides = ((0, 0), padding[:2], padding[2:])
    unknown = np.pad(
        np.zeros(images.shape[:3], "bool"), sides, constant_values=True
    )
    canvas = np.pad(images, (*sides, (0, 0)))
    height, width = cascade.image_size
    seeds = seeds.astype("int64")
    for top, left in pixel_masks.window_corners(
        images.shape[1:3], padding, (height, width)
    ):
        window = np.s_[:, top : top + height, left : left + width]
        if not unknown[window].any():
            continue
        canvas[window] = inpaint(
            cascade,
            canvas[window],
            unknown[window],
            text,
            seeds,
            options,
            blend_width,
        )
        unknown[window] = False
        # Or the noise would repeat itself.
        seeds = (seeds + WINDOW_SEED_STEP) % NUM_SEEDS
    return canvas


def edit(cascade, images, text, seeds, options):
    """Leads pictures toward a new text; see `Muse.edit`.

    Args:
        cascade, images, text, seeds, options: as in `inpaint`; with a sampler
            of the base that masks tokens before each step.

    Returns:
        uint8 array of the shape of `images`.
    """
    grid = cascade.stages["base"].to_tokens(images, options.batch_size)
    return cascade.draw(text, seeds, options, {"base": grid})
