"""Weights laid out for decoding. NumPy only, so that it serves without torch."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sonopsis.mamba2.config import Mamba2Config
from sonopsis.mamba2.kernels.threads import run_beside_torch, team

Floats = NDArray[np.float32]
Array = NDArray[Any]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

POSITIONS_A_THREAD = 4_000_000  # changes of numbers of the state, the same when a prompt is read
NUMBERS_A_THREAD = 30_000  # of the residual
WORTH_A_THREAD = 3_000_000  # weights that a second thread must save reading before waking it pays


@dataclass(frozen=True)
class Matrix:
    """Rows of weights as they are stored: float32, bfloat16 bits (uint16), float16 bits (int16), or int8; row r of the
    matrix is `data[r] * scale[r]`. A leading axis, if any, counts layers."""

    data: Array
    scale: Floats

    @classmethod
    def pack(cls, weight: Floats, precision: Precision) -> "Matrix":
        """Store float32 weights (..., rows, columns) in `precision`, to the nearest value."""
        scale = np.ones(weight.shape[:-1], np.float32)
        if precision == "float32":
            return cls(np.ascontiguousarray(weight), scale)
        if precision == "bfloat16":
            bits = np.ascontiguousarray(weight).view(np.uint32)
            return cls(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16), scale)
        if precision == "float16":
            return cls(weight.astype(np.float16).view(np.int16), scale)
        scale = np.abs(weight).max(axis=-1) / 127
        scale[scale == 0] = 1
        return cls(np.rint(weight / scale[..., None]).astype(np.int8), scale.astype(np.float32))

    def unpack(self) -> Floats:
        """The float32 weights that decoding multiplies by."""
        if self.data.dtype == np.uint16:
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        if self.data.dtype == np.int16:
            return self.data.view(np.float16).astype(np.float32)
        return np.asarray(self.data * self.scale[..., None], np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and scales."""
        return self.data.nbytes + self.scale.nbytes


@dataclass(frozen=True)
class Packed:
    """A Mamba-2 model for decoding; small parameters float32, a leading axis of layers where there are several.

    table and head (V, E), one object if tied; norm_f (E,); norms (layers, E); inputs (layers, projected, E) for
    [z | x B C | dt]; taps (layers, taps, channels) and biases (layers, channels) of the convolution; dt_biases, decays
    (negative) and skips (layers, h); gate_norms (layers, inner); outputs (layers, E, inner).
    """

    table: Matrix
    head: Matrix
    norm_f: Floats
    norms: Floats
    inputs: Matrix
    taps: Floats
    biases: Floats
    dt_biases: Floats
    decays: Floats
    skips: Floats
    gate_norms: Floats
    outputs: Matrix
    eps: float
    groups: int

    @property
    def weights(self) -> int:
        """Number of weights a step reads."""
        return self.head.data.size + self.inputs.data.size + self.outputs.data.size

    def step(self, ids: NDArray[np.int64], conv: Floats, ssm: Floats, threads: int = 1) -> Floats:
        """Append ids (B,) to sequences with states conv (layers, B, taps - 1, channels) and ssm (layers, B, h, p, n),
        updated in place; logits (B, V). Raises ValueError for ids outside of the vocabulary or of another number."""
        from sonopsis.mamba2.kernels import step
        from sonopsis.mamba2.kernels.lanes import LANES
        from sonopsis.mamba2.kernels.products import MANY_VECTORS, ROWS
        from sonopsis.mamba2.kernels.registers import MANY, PITCH

        batch = len(ids)
        if batch != ssm.shape[1]:
            raise ValueError(f"{batch} ids for {ssm.shape[1]} sequences; give one for each")
        if batch and not 0 <= ids.min() <= ids.max() < self.table.data.shape[0]:
            raise ValueError(f"ids must lie in 0..{self.table.data.shape[0] - 1}, got {ids.tolist()}")
        width, inner = self.outputs.data.shape[1:]
        widest = max(inner, width)
        threads = max(1, min(threads, 1 + self.weights * min(batch, 4) // WORTH_A_THREAD))
        lanes = -(-batch // LANES) * LANES if batch >= MANY_VECTORS else 0
        logits = np.zeros((batch, self.head.data.shape[0]), np.float32)
        arguments = (
            np.ascontiguousarray(ids), self.table.data, self.table.scale, self.head.data, self.head.scale, self.norm_f,
            self.norms, self.inputs.data, self.inputs.scale, self.taps, self.biases, self.dt_biases, self.decays,
            self.skips, self.gate_norms, self.outputs.data, self.outputs.scale, conv, ssm,
            np.float32(self.eps), self.groups,
            np.empty((batch, width), np.float32), np.empty((batch, self.inputs.data.shape[1]), np.float32),
            np.empty((batch, inner), np.float32), np.empty((threads, batch, widest), np.float32),
            np.zeros((threads, widest, lanes), np.float32), np.zeros((threads, MANY, PITCH), np.float32),
            np.zeros((threads, ROWS, lanes), np.float32), logits, np.zeros((3 * len(self.norms) + 2, 8), np.int64),
        )  # fmt: skip
        team(threads).run(step.step, arguments)
        return logits

    def enter(self, layer: int, x: Floats, added: Array, normed: Array, threads: int = 1) -> None:
        """x (N, E) += added (N, E) and its norm into `normed` (N, E); all but x are float32, or bfloat16 bits as
        uint16."""
        from sonopsis.mamba2.kernels.scan import enter

        threads = max(1, min(threads, 1 + x.size // NUMBERS_A_THREAD))
        counters = np.zeros((2, 8), np.int64)
        arguments = (x, added, self.norms[layer], np.float32(self.eps), normed, counters)
        run_beside_torch(enter, arguments, threads)

    def scan(
        self,
        layer: int,
        projected: Array,
        conv: Floats,
        ssm: Floats,
        lengths: NDArray[np.int64],
        scratch: "Scratch",
        threads: int = 1,
    ) -> None:
        """What a layer does between its projections: [z | x B C | dt] (B, L, projected), float32 or bfloat16 bits as
        uint16 -> scratch.out (B, L, inner). The layer's conv (B, taps - 1, channels) and ssm (B, h, p, n) are moved on
        in place by each row's first lengths (B,) positions; what lies behind them comes out as zero."""
        from sonopsis.mamba2.kernels.scan import scan

        threads = max(1, min(threads, 1 + projected.shape[1] * ssm.size // POSITIONS_A_THREAD))
        arguments = (
            projected, lengths, conv, ssm, self.taps[layer], self.biases[layer], self.dt_biases[layer],
            self.decays[layer], self.skips[layer], self.gate_norms[layer], np.float32(self.eps), self.groups,
            *scratch, np.zeros((4, 8), np.int64),
        )  # fmt: skip
        run_beside_torch(scan, arguments, threads)


class Scratch(NamedTuple):
    """Memory for `Packed.scan`, the same for all layers: pages are given out once."""

    xbc: Floats  # (B, L, channels)
    dts: Floats  # (B, L, h)
    scores: Floats  # (B, L, g, positions of a block)
    y: Floats  # (B, L, inner)
    out: Array  # (B, L, inner), float32 or bfloat16 bits as uint16

    @classmethod
    def new(cls, config: Mamba2Config, batch: int, length: int, narrow: bool) -> "Scratch":
        """For a batch of prompts, whose projections are float32 or `narrow`, bfloat16."""
        from sonopsis.mamba2.kernels.scan import POSITIONS

        sizes = (config.conv_channels, config.heads, config.groups * POSITIONS, config.inner)
        xbc, dts, scores, y = (np.empty((batch, length, size), np.float32) for size in sizes)
        out = np.empty(y.shape, np.uint16) if narrow else y
        return cls(xbc, dts, scores.reshape(batch, length, config.groups, POSITIONS), y, out)
