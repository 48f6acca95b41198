"""Threefry on JAX, as JAX itself has it."""

import jax
from jax import numpy as jnp
from jax.extend.random import threefry2x32_p


def threefry(key, counter):
    words = [jnp.asarray(word, "int32") for word in (*key, *counter)]
    words = [
        jax.lax.bitcast_convert_type(word, "uint32")
        for word in jnp.broadcast_arrays(*words)
    ]
    bits = threefry2x32_p.bind(*words)
    return tuple(jax.lax.bitcast_convert_type(x, "int32") for x in bits)
