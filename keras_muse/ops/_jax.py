"""What JAX has that `keras.ops` does not: Threefry, and fused attention."""

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
    return jax.nn.dot_product_attention(
        query, key, value, implementation="cudnn"
    )


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
    if mask is not None:
        return "it takes no mask"
    head_dim = query.shape[-1]
    if head_dim % 8 or head_dim > 128:
        return "it needs a head_dim of at most 128 that 8 divides"
    # Fewer tokens are a small product; others were not tried.
    if any((length or 1) % 64 for length in (query.shape[1], key.shape[1])):
        return "it needs numbers of queries and keys that 64 divides"
    return None
