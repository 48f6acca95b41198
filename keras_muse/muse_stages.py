"""The stages of `Muse`: whose tokens stand for pictures of which size."""

import numpy as np
from PIL import Image

from keras_muse.data.picture_views import resize_view
from keras_muse.models.compiled import pad_rows
from keras_muse.models.token_generation import DEFAULT_BATCH_SIZE
from keras_muse.models.token_generation import check_token_ids
from keras_muse.ops import images as image_ops
from keras_muse.ops.pixel_masks import fill_masked

MID_GREY = 128


class MuseStages:
    """Mixin: from pictures to the tokens of a stage, and back.

    The stages are `"base"` and, where there is such a model, `"super_res"`.
    """

    def _check_parts(self):
        base, tokenizer = self.base, self.image_tokenizer
        pairs = [
            ("codebook_size", "base", base.codebook_size)
            + ("image_tokenizer", tokenizer.codebook_size),
            ("text_dim", "base", base.text_dim)
            + ("text_encoder", self.text_encoder.text_dim),
        ]
        if self.super_res is None:
            if self.high_res_image_tokenizer is not None:
                raise ValueError(
                    "`high_res_image_tokenizer` belongs to `super_res`. "
                    "Received: super_res=None"
                )
        else:
            fine, fine_tokenizer = self._stages["super_res"]
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

    @property
    def _stages(self):
        """The transformer and the tokenizer of each stage, in order."""
        stages = {"base": (self.base, self.image_tokenizer)}
        if self.super_res is not None:
            tokenizer = self.high_res_image_tokenizer or self.image_tokenizer
            stages["super_res"] = (self.super_res, tokenizer)
        return stages

    def _image_size(self, stage):
        model, tokenizer = self._stages[stage]
        factor = tokenizer.downsampling_factor
        return tuple(side * factor for side in model.grid_size)

    @property
    def _final_size(self):
        """Height and width of the pictures that `generate` draws."""
        return self._image_size(list(self._stages)[-1])

    def _to_tokens(self, stage, images, batch_size=None):
        """Tokens of pictures, which are reduced as for token shards."""
        size = self._image_size(stage)
        images = np.stack(
            [resize_view((Image.fromarray(x), None), size) for x in images]
        )
        _, tokenizer = self._stages[stage]
        return _in_full_batches(tokenizer.encode, images, batch_size)

    def _to_pixels(self, stage, token_ids, batch_size=None):
        _, tokenizer = self._stages[stage]
        images = _in_full_batches(tokenizer.decode, token_ids, batch_size)
        return image_ops.to_pixels(images)

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
        if stage not in self._stages:
            raise ValueError(
                f"`stage` must be one of {list(self._stages)}. "
                f"Received: stage={stage!r}"
            )
        model, tokenizer = self._stages[stage]
        token_ids = np.asarray(token_ids)
        num_images = len(token_ids) if token_ids.ndim else 0
        token_ids = check_token_ids(
            token_ids,
            num_images,
            model.grid_size,
            model.codebook_size + 1,
            "token_ids",
        ).reshape(num_images, *model.grid_size)
        undecided = token_ids == model.mask_token_id
        # Neighbours in their place spoil what is decided least.
        images = self._to_pixels(stage, fill_masked(token_ids, undecided, 0))
        cell = np.ones((1, *[tokenizer.downsampling_factor] * 2), "bool")
        return np.where(
            np.kron(undecided, cell)[..., None], np.uint8(MID_GREY), images
        )


def _in_full_batches(function, rows, batch_size):
    """Tokenizes in one shape a `batch_size`: short batches are filled up.

    So a picture is bit for bit the same alone and among others.
    """
    batch_size = batch_size or min(len(rows), DEFAULT_BATCH_SIZE)
    filled = pad_rows(rows, max(len(rows), batch_size))
    return function(filled, batch_size)[: len(rows)]
