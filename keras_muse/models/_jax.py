"""Compiled functions on JAX."""

import jax
import keras


def compile_function(model, function):
    def stateless(values, *args):
        mapping = list(zip(model.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*args)

    compiled = jax.jit(stateless)

    def call(*args):
        return compiled([v.value for v in model.variables], *args)

    return call
