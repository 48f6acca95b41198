"""The cascade: stages whose tokens stand for pictures of a size."""

import dataclasses

import numpy as np

from keras_muse.data.decoding import resize
from keras_muse.models.transformers.decoding import DEFAULT_BATCH_SIZE
from keras_muse.models.transformers.decoding import check_token_ids
from keras_muse.ops import images as image_ops
from keras_muse.ops.pixel_masks import fill_masked
from keras_muse.runtime.batches import in_full_batches
from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_model
from keras_muse.runtime.checks import show

MID_GREY = 128


@dataclasses.dataclass(frozen=True)
class Stage:
    """A transformer, and the tokenizer that knows its tokens.

    Attributes:
        model: a `MuseBase`, `UViTBase` or `MuseSuperRes`.
        tokenizer: a `VQGANTokenizer`.
    """

    model: object
    tokenizer: object

    @property
    def image_size(self):
        """Height and width of its pictures."""
        factor = self.tokenizer.downsampling_factor
        return tuple(side * factor for side in self.model.grid_size)

    def to_tokens(self, images, batch_size=None):
        """Grids of tokens; pictures are reduced as for token shards."""
        images = resize(images, self.image_size)
        batch_size = batch_size or min(len(images), DEFAULT_BATCH_SIZE)
        return in_full_batches(self.tokenizer.encode, images, batch_size)

    def to_pixels(self, token_ids, batch_size=None):
        """uint8 pictures of grids of tokens."""
        batch_size = batch_size or min(len(token_ids), DEFAULT_BATCH_SIZE)
        images = in_full_batches(self.tokenizer.decode, token_ids, batch_size)
        return image_ops.to_pixels(images)


class Cascade:
    """The stages of a `Muse`: `"base"` and, where there is one, `"super_res"`.

    It knows sizes, tokens and pixels; texts come embedded, arguments checked.

    Args:
        base: a `MuseBase` or `UViTBase`.
        image_tokenizer: a `VQGANTokenizer`.
        super_res: a `MuseSuperRes` or `None`.
        high_res_image_tokenizer: a `VQGANTokenizer` or `None`, for
            `image_tokenizer`.
    """

    def __init__(
        self, base, image_tokenizer, super_res, high_res_image_tokenizer
    ):
        self.stages = {"base": Stage(base, image_tokenizer)}
        if super_res is not None:
            self.stages["super_res"] = Stage(
                super_res, high_res_image_tokenizer or image_tokenizer
            )

    @property
    def image_size(self):
        """Height and width of the pictures that come out."""
        return list(self.stages.values())[-1].image_size

    def draw(self, text, seeds, options, token_ids=None):
        """From text embeddings and known tokens to pixels.

        Args:
            text: dict of arrays, as `MuseBase.generate` takes them.
            seeds: uint32 array, one per image; of both stages.
            options: `DrawOptions`.
            token_ids: dict of grids by stage, in which [MASK] is unknown.
                Defaults to nothing that is known.

        Returns:
            uint8 array of shape `(num_images, height, width, 3)`.
        """
        known = token_ids or {}
        common = {
            **text,
            "seed": seeds,
            "batch_size": options.batch_size,
            "verbose": options.verbose,
        }
        token_ids = self.stages["base"].model.generate(
            token_ids=known.get("base"),
            num_steps=options.num_steps,
            guidance_scale=options.guidance_scale,
            sampler=options.sampler,
            callback=_of_stage("base", options.callback),
            **common,
        )  # (num_images, height, width)
        if "super_res" not in self.stages:
            return self.stages["base"].to_pixels(token_ids, options.batch_size)
        super_res = self.stages["super_res"]
        token_ids = super_res.model.generate(
            low_res_token_ids=token_ids,
            token_ids=known.get("super_res"),
            num_steps=options.super_res_num_steps,
            guidance_scale=options.super_res_guidance_scale,
            sampler=options.super_res_sampler,
            callback=_of_stage("super_res", options.callback),
            **common,
        )
        return super_res.to_pixels(token_ids, options.batch_size)

    def preview(self, stage, token_ids):
        """Pictures of grids with undecided tokens; see `Muse.preview`."""
        check_choice(stage, "stage", list(self.stages))
        shown = self.stages[stage]
        model, factor = shown.model, shown.tokenizer.downsampling_factor
        token_ids = check_array(token_ids, "token_ids")
        num_images = len(token_ids) if token_ids.ndim else 0
        token_ids = check_token_ids(
            token_ids,
            num_images,
            model.grid_size,
            model.codebook_size + 1,
            "token_ids",
        ).reshape(num_images, *model.grid_size)
        undecided = token_ids == model.mask_token_id
        # With the nearest decided token in their place: any other would bleed
        # into decided cells through the convolutions.
        images = shown.to_pixels(fill_masked(token_ids, undecided, 0))
        undecided = undecided.repeat(factor, axis=1).repeat(factor, axis=2)
        return np.where(undecided[..., None], np.uint8(MID_GREY), images)


def _of_stage(stage, callback):
    if callback is None:
        return None
    return lambda *args: callback(stage, *args)


def check_parts(
    text_encoder, base, image_tokenizer, super_res, high_res_image_tokenizer
):
    """Refuses parts of a `Muse` that do not fit together."""
    for name, part, attribute in (
        # What strings and bytes, which are encoded and decoded, do not have.
        ("text_encoder", text_encoder, "text_dim"),
        ("base", base, "generate"),
        ("image_tokenizer", image_tokenizer, "downsampling_factor"),
        ("super_res", super_res, "low_res_codebook_size"),
        (
            "high_res_image_tokenizer",
            high_res_image_tokenizer,
            "downsampling_factor",
        ),
    ):
        is_needed = name in ("text_encoder", "base", "image_tokenizer")
        if part is not None or is_needed:
            check_model(part, name, attribute)
    if hasattr(base, "low_res_codebook_size"):
        raise ValueError(
            "`base` must draw from texts alone, as `MuseBase` does. Received: "
            f"base={show(base)}"
        )
    pairs = [
        ("codebook_size", "base", base.codebook_size)
        + ("image_tokenizer", image_tokenizer.codebook_size),
        ("text_dim", "base", base.text_dim)
        + ("text_encoder", text_encoder.text_dim),
    ]
    if super_res is None:
        if high_res_image_tokenizer is not None:
            raise ValueError(
                "`high_res_image_tokenizer` belongs to `super_res`. "
                "Received: super_res=None"
            )
    else:
        low_res_codebook = super_res.low_res_codebook_size
        tokenizer = high_res_image_tokenizer or image_tokenizer
        pairs += [
            ("codebook_size", "super_res", super_res.codebook_size)
            + ("high_res_image_tokenizer", tokenizer.codebook_size),
            ("low-resolution codebook_size", "super_res", low_res_codebook)
            + ("base", base.codebook_size),
            (
                "low-resolution grid_size",
                "super_res",
                super_res.low_res_grid_size,
            )
            + ("base", base.grid_size),
            ("text_dim", "super_res", super_res.text_dim)
            + ("base", base.text_dim),
        ]
    for what, name, value, other_name, other_value in pairs:
        if value != other_value:
            raise ValueError(
                f"`{name}` and `{other_name}` must have the same {what}. "
                f"Received: {name}: {value}, {other_name}: {other_value}"
            )
