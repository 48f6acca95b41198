"""Decoding: from texts to tokens, by a model and a sampler.

The compiled unit is a run of decoding steps, of any number: few where somebody
watches, many where the host would only hold up the device. What does not
change between steps, the keys and values of the context, is computed once
before.
"""

import time

import keras
import numpy as np
from keras import ops

from keras_muse import samplers
from keras_muse.ops import sampling
from keras_muse.ops.parts import map_parts
from keras_muse.runtime.batches import full_batches
from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_batch_size
from keras_muse.runtime.checks import check_finite_array
from keras_muse.runtime.checks import check_flags
from keras_muse.runtime.checks import check_function
from keras_muse.runtime.checks import check_guidance_scale
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_verbose
from keras_muse.runtime.compiled import fetchable
from keras_muse.samplers.sampler import Sampler
from keras_muse.samplers.seeds import image_seeds
from keras_muse.samplers.step import Step

DEFAULT_BATCH_SIZE = 16
# The noise counts the steps of both models of a cascade in as many numbers.
MAX_STEPS = (1 << 20) - 1
MAX_LOGITS = 2**24  # at a time, of all rows: 64 MiB
MAX_RUN = 32  # steps of one call
QUICK = 0.1  # seconds


def decode_tokens(
    model,
    inputs,
    negative_inputs,
    *,
    token_ids,
    num_steps,
    guidance_scale,
    seed,
    sampler,
    batch_size,
    callback,
    verbose,
):
    """Decodes the tokens of a batch of texts.

    Args:
        model: a `MaskedTokenModel`.
        inputs: dict of arrays, as the model takes them, without token ids.
        negative_inputs: the same for the rows that guidance leads away from.
        token_ids, ..., verbose: as in `MuseBase.generate`.

    Returns:
        int32 array of shape `(batch, height, width)`.
    """
    num_images = len(inputs["text_mask"])
    if not isinstance(sampler, Sampler):
        sampler = samplers.get("confidence" if sampler is None else sampler)
    num_steps = check_int(num_steps, "num_steps", high=MAX_STEPS)
    guidance_scale = check_guidance_scale(guidance_scale)
    if batch_size is None:
        batch_size = min(num_images, DEFAULT_BATCH_SIZE)
    batch_size = check_batch_size(batch_size)
    check_function(callback, "callback")
    check_verbose(verbose)
    if token_ids is None:
        shape = (num_images, model.num_tokens)
        token_ids = np.full(shape, model.mask_token_id, "int32")
    else:
        token_ids = check_token_ids(
            token_ids,
            num_images,
            model.grid_size,
            model.codebook_size + 1,
            "token_ids",
        )
    rows = {
        "inputs": inputs,
        "negative_inputs": negative_inputs if guidance_scale != 1 else {},
        "token_ids": token_ids,
        "seeds": image_seeds(seed, num_images).view("int32"),
    }
    batches = list(full_batches(rows, batch_size))
    progress = None
    if verbose:
        progress = keras.utils.Progbar(
            num_steps * len(batches),
            unit_name="step",
            verbose=1 if verbose == "auto" else verbose,
        )
    is_watched = progress is not None or callback is not None
    grids = []
    for i, (images, batch) in enumerate(batches):
        num_rows = images.stop - images.start

        def on_run(step, token_ids, i=i, images=images, num_rows=num_rows):
            if progress is not None:
                ops.convert_to_numpy(token_ids)  # waits for the run
                progress.update(i * num_steps + step + 1)
            if callback is not None:
                token_ids = ops.convert_to_numpy(token_ids)[:num_rows]
                grid = np.reshape(token_ids, (-1, *model.grid_size))
                return callback(step, images.start, grid)

        tokens = sampler(
            _decode_steps(model, sampler, batch),
            batch["token_ids"],
            model.mask_token_id,
            batch["seeds"],
            num_steps,
            guidance_scale,
            first_index=model.first_noise_step,
            callback=on_run if is_watched else None,
            grid_size=model.grid_size,
            run_lengths=_run_lengths(callback is not None, is_watched),
        )
        grids.append(np.reshape(tokens[:num_rows], (-1, *model.grid_size)))
    return np.concatenate(grids)


def _run_lengths(one_by_one, is_watched):
    """How many steps may run at once: none that somebody asks for is hidden."""
    length = 1 if is_watched else MAX_RUN
    while True:
        begin = time.perf_counter()
        yield length
        # Too quick for an eye: a bar may leap.
        if not one_by_one and time.perf_counter() - begin < QUICK:
            length = min(2 * length, MAX_RUN)


# === A run of steps, on the host ===


def _decode_steps(model, sampler, batch):
    """The function of one batch that makes a run of steps."""
    inputs, guided = batch["inputs"], bool(batch["negative_inputs"])
    if guided:
        # Rows [0, batch) with the text, [batch, 2 batch) without it.
        inputs = {
            name: np.concatenate([value, batch["negative_inputs"][name]])
            for name, value in inputs.items()
        }
    compiled = model._compiled
    project_context = compiled.get("context", context_of(model))
    # By whether a step is guided: at most two programs, of which the other
    # needs the first half of the rows.
    contexts, runs = {guided: project_context(inputs)}, {}
    # One program for all values of the sampler's settings.
    settings = sampler.settings
    kind = sampler.with_settings(dict.fromkeys(settings)), frozenset(settings)

    def decode_steps(token_ids, confidence, steps, guidance_scales):
        is_guided = guided and guidance_scales is not None
        num_steps = np.int32(len(steps))
        steps, scales = _stack(steps, guidance_scales)
        if is_guided not in contexts:
            first_half = compiled.get("first half", _first_half)
            contexts[False] = first_half(contexts[True])
        if is_guided not in runs:
            run_of_steps = _run_of_steps(model, sampler, is_guided)
            runs[is_guided] = compiled.get((kind, is_guided), run_of_steps)
        return runs[is_guided](
            contexts[is_guided],
            settings,
            token_ids,
            confidence,
            steps,
            scales,
            num_steps,
        )

    return decode_steps


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


# === Inside the compiled programs ===


def context_of(model):
    """The function of a model's inputs that does not change between steps."""

    def project_context(inputs):
        context, context_mask = model.context(inputs)
        return model.project_context(context), context_mask

    return project_context


def _first_half(context):
    """The context of the rows with text, of both halves' context."""
    return keras.tree.map_structure(lambda x: x[: x.shape[0] // 2], context)


def _run_of_steps(model, sampler, guided):
    def decode_steps(
        context, settings, token_ids, confidence, steps, scales, num_steps
    ):
        scales = ops.convert_to_tensor(scales)

        def body(k, state):
            return decode_step(
                model,
                sampler.with_settings(settings),
                context,
                *state,
                steps.at(k),
                scales[k] if guided else None,
            )

        decoded = ops.fori_loop(0, num_steps, body, (token_ids, confidence))
        return fetchable(decoded)

    return decode_steps


def decode_step(
    model, sampler, context, token_ids, confidence, step, guidance_scale
):
    """One step: mask, look, draw, reveal.

    Args:
        model: a `MaskedTokenModel`.
        sampler: a `Sampler`.
        context: keys and values of the context, and its mask; of twice the
            rows if guided.
        token_ids: int32 tensor of shape `(batch, num_tokens)`.
        confidence: float32 tensor of the same shape.
        step: a `Step`.
        guidance_scale: float32 scalar, or `None` for no guidance.

    Returns:
        The new `token_ids` and `confidence`.
    """
    token_ids = sampler.mask_before(token_ids, model.mask_token_id, step)
    # (batch, num_tokens, hidden_dim), of both halves if they are not mixed yet
    x = _guided_features(model, token_ids, context, guidance_scale)

    def draw(x, first_position):
        # (batch, part of the tokens, codebook_size)
        logits = ops.cast(model.head_logits(x), "float32")
        if guidance_scale is not None and not _is_linear(model.head_logits):
            logits = _guide_halves(logits, guidance_scale)
        return sampler.draw(logits, step, first_position)

    # The logits of a large picture are more than all other activations of a
    # step; so they are formed where they are used, a part at a time.
    num_logits = token_ids.shape[0] * model.num_tokens * model.codebook_size
    num_parts = min(-(-num_logits // MAX_LOGITS), model.num_tokens)
    drawn, drawn_confidence = map_parts(draw, x, num_parts, axis=1)
    return sampler.reveal(
        token_ids,
        confidence,
        drawn,
        drawn_confidence,
        model.mask_token_id,
        step,
    )


def _guided_features(model, token_ids, context, guidance_scale):
    """What the head takes: of the rows, or of both halves of the rows.

    The last linear layer maps a mixture to the mixture of the logits, so
    guidance is mixed before it, at half the cost. Not so where `_is_linear`
    says otherwise.
    """
    if guidance_scale is None:
        return model.features(token_ids, *context)
    both = ops.concatenate([token_ids, token_ids], axis=0)
    x = model.features(both, *context)  # (2 batch, num_tokens, hidden_dim)
    if _is_linear(model.head_logits):
        x = _guide_halves(x, guidance_scale)
    return x


def _is_linear(dense):
    """Whether a layer takes a mixture for what it is.

    A quantized one rounds its input, and one in float16 has no numbers for
    what large scales make of it.
    """
    return dense.quantization_mode is None and dense.compute_dtype != "float16"


def _guide_halves(x, guidance_scale):
    """Mixes the rows with text, in front, and those without."""
    conditional, unconditional = ops.split(ops.cast(x, "float32"), 2, axis=0)
    mixed = sampling.guide(conditional, unconditional, guidance_scale)
    return ops.cast(mixed, x.dtype)


# === What people give ===


def check_text(text_embeddings, text_mask, text_dim, prefix=""):
    """Checks a text and returns it as the inputs of a model."""
    embeddings = check_finite_array(text_embeddings, f"{prefix}text_embeddings")
    if text_mask is None:
        raise ValueError(
            f"`{prefix}text_mask` must be given with "
            f"`{prefix}text_embeddings`. Received: {prefix}text_mask=None"
        )
    mask = check_array(text_mask, f"{prefix}text_mask")
    if embeddings.ndim != 3 or embeddings.shape[-1] != text_dim:
        raise ValueError(
            f"`{prefix}text_embeddings` must be of shape (batch, text_length, "
            f"{text_dim}). Received: shape={embeddings.shape}"
        )
    if embeddings.size == 0:
        raise ValueError(
            f"`{prefix}text_embeddings` must not be empty. Received: shape="
            f"{embeddings.shape}"
        )
    if mask.shape != embeddings.shape[:2]:
        raise ValueError(
            f"`{prefix}text_mask` must be of shape (batch, text_length) = "
            f"{embeddings.shape[:2]}. Received: shape={mask.shape}"
        )
    check_flags(mask, f"{prefix}text_mask")
    return {"text_embeddings": embeddings, "text_mask": mask.astype("bool")}


def check_negative_text(inputs, embeddings, mask, text_dim):
    """The text of the unconditional half: none, or the negative one."""
    if embeddings is None:
        if mask is not None:
            raise ValueError(
                "`negative_text_mask` goes with `negative_text_embeddings`. "
                "Received: negative_text_embeddings=None"
            )
        return {
            "text_embeddings": np.zeros_like(inputs["text_embeddings"]),
            "text_mask": np.zeros_like(inputs["text_mask"]),
        }
    negative = check_text(embeddings, mask, text_dim, "negative_")
    for name, value in negative.items():
        if value.shape != inputs[name].shape:
            raise ValueError(
                f"`negative_{name}` must have the shape of `{name}`, "
                f"{inputs[name].shape}. Received: shape={value.shape}"
            )
    return negative


def check_token_ids(token_ids, num_images, grid_size, num_ids, argument):
    """Checks ids from users, flat or as a grid, and returns them flat."""
    token_ids = check_array(token_ids, argument)
    height, width = grid_size
    flat = (num_images, height * width)
    if token_ids.shape not in (flat, (num_images, height, width)):
        raise ValueError(
            f"`{argument}` must be of shape {flat} or "
            f"{(num_images, height, width)}. Received: {argument}.shape="
            f"{token_ids.shape}"
        )
    if token_ids.size == 0:
        raise ValueError(
            f"`{argument}` must not be empty. Received: {argument}.shape="
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
