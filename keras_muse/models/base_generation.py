"""`generate` of the models that need nothing but a text."""

from keras_muse.models.text_inputs import check_negative_text
from keras_muse.models.text_inputs import check_text


class BaseGeneration:
    """Mixin: from the embeddings of texts to the tokens of pictures."""

    def generate(
        self,
        text_embeddings,
        text_mask,
        negative_text_embeddings=None,
        negative_text_mask=None,
        *,
        token_ids=None,
        num_steps=24,
        guidance_scale=3.0,
        seed=None,
        sampler=None,
        batch_size=None,
        callback=None,
        verbose="auto",
    ):
        """Decodes the tokens of pictures from the embeddings of their texts.

        Args:
            text_embeddings: float array of shape `(batch, text_length,
                text_dim)`.
            text_mask: bool array of shape `(batch, text_length)`, true at
                real tokens.
            negative_text_embeddings: float array of the shape of
                `text_embeddings`, or `None`. Guidance leads away from it.
            negative_text_mask: bool array, with `negative_text_embeddings`.
                A row without a true value has no negative text.
            token_ids: int array of shape `(batch, num_tokens)` or as a grid,
                or `None`. Tokens that are not [MASK] are kept.
            num_steps: int. Decoding steps. Defaults to `24`.
            guidance_scale: float. Scale at the end of the sampler's schedule;
                `1` is no guidance. Defaults to `3`.
            seed: int, list of ints or `None`. Image `i` has the seed
                `seed + i`, or its own of the list. `None` draws one and
                prints it.
            sampler: a `keras_muse.samplers.Sampler`, or its name, as
                `"halton"`. Defaults to `"confidence"`.
            batch_size: int or `None`. Images decoded at once; short batches
                are filled up to it. Defaults to all, up to 16.
            callback: function of `(step, start, token_ids)` or `None`, called
                after each step with the grid `(images, height, width)` of the
                images from number `start` on; undecided tokens are [MASK]. If
                it returns `True` and nothing is masked, these images are done.
            verbose: `"auto"`, 0 or 1. Whether to draw a progress bar.

        Returns:
            int32 numpy array of shape `(batch, height, width)`.
        """
        inputs = check_text(text_embeddings, text_mask, self.text_dim)
        negative = check_negative_text(
            inputs, negative_text_embeddings, negative_text_mask, self.text_dim
        )
        return self._generate(
            inputs,
            negative,
            token_ids,
            num_steps,
            guidance_scale,
            seed,
            sampler,
            batch_size,
            callback,
            verbose,
        )
