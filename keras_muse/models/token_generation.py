"""`generate` of the masked-token models."""

import keras
import numpy as np
from keras import ops

from keras_muse.models.compiled import compile_function
from keras_muse.models.compiled import fetchable
from keras_muse.models.compiled import pad_rows
from keras_muse.models.compiled import whole_batch
from keras_muse.ops import sampling
from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.samplers.seeds import image_seeds

DEFAULT_BATCH_SIZE = 16
MAX_LOGITS = 2**22  # of one row at a time: 16 MiB


class TokenGeneration:
    """Mixin: decodes the tokens of a batch of texts.

    The compiled unit is one decoding step; the loop over steps is Python's,
    in the sampler. What does not change between steps, the keys and values
    of the context, is computed once before.
    """

    # Bits in the noise's step counter that keep apart two models which decode
    # with the same seeds.
    noise_stage = 0

    def _generate(
        self,
        inputs,
        negative_inputs,
        token_ids,
        num_steps,
        guidance_scale,
        seed,
        sampler,
        batch_size,
        callback,
        verbose,
    ):
        """Decodes tokens in batches; see `MuseBase.generate`."""
        sampler = ConfidenceSampler() if sampler is None else sampler
        num_images = len(inputs["text_mask"])
        if batch_size is not None and batch_size < 1:
            raise ValueError(
                "`batch_size` must be at least 1. Received: "
                f"batch_size={batch_size}"
            )
        guided = guidance_scale != 1
        if token_ids is None:
            token_ids = np.full(
                (num_images, self.num_tokens), self.mask_token_id, "int32"
            )
        rows = {
            "inputs": inputs,
            "negative": negative_inputs if guided else {},
            "token_ids": check_token_ids(
                token_ids,
                num_images,
                self.grid_size,
                self.codebook_size + 1,
                "token_ids",
            ),
            "seeds": image_seeds(seed, num_images),
        }
        batch_size = batch_size or min(num_images, DEFAULT_BATCH_SIZE)
        batch_size = whole_batch(batch_size)
        num_batches = -(-num_images // batch_size)
        progress = _progress_bar(num_steps * num_batches, verbose)
        results = []
        for start in range(0, num_images, batch_size):
            batch = keras.tree.map_structure(
                lambda x: pad_rows(x[start : start + batch_size], batch_size),  # noqa: B023
                rows,
            )
            num_rows = min(batch_size, num_images - start)

            def on_step(step, token_ids, num_rows=num_rows, start=start):
                if progress is not None:
                    ops.convert_to_numpy(token_ids)  # waits for the step
                    progress.add(1)
                if callback is not None:
                    token_ids = ops.convert_to_numpy(token_ids)[:num_rows]
                    return callback(step, start, self._to_grid(token_ids))

            tokens = sampler(
                self._decode_step(sampler, batch),
                batch["token_ids"],
                self.mask_token_id,
                batch["seeds"],
                num_steps,
                guidance_scale,
                self.noise_stage,
                on_step,
                self.grid_size,
            )
            results.append(tokens[:num_rows])
        return self._to_grid(np.concatenate(results))

    def _to_grid(self, token_ids):
        return np.reshape(token_ids, (-1, *self.grid_size))

    def _decode_step(self, sampler, batch):
        """The step function of one batch, its context computed."""
        inputs, guided = batch["inputs"], bool(batch["negative"])
        if guided:
            # Rows [0, batch) with the text, [batch, 2 batch) without it.
            inputs = {
                name: np.concatenate([value, batch["negative"][name]])
                for name, value in inputs.items()
            }
        prepare = self._compiled("prepare", self._prepare)
        contexts = {guided: prepare(inputs)}

        def decode_step(token_ids, confidence, step, guidance_scale):
            # A scale of 1 gives the unconditional half no weight.
            is_guided = guided and guidance_scale != 1
            if is_guided not in contexts:
                first_half = self._compiled("first_half", _first_half)
                contexts[False] = first_half(contexts[True])
            function = self._compiled(
                ("decode_step", sampler, is_guided),
                self._make_decode_step(sampler, is_guided),
            )
            return function(
                contexts[is_guided], token_ids, confidence, step, guidance_scale
            )

        return decode_step

    def _compiled(self, key, function):
        if key not in self._compiled_functions:
            self._compiled_functions[key] = compile_function(self, function)
        return self._compiled_functions[key]

    def _prepare(self, inputs):
        context, context_mask = self.context(inputs)
        return self.project_context(context), context_mask

    def _make_decode_step(self, sampler, guided):
        def decode_step(context, token_ids, confidence, step, guidance_scale):
            token_ids = sampler.mask_before(token_ids, self.mask_token_id, step)
            scale = guidance_scale if guided else None
            x = self._guided_features(token_ids, context, scale)
            drawn, drawn_confidence = self._draw(sampler, x, step, scale)
            revealed = sampler.reveal(
                token_ids,
                confidence,
                drawn,
                drawn_confidence,
                self.mask_token_id,
                step,
            )
            return fetchable(revealed)

        return decode_step

    def _guided_features(self, token_ids, context, guidance_scale):
        """What the head takes: of the rows, or of both halves of the rows.

        The last linear layer maps a mixture to the mixture of the logits, so
        guidance is mixed before it, at half the cost. Not so if it is
        quantized: it rounds its input.
        """
        if guidance_scale is None:
            return self.features(token_ids, *context)
        both = ops.concatenate([token_ids, token_ids], axis=0)
        x = self.features(both, *context)
        if self._head_is_linear:
            x = _guide_halves(x, guidance_scale)
        return x

    @property
    def _head_is_linear(self):
        return self.head_logits.quantization_mode is None

    def _draw(self, sampler, x, step, guidance_scale):
        """Draws all tokens, a part at a time where logits are many.

        The logits of a large picture are more than all other activations of
        a step; so they are formed where they are used, `MAX_LOGITS` of a row
        at a time.
        """
        parts = []
        part_size = max(1, MAX_LOGITS // self.codebook_size)
        for first in range(0, self.num_tokens, part_size):
            logits = self.head_logits(x[:, first : first + part_size])
            logits = ops.cast(logits, "float32")
            if guidance_scale is not None and not self._head_is_linear:
                logits = _guide_halves(logits, guidance_scale)
            parts.append(sampler.draw(logits, step, first))
        return [
            ops.concatenate(part, axis=1) for part in zip(*parts, strict=True)
        ]


def _first_half(context):
    """The context of the rows with text, of both halves' context."""
    return keras.tree.map_structure(lambda x: x[: x.shape[0] // 2], context)


def _guide_halves(x, guidance_scale):
    """Mixes the rows with text, in front, and those without."""
    conditional, unconditional = ops.split(ops.cast(x, "float32"), 2, axis=0)
    mixed = sampling.guide(conditional, unconditional, guidance_scale)
    return ops.cast(mixed, x.dtype)


def check_token_ids(token_ids, num_images, grid_size, num_ids, argument):
    """Checks ids from users, flat or as a grid, and returns them flat."""
    token_ids, (height, width) = np.asarray(token_ids), grid_size
    flat = (num_images, height * width)
    if token_ids.shape not in (flat, (num_images, height, width)):
        raise ValueError(
            f"`{argument}` must be of shape {flat} or "
            f"{(num_images, height, width)}. Received: {argument}.shape="
            f"{token_ids.shape}"
        )
    if token_ids.dtype.kind not in "iu":
        raise ValueError(
            f"`{argument}` must be integers. Received: {argument}.dtype="
            f"{token_ids.dtype}"
        )
    if token_ids.min() < 0 or token_ids.max() >= num_ids:
        raise ValueError(
            f"`{argument}` must be in [0, {num_ids}). Received: values from "
            f"{token_ids.min()} to {token_ids.max()}"
        )
    return np.reshape(token_ids, flat).astype("int32")


def _progress_bar(num_steps, verbose):
    if verbose == "auto":
        verbose = 1
    if not verbose:
        return None
    return keras.utils.Progbar(num_steps, unit_name="step", verbose=verbose)
