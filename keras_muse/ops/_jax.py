"""What JAX has that `keras.ops` does not: Threefry, and fused attention."""

import functools

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


def fused_attention(query, key, value, mask):
    # cuDNN's kernel, whose softmax is in float32.
    attend = functools.partial(
        jax.nn.dot_product_attention, implementation="cudnn"
    )
    if mask is None:
        return attend(query, key, value)
    mask = jnp.asarray(mask)[:, None, None, :]
    # A row without keys sees all of them, and counts for nothing.
    has_keys = mask.any(axis=-1, keepdims=True)
    shape = (*mask.shape[:2], query.shape[1], key.shape[1])
    attended = attend(
        query, key, value, mask=jnp.broadcast_to(mask | ~has_keys, shape)
    )
    return jnp.where(has_keys, attended, 0)


def obstacle_to_fused_attention(query, key, mask):
    """What speaks against cuDNN's kernel, or `None`.

    TPUs have a kernel, too, which nobody has checked here.
    """
    device = jax.devices()[0]
    capability = getattr(device, "compute_capability", None)
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return f"JAX has a checked kernel for NVIDIA's GPUs, not {device}"
    if float(capability) < 8.0:
        return f"it needs compute capability 8.0, and {device} has {capability}"
    if query.dtype not in (jnp.bfloat16, jnp.float16):
        return "it needs bfloat16 or float16"
    head_dim = query.shape[-1]
    if head_dim % 8 or head_dim > 128:
        return "it needs a head_dim of at most 128 that 8 divides"
    # Fewer queries are a small product; other numbers were not tried.
    if (query.shape[1] or 1) % 64:
        return "it needs a number of queries that 64 divides"
    multiple = 64 if mask is None else 8
    if (key.shape[1] or 1) % multiple:
        return f"it needs a number of keys that {multiple} divides"
    return None
