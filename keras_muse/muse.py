"""Muse: from a prompt to a picture. Read this file first."""

import keras
import numpy as np

from keras_muse import muse_preset
from keras_muse.best_of import check_best_of
from keras_muse.best_of import choose_best
from keras_muse.models.weight_quantization import check_mode
from keras_muse.models.weight_quantization import is_quantized
from keras_muse.muse_editing import MuseEditing
from keras_muse.muse_inputs import check_counts
from keras_muse.muse_inputs import check_prompts
from keras_muse.muse_inputs import embed_prompts
from keras_muse.samplers.seeds import image_seeds
from keras_muse.staged_parts import check_not_staged
from keras_muse.staged_parts import stage_parts


@keras.saving.register_keras_serializable(package="keras_muse")
class Muse(MuseEditing):
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

    Raises:
        ValueError: if codebooks, grids or text widths of the parts differ.

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
    ):
        self.text_encoder = text_encoder
        self.base = base
        self.image_tokenizer = image_tokenizer
        self.super_res = super_res
        self.high_res_image_tokenizer = high_res_image_tokenizer
        self._check_parts()

    def generate(
        self,
        prompts,
        negative_prompts=None,
        *,
        num_steps=24,
        super_res_num_steps=8,
        guidance_scale=3.0,
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
            negative_prompts: string, list of strings (one a prompt) or
                `None`. What guidance leads away from; `""` is none.
            num_steps: int. Decoding steps of the base. Defaults to `24`.
            super_res_num_steps: int. Decoding steps of the super-resolution
                model. Defaults to `8`.
            guidance_scale: float. How strongly the prompt is followed; `1` is
                no guidance. Defaults to `3`.
            super_res_guidance_scale: float. Defaults to `guidance_scale`.
            seed: int, list of ints (one an image) or `None`. Image `i` of an
                int seed has the seed `seed + i`, and depends on its own seed
                alone. `None` draws one and prints it.
            num_images_per_prompt: int. Images come prompt by prompt. Defaults
                to `1`.
            best_of: int or `None`. How many candidates are drawn of each
                prompt; those that `scorer` likes best are returned, the best
                first. Seeds are counted candidate by candidate.
            scorer: function of `(images, prompts)`, a prompt an image, that
                returns a number an image, such as CLIP's similarity.
            sampler: a `keras_muse.samplers.Sampler`, or its name, as
                `"halton"`. Defaults to `"confidence"`.
            super_res_sampler: the same for the super-resolution model.
            batch_size: int or `None`. Images made at once. Defaults to all,
                up to 16.
            callback: function of `(stage, step, start, token_ids)` or `None`,
                called after each decoding step; `stage` is `"base"` or
                `"super_res"`, `token_ids` the grids of the images from number
                `start` on. If it returns `True` and nothing is masked,
                decoding ends.
            verbose: `"auto"`, 0 or 1. Whether to draw progress bars.

        Returns:
            uint8 numpy array of shape `(num_images, height, width, 3)`.

        Example:
        ```python
        def show(stage, step, start, token_ids):
            # What is decided by now, and grey where nothing is.
            images = muse.preview(stage, token_ids)
            keras_muse.training.draw_grid(images, path=f"{stage}_{step}.png")

        images = muse.generate("a red apple", num_steps=4, callback=show)
        ```
        """
        check_counts(
            num_steps=num_steps,
            super_res_num_steps=super_res_num_steps,
            num_images_per_prompt=num_images_per_prompt,
            batch_size=batch_size,
        )
        prompts = check_prompts(prompts, negative_prompts)
        check_best_of(best_of, scorer, num_images_per_prompt, prompts)
        num_drawn = best_of or num_images_per_prompt
        text = embed_prompts(self.text_encoder, prompts, batch_size)
        text = {
            name: np.repeat(value, num_drawn, axis=0)
            for name, value in text.items()
        }
        images = self._draw(
            text,
            num_steps=num_steps,
            super_res_num_steps=super_res_num_steps,
            guidance_scale=guidance_scale,
            super_res_guidance_scale=super_res_guidance_scale,
            seed=seed,
            sampler=sampler,
            super_res_sampler=super_res_sampler,
            batch_size=batch_size,
            callback=callback,
            verbose=verbose,
        )
        if best_of is None:
            return images
        return choose_best(
            images, prompts["prompts"], scorer, num_images_per_prompt
        )

    def _draw(
        self,
        text,
        *,
        token_ids=None,
        super_res_token_ids=None,
        num_steps,
        super_res_num_steps,
        guidance_scale,
        super_res_guidance_scale,
        seed,
        sampler,
        super_res_sampler,
        batch_size,
        callback,
        verbose,
    ):
        """The cascade, from text embeddings and known tokens to pixels."""
        common = {
            **text,
            "seed": image_seeds(seed, len(text["text_mask"])),  # of both stages
            "batch_size": batch_size,
            "verbose": verbose,
        }
        token_ids = self.base.generate(
            token_ids=token_ids,
            num_steps=num_steps,
            guidance_scale=guidance_scale,
            sampler=sampler,
            callback=_of_stage("base", callback),
            **common,
        )
        if self.super_res is None:
            return self._to_pixels("base", token_ids, batch_size)
        if super_res_guidance_scale is None:
            super_res_guidance_scale = guidance_scale
        token_ids = self.super_res.generate(
            low_res_token_ids=token_ids,
            token_ids=super_res_token_ids,
            num_steps=super_res_num_steps,
            guidance_scale=super_res_guidance_scale,
            sampler=super_res_sampler,
            callback=_of_stage("super_res", callback),
            **common,
        )
        return self._to_pixels("super_res", token_ids, batch_size)

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
        names = ("text_encoder", "base", "super_res")
        parts = {
            name: part
            for name in names
            if (part := getattr(self, name)) is not None
        }
        # All before the first, so that an error leaves them as they are.
        if quantized := [n for n, part in parts.items() if is_quantized(part)]:
            raise ValueError(
                "No part may be quantized already. Received: a Muse whose "
                f"{', '.join(quantized)} are"
            )
        for part in parts.values():
            part.quantize(mode)

    # === Presets ===

    @classmethod
    def from_preset(cls, preset, dtype=None, staged=False):
        """Loads a `Muse`.

        Args:
            preset: string. `"muse_emoji"`, which is bundled and draws emoji
                of 128 pixels a side; or a directory written by
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
        if staged:
            loaders = muse_preset.part_loaders(preset, dtype)
            return cls(**stage_parts(loaders))
        return cls(**muse_preset.load_parts(preset, dtype))

    def save_to_preset(self, preset_dir):
        """Saves the models as a directory of presets, one a part.

        A text encoder that was loaded by name or handle is kept as that
        reference, not as a copy.

        Args:
            preset_dir: string. The directory; it appears whole or not at all.

        Raises:
            ValueError: if the parts are `staged`: copy their preset.
        """
        parts = {
            name: getattr(self, name)
            for name in muse_preset.PART_CLASSES
            if getattr(self, name) is not None
        }
        check_not_staged(parts)
        muse_preset.save_parts(parts, preset_dir)

    def get_config(self):
        check_not_staged({"base": self.base})
        return {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in muse_preset.PART_CLASSES
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(part)
                for name, part in config.items()
            }
        )


def _of_stage(stage, callback):
    if callback is None:
        return None
    return lambda *args: callback(stage, *args)
