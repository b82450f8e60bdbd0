"""How much each patch matters, read from attention weights, always in float32."""

import torch
from torch import Tensor


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D/H)) float32 (B, H, Tq, T) of queries (B, H, Tq, D/H) and keys (B, H, T, D/H).

    Also in float32 under autocast: rounding to bfloat16 would decide which patches survive.
    """
    device = q.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return attention_weights(q, k)
    return (q.float() * q.shape[-1] ** -0.5 @ k.float().transpose(-1, -2)).softmax(dim=-1)


def cls_row(weights: Tensor, prefix: int) -> Tensor:
    """What CLS attends to: the mean over heads of its row over patches; (B, H, Tq, P + N), CLS first -> (B, N).

    The rule for encoders whose CLS is trained (AST, EAT; arXiv 2504.01690, section 3).
    """
    return weights.detach()[:, :, 0, prefix:].mean(dim=1)


def attention_column(weights: Tensor, prefix: int) -> Tensor:
    """What patches attend to: the mean over heads and patch queries; (B, H, P + N, P + N) -> (B, N).

    The rule for AudioMAE, whose CLS is not trained (arXiv 2504.01690, section 3). Prefix rows and columns are left out.
    """
    return weights.detach()[:, :, prefix:, prefix:].mean(dim=(1, 2))
