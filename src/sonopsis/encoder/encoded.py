"""What an encoder returns: tokens that know their place on the time-frequency grid."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

Array = TypeVar("Array")


@dataclass
class Encoded(Generic[Array]):
    """Surviving patch tokens of a batch, in ascending grid order; cell n = t * F + f of a grid with F frequency rows.

    `Array` is torch.Tensor, or numpy.ndarray after `numpy()`.
    """

    tokens: Array  # (B, K, D) after the final norm
    index: Array  # (B, K) int64 grid cell of each token, ascending; then -1: a fused token, or padding
    mask: Array  # (B, K) bool, False on padding
    size: Array  # (B, K) how many patches each token stands for
    prefix: Array  # (B, P, D) CLS (and distillation) after the final norm; before them what attention pooling makes
    grid: tuple[int, int]  # (time, frequency) rows
    stages: list[Array]  # per block that pruned: (B, K_s) int64 grid cells of its survivors; -1 on padding
    dropped: Array | None = None  # (B, N, D) last state of each dropped patch at its cell, zeros elsewhere
    source: Array | None = None  # (B, N) the token each patch is in, -1: dropped; with `dropped`, or after mixing
    layers: Array | None = None  # (B, 2 * depth * D) what pooling "layers" adds for the head; not of exported graphs
    blocks: list[Array] | None = None  # per block asked for: (B, N, D) the state of every patch after it; not of graphs
    second: Array | None = None  # (B, time, E) of a captioner with a second encoder: what that one made of each step
    fused: bool = False  # the last token of each clip is the remainder of what was dropped
    padded: bool = False  # clips kept different numbers of patches, so `mask` is not all True

    def numpy(self) -> "Encoded[Any]":
        """The same on the CPU as NumPy arrays, floats as float32."""
        return replace(
            self,
            tokens=_array(self.tokens),
            index=_array(self.index),
            mask=_array(self.mask),
            size=_array(self.size),
            prefix=_array(self.prefix),
            stages=[_array(stage) for stage in self.stages],
            dropped=None if self.dropped is None else _array(self.dropped),
            source=None if self.source is None else _array(self.source),
            layers=None if self.layers is None else _array(self.layers),
            blocks=None if self.blocks is None else [_array(grid) for grid in self.blocks],
            second=None if self.second is None else _array(self.second),
        )


def pooled(encoded: Encoded[Any], pooling: str) -> Any:
    """One vector (B, D) for each clip: CLS, the mean of CLS and distillation ("cls_dist"), the mean over patches
    ("mean"), or that with learned weights ("attention" and "layers")."""
    if pooling in ("cls", "attention", "layers"):
        return encoded.prefix[:, 0]
    if pooling == "cls_dist":
        return encoded.prefix[:, :2].mean(axis=1)
    weight = (encoded.size * encoded.mask)[:, :, None]  # (B, K, 1)
    return (encoded.tokens * weight).sum(axis=1) / weight.sum(axis=1)


def _array(values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()
