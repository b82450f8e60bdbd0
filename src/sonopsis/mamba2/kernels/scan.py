"""What a layer of Mamba-2 does around its two projections, over many positions, as machine code. No torch.

All threads run `enter` before the first projection, and `scan` between the two. There positions are dealt out for the
convolution and for the gated norm, heads for the recurrence between them, which is followed in blocks so short that a
head's state, what it reads and what it writes stay in the nearest caches.
"""

import numpy as np

from sonopsis.mamba2.kernels.barrier import arrive, wait
from sonopsis.mamba2.kernels.compiled import FAST, ONE, ZERO, compiled, exp, scale_to_norm, silu
from sonopsis.mamba2.kernels.lanes import LANES, as_float, wide_registers
from sonopsis.mamba2.kernels.registers import ROWS, VECTORS, add_row, add_tile

POSITIONS = 16  # that a thread takes at once


@compiled(fastmath=FAST)
def enter(x, added, weight, eps, out, counters, thread, threads):  # type: ignore[no-untyped-def]
    """x (N, E) += added (N, E), float32 or bfloat16 bits, and its norm into `out` (N, E), of either; all threads at
    once. `counters` (2, 8) start as zeros."""
    wide_registers()
    item = arrive(counters[1])
    while item * POSITIONS < x.shape[0]:
        for r in range(item * POSITIONS, min((item + 1) * POSITIONS, x.shape[0])):
            row, more = x[r], added[r]
            for k in range(row.shape[0]):
                row[k] += as_float(more[k])
            scale_to_norm(row, weight, eps, out[r])
        item = arrive(counters[1])
    wait(counters[0], threads)


@compiled(fastmath=FAST)
def _add_tap(row, tap, out):  # type: ignore[no-untyped-def]
    wide_registers()
    for c in range(out.shape[0]):
        out[c] += tap[c] * as_float(row[c])


@compiled(fastmath=FAST)
def _convolve(projected, window, taps, bias, dt_bias, inner, first, last, xbc, dts):  # type: ignore[no-untyped-def]
    """Positions first..last of one sequence: SiLU of the convolution of [x B C] into `xbc`, softplus of dt."""
    wide_registers()
    count, channels = window.shape
    for t in range(first, last):
        out = xbc[t]
        out[:] = bias
        for j in range(count + 1):
            at = t - count + j
            if at < 0:
                _add_tap(window[count + at], taps[j], out)
            else:
                _add_tap(projected[at, inner : inner + channels], taps[j], out)
        for c in range(channels):
            out[c] = silu(out[c])
        for h in range(dts.shape[1]):
            dt = as_float(projected[t, inner + channels + h]) + dt_bias[h]
            dts[t, h] = dt if dt > np.float32(20) else np.float32(np.log1p(np.exp(dt)))


@compiled(fastmath=FAST)
def _score(xbc, inner, size, first, last, scores):  # type: ignore[no-untyped-def]
    """scores (L, g, POSITIONS): C of each position by B of those before it in the block first..last, and its own."""
    wide_registers()
    groups = scores.shape[1]
    for t in range(first, last):
        for g in range(groups):
            after = inner + g * size
            c = xbc[t, after + groups * size : after + (groups + 1) * size]
            for j in range(t - first + 1):
                b, total = xbc[first + j, after : after + size], ZERO
                for n in range(size):
                    total += c[n] * b[n]
                scores[t, g, j] = total


@compiled()
def _aligned(rows, columns):  # type: ignore[no-untyped-def]
    """Zeros (rows, columns) that begin with a line of the cache: vectors across two lines cost twice."""
    raw = np.zeros(rows * columns + 16, np.float32)
    start = -(raw.ctypes.data // 4) % 16
    return raw[start : start + rows * columns].reshape((rows, columns))


@compiled(fastmath=FAST)
def _multiply(out, rows, keep, left, right, count):  # type: ignore[no-untyped-def]
    """out (rows, J) = keep * out + left (rows, K) @ right (K, J) over the first `count` of K; J a multiple of LANES."""
    wide_registers()
    columns = out.shape[1]
    i = 0
    while i + ROWS <= rows:
        column = 0
        while column + VECTORS * LANES <= columns:
            add_tile(out, i, column, keep, left, right, count)
            column += VECTORS * LANES
        if column < columns:
            for r in range(i, i + ROWS):
                add_row(out, r, column, keep, left, right, count)
        i += ROWS
    while i < rows:
        for column in range(0, columns, LANES):
            add_row(out, i, column, keep, left, right, count)
        i += 1


@compiled(fastmath=FAST)
def _recur(state, xbc, at, after, written, dts, scores, h, g, decay, skip, length, y):  # type: ignore[no-untyped-def]
    """One head of one sequence through all its positions: its state (p, n) moved on, y before the gate.

    x, B and C of the head begin at `at`, `after` and `written` in the rows of `xbc`. Each block of positions reads the
    state before it and what its own positions give each other, then is written to the state (arXiv 2405.21060,
    section 6). No exponent is above zero.
    """
    wide_registers()
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
            total += dts[first + i, h] * decay
            kept[i] = total
            row, x = writes[i], xbc[first + i, at : at + head_dim]
            for p in range(head_dim):
                row[p] = dts[first + i, h] * x[p]
        for i in range(count):
            row, score = within[i], scores[first + i, g]
            for j in range(i + 1):
                row[j] = exp(kept[i] - kept[j]) * score[j]
        sums[:] = ZERO
        _multiply(sums, count, ONE, xbc[first:, written : written + size], turned, size)
        for i in range(count):
            row, factor = sums[i], exp(kept[i])
            for p in range(whole):
                row[p] *= factor
        _multiply(sums, count, ONE, within, writes, count)
        for i in range(count):
            out, row, x = y[first + i, at : at + head_dim], sums[i], xbc[first + i, at : at + head_dim]
            for p in range(head_dim):
                out[p] = row[p] + skip * x[p]
        for i in range(count):
            row, factor = writes[i], exp(total - kept[i])
            for p in range(whole):
                row[p] *= factor
        _multiply(turned, size, exp(total), xbc[first : first + count, after : after + size].T, writes, count)
    for p in range(head_dim):
        for n in range(size):
            state[p, n] = turned[n, p]


@compiled(fastmath=FAST)
def _gate(y, projected, weight, eps, groups, first, last, out):  # type: ignore[no-untyped-def]
    """Positions first..last: y (L, inner) times SiLU of z, normed in equal groups into `out` (L, inner)."""
    wide_registers()
    size = y.shape[1] // groups
    for t in range(first, last):
        row, z = y[t], projected[t, : y.shape[1]]
        for k in range(row.shape[0]):
            row[k] *= silu(as_float(z[k]))
        for g in range(groups):
            start, end = g * size, (g + 1) * size
            scale_to_norm(row[start:end], weight[start:end], eps, out[t, start:end])


@compiled()
def scan(  # type: ignore[no-untyped-def]
    projected, lengths, conv, ssm, taps, bias, dt_bias, decays, skips, gate_norm, eps, groups,
    xbc, dts, scores, y, out, counters, thread, threads,
):  # fmt: skip
    """[z | x B C | dt] (B, L, projected) -> out (B, L, inner), each float32 or bfloat16 bits; all threads at once.

    conv (B, taps - 1, channels) and ssm (B, h, p, n) are moved on in place by the first lengths (B,) positions of each
    row; out is zero behind them. xbc (B, L, channels), dts (B, L, h), scores (B, L, g, POSITIONS) and y (B, L,
    inner), which may be `out`, are float32 scratch; `counters` (4, 8) start as zeros.
    """
    batch, length = projected.shape[0], projected.shape[1]
    heads, head_dim, size = ssm.shape[1], ssm.shape[2], ssm.shape[3]
    inner, count = heads * head_dim, conv.shape[1]
    blocks = (length + POSITIONS - 1) // POSITIONS
    item = arrive(counters[1])
    while item < batch * blocks:
        b, first = item // blocks, item % blocks * POSITIONS
        last = min(first + POSITIONS, lengths[b])
        _convolve(projected[b], conv[b], taps, bias, dt_bias, inner, first, last, xbc[b], dts[b])
        _score(xbc[b], inner, size, first, last, scores[b])
        item = arrive(counters[1])
    wait(counters[0], threads)
    item = arrive(counters[2])
    while item < batch * heads:
        b, h = item // heads, item % heads
        g = h // (heads // groups)
        after, written = inner + g * size, inner + (groups + g) * size
        _recur(
            ssm[b, h], xbc[b], h * head_dim, after, written, dts[b], scores[b], h, g, decays[h], skips[h],
            lengths[b], y[b],
        )  # fmt: skip
        item = arrive(counters[2])
    wait(counters[0], 2 * threads)
    item = arrive(counters[3])
    while item < batch * blocks:
        b, first = item // blocks, item % blocks * POSITIONS
        last = min(first + POSITIONS, lengths[b])
        _gate(y[b], projected[b], gate_norm, eps, groups, first, last, out[b])
        out[b, max(first, lengths[b]) : min(first + POSITIONS, length)] = 0
        if first == 0:
            for j in range(count):
                at = lengths[b] - count + j
                for c in range(conv.shape[2]):
                    conv[b, j, c] = conv[b, count + at, c] if at < 0 else as_float(projected[b, at, inner + c])
        item = arrive(counters[3])
    wait(counters[0], 3 * threads)
