"""The steps that tpu_compile.py compiles, on shapes in place of arrays."""

import math
import re

import jax
import keras

import keras_muse
from keras_muse.models.presets import ARCHITECTURES
from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.samplers.step import Step

# Which axis of a matrix is cut over `model`; its slots are named after it.
MODEL_AXES = {
    r"(query|key|value|intermediate_dense|head_logits).kernel": 1,
    r"(attention_output|output_dense).kernel": 0,
}
# Layers whose output is cut over `batch` only.
ROW_LAYERS = (
    "embedding",
    "text_projection",
    "norm",
    "attention_output",
    "output_dense",
    r"layer_\d+",
    "head_dense",
)


def build_model(name, remat):
    """A model without weights; the layers of its transformers recompute."""
    class_name, config = ARCHITECTURES[name]
    layers = [f"layer_{i}" for i in range(config["num_layers"])]
    layers += [
        f"low_res_layer_{i}" for i in range(config.get("low_res_num_layers", 0))
    ]
    mode = "list_of_layers" if remat else None
    with (
        keras.StatelessScope(initialize_variables=False),
        keras.RematScope(mode, layer_names=layers),
    ):
        model = getattr(keras_muse, class_name).from_preset(
            name, load_weights=False
        )
    model.compile()
    return model


def lower_step(model, step, batch, text_length, mesh, replicated=False):
    """The program of a step as it goes to the compiler.

    Args:
        model: what `build_model` returns.
        step: string, `"train"` or `"generate"`.
        batch: int. Pictures, on all devices together.
        text_length: int.
        mesh: `jax.sharding.Mesh` with the axes `batch` and `model`.
        replicated: bool. Whether each device has all weights.

    Returns:
        A `jax.stages.Lowered`.
    """
    lower = {"train": lower_train, "generate": lower_generate}[step]
    # The outer scope keeps Keras from giving the weights values when it
    # leaves the scopes inside.
    with (
        keras.StatelessScope(initialize_variables=False),
        output_layout(mesh).scope(),
    ):
        return lower(model, batch, text_length, Layout(mesh, replicated))


def lower_train(model, batch, text_length, layout):
    """The step of `model.fit`, as Keras compiles it."""
    model.optimizer.build(model.trainable_variables)
    state = tuple(
        layout.weights(variables)
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
    return step.lower(state, (layout.inputs(model, batch, text_length),))


def lower_generate(model, batch, text_length, layout):
    """The decoding step of `model.generate`, guided, its text prepared."""
    weights = layout.weights(model.variables)

    def with_weights(function):
        def stateless(weights, *args):
            mapping = list(zip(model.variables, weights, strict=True))
            with keras.StatelessScope(mapping):
                return function(*args)

        return stateless

    context = jax.eval_shape(
        with_weights(model._prepare),
        weights,
        layout.inputs(model, 2 * batch, text_length),  # and without text
    )
    tokens = (batch, model.num_tokens)
    step = Step(
        seeds=layout.rows((batch,), "int32"),
        index=layout.struct((), "int32"),
        editable=layout.rows(tokens, "bool"),
        plan={
            "num_masked": layout.rows((batch,), "int32"),
            "progress": layout.struct((), "float32"),
        },
    )
    decode_step = model._make_decode_step(ConfidenceSampler(), guided=True)
    return jax.jit(with_weights(decode_step)).lower(
        weights,
        jax.tree.map(lambda x: layout.rows(x.shape, x.dtype), context),
        layout.rows(tokens, "int32"),
        layout.rows(tokens, "float32"),
        step,
        layout.struct((), "float32"),
    )


# === Where things lie ===


class Layout:
    """Shapes in place of arrays, and the devices on which they would lie."""

    def __init__(self, mesh, replicated):
        self.mesh = mesh
        self.replicated = replicated

    def struct(self, shape, dtype, spec=()):
        sharding = jax.sharding.NamedSharding(
            self.mesh, jax.sharding.PartitionSpec(*spec)
        )
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def rows(self, shape, dtype):
        return self.struct(shape, dtype, ("batch",))

    def weights(self, variables):
        return [
            self.struct(
                tuple(v.shape),
                v.dtype,
                partition(v.path, v.shape, self.mesh.shape, self.replicated),
            )
            for v in variables
        ]

    def inputs(self, model, batch, text_length):
        text_shape = (batch, text_length, model.text_dim)
        inputs = {
            "token_ids": self.rows((batch, model.num_tokens), "int32"),
            "text_embeddings": self.rows(text_shape, "float32"),
            "text_mask": self.rows(text_shape[:2], "bool"),
        }
        if hasattr(model, "low_res_grid_size"):
            shape = (batch, math.prod(model.low_res_grid_size))
            inputs["low_res_token_ids"] = self.rows(shape, "int32")
        return inputs


def partition(path, shape, mesh_shape, replicated=False):
    """The mesh axis over which each axis of a weight is cut, or `None`."""
    spec = [None] * len(shape)
    if len(shape) != 2:
        return tuple(spec)  # small
    if mesh_shape["model"] > 1:
        for pattern, axis in MODEL_AXES.items():
            if re.search(pattern, path):
                spec[axis] = "model"
    if not replicated:
        for axis, size in enumerate(shape):
            if spec[axis] is None and size % mesh_shape["batch"] == 0:
                spec[axis] = "batch"
                break
    return tuple(spec)


def output_layout(mesh):
    """Keeps the rows of a batch apart wherever a layer hands them on.

    Without it the partitioner of XLA takes the cuts of the weights for those
    of the hidden axis, and brings whole batches to each device.
    """
    device_mesh = keras.distribution.DeviceMesh(
        mesh.devices.shape, mesh.axis_names, mesh.devices
    )
    layout_map = keras.distribution.LayoutMap(device_mesh)
    layout_map[rf".*({'|'.join(ROW_LAYERS)})/output"] = ("batch",)
    return keras.distribution.ModelParallel(layout_map=layout_map)
