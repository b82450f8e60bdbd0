"""Weights laid out for decoding, and the threads that decode with them. NumPy only, so that it serves without torch."""

import os
import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Array = NDArray[Any]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

POSITIONS_A_THREAD = 4_000_000  # changes of numbers of the state, the same when a prompt is read
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


class Team:
    """Threads that run one compiled function together, the caller among them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._queues: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(size - 1)]
        # Calls reach every thread in one order, or two of them would wait for each other.
        self._order = threading.Lock()
        for number, queue in enumerate(self._queues, 1):
            threading.Thread(target=self._work, args=(number, queue), daemon=True).start()

    def _work(self, number: int, queue: "SimpleQueue[Any]") -> None:
        while True:
            kernel, arguments = queue.get()
            kernel(*arguments, number, self.size)
            del kernel, arguments

    def run(self, kernel: Any, arguments: tuple[Any, ...]) -> None:
        """kernel(*arguments, thread, threads) on all threads; it waits for the others by itself."""
        with self._order:
            for queue in self._queues:
                queue.put((kernel, arguments))
        kernel(*arguments, 0, self.size)


_teams: dict[int, Team] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.clear)  # threads do not survive a fork


def team(size: int) -> Team:
    """The process's team of `size` threads."""
    if size not in _teams:
        _teams[size] = Team(size)
    return _teams[size]


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
        from sonopsis.mamba2 import kernels

        batch = len(ids)
        if batch != ssm.shape[1]:
            raise ValueError(f"{batch} ids for {ssm.shape[1]} sequences; give one for each")
        if batch and not 0 <= ids.min() <= ids.max() < self.table.data.shape[0]:
            raise ValueError(f"ids must lie in 0..{self.table.data.shape[0] - 1}, got {ids.tolist()}")
        width, inner = self.outputs.data.shape[1:]
        widest = max(inner, width)
        threads = max(1, min(threads, 1 + self.weights * min(batch, 4) // WORTH_A_THREAD))
        logits = np.zeros((batch, self.head.data.shape[0]), np.float32)
        arguments = (
            np.ascontiguousarray(ids), self.table.data, self.table.scale, self.head.data, self.head.scale, self.norm_f,
            self.norms, self.inputs.data, self.inputs.scale, self.taps, self.biases, self.dt_biases, self.decays,
            self.skips, self.gate_norms, self.outputs.data, self.outputs.scale, conv, ssm,
            np.float32(self.eps), self.groups,
            np.empty((batch, width), np.float32), np.empty((batch, self.inputs.data.shape[1]), np.float32),
            np.empty((batch, inner), np.float32), np.empty((threads, batch, widest), np.float32),
            np.empty((threads, 4, widest), np.float32), logits, np.zeros((3 * len(self.norms) + 2, 8), np.int64),
        )  # fmt: skip
        team(threads).run(kernels.step, arguments)
        return logits

    def scan(
        self, layer: int, projected: Array, conv: Floats, ssm: Floats, lengths: NDArray[np.int64], threads: int = 1
    ) -> Floats:
        """What a layer does between its projections: [z | x B C | dt] (B, L, projected), float32 or bfloat16 bits as
        uint16 -> (B, L, inner). The layer's conv (B, taps - 1, channels) and ssm (B, h, p, n) are moved on in place by
        each row's first lengths (B,) positions; what lies behind them comes out as zero."""
        from sonopsis.mamba2.scan import scan

        batch, length = projected.shape[:2]
        threads = max(1, min(threads, 1 + length * ssm.size // POSITIONS_A_THREAD))
        heads, head_dim = ssm.shape[1:3]
        y = np.empty((batch, length, heads * head_dim), np.float32)
        arguments = (
            projected, lengths, conv, ssm, self.taps[layer], self.biases[layer], self.dt_biases[layer],
            self.decays[layer], self.skips[layer], self.gate_norms[layer], np.float32(self.eps), self.groups,
            np.empty((batch, length, conv.shape[2]), np.float32), np.empty((batch, length, heads), np.float32), y,
            np.zeros((4, 8), np.int64),
        )  # fmt: skip
        team(threads).run(scan, arguments)
        return y
