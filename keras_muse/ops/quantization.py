"""Vector quantization: distances to codes and the losses made from them."""

from keras import ops


def squared_distances(vectors, codebook):
    """Squared distance of each vector to each code, in float32.

    Args:
        vectors: float tensor of shape `(num_vectors, codebook_dim)`.
        codebook: float tensor of shape `(codebook_size, codebook_dim)`.

    Returns:
        float32 tensor of shape `(num_vectors, codebook_size)`.
    """
    vectors = ops.cast(vectors, "float32")
    codebook = ops.cast(codebook, "float32")
    return (
        ops.sum(ops.square(vectors), axis=1, keepdims=True)
        - 2.0 * ops.matmul(vectors, ops.transpose(codebook))
        + ops.sum(ops.square(codebook), axis=1)[None, :]
    )


def straight_through(vectors, quantized):
    """The value of `quantized` with the gradient of `vectors`."""
    # Zero is added: `vectors + (quantized - vectors)` would round.
    return ops.stop_gradient(quantized) + (vectors - ops.stop_gradient(vectors))


def entropy_loss(distances, temperature=0.01):
    """Sample entropy minus batch entropy of the soft code assignment.

    Low when each vector is sure of its code and all codes are in use.

    Args:
        distances: float32 tensor of shape `(num_vectors, codebook_size)`.
        temperature: float. Distances are divided by it. Defaults to `0.01`.

    Returns:
        A float32 scalar, at least `-ln(codebook_size)`.

    Reference:
        - [MaskGIT](https://arxiv.org/abs/2202.04200), in its published code
    """
    log_p = ops.log_softmax(-distances / temperature, axis=-1)
    p = ops.exp(log_p)
    sample_entropy = -ops.mean(ops.sum(p * log_p, axis=-1))
    mean_p = ops.mean(p, axis=0)
    batch_entropy = -ops.sum(mean_p * ops.log(mean_p + 1e-8))
    return sample_entropy - batch_entropy


def perplexity(counts):
    """`exp` of the entropy of code usage: how many codes are in real use.

    Args:
        counts: float tensor of shape `(codebook_size,)`.

    Returns:
        A float32 scalar in [1, codebook_size]; 1 if all counts are zero.
    """
    p = counts / ops.maximum(ops.sum(counts), 1.0)
    return ops.exp(-ops.sum(p * ops.log(p + 1e-10)))
