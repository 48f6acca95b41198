"""MuseBase: from a text to the tokens of a small picture."""

import keras

from keras_muse.models.masked_token_model import MaskedTokenModel
from keras_muse.models.text_inputs import check_negative_text
from keras_muse.models.text_inputs import check_text


@keras.saving.register_keras_serializable(package="keras_muse")
class MuseBase(MaskedTokenModel):
    """The base transformer of Muse: text to low-resolution tokens.

    Each layer attends among the image tokens, then to the projected text,
    then applies an MLP. `fit` takes clean tokens and masks them itself,
    `generate` decodes all tokens in a few parallel steps.

    Args:
        codebook_size: int. Number of codes of the image tokenizer.
        grid_size: pair of ints. `(height, width)` of the token grid. Defaults
            to `(16, 16)`.
        text_dim: int. Width of the text embeddings. Defaults to `4096`,
            T5-XXL's.
        num_layers: int. Transformer layers. Defaults to `36`.
        hidden_dim: int. Width of the transformer. Defaults to `1024`.
        num_heads: int. Attention heads. Defaults to `16`.
        intermediate_dim: int. Width of the MLPs. Defaults to `4096`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict of `"token_ids"`, int of shape `(batch, num_tokens)` or
            `(batch, height, width)`, where `codebook_size` is [MASK];
            `"text_embeddings"`, float of shape `(batch, text_length,
            text_dim)`; `"text_mask"`, bool of shape `(batch, text_length)`,
            true at real tokens.

    Returns:
        float32 logits of shape `(batch, num_tokens, codebook_size)`.
        `predict` gives token ids in place of logits.

    Example:
    ```python
    import numpy as np
    import keras_muse

    base = keras_muse.MuseBase(
        codebook_size=32, grid_size=(4, 4), text_dim=8, num_layers=2,
        hidden_dim=16, num_heads=2, intermediate_dim=32,
    )
    data = {
        "token_ids": np.random.randint(0, 32, (8, 16)),
        "text_embeddings": np.random.normal(size=(8, 5, 8)),
        "text_mask": np.ones((8, 5), "bool"),
    }
    base.compile()
    base.fit(data, batch_size=4, verbose=0)
    token_ids = base.generate(
        data["text_embeddings"], data["text_mask"], num_steps=4, seed=0
    )  # (8, 4, 4)
    ```

    Reference:
        - [Muse, section 2.3](https://arxiv.org/abs/2301.00704)
    """

    def __init__(
        self,
        codebook_size,
        grid_size=(16, 16),
        text_dim=4096,
        num_layers=36,
        hidden_dim=1024,
        num_heads=16,
        intermediate_dim=4096,
        dtype=None,
        **kwargs,
    ):
        super().__init__(
            codebook_size,
            grid_size,
            text_dim,
            num_layers,
            hidden_dim,
            num_heads,
            intermediate_dim,
            dtype=dtype,
            **kwargs,
        )
        self.build()

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
            sampler: a `keras_muse.samplers.Sampler`. Defaults to
                `ConfidenceSampler()`.
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
