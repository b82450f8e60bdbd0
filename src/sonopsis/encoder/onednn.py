"""The fast form of an encoder's linear layers, for inference in float32 on processors of AMD.

torch's own float32 products come from Intel's MKL, which computes them at about half of what an AMD processor with
AVX-512 can do, and at three quarters with AVX2. The same products from oneDNN, with weights laid out once in oneDNN's
own order and with the GELU computed inside the product before it, are at the limit of the processor. On Intel
processors both libraries are equally fast, so that a second copy of the weights would not pay.

The two operators are those that torch's compiler uses. They are not part of torch's public interface; `make_fast`
checks their result and leaves the encoder as it is where they are missing or wrong.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonopsis.processor import processor

if TYPE_CHECKING:
    from sonopsis.encoder.vit import Encoder

VENDORS = ("AuthenticAMD", "HygonGenuine")  # as /proc/cpuinfo names them; Hygon builds processors by AMD's design
ROWS = 256  # the number of tokens that the layout is made for; 514 instead made no difference
LARGE = 1 << 18  # weights; products of smaller matrices are too short for the layout to matter


class FastLinear:
    """A linear layer with its weights in oneDNN's order: (..., inputs) -> (..., outputs) float32, GELU after it or not.

    The weights are a copy: later changes of the layer are not followed.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
        self.bias = bias.detach().contiguous()
        self.after: tuple[Any, ...] = ("gelu", [], "none") if gelu else ("none", [], "")

    def __call__(self, y: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(y, self.weight, self.bias, *self.after)
        return out


@dataclass(frozen=True)
class FastAttention:
    """The linear layers of an attention."""

    queries: FastLinear  # (B, T, D) -> (B, T, D)
    keys_values: FastLinear  # (B, T, D) -> (B, T, 2 D)
    proj: FastLinear  # (B, T, D) -> (B, T, D)


@dataclass(frozen=True)
class FastMlp:
    """The linear layers of an MLP."""

    hidden: FastLinear  # (B, T, D) -> (B, T, 4 D), with GELU
    out: FastLinear  # (B, T, 4 D) -> (B, T, D)


class HasFastForm(nn.Module):
    """A module that may have a fast form of its linear layers.

    Training, moving, converting or loading the parameters deletes the fast form, because it would hold old values.
    """

    def train(self, mode: bool = True) -> "HasFastForm":
        """As of every module; training mode deletes the fast form."""
        if mode:
            self.drop_fast_form()
        return super().train(mode)

    def drop_fast_form(self) -> None:
        """Compute from the parameters again."""
        raise NotImplementedError

    def _apply(self, *arguments: Any, **options: Any) -> "HasFastForm":
        self.drop_fast_form()
        return super()._apply(*arguments, **options)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self.drop_fast_form()
        super()._load_from_state_dict(*arguments)


def make_fast(encoder: "Encoder") -> bool:
    """Give every block of an encoder its fast form, where that pays; whether it did. Results stay the same.

    The form needs float32 parameters on an AMD processor and a wide encoder; it holds a second copy of the weights.
    """
    fc1 = encoder.blocks[0].fc1
    if processor().vendor not in VENDORS or fc1.weight.numel() < LARGE:
        return False
    if fc1.weight.device.type != "cpu" or fc1.weight.dtype != torch.float32:
        return False
    with torch.inference_mode():
        if not _is_right(fc1.weight, fc1.bias):
            return False
        for block in encoder.blocks:
            block.make_fast()
    return True


def _is_right(weight: Tensor, bias: Tensor) -> bool:
    """Whether the operators exist in this build of torch and give what torch's own operators give."""
    y = torch.randn(1, ROWS, weight.shape[1], generator=torch.Generator().manual_seed(0))  # (1, T, D)
    expected = F.gelu(F.linear(y, weight, bias))
    try:
        found = FastLinear(weight, bias, gelu=True)(y)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
