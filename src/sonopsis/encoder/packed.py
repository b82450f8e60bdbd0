"""An encoder made ready for inference on a CPU: weights laid out once for oneDNN, GELU inside the product before it.

On processors whose vendor library serves them badly (AMD, with the MKL inside torch) oneDNN's float32 products are
twice as fast; elsewhere there is the fused GELU. Both are operators that torch's compiler uses and nobody promises to
keep, so `pack` tries them on the model's own sizes and leaves the encoder as it is where they are missing, wrong or
not faster.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sonopsis.encoder.block import Block, Products
from sonopsis.encoder.vit import Encoder

TOKENS = 256  # rows the layout is made for and the trial is run with
ROUNDS = 8
GAIN = 1.15  # how much faster a trial must be; packing keeps a second copy of the weights
LARGE = 1 << 18  # weights under which a product is too short for the layout to matter


def pack(encoder: Encoder) -> bool:
    """Speed an encoder up in place, for inference alone and without a change of results; whether it could be done."""
    block = encoder.blocks[0]
    weight, bias = block.fc1.weight, block.fc1.bias
    if weight.numel() < LARGE or weight.device.type != "cpu" or weight.dtype != torch.float32:
        return False
    with torch.inference_mode():
        if not _pays(weight, bias):
            return False
        for block in encoder.blocks:
            block.attn.packed = packed(block)
    return True


class Packed:
    """A linear layer in oneDNN's layout, with a GELU behind it if asked for: (..., inputs) -> (..., outputs)."""

    def __init__(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), TOKENS)
        self.bias = bias.detach().contiguous()
        self.after: tuple[Any, ...] = ("gelu", [], "none") if gelu else ("none", [], "")

    def __call__(self, y: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(y, self.weight, self.bias, *self.after)
        return out


def _pays(weight: Tensor, bias: Tensor) -> bool:
    """Whether the operators are there, right, and faster."""
    y = torch.randn(1, TOKENS, weight.shape[1], generator=torch.Generator().manual_seed(0))
    try:
        product = Packed(weight, bias, gelu=True)
        expected = F.gelu(F.linear(y, weight, bias))
        if not torch.allclose(product(y), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())):
            return False
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    ours, theirs = _best([lambda: product(y), lambda: F.gelu(F.linear(y, weight, bias))])
    return GAIN * ours < theirs


def _best(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Seconds of the fastest of a few turns of each: whatever else the machine does, it only adds."""
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for number, run in enumerate(runs):
            begun = time.perf_counter()
            run()
            best[number] = min(best[number], time.perf_counter() - begun)
    return best


def packed(block: Block) -> Products:
    """A block's linear maps in oneDNN's layout."""
    attn, width = block.attn, block.attn.width
    weight, bias = attn.qkv.weight, attn.qkv.bias
    return Products(
        queries=Packed(weight[:width], bias[:width]),
        keys_values=Packed(weight[width:], bias[width:]),
        proj=Packed(attn.proj.weight, attn.proj.bias),
        hidden=Packed(block.fc1.weight, block.fc1.bias, gelu=True),
        fc2=Packed(block.fc2.weight, block.fc2.bias),
    )
