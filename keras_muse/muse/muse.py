"""Muse: from a prompt to a picture. Read this file first.

    prompt
      |  text_encoder, a frozen language model
      v
    text embeddings ----------------+
      |  base, 24 steps             |
      v                             |
    16 x 16 tokens                  |
      |  super_res, 8 steps <-------+
      v
    64 x 64 tokens
      |  high_res_image_tokenizer's decoder
      v
    picture of 512 pixels

A step of a transformer sees all tokens, most of them masked at first, and
draws all that are masked; the sampler keeps those it is surest of. Without a
super-resolution model `image_tokenizer` decodes the small grid. To edit a
picture, its tokenizer makes the tokens of each stage, and what is to change
is masked.
"""

import keras
import numpy as np

from keras_muse.models.presets.architectures import Presets
from keras_muse.models.presets.weight_quantization import check_mode
from keras_muse.models.presets.weight_quantization import is_quantized
from keras_muse.models.transformers.decoding import DEFAULT_BATCH_SIZE
from keras_muse.muse import draw_options
from keras_muse.muse import editing
from keras_muse.muse import preset as muse_preset
from keras_muse.muse.best_of import check_best_of
from keras_muse.muse.best_of import choose_best
from keras_muse.muse.cascade import Cascade
from keras_muse.muse.cascade import check_parts
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.muse.inputs import check_images
from keras_muse.muse.inputs import check_masks
from keras_muse.muse.inputs import check_padding
from keras_muse.muse.inputs import check_prompts
from keras_muse.muse.inputs import embed_prompts
from keras_muse.muse.inputs import num_prompts
from keras_muse.muse.inputs import repeat_per_prompt
from keras_muse.muse.staged_parts import check_not_staged
from keras_muse.muse.staged_parts import stage_parts
from keras_muse.runtime.checks import check_batch_size
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_function
from keras_muse.runtime.checks import check_int
from keras_muse.samplers.seeds import image_seeds


@keras.saving.register_keras_serializable(package="keras_muse")
class Muse:
    """Text to image with masked transformers.

    A frozen language model embeds the prompt. The base transformer decodes
    the tokens of a small picture in a few parallel steps, the
    super-resolution transformer those of a large one, and a VQGAN decoder
    turns tokens into pixels. The same models edit pictures without further
    training. This class only puts the models together; each is trained on
    its own, with `fit`.

    Args:
        text_encoder: a `keras_muse.MiniLMTextEncoder`,
            `keras_muse.T5TextEncoder` or `keras_muse.CLIPTextEncoder`.
        base: a `keras_muse.MuseBase` or `keras_muse.UViTBase`.
        image_tokenizer: a `keras_muse.VQGANTokenizer`, of the base's tokens.
        super_res: a `keras_muse.MuseSuperRes` or `None`.
        high_res_image_tokenizer: a `keras_muse.VQGANTokenizer`, of the
            super-resolution model's tokens. Defaults to `image_tokenizer`: a
            VQGAN without attention can serve both sizes.
        generation_defaults: dict or `None`. Arguments of `generate` that suit
            the models, out of `"num_steps"`, `"super_res_num_steps"`,
            `"guidance_scale"`, `"super_res_guidance_scale"`, `"sampler"` and
            `"super_res_sampler"`. They are saved in a preset. Defaults to
            none: then there are the paper's 24 and 8 steps, and a guidance
            scale of 3.

    Raises:
        ValueError: if codebooks, grids or text widths of the parts differ, or
            a generation default is unknown or out of its range.

    Example:
    ```python
    import keras_muse

    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=8, channel_multipliers=(1, 2, 2), num_res_blocks=1,
        codebook_size=32, codebook_dim=8, num_groups=4,
    )
    base = keras_muse.MuseBase(
        codebook_size=32, grid_size=(4, 4), text_dim=384, num_layers=2,
        hidden_dim=16, num_heads=2, intermediate_dim=32,
    )
    muse = keras_muse.Muse(encoder, base, tokenizer)
    images = muse.generate(["a red apple"], num_steps=4, seed=1, verbose=0)
    ```

    Reference:
        - [Chang et al., 2023](https://arxiv.org/abs/2301.00704)
    """

    def __init__(
        self,
        text_encoder,
        base,
        image_tokenizer,
        super_res=None,
        high_res_image_tokenizer=None,
        generation_defaults=None,
    ):
        check_parts(
            text_encoder,
            base,
            image_tokenizer,
            super_res,
            high_res_image_tokenizer,
        )
        self.text_encoder = text_encoder
        self.base = base
        self.image_tokenizer = image_tokenizer
        self.super_res = super_res
        self.high_res_image_tokenizer = high_res_image_tokenizer
        self.generation_defaults = generation_defaults

    @property
    def generation_defaults(self):
        """dict. What `generate` draws with, unless told otherwise."""
        return self._generation_defaults

    @generation_defaults.setter
    def generation_defaults(self, defaults):
        defaults = {} if defaults is None else defaults
        self._generation_defaults = draw_options.check_defaults(defaults)

    @property
    def cascade(self):
        """`Cascade`. The stages from text embeddings to pixels."""
        return Cascade(
            self.base,
            self.image_tokenizer,
            self.super_res,
            self.high_res_image_tokenizer,
        )

    def generate(
        self,
        prompts,
        negative_prompts=None,
        *,
        num_steps=None,
        super_res_num_steps=None,
        guidance_scale=None,
        super_res_guidance_scale=None,
        seed=None,
        num_images_per_prompt=1,
        best_of=None,
        scorer=None,
        sampler=None,
        super_res_sampler=None,
        batch_size=None,
        callback=None,
        verbose="auto",
    ):
        """Draws pictures.

        Args:
            prompts: string or list of strings; or a dict with `"prompts"` and
                perhaps `"negative_prompts"`; or a dict of embeddings,
                `"text_embeddings"` of shape `(batch, text_length, text_dim)`
                and `"text_mask"` of shape `(batch, text_length)`.
            negative_prompts: string, list of strings (one per prompt) or
                `None`. What guidance steers away from; `""` is none.
            num_steps: int. Decoding steps of the base. This and what follows
                default to the model's `generation_defaults`, and without
                those to the value stated: here, `24`.
            super_res_num_steps: int. Decoding steps of the super-resolution
                model; else `8`.
            guidance_scale: float. How strongly the prompt is followed; `1` is
                no guidance; else `3`.
            super_res_guidance_scale: float; else `guidance_scale`.
            seed: int, list of ints (one per image) or `None`. Image `i` of an
                int seed has the seed `seed + i`, and depends on its own seed
                alone. `None` draws one and prints it.
            num_images_per_prompt: int. Images come prompt by prompt. Defaults
                to `1`.
            best_of: int or `None`. How many candidates are drawn of each
                prompt; those that `scorer` likes best are returned, the best
                first. Seeds are counted candidate by candidate.
            scorer: function of `(images, prompts)`, a prompt an image, that
                returns a number per image, such as CLIP's similarity.
            sampler: a `keras_muse.samplers.Sampler`, or its name, as
                `"halton"`; else `"confidence"`. One by name draws at the
                temperature of the model's default for that stage.
            super_res_sampler: the same for the super-resolution model.
            batch_size: int or `None`. Images made at once. Defaults to all,
                up to 16.
            callback: function of `(stage, step, start, token_ids)` or `None`,
                called after each decoding step; `stage` is `"base"` or
                `"super_res"`, `token_ids` the grids of the images from number
                `start` on. If it returns `True` and nothing is masked,
                decoding ends.
            verbose: `"auto"`, 0 or 1. Whether to draw progress bars. Defaults
                to `"auto"`.

        Returns:
            uint8 numpy array of shape `(num_images, height, width, 3)`.

        Raises:
            ValueError: if prompts and seeds do not match, `best_of` or
                `scorer` stands alone, or an argument is out of its range.

        Example:
        ```python
        def show(stage, step, start, token_ids):
            # What is decided by now, and grey where nothing is.
            images = muse.preview(stage, token_ids)
            keras_muse.training.draw_grid(images, path=f"{stage}_{step}.png")

        images = muse.generate("a red apple", num_steps=4, callback=show)
        ```
        """
        options = self._options(
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
        num_kept = check_batch_size(
            num_images_per_prompt, "num_images_per_prompt"
        )
        prompts = check_prompts(prompts, negative_prompts)
        num_drawn = num_kept
        if best_of is not None or scorer is not None:
            num_drawn = check_best_of(best_of, scorer, num_kept, prompts)
        text, seeds = self._text_and_seeds(prompts, seed, options, num_drawn)
        images = self.cascade.draw(text, seeds, options)
        if best_of is None:
            return images
        return choose_best(images, prompts["prompts"], scorer, num_kept)

    def preview(self, stage, token_ids):
        """Pictures of token grids in which some tokens are undecided.

        It shows in a callback how pictures come about.

        Args:
            stage: `"base"` or `"super_res"`.
            token_ids: int array of shape `(batch, height, width)`, the grids
                of that stage. [MASK], the id `codebook_size`, is undecided.

        Returns:
            uint8 numpy array of shape `(batch, height, width, 3)`, of the
            size of that stage's pictures: the decoded tokens, mid-grey where
            they are undecided.

        Raises:
            ValueError: if there is no such stage, or they are not its tokens.

        Example:
        ```python
        frames = []

        def keep_frame(stage, step, start, token_ids):
            frames.append(muse.preview(stage, token_ids)[0])

        muse.generate("a red apple", num_steps=4, callback=keep_frame)
        ```
        """
        return self.cascade.preview(stage, token_ids)

    # === Editing without fine-tuning ===

    def inpaint(
        self,
        images,
        masks,
        prompts,
        negative_prompts=None,
        *,
        blend_width=0,
        seed=None,
        **options,
    ):
        """Draws the masked parts of pictures anew.

        A token is drawn anew if any pixel of its cell is masked, at both
        sizes. What is under the mask has no influence on the result.

        The decoder does not give the surroundings back exactly, so the border
        of the mask may be seen as a seam. A `blend_width` takes it away, by
        gradient-domain blending in a band inside of the mask: there the
        difference that the decoder leaves at the border is added, fading
        inward. Outside, and further inside, no pixel changes by it.

        Args:
            images: uint8 array of shape `(batch, height, width, 3)` or
                `(height, width, 3)`, of the size that `generate` draws.
            masks: array of shape `(batch, height, width)` or `(batch, height,
                width, 1)`, or `(height, width)` for all pictures. Bool, or
                integers 0 and 1 or 0 and 255. True is drawn anew.
            prompts: a string for all pictures, or a list of strings, one a
                picture; a dict as in `generate`. A single picture may have
                several prompts: it is drawn as many times.
            negative_prompts: string, list of strings (one per prompt) or
                `None`.
            blend_width: int. Pixels of that band; as many as a token has a
                side do well. Defaults to `0`: no blending, what was drawn as
                it is.
            seed: int, list of ints (one a drawn picture) or `None`, as in
                `generate`.
            **options: of `generate`: `num_steps`, `super_res_num_steps`,
                `guidance_scale`, `super_res_guidance_scale`, `sampler`,
                `super_res_sampler`, `batch_size`, `callback`, `verbose`.

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

        Reference:
            - [Muse, section 3.3](https://arxiv.org/abs/2301.00704)
            - [Perez et al., 2003](https://doi.org/10.1145/882262.882269), for
              the blending
        """
        options = self._options(**options)
        blend_width = check_int(blend_width, "blend_width", low=0)
        images = check_images(images, self.cascade.image_size)
        masks = check_masks(masks, images)
        prompts = check_prompts(prompts, negative_prompts, len(images))
        images, masks = repeat_per_prompt(prompts, images, masks)
        text, seeds = self._text_and_seeds(prompts, seed, options)
        return editing.inpaint(
            self.cascade, images, masks, text, seeds, options, blend_width
        )

    def outpaint(
        self,
        images,
        prompts,
        negative_prompts=None,
        *,
        padding,
        blend_width=0,
        seed=None,
        **options,
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
            blend_width: as in `inpaint`, at the border of the picture and of
                each window. Defaults to `0`: no blending.
            seed, **options: as in `inpaint`, for each window, one after the
                other; so the callback sees all steps of a window, then those
                of the next. The windows of a picture draw with seeds that
                follow from its own.

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
        options = self._options(**options)
        blend_width = check_int(blend_width, "blend_width", low=0)
        images = check_images(images)
        padding = check_padding(padding, images, self.cascade.image_size)
        prompts = check_prompts(prompts, negative_prompts, len(images))
        (images,) = repeat_per_prompt(prompts, images)
        text, seeds = self._text_and_seeds(prompts, seed, options)
        return editing.outpaint(
            self.cascade, images, padding, text, seeds, options, blend_width
        )

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
        super_res_num_steps=None,
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
            negative_prompts: as in `inpaint`. What the pictures show now is a
                good choice.
            num_rounds: int, at least 1. The more, the further pictures move.
                Defaults to `100`.
            mask_ratio: float. Part of the tokens that a round draws anew.
                Defaults to `0.08`.
            top_k: int or `None`. Draw from the `top_k` best codes only.
                Defaults to `3`.
            guidance_scale: float, the same in every round. Defaults to `5`,
                which the paper counts as 4.
            super_res_num_steps: int, as in `generate`.
            super_res_guidance_scale: float. Defaults to that of the model's
                `generation_defaults`, else to `guidance_scale`.
            seed: int, list of ints or `None`, as in `generate`.
            super_res_sampler, batch_size: as in `generate`.
            callback: function of `(stage, step, start, token_ids)` or `None`.
                If it returns `True` in the stage `"base"`, the rounds of the
                pictures it was given end there.
            verbose: as in `generate`.

        Returns:
            uint8 numpy array of shape `(num_images, height, width, 3)`.

        Raises:
            ValueError: if pictures, prompts and seeds do not match.

        Example:
        ```python
        muse.edit(images, "a green apple", num_rounds=4, seed=1)
        ```

        Reference:
            - [Muse, section 3.3](https://arxiv.org/abs/2301.00704)
        """
        options = DrawOptions.of_rounds(
            self.generation_defaults,
            num_rounds=num_rounds,
            mask_ratio=mask_ratio,
            top_k=top_k,
            super_res_num_steps=super_res_num_steps,
            guidance_scale=guidance_scale,
            super_res_guidance_scale=super_res_guidance_scale,
            super_res_sampler=super_res_sampler,
            batch_size=batch_size,
            callback=callback,
            verbose=verbose,
        )
        images = check_images(images, self.cascade.image_size)
        prompts = check_prompts(prompts, negative_prompts, len(images))
        (images,) = repeat_per_prompt(prompts, images)
        text, seeds = self._text_and_seeds(prompts, seed, options)
        return editing.edit(self.cascade, images, text, seeds, options)

    def _options(self, **given):
        return DrawOptions.of(self.generation_defaults, **given)

    def _text_and_seeds(self, prompts, seed, options, num_copies=1):
        """Embeddings of checked prompts and seeds, one per image."""
        # First: a wrong seed shall not wait for a language model.
        seeds = image_seeds(seed, num_prompts(prompts) * num_copies)
        # Texts in batches of as many rows as pictures: who draws one picture
        # of these again, at the same batch size, has the same rounding.
        rows = options.batch_size or min(len(seeds), DEFAULT_BATCH_SIZE)
        text = embed_prompts(self.text_encoder, prompts, rows)
        return {
            name: np.repeat(value, num_copies, axis=0)
            for name, value in text.items()
        }, seeds

    def quantize(self, mode):
        """Stores the weights of language model and transformers as integers.

        Tokenizers, which are convolutions, stay as they are.

        Args:
            mode: `"int8"` or `"int4"`.

        Raises:
            ValueError: for another mode, if a part is quantized already, or
                if the parts are `staged`.
        """
        check_mode(mode)
        check_not_staged({"base": self.base})
        parts = {
            name: part
            for name, part in self._parts().items()
            if name in ("text_encoder", "base", "super_res")
        }
        # All before the first, so that an error leaves them as they are.
        if quantized := [n for n, part in parts.items() if is_quantized(part)]:
            raise ValueError(
                "No part may be quantized already. Received: a Muse whose "
                f"{', '.join(quantized)} are"
            )
        for part in parts.values():
            part.quantize(mode)

    def summary(self, print_fn=None):
        """Prints the parts, with their classes and numbers of weights.

        Each part has a `summary` of its own, with its layers.

        Args:
            print_fn: function of a line, or `None` for `print`.

        Raises:
            ValueError: if the parts are `staged`: they are not loaded.
        """
        print_fn = check_function(print_fn, "print_fn") or print
        parts = self._parts()
        check_not_staged(parts)
        rows = [
            (name, type(part).__name__, part.count_params())
            for name, part in parts.items()
        ]
        rows.append(("Muse", "", sum(count for _, _, count in rows)))
        for name, class_name, count in rows:
            print_fn(f"{name:<26}{class_name:<20}{count:>14,} weights")

    def _parts(self):
        """dict. The models that are there, by their names."""
        parts = {name: getattr(self, name) for name in muse_preset.PART_CLASSES}
        return {name: x for name, x in parts.items() if x is not None}

    # === Presets ===

    presets = Presets()

    @classmethod
    def from_preset(cls, preset, dtype=None, staged=False):
        """Loads a `Muse`.

        Args:
            preset: string. `"muse_emoji"`, which is bundled and draws emoji
                of 256 pixels a side; or a directory written by
                `save_to_preset`, or one of an aMUSEd pipeline as `diffusers`
                saves it; or a `hf://` or `kaggle://` handle of either, such
                as `"hf://amused/amused-256"`.
            dtype: string or `keras.DTypePolicy` of all parts, such as
                `"bfloat16"`. Defaults to the global policy.
            staged: bool. Whether parts are loaded one at a time, when they
                are needed, and released for the next: so memory must hold the
                largest of them, not all. Pictures are the same, and wait for
                the disk. Such a `Muse` draws and edits; it cannot be trained
                or saved. Defaults to `False`.

        Returns:
            A `Muse`.

        Raises:
            ValueError: if the preset is not one of a `Muse`, or a part of it
                is damaged.
        """
        parts = muse_preset.part_loaders(preset, dtype)
        muse_preset.check_whole(parts, preset)
        if check_bool(staged, "staged"):
            parts = stage_parts(parts)
        else:
            parts = {name: load() for name, load in parts.items()}
        defaults = muse_preset.load_defaults(preset)
        return cls(**parts, generation_defaults=defaults)

    def save_to_preset(self, preset_dir):
        """Saves the models as a directory of presets, one per part.

        A text encoder that was loaded by name or handle is kept as that
        reference, not as a copy. It is copied where it can be trained, and
        after `load_weights`, `set_weights` or `enable_lora`; a change of
        single weights by `assign` is not seen, so set its `preset` to `None`
        after it.

        Args:
            preset_dir: string. The directory; it appears whole or not at all.

        Raises:
            ValueError: if the parts are `staged`: copy their preset.
        """
        parts = self._parts()
        check_not_staged(parts)
        muse_preset.save(parts, self.generation_defaults, preset_dir)

    def get_config(self):
        check_not_staged({"base": self.base})
        return {
            **{
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in muse_preset.PART_CLASSES
            },
            "generation_defaults": draw_options.to_json(
                self.generation_defaults
            ),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        defaults = config.pop("generation_defaults", {})
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(part)
                for name, part in config.items()
            },
            generation_defaults=draw_options.from_json(defaults),
        )
