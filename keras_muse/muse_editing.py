"""Zero-shot editing: the trained models draw parts of pictures anew."""

import numpy as np

from keras_muse.muse_inputs import check_counts
from keras_muse.muse_inputs import check_images
from keras_muse.muse_inputs import check_masks
from keras_muse.muse_inputs import check_padding
from keras_muse.muse_inputs import check_prompts
from keras_muse.muse_inputs import embed_prompts
from keras_muse.muse_inputs import one_a_prompt
from keras_muse.muse_stages import MID_GREY
from keras_muse.muse_stages import MuseStages
from keras_muse.ops import pixel_masks
from keras_muse.samplers.resampling_sampler import ResamplingSampler
from keras_muse.samplers.seeds import image_seeds

# Odd, so that no two of 2^32 windows share the noise of a seed.
WINDOW_SEED_STEP = 0x9E3779B1


class MuseEditing(MuseStages):
    """Mixin: `inpaint`, `outpaint` and `edit` pictures without fine-tuning.

    Tokens of the picture are given to the transformers as known ones, and
    those that are to change are masked.

    Reference:
        - [Muse, section 3.3](https://arxiv.org/abs/2301.00704)
    """

    def inpaint(
        self,
        images,
        masks,
        prompts,
        negative_prompts=None,
        *,
        num_steps=24,
        super_res_num_steps=8,
        guidance_scale=3.0,
        super_res_guidance_scale=None,
        seed=None,
        sampler=None,
        super_res_sampler=None,
        batch_size=None,
        callback=None,
        verbose="auto",
    ):
        """Draws the masked parts of pictures anew.

        A token is drawn anew if any pixel of its cell is masked, at both
        sizes. What is under the mask has no influence on the result.

        Args:
            images: uint8 array of shape `(batch, height, width, 3)` or
                `(height, width, 3)`, of the size that `generate` draws.
            masks: array of shape `(batch, height, width)` or `(batch, height,
                width, 1)`, or `(height, width)` for all pictures. Bool, or
                integers 0 and 1 or 0 and 255. True is drawn anew.
            prompts: a string for all pictures, or a list of strings, one a
                picture; a dict as in `generate`. A single picture may have
                several prompts: it is drawn as many times.
            negative_prompts: string, list of strings (one a prompt) or
                `None`.
            num_steps: int. Decoding steps of the base. Defaults to `24`.
            super_res_num_steps: int. Those of the super-resolution model.
                Defaults to `8`.
            guidance_scale: float. Defaults to `3`.
            super_res_guidance_scale: float. Defaults to `guidance_scale`.
            seed: int, list of ints (one a drawn picture) or `None`, as in
                `generate`.
            sampler, super_res_sampler, batch_size, callback, verbose: as in
                `generate`.

        Returns:
            uint8 numpy array of shape `(num_images, height, width, 3)`, one
            picture a prompt. Outside the mask it is the input bit for bit.

        Raises:
            ValueError: if pictures, masks, prompts and seeds do not match.

        Example:
        ```python
        import numpy as np

        masks = np.zeros((16, 16), "bool")
        masks[8:] = True  # the lower half
        muse.inpaint(images, masks, "a wizard hat", num_steps=4, seed=1)
        ```
        """
        check_counts(
            num_steps=num_steps,
            super_res_num_steps=super_res_num_steps,
            batch_size=batch_size,
        )
        images = check_images(images, self._final_size)
        masks = check_masks(masks, images)
        prompts = check_prompts(prompts, negative_prompts, len(images))
        images, masks = one_a_prompt(prompts, images, masks)
        seeds = image_seeds(seed, len(images))
        return self._inpaint(
            images,
            masks,
            embed_prompts(self.text_encoder, prompts, batch_size),
            seed=seeds,
            num_steps=num_steps,
            super_res_num_steps=super_res_num_steps,
            guidance_scale=guidance_scale,
            super_res_guidance_scale=super_res_guidance_scale,
            sampler=sampler,
            super_res_sampler=super_res_sampler,
            batch_size=batch_size,
            callback=callback,
            verbose=verbose,
        )

    def outpaint(
        self,
        images,
        prompts,
        negative_prompts=None,
        *,
        padding,
        num_steps=24,
        super_res_num_steps=8,
        guidance_scale=3.0,
        super_res_guidance_scale=None,
        seed=None,
        sampler=None,
        super_res_sampler=None,
        batch_size=None,
        callback=None,
        verbose="auto",
    ):
        """Draws on beyond the borders of pictures, as far as one likes.

        A window of the size that `generate` draws goes over the canvas,
        outward from the picture, by half its size. In each place it draws
        what is still unknown there, as `inpaint` does.

        Args:
            images: uint8 array of shape `(batch, height, width, 3)` or
                `(height, width, 3)`, of any size.
            prompts: as in `inpaint`. They hold for every window.
            negative_prompts: as in `inpaint`.
            padding: ints `(top, bottom, left, right)`, 0 or more. Pixels to
                draw on each side. With them the picture must be at least of
                the size that `generate` draws.
            num_steps, ..., verbose: as in `inpaint`, for each window, one
                after the other; so the callback sees all steps of a window,
                then those of the next. The windows of a picture draw with
                seeds that follow from its own.

        Returns:
            uint8 numpy array of shape `(num_images, top + height + bottom,
            left + width + right, 3)`. The input is in it bit for bit.

        Raises:
            ValueError: if pictures, padding, prompts and seeds do not match.

        Example:
        ```python
        muse.outpaint(images, "a beach", padding=(0, 0, 8, 24), num_steps=4)
        ```
        """
        check_counts(
            num_steps=num_steps,
            super_res_num_steps=super_res_num_steps,
            batch_size=batch_size,
        )
        images = check_images(images)
        padding = check_padding(padding, images, self._final_size)
        prompts = check_prompts(prompts, negative_prompts, len(images))
        (images,) = one_a_prompt(prompts, images)
        seeds = image_seeds(seed, len(images)).astype("int64")
        text = embed_prompts(self.text_encoder, prompts, batch_size)

        sides = ((0, 0), padding[:2], padding[2:])
        unknown = np.pad(
            np.zeros(images.shape[:3], "bool"), sides, constant_values=True
        )
        canvas = np.pad(images, (*sides, (0, 0)))
        height, width = self._final_size
        for top, left in pixel_masks.window_corners(
            images.shape[1:3], padding, (height, width)
        ):
            window = np.s_[:, top : top + height, left : left + width]
            if not unknown[window].any():
                continue
            canvas[window] = self._inpaint(
                canvas[window],
                unknown[window],
                text,
                seed=seeds,
                num_steps=num_steps,
                super_res_num_steps=super_res_num_steps,
                guidance_scale=guidance_scale,
                super_res_guidance_scale=super_res_guidance_scale,
                sampler=sampler,
                super_res_sampler=super_res_sampler,
                batch_size=batch_size,
                callback=callback,
                verbose=verbose,
            )
            unknown[window] = False
            seeds = seeds + WINDOW_SEED_STEP  # or noise would repeat itself
        return canvas

    def edit(
        self,
        images,
        prompts,
        negative_prompts=None,
        *,
        num_rounds=100,
        mask_ratio=0.08,
        top_k=3,
        guidance_scale=5.0,
        super_res_num_steps=8,
        super_res_guidance_scale=None,
        seed=None,
        super_res_sampler=None,
        batch_size=None,
        callback=None,
        verbose="auto",
    ):
        """Leads pictures toward a new prompt, without a mask.

        Each round masks a few random tokens of the base and draws them anew
        under the prompt; what does not contradict it tends to stay. Then the
        super-resolution model draws all of its tokens, once.

        Args:
            images: as in `inpaint`.
            prompts: as in `inpaint`. What the pictures are to become.
            negative_prompts: as in `inpaint`; what they show now serves well.
            num_rounds: int, at least 1. The more, the further pictures move.
                Defaults to `100`.
            mask_ratio: float. Part of the tokens that a round draws anew.
                Defaults to `0.08`.
            top_k: int or `None`. Draw from the `top_k` best codes only.
                Defaults to `3`.
            guidance_scale: float, the same in every round. Defaults to `5`.
            super_res_num_steps: int. Defaults to `8`.
            super_res_guidance_scale: float. Defaults to `guidance_scale`, as
                in `generate`.
            seed: int, list of ints or `None`, as in `generate`.
            super_res_sampler, batch_size, verbose: as in `generate`.
            callback: function of `(stage, step, start, token_ids)` or `None`.
                If it returns `True` in the stage `"base"`, the rounds of the
                pictures it was given end there.

        Returns:
            uint8 numpy array of shape `(num_images, height, width, 3)`.

        Raises:
            ValueError: if pictures, prompts and seeds do not match.

        Example:
        ```python
        muse.edit(images, "a green apple", num_rounds=4, seed=1)
        ```
        """
        check_counts(
            num_rounds=num_rounds,
            super_res_num_steps=super_res_num_steps,
            batch_size=batch_size,
        )
        sampler = ResamplingSampler(
            mask_ratio=mask_ratio, top_k=top_k, guidance_schedule="constant"
        )
        images = check_images(images, self._final_size)
        prompts = check_prompts(prompts, negative_prompts, len(images))
        (images,) = one_a_prompt(prompts, images)
        seeds = image_seeds(seed, len(images))
        return self._draw(
            embed_prompts(self.text_encoder, prompts, batch_size),
            token_ids=self._to_tokens("base", images, batch_size),
            seed=seeds,
            num_steps=num_rounds,
            super_res_num_steps=super_res_num_steps,
            guidance_scale=guidance_scale,
            super_res_guidance_scale=super_res_guidance_scale,
            sampler=sampler,
            super_res_sampler=super_res_sampler,
            batch_size=batch_size,
            callback=callback,
            verbose=verbose,
        )

    def _inpaint(self, images, masks, text, *, batch_size, **options):
        """`inpaint` of checked pictures, one a text."""
        # No trace of what is masked reaches the encoder.
        filled = pixel_masks.fill_masked(images, masks, MID_GREY)
        token_ids = {}
        for stage, (model, _) in self._stages.items():
            grid = self._to_tokens(stage, filled, batch_size)
            masked = pixel_masks.touched_cells(masks, model.grid_size)
            token_ids[stage] = np.where(masked, model.mask_token_id, grid)
        drawn = self._draw(
            text,
            token_ids=token_ids["base"],
            super_res_token_ids=token_ids.get("super_res"),
            batch_size=batch_size,
            **options,
        )
        return np.where(masks[..., None], drawn, images)
