"""What TensorFlow has, or has not, that `keras.ops` does not."""


def obstacle_to_fused_attention(query, key, mask):
    return "TensorFlow has no such kernel"
