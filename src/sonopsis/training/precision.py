"""What a training run computes in: bfloat16 where that is fast, float32 elsewhere."""

from typing import Literal

import torch

from sonopsis.processor import processor
from sonopsis.training.config import TrainConfig


def precision_of(config: TrainConfig) -> Literal["no", "bf16"]:
    """What `precision` of a run means on this machine, in the words of Accelerate.

    `auto` is bfloat16 on a GPU and on processors that multiply in it. Others widen every number first: on an Intel Xeon
    with AVX-512 alone, a step of masked pretraining took 2.6 times as long in bfloat16 as in float32.
    """
    if config.precision != "auto":
        return config.precision
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if torch.cuda.is_available() else None
    if fast is None:
        fast = processor().computes("bfloat16")
    return "bf16" if fast else "no"
