"""What a layer of Mamba-2 does around its two projections, over all positions of a prompt. No torch.

All threads run `add_and_norm` before the first projection, and `mix` between the two. In `mix` positions are dealt out
for the convolution and for the gated norm, heads for the recurrence between them. The recurrence is followed in blocks
so short that a head's state, what it reads and what it writes stay in the nearest caches. docs/kernels.md maps the
lines to torch's.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonopsis.mamba2.config import Mamba2Config
from sonopsis.mamba2.kernels.barrier import arrive, wait
from sonopsis.mamba2.kernels.functions import ONE, ZERO, exp, group_norm, rms_norm, silu, softplus
from sonopsis.mamba2.kernels.intrinsics.scalars import as_float, wide_registers
from sonopsis.mamba2.kernels.intrinsics.vectors import LANES
from sonopsis.mamba2.kernels.jit import FAST, jit
from sonopsis.mamba2.kernels.matmul import scaled_product
from sonopsis.mamba2.kernels.weights import Array, Floats

POSITIONS = 16  # that a thread takes at once


class PromptMemory(NamedTuple):
    """Memory for `mix`, the same for all layers, so that the system hands out its pages once."""

    xbc: Floats  # (B, L, channels), after the convolution
    dt: Floats  # (B, L, h), after softplus
    scores: Floats  # (B, L, g, POSITIONS), C of a position by B of those of its block
    y: Floats  # (B, L, inner), before the gate
    out: Array  # (B, L, inner), float32 (then it is y) or bfloat16 bits as uint16
    counters: NDArray[np.int64]  # (4, 8), zeros when `mix` begins

    @classmethod
    def new(cls, config: Mamba2Config, batch: int, length: int, bfloat16: bool) -> "PromptMemory":
        """For a batch of prompts whose projections take float32, or `bfloat16`."""
        sizes = (config.conv_channels, config.heads, config.groups * POSITIONS, config.inner)
        xbc, dt, scores, y = (np.empty((batch, length, size), np.float32) for size in sizes)
        out = np.empty(y.shape, np.uint16) if bfloat16 else y
        by_group = scores.reshape(batch, length, config.groups, POSITIONS)
        return cls(xbc, dt, by_group, y, out, np.zeros((4, 8), np.int64))


class Sequence(NamedTuple):
    """One sequence of a batch: [z | x B C | dt] projected (L, projected), its state, and its part of the memory."""

    projected: Array
    conv: Floats  # (taps - 1, channels)
    xbc: Floats
    dt: Floats
    scores: Floats
    y: Floats
    out: Array


class HeadPlace(NamedTuple):
    """Which head and group, and where its x, B and C begin in a row of `xbc`."""

    h: int
    g: int
    x: int
    B: int
    C: int


@jit(fastmath=FAST)
def add_and_norm(residual, added, layer, out, counters, thread, threads):  # type: ignore[no-untyped-def]
    """residual (N, E) += added (N, E), and its RMS norm into `out` (N, E); all threads at once.

    added and out are float32 or bfloat16 bits; `counters` (2, 8) start as zeros.
    """
    wide_registers()
    item = arrive(counters[1])
    while item * POSITIONS < residual.shape[0]:
        for r in range(item * POSITIONS, min((item + 1) * POSITIONS, residual.shape[0])):
            row, more = residual[r], added[r]
            for k in range(row.shape[0]):
                row[k] += as_float(more[k])
            rms_norm(row, layer.norm, layer.eps, out[r])
        item = arrive(counters[1])
    wait(counters[0], threads)


@jit(fastmath=FAST)
def _add_tap(row, tap, out):  # type: ignore[no-untyped-def]
    """out (channels,) += tap (channels,) * row (channels,), of any stored type."""
    wide_registers()
    for c in range(out.shape[0]):
        out[c] += tap[c] * as_float(row[c])


@jit(fastmath=FAST)
def _convolve(sequence, layer, first, last):  # type: ignore[no-untyped-def]
    """Positions first..last: SiLU of the convolution of [x B C] into `xbc`, softplus of dt + dt_bias into `dt`."""
    wide_registers()
    projected, window = sequence.projected, sequence.conv
    count, channels = window.shape
    inner = layer.gate_norm.shape[0]
    for t in range(first, last):
        out, dt = sequence.xbc[t], sequence.dt[t]
        out[:] = layer.bias
        for j in range(count + 1):
            at = t - count + j
            if at < 0:
                _add_tap(window[count + at], layer.taps[j], out)
            else:
                _add_tap(projected[at, inner : inner + channels], layer.taps[j], out)
        for c in range(channels):
            out[c] = silu(out[c])
        for h in range(dt.shape[0]):
            dt[h] = softplus(as_float(projected[t, inner + channels + h]) + layer.dt_bias[h])


@jit(fastmath=FAST)
def _score(sequence, layer, first, last):  # type: ignore[no-untyped-def]
    """scores[t, g, j] = C of position t by B of position first + j, for each t of the block first..last and j <= t."""
    wide_registers()
    xbc, scores, groups, inner = sequence.xbc, sequence.scores, layer.groups, layer.gate_norm.shape[0]
    size = (xbc.shape[1] - inner) // (2 * groups)
    for t in range(first, last):
        for g in range(groups):
            B, C = inner + g * size, inner + (groups + g) * size
            c = xbc[t, C : C + size]
            for j in range(t - first + 1):
                b, total = xbc[first + j, B : B + size], ZERO
                for n in range(size):
                    total += c[n] * b[n]
                scores[t, g, j] = total


@jit()
def _aligned(rows, columns):  # type: ignore[no-untyped-def]
    """Zeros (rows, columns) that begin with a line of the cache: vectors across two lines cost twice."""
    raw = np.zeros(rows * columns + 16, np.float32)
    start = -(raw.ctypes.data // 4) % 16
    return raw[start : start + rows * columns].reshape((rows, columns))


@jit(fastmath=FAST)
def _find_head(h, layer, state):  # type: ignore[no-untyped-def]
    """The `HeadPlace` of head h; state (h, p, n) gives the sizes."""
    heads, head_dim, size = state.shape
    inner, g = heads * head_dim, h // (heads // layer.groups)
    return HeadPlace(h, g, h * head_dim, inner + g * size, inner + (layer.groups + g) * size)


@jit(fastmath=FAST)
def _recur(state, sequence, place, layer, length):  # type: ignore[no-untyped-def]
    """One head of one sequence over its first `length` positions: state (p, n) in place, and y before the gate.

    Each block of positions reads the state before it and what its own positions give each other, then is written to the
    state (arXiv 2405.21060, section 6). No exponent is above zero.
    """
    wide_registers()
    xbc, y, A, D = sequence.xbc, sequence.y, layer.A[place.h], layer.D[place.h]
    head_dim, size = state.shape
    whole = (head_dim + LANES - 1) // LANES * LANES
    turned = _aligned(size, whole)  # (n, p): sums then never run across a vector
    for p in range(head_dim):
        for n in range(size):
            turned[n, p] = state[p, n]
    writes, sums, within = _aligned(POSITIONS, whole), _aligned(POSITIONS, whole), _aligned(POSITIONS, POSITIONS)
    kept = np.empty(POSITIONS, np.float32)  # logarithm of what is kept of the block's start
    for first in range(0, length, POSITIONS):
        count = min(POSITIONS, length - first)
        total = ZERO
        for i in range(count):
            dt = sequence.dt[first + i, place.h]
            total += dt * A
            kept[i] = total
            row, x = writes[i], xbc[first + i, place.x : place.x + head_dim]
            for p in range(head_dim):
                row[p] = dt * x[p]
        for i in range(count):
            row, score = within[i], sequence.scores[first + i, place.g]
            for j in range(i + 1):
                row[j] = exp(kept[i] - kept[j]) * score[j]
        sums[:] = ZERO
        scaled_product(sums, count, ONE, xbc[first:, place.C : place.C + size], turned, size)
        for i in range(count):
            row, factor = sums[i], exp(kept[i])
            for p in range(whole):
                row[p] *= factor
        scaled_product(sums, count, ONE, within, writes, count)
        for i in range(count):
            at, row = first + i, sums[i]
            out, x = y[at, place.x : place.x + head_dim], xbc[at, place.x : place.x + head_dim]
            for p in range(head_dim):
                out[p] = row[p] + D * x[p]
        for i in range(count):
            row, factor = writes[i], exp(total - kept[i])
            for p in range(whole):
                row[p] *= factor
        b = xbc[first : first + count, place.B : place.B + size].T
        scaled_product(turned, size, exp(total), b, writes, count)
    for p in range(head_dim):
        for n in range(size):
            state[p, n] = turned[n, p]


@jit(fastmath=FAST)
def _gate(sequence, layer, first, last):  # type: ignore[no-untyped-def]
    """Positions first..last: y times SiLU of z, normed in equal groups into `out`."""
    wide_registers()
    for t in range(first, last):
        row = sequence.y[t]
        z = sequence.projected[t, : row.shape[0]]
        for k in range(row.shape[0]):
            row[k] *= silu(as_float(z[k]))
        group_norm(row, layer.gate_norm, layer.eps, layer.groups, sequence.out[t])


@jit(fastmath=FAST)
def _keep_last_inputs(sequence, layer, length):  # type: ignore[no-untyped-def]
    """The convolution's window behind the first `length` positions, into sequence.conv."""
    conv, inner = sequence.conv, layer.gate_norm.shape[0]
    count, channels = conv.shape
    for j in range(count):
        at = length - count + j
        for c in range(channels):
            conv[j, c] = conv[count + at, c] if at < 0 else as_float(sequence.projected[at, inner + c])


@jit()
def _sequence(projected, state, memory, b):  # type: ignore[no-untyped-def]
    """Row b of the batch."""
    return Sequence(
        projected[b], state.conv[b], memory.xbc[b], memory.dt[b], memory.scores[b], memory.y[b], memory.out[b]
    )


@jit()
def mix(projected, lengths, layer, state, memory, thread, threads):  # type: ignore[no-untyped-def]
    """[z | x B C | dt] projected (B, L, projected), float32 or bfloat16 bits -> memory.out; all threads at once.

    The `State` of the layer is moved on in place by the first lengths (B,) positions of each row; out is zero behind
    them. layer: `LayerParameters`; memory: `PromptMemory`.
    """
    batch, length = projected.shape[0], projected.shape[1]
    heads, counters = state.ssm.shape[1], memory.counters
    blocks = (length + POSITIONS - 1) // POSITIONS
    item = arrive(counters[1])
    while item < batch * blocks:
        b, first = item // blocks, item % blocks * POSITIONS
        sequence, last = _sequence(projected, state, memory, b), min(first + POSITIONS, lengths[b])
        _convolve(sequence, layer, first, last)
        _score(sequence, layer, first, last)
        item = arrive(counters[1])
    wait(counters[0], threads)
    item = arrive(counters[2])
    while item < batch * heads:
        b, h = item // heads, item % heads
        place = _find_head(h, layer, state.ssm[b])
        _recur(state.ssm[b, h], _sequence(projected, state, memory, b), place, layer, lengths[b])
        item = arrive(counters[2])
    wait(counters[0], 2 * threads)
    item = arrive(counters[3])
    while item < batch * blocks:
        b, first = item // blocks, item % blocks * POSITIONS
        sequence = _sequence(projected, state, memory, b)
        _gate(sequence, layer, first, min(first + POSITIONS, lengths[b]))
        memory.out[b, max(first, lengths[b]) : min(first + POSITIONS, length)] = 0
        if first == 0:
            _keep_last_inputs(sequence, layer, lengths[b])
        item = arrive(counters[3])
    wait(counters[0], 3 * threads)
