"""What Torch has that `keras.ops` does not: fused attention."""

import torch
from torch.nn import functional


def fused_attention(query, key, value, mask):
    # (batch, num_tokens, num_heads, head_dim), with heads in front
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    if mask is None:
        attended = functional.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2)
    mask = torch.as_tensor(mask, device=query.device)[:, None, None, :]
    # Kernels differ in what they make of a row without keys, and some of them
    # in NaN: it sees all of them, and counts for nothing.
    has_keys = mask.any(dim=-1, keepdim=True)
    attended = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask | ~has_keys
    )
    attended = torch.where(has_keys, attended, 0)
    return attended.transpose(1, 2)


def obstacle_to_fused_attention(query, key, mask):
    return None
