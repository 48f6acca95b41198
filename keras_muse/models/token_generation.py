"""`generate` of the masked-token models."""

import time

import keras
import numpy as np
from keras import ops

from keras_muse import samplers
from keras_muse.models.compiled import compile_function
from keras_muse.models.compiled import fetchable
from keras_muse.models.compiled import pad_rows
from keras_muse.models.compiled import whole_batch
from keras_muse.ops import sampling
from keras_muse.ops.parts import map_parts
from keras_muse.samplers.seeds import image_seeds
from keras_muse.samplers.step import Step

DEFAULT_BATCH_SIZE = 16
MAX_LOGITS = 2**24  # at a time, of all rows: 64 MiB
MAX_RUN = 32  # steps of one call
MAX_PROGRAMS = 16  # of decoding, the latest that were used
QUICK = 0.1  # seconds


class TokenGeneration:
    """Mixin: decodes the tokens of a batch of texts.

    The compiled unit is a run of decoding steps, of any number: few where
    somebody watches, many where the host would only hold up the device. What
    does not change between steps, the keys and values of the context, is
    computed once before.
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
        sampler = samplers.get("confidence" if sampler is None else sampler)
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
            done = start // batch_size * num_steps

            def on_run(
                step, token_ids, num_rows=num_rows, start=start, done=done
            ):
                if progress is not None:
                    ops.convert_to_numpy(token_ids)  # waits for the run
                    progress.update(done + step + 1)
                if callback is not None:
                    token_ids = ops.convert_to_numpy(token_ids)[:num_rows]
                    return callback(step, start, self._to_grid(token_ids))

            tokens = sampler(
                self._decode_steps(sampler, batch),
                batch["token_ids"],
                self.mask_token_id,
                batch["seeds"],
                num_steps,
                guidance_scale,
                self.noise_stage,
                on_run,
                self.grid_size,
                _run_lengths(callback is not None, progress is not None),
            )
            results.append(tokens[:num_rows])
        return self._to_grid(np.concatenate(results))

    def _to_grid(self, token_ids):
        return np.reshape(token_ids, (-1, *self.grid_size))

    def _decode_steps(self, sampler, batch):
        """The function of one batch that makes a run of steps."""
        inputs, guided = batch["inputs"], bool(batch["negative"])
        if guided:
            # Rows [0, batch) with the text, [batch, 2 batch) without it.
            inputs = {
                name: np.concatenate([value, batch["negative"][name]])
                for name, value in inputs.items()
            }
        prepare = self._compiled("prepare", self._prepare)
        contexts = {guided: prepare(inputs)}

        def decode_steps(token_ids, confidence, steps, guidance_scales):
            is_guided = guided and guidance_scales is not None
            if is_guided not in contexts:
                first_half = self._compiled("first_half", _first_half)
                contexts[False] = first_half(contexts[True])
            return self._decode_program(sampler, is_guided)(
                contexts[is_guided],
                sampler.settings,
                token_ids,
                confidence,
                *_stack(steps, guidance_scales),
                np.int32(len(steps)),
            )

        return decode_steps

    def _compiled(self, key, function):
        if key not in self._compiled_functions:
            self._compiled_functions[key] = compile_function(self, function)
        return self._compiled_functions[key]

    def _decode_program(self, sampler, guided):
        """The compiled run, one for all values of the sampler's settings."""
        same = sampler.with_settings(dict.fromkeys(sampler.settings))
        key = (same, frozenset(sampler.settings), guided)
        programs = self._decode_programs
        if key not in programs:
            programs[key] = compile_function(
                self, self._make_decode_steps(sampler, guided)
            )
        programs[key] = programs.pop(key)  # the latest comes last
        while len(programs) > MAX_PROGRAMS:
            del programs[next(iter(programs))]
        return programs[key]

    def _prepare(self, inputs):
        context, context_mask = self.context(inputs)
        return self.project_context(context), context_mask

    def _make_decode_steps(self, sampler, guided):
        def decode_steps(
            context, settings, token_ids, confidence, steps, scales, num_steps
        ):
            scales = ops.convert_to_tensor(scales)

            def decode_step(k, state):
                return self._decode_step(
                    sampler.with_settings(settings),
                    context,
                    *state,
                    steps.at(k),
                    scales[k] if guided else None,
                )

            decoded = ops.fori_loop(
                0, num_steps, decode_step, (token_ids, confidence)
            )
            return fetchable(decoded)

        return decode_steps

    def _decode_step(
        self, sampler, context, token_ids, confidence, step, guidance_scale
    ):
        token_ids = sampler.mask_before(token_ids, self.mask_token_id, step)
        # (batch, num_tokens, hidden_dim), of both halves if not linear
        x = self._guided_features(token_ids, context, guidance_scale)
        num_logits = token_ids.shape[0] * self.num_tokens * self.codebook_size
        drawn, drawn_confidence = self._draw(
            sampler, x, step, guidance_scale, -(-num_logits // MAX_LOGITS)
        )
        return sampler.reveal(
            token_ids,
            confidence,
            drawn,
            drawn_confidence,
            self.mask_token_id,
            step,
        )

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

    def _draw(self, sampler, x, step, guidance_scale, num_parts):
        """Draws all tokens, a part at a time where logits are many.

        The logits of a large picture are more than all other activations of
        a step; so they are formed where they are used.
        """

        def draw(x, first):
            logits = ops.cast(self.head_logits(x), "float32")
            if guidance_scale is not None and not self._head_is_linear:
                logits = _guide_halves(logits, guidance_scale)
            return sampler.draw(logits, step, first)

        return map_parts(draw, x, min(num_parts, self.num_tokens), axis=1)


def _run_lengths(one_by_one, is_watched):
    """How many steps may run at once: none that somebody asks for is hidden."""
    length = 1 if one_by_one or is_watched else MAX_RUN
    while True:
        begin = time.perf_counter()
        yield length
        # Too quick for an eye: a bar may leap.
        if not one_by_one and time.perf_counter() - begin < QUICK:
            length = min(2 * length, MAX_RUN)


def _stack(steps, guidance_scales):
    """Steps as one, of arrays with a place for `MAX_RUN`, whatever they are.

    Without guidance the scales are 1.

    Returns:
        A `Step` whose `index` and `plan` have the steps as their first axis,
        and the float32 scales.
    """
    if guidance_scales is None:
        guidance_scales = np.ones(len(steps), "float32")
    rows = [
        (step.index, step.plan, scale)
        for step, scale in zip(steps, guidance_scales, strict=True)
    ]
    rows += [rows[-1]] * (MAX_RUN - len(rows))
    index, plan, scales = keras.tree.map_structure(
        lambda *values: np.stack(values), *rows
    )
    return Step(steps[0].seeds, index, steps[0].editable, plan), scales


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
