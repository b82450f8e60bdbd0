"""What a layer of Mamba-2 does between its two projections, over many positions, as machine code. No torch.

All threads run `scan` at once: positions are dealt out for the convolution and for the gated norm, heads for the
recurrence between them, which is followed position by position: a head's state lies in the nearest cache throughout,
and the steps cost a small part of the projections.
"""

import numpy as np

from sonopsis.mamba2.barrier import arrive, wait
from sonopsis.mamba2.compiled import FAST, ONE, ZERO, compiled, exp, silu
from sonopsis.mamba2.lanes import LANES, as_float, state_rows, wide_registers

POSITIONS = 16  # that a thread takes at once


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
def _last_columns(row, b, c, keep, write, start):  # type: ignore[no-untyped-def]
    """`state_rows` for one row from column `start` on."""
    total = ZERO
    for n in range(start, row.shape[0]):
        value = row[n] * keep + write * b[n]
        row[n] = value
        total += value * c[n]
    return total


@compiled(fastmath=FAST)
def _recur(state, xbc, dts, h, at, after, written, decay, skip, length, y):  # type: ignore[no-untyped-def]
    """One head of one sequence through all its positions: its state (p, n) moved on, y before the gate.

    x, B and C of the head begin at `at`, `after` and `written` in the rows of `xbc`.
    """
    wide_registers()
    head_dim, size = state.shape
    even, fours = size - size % LANES, head_dim - head_dim % 4
    for t in range(length):
        dt = dts[t, h]
        keep = exp(dt * decay)
        x = xbc[t, at : at + head_dim]
        b, c = xbc[t, after : after + size], xbc[t, written : written + size]
        for p in range(0, fours, 4):
            writes = (dt * x[p], dt * x[p + 1], dt * x[p + 2], dt * x[p + 3])
            totals = state_rows(state, p, b, c, keep, writes, even)
            for i in range(4):
                rest = _last_columns(state[p + i], b, c, keep, writes[i], even) if even < size else ZERO
                y[t, at + p + i] = totals[i] + rest + skip * x[p + i]
        for p in range(fours, head_dim):
            (total,) = state_rows(state, p, b, c, keep, (dt * x[p],), even)
            rest = _last_columns(state[p], b, c, keep, dt * x[p], even)
            y[t, at + p] = total + rest + skip * x[p]


@compiled(fastmath=FAST)
def _gate(y, projected, weight, eps, groups, first, last):  # type: ignore[no-untyped-def]
    """Positions first..last: y (L, inner) times SiLU of z, normed in equal groups, in place."""
    wide_registers()
    size = y.shape[1] // groups
    for t in range(first, last):
        row, z = y[t], projected[t]
        for g in range(groups):
            total = ZERO
            for k in range(g * size, (g + 1) * size):
                value = row[k] * silu(as_float(z[k]))
                row[k] = value
                total += value * value
            factor = ONE / np.sqrt(total / np.float32(size) + eps)
            for k in range(g * size, (g + 1) * size):
                row[k] *= factor * weight[k]


@compiled()
def scan(  # type: ignore[no-untyped-def]
    projected, lengths, conv, ssm, taps, bias, dt_bias, decays, skips, gate_norm, eps, groups,
    xbc, dts, y, counters, thread, threads,
):  # fmt: skip
    """[z | x B C | dt] (B, L, projected), float32 or bfloat16 bits -> y (B, L, inner) as thread `thread` of `threads`.

    conv (B, taps - 1, channels) and ssm (B, h, p, n) are moved on in place by the first lengths (B,) positions of each
    row; y is zero behind them. xbc (B, L, channels) and dts (B, L, h) are scratch, `counters` (4, 8) start as zeros.
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
        item = arrive(counters[1])
    wait(counters[0], threads)
    item = arrive(counters[2])
    while item < batch * heads:
        b, h = item // heads, item % heads
        after = inner + h // (heads // groups) * size
        written = after + groups * size
        _recur(
            ssm[b, h], xbc[b], dts[b], h, h * head_dim, after, written, decays[h], skips[h], lengths[b], y[b]
        )  # fmt: skip
        item = arrive(counters[2])
    wait(counters[0], 2 * threads)
    item = arrive(counters[3])
    while item < batch * blocks:
        b, first = item // blocks, item % blocks * POSITIONS
        last = min(first + POSITIONS, lengths[b])
        _gate(y[b], projected[b], gate_norm, eps, groups, first, last)
        y[b, max(first, lengths[b]) : min(first + POSITIONS, length)] = ZERO
        if first == 0:
            for j in range(count):
                at = lengths[b] - count + j
                for c in range(conv.shape[2]):
                    conv[b, j, c] = conv[b, count + at, c] if at < 0 else as_float(projected[b, at, inner + c])
        item = arrive(counters[3])
    wait(counters[0], 3 * threads)
