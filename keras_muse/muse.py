"""Muse: from a prompt to a picture. Read this file first."""

import keras
import numpy as np

from keras_muse import muse_preset
from keras_muse.ops import images as image_ops
from keras_muse.samplers.seeds import image_seeds

PROMPT_KEYS = {"prompts", "negative_prompts"}
EMBEDDING_KEYS = {
    "text_embeddings",
    "text_mask",
    "negative_text_embeddings",
    "negative_text_mask",
}


@keras.saving.register_keras_serializable(package="keras_muse")
class Muse:
    """Text to image with masked transformers.

    A frozen language model embeds the prompt. The base transformer decodes
    the tokens of a small picture in a few parallel steps, the
    super-resolution transformer those of a large one, and a VQGAN decoder
    turns tokens into pixels. This class only puts the models together; each
    is trained on its own, with `fit`.

    Args:
        text_encoder: a `keras_muse.MiniLMTextEncoder` or
            `keras_muse.T5TextEncoder`.
        base: a `keras_muse.MuseBase`.
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
            sampler: a `keras_muse.samplers.Sampler`. Defaults to
                `keras_muse.ConfidenceSampler()`.
            super_res_sampler: the same for the super-resolution model.
            batch_size: int or `None`. Images made at once. Defaults to all,
                up to 16.
            callback: function of `(stage, step, start, token_ids)` or `None`,
                called after each decoding step; `stage` is `"base"` or
                `"super_res"`, `token_ids` the grids of the images from number
                `start` on.
            verbose: `"auto"`, 0 or 1. Whether to draw progress bars.

        Returns:
            uint8 numpy array of shape `(num_images, height, width, 3)`.
        """
        text = self._embed(prompts, negative_prompts, batch_size)
        text = {
            name: np.repeat(value, num_images_per_prompt, axis=0)
            for name, value in text.items()
        }
        seed = image_seeds(seed, len(text["text_mask"]))  # one for both stages
        token_ids = self.base.generate(
            **text,
            num_steps=num_steps,
            guidance_scale=guidance_scale,
            seed=seed,
            sampler=sampler,
            batch_size=batch_size,
            callback=_of_stage("base", callback),
            verbose=verbose,
        )
        if self.super_res is None:
            return self._to_pixels(self.image_tokenizer, token_ids)
        if super_res_guidance_scale is None:
            super_res_guidance_scale = guidance_scale
        token_ids = self.super_res.generate(
            **text,
            low_res_token_ids=token_ids,
            num_steps=super_res_num_steps,
            guidance_scale=super_res_guidance_scale,
            seed=seed,
            sampler=super_res_sampler,
            batch_size=batch_size,
            callback=_of_stage("super_res", callback),
            verbose=verbose,
        )
        return self._to_pixels(self._high_res_tokenizer, token_ids)

    @property
    def _high_res_tokenizer(self):
        return self.high_res_image_tokenizer or self.image_tokenizer

    def _to_pixels(self, tokenizer, token_ids):
        return image_ops.to_pixels(tokenizer.decode(token_ids))

    def _embed(self, prompts, negative_prompts, batch_size):
        """Texts, in the words of `MuseBase.generate`."""
        if isinstance(prompts, dict):
            _check_keys(prompts, negative_prompts)
            if "text_embeddings" in prompts:
                return dict(prompts)
            negative_prompts = prompts.get("negative_prompts", negative_prompts)
            prompts = prompts["prompts"]
        prompts = _as_list(prompts, "prompts")
        embeddings, mask = self.text_encoder.encode(prompts, batch_size)
        text = {"text_embeddings": embeddings, "text_mask": mask}
        if negative_prompts is None:
            return text
        negative = _as_list(negative_prompts, "negative_prompts")
        if isinstance(negative_prompts, str):
            negative = negative * len(prompts)
        if len(negative) != len(prompts):
            raise ValueError(
                "`negative_prompts` must be one string, or one a prompt "
                f"({len(prompts)}). Received: {len(negative)} negative prompts"
            )
        embeddings, mask = self.text_encoder.encode(negative, batch_size)
        # An empty negative prompt is none: nothing to attend to.
        given = np.array([bool(text.strip()) for text in negative])
        text["negative_text_embeddings"] = embeddings
        text["negative_text_mask"] = mask & given[:, None]
        return text

    # === Parts and presets ===

    def _check_parts(self):
        base, tokenizer = self.base, self.image_tokenizer
        pairs = [
            ("codebook_size", "base", base.codebook_size)
            + ("image_tokenizer", tokenizer.codebook_size),
            ("text_dim", "base", base.text_dim)
            + ("text_encoder", self.text_encoder.text_dim),
        ]
        if self.super_res is not None:
            fine, fine_tokenizer = self.super_res, self._high_res_tokenizer
            pairs += [
                ("codebook_size", "super_res", fine.codebook_size)
                + ("high_res_image_tokenizer", fine_tokenizer.codebook_size),
                (
                    "low-resolution codebook_size",
                    "super_res",
                    fine.low_res_codebook_size,
                )
                + ("base", base.codebook_size),
                (
                    "low-resolution grid_size",
                    "super_res",
                    fine.low_res_grid_size,
                )
                + ("base", base.grid_size),
                ("text_dim", "super_res", fine.text_dim)
                + ("base", base.text_dim),
            ]
        for what, name, value, other_name, other_value in pairs:
            if value != other_value:
                raise ValueError(
                    f"`{name}` and `{other_name}` must have the same {what}. "
                    f"Received: {name}: {value}, {other_name}: {other_value}"
                )

    @classmethod
    def from_preset(cls, preset, dtype=None):
        """Loads a `Muse`.

        Args:
            preset: string. A directory written by `save_to_preset`, or a
                `hf://` or `kaggle://` handle of one.
            dtype: string or `keras.DTypePolicy` of all parts, such as
                `"bfloat16"`. Defaults to the global policy.

        Returns:
            A `Muse`.

        Raises:
            ValueError: if the preset is not one of a `Muse`, or a part of it
                is damaged.
        """
        return cls(**muse_preset.load_parts(preset, dtype))

    def save_to_preset(self, preset_dir):
        """Saves the models as a directory of presets, one a part.

        A text encoder that was loaded by name or handle is kept as that
        reference, not as a copy.

        Args:
            preset_dir: string. The directory; it appears whole or not at all.
        """
        parts = {
            name: getattr(self, name)
            for name in muse_preset.PART_CLASSES
            if getattr(self, name) is not None
        }
        muse_preset.save_parts(parts, preset_dir)

    def get_config(self):
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


def _check_keys(prompts, negative_prompts):
    keys = set(prompts)
    if "text_embeddings" in keys:
        valid = {"text_mask"} <= keys <= EMBEDDING_KEYS
    else:
        valid = {"prompts"} <= keys <= PROMPT_KEYS
    # A negative prompt can be given in one place only.
    if not valid or (negative_prompts is not None and keys != {"prompts"}):
        raise ValueError(
            f"`prompts` as a dict must have the keys {sorted(PROMPT_KEYS)} or "
            f"{sorted(EMBEDDING_KEYS)} (negative ones may be missing, and are "
            "not given beside it). Received: keys "
            f"{sorted(keys)}, negative_prompts={negative_prompts!r}"
        )


def _as_list(texts, argument):
    texts = [texts] if isinstance(texts, str) else texts
    if not (
        isinstance(texts, list | tuple)
        and texts
        and all(isinstance(text, str) for text in texts)
    ):
        raise ValueError(
            f"`{argument}` must be a string or a list of strings, not empty. "
            f"Received: {argument}={texts!r}"
        )
    return texts


def _of_stage(stage, callback):
    if callback is None:
        return None
    return lambda *args: callback(stage, *args)
