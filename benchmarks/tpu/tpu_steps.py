"""The steps that tpu_compile.py compiles, on shapes in place of arrays."""

import math

import jax
import keras

import keras_muse
from keras_muse.models.presets.architectures import ARCHITECTURES
from keras_muse.models.transformers import decoding
from keras_muse.runtime.compiled import fetchable
from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.samplers.step import Step


def build_model(name, remat):
    """A model without weights, compiled for training."""
    class_name, _ = ARCHITECTURES[name]
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras_muse, class_name).from_preset(
            name, load_weights=False
        )
    model.compile(remat=remat)
    return model


def lower_step(model, step, batch, text_length):
    """The program of a step under the current distribution.

    Args:
        model: what `build_model` returns.
        step: string, `"train"` or `"generate"`.
        batch: int. Pictures, on all devices together.
        text_length: int.

    Returns:
        A `jax.stages.Lowered`.
    """
    lower = {"train": lower_train, "generate": lower_generate}[step]
    for variable in model.variables:
        # As it will be; the optimizer's slots lie as their variables do.
        variable._initialize_layout()
    # The scope keeps Keras from giving the weights values when it leaves the
    # scopes inside.
    with keras.StatelessScope(initialize_variables=False):
        return lower(model, batch, text_length)


def lower_train(model, batch, text_length):
    """The step of `model.fit`, as Keras compiles it."""
    model.optimizer.build(model.trainable_variables)
    state = tuple(
        weight_structs(variables)
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    step = jax.jit(
        model.train_step,
        donate_argnums=0,
        out_shardings=(None, jax.tree.map(lambda x: x.sharding, state)),
    )
    return step.lower(state, (input_structs(model, batch, text_length),))


def lower_generate(model, batch, text_length):
    """The decoding step of `model.generate`, guided, its text prepared."""
    weights = weight_structs(model.variables)

    def with_weights(function):
        def stateless(weights, *args):
            mapping = list(zip(model.variables, weights, strict=True))
            with keras.StatelessScope(mapping):
                return function(*args)

        return stateless

    context = jax.eval_shape(
        with_weights(decoding.context_of(model)),
        weights,
        input_structs(model, 2 * batch, text_length),  # and without text
    )
    tokens = (batch, model.num_tokens)
    step = Step(
        seeds=rows((batch,), "int32"),
        index=struct((), "int32"),
        editable=rows(tokens, "bool"),
        plan={
            "num_masked": rows((batch,), "int32"),
            "progress": struct((), "float32"),
        },
    )
    sampler = ConfidenceSampler()

    def decode_step(*args):
        return fetchable(decoding.decode_step(model, sampler, *args))

    return jax.jit(with_weights(decode_step)).lower(
        weights,
        jax.tree.map(lambda x: rows(x.shape, x.dtype), context),
        rows(tokens, "int32"),
        rows(tokens, "float32"),
        step,
        struct((), "float32"),
    )


# === Shapes in place of arrays, and the devices on which they would lie ===


def weight_structs(variables):
    distribution = keras.distribution.distribution()
    return [
        jax.ShapeDtypeStruct(
            tuple(v.shape),
            v.dtype,
            sharding=distribution.get_variable_layout(v).backend_layout,
        )
        for v in variables
    ]


def input_structs(model, batch, text_length):
    text_shape = (batch, text_length, model.text_dim)
    inputs = {
        "token_ids": rows((batch, model.num_tokens), "int32"),
        "text_embeddings": rows(text_shape, "float32"),
        "text_mask": rows(text_shape[:2], "bool"),
    }
    if hasattr(model, "low_res_grid_size"):
        shape = (batch, math.prod(model.low_res_grid_size))
        inputs["low_res_token_ids"] = rows(shape, "int32")
    return inputs


def rows(shape, dtype):
    """Examples, which are split over the devices."""
    layout = keras.distribution.distribution().get_data_layout(shape)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=layout.backend_layout)


def struct(shape, dtype):
    """The same on every device."""
    distribution = keras.distribution.distribution()
    layout = keras.distribution.TensorLayout(
        [None] * len(shape), distribution.device_mesh
    )
    return jax.ShapeDtypeStruct(shape, dtype, sharding=layout.backend_layout)
