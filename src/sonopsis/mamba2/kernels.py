"""One decoding step of Mamba-2 as machine code, compiled by numba on first use and kept in its cache. No torch.

All threads of a step run `step` at once, each with its own number: rows of the weights and heads of the state are
dealt out as they get done, and a barrier stands wherever one thread reads what another wrote, three times a layer.
Weights are float32, or read as they are multiplied from bfloat16 (held as uint16), float16 (held as int16) or int8 with
a scale per row; all arithmetic and all state is float32.
"""

import numpy as np

from sonopsis.mamba2.barrier import arrive, wait
from sonopsis.mamba2.compiled import FAST, ZERO, compiled, exp, rms_norm, silu
from sonopsis.mamba2.lanes import LANES, STEP, as_float, state_rows, tile1, tile4, wide_registers

ROWS = 64  # of a matrix that a thread takes at once; whoever is done takes the next, since cores are not alike


@compiled(fastmath={"contract"})  # in order: vector code for so few terms would double what is to be compiled
def _remainder(w, x, start):  # type: ignore[no-untyped-def]
    """The product of two vectors from `start` on."""
    total = ZERO
    for k in range(start, w.shape[0]):
        total += as_float(w[k]) * x[k]
    return total


@compiled(fastmath=FAST)
def _four(weight, scale, row, x, out, out_row):  # type: ignore[no-untyped-def]
    """Four rows of weight by every x (B, K), added to `out` (B, rows) from `out_row` on."""
    batch, size = x.shape[0], weight.shape[1]
    even = size - size % STEP
    b = 0
    while b + 4 <= batch:
        sums = tile4(weight, row, x, b, even)
        for j in range(4):
            for i in range(4):
                rest = _remainder(weight[row + i], x[b + j], even) if even < size else ZERO
                out[b + j, out_row + i] += (sums[4 * i + j] + rest) * scale[i]
        b += 4
    while b < batch:
        column = tile1(weight, row, x, b, even)
        for i in range(4):
            rest = _remainder(weight[row + i], x[b], even) if even < size else ZERO
            out[b, out_row + i] += (column[i] + rest) * scale[i]
        b += 1


@compiled(fastmath=FAST)
def _project(weight, scale, x, out, first, last, wide):  # type: ignore[no-untyped-def]
    """out (B, rows) += x (B, K) @ weight (rows, K)^T for the rows first..last.

    From eight x on, narrow weights are widened into `wide` (4, at least K) before they are used many times.
    """
    batch, size = x.shape[0], weight.shape[1]
    row = first
    while row + 4 <= last:
        if batch >= 8:
            for i in range(4):
                for k in range(size):
                    wide[i, k] = as_float(weight[row + i, k])
            _four(wide[:, :size], scale[row : row + 4], 0, x, out, row)
        else:
            _four(weight, scale[row : row + 4], row, x, out, row)
        row += 4
    while row < last:
        for b in range(batch):
            out[b, row] += _remainder(weight[row], x[b], 0) * scale[row]
        row += 1


@compiled(fastmath=FAST)
def _inputs(wide, conv, taps, bias, dt_bias, inner, first, last):  # type: ignore[no-untyped-def]
    """What follows the first projection, for its rows first..last: [z | x B C | dt] of `wide` (B, rows) in place.

    SiLU of z; convolution, with its window moved on, and SiLU of [x B C]; softplus of dt.
    """
    wide_registers()
    channels = conv.shape[2]
    count = conv.shape[1]
    c0, c1 = max(first - inner, 0), min(last - inner, channels)
    for b in range(wide.shape[0]):
        row = wide[b]
        for r in range(first, min(last, inner)):
            row[r] = silu(row[r])
        window = conv[b]
        for c in range(c0, c1):
            new = row[inner + c]
            total = bias[c] + taps[count, c] * new
            for j in range(count):
                total += taps[j, c] * window[j, c]
            for j in range(count - 1):
                window[j, c] = window[j + 1, c]
            if count:
                window[count - 1, c] = new
            row[inner + c] = total
        for r in range(inner + c0, inner + c1):
            row[r] = silu(row[r])
        for r in range(max(first, inner + channels), last):
            dt = row[r] + dt_bias[r - inner - channels]
            row[r] = dt if dt > np.float32(20) else np.float32(np.log1p(np.exp(dt)))


@compiled(fastmath=FAST)
def _head(state, x, b, c, z, dt, decay, skip, out):  # type: ignore[no-untyped-def]
    """One head of one sequence: its state (p, n) moved on and read, y gated by z (p,) into `out` (p,)."""
    wide_registers()
    keep = exp(dt * decay)
    even = state.shape[1] - state.shape[1] % LANES
    for p in range(x.shape[0]):
        row = state[p]
        write = dt * x[p]
        (total,) = state_rows(state, p, b, c, keep, (write,), even)
        for n in range(even, row.shape[0]):
            value = row[n] * keep + write * b[n]
            row[n] = value
            total += value * c[n]
        out[p] = (total + skip * x[p]) * z[p]


@compiled()
def step(  # type: ignore[no-untyped-def]
    ids, table, table_scale, head, head_scale, norm_f,
    norms, in_weights, in_scales, taps, biases, dt_biases, decays, skips, gate_norms, out_weights, out_scales,
    conv, ssm, eps, groups, x, wide, y, normed, rows, logits, counters, thread, threads,
):  # fmt: skip
    """One position for ids (B,), as thread `thread` of `threads`: logits (B, V), conv and ssm in place.

    x (B, E), wide (B, projected), y (B, inner) are shared; normed (threads, B, inner) and rows (threads, 4, inner) are
    each thread's own. `logits` and `counters` (1 + 3 layers + 1, 8) start as zeros.
    Weights: see `sonopsis.mamba2.packed.Packed`.
    """
    batch, width = x.shape
    layers, projected = in_weights.shape[0], in_weights.shape[1]
    heads, head_dim, size = ssm.shape[2], ssm.shape[3], ssm.shape[4]
    inner = heads * head_dim
    own = normed[thread]
    narrow = own.reshape(-1)[: batch * width].reshape((batch, width))
    wides = rows[thread]
    barrier, deal = counters[0], 1
    for b in range(thread, batch, threads):
        for k in range(width):
            x[b, k] = as_float(table[ids[b], k]) * table_scale[ids[b]]
    goal = threads
    wait(barrier, goal)
    for layer in range(layers):
        rms_norm(x, norms[layer], eps, 1, narrow)
        first = arrive(counters[deal]) * ROWS
        while first < projected:
            last = min(first + ROWS, projected)
            for b in range(batch):
                wide[b, first:last] = ZERO
            _project(in_weights[layer], in_scales[layer], narrow, wide, first, last, wides)
            _inputs(wide, conv[layer], taps[layer], biases[layer], dt_biases[layer], inner, first, last)
            first = arrive(counters[deal]) * ROWS
        goal += threads
        wait(barrier, goal)
        item = arrive(counters[deal + 1])
        while item < batch * heads:
            b, h = item // heads, item % heads
            row = wide[b]
            at, after = inner + h * head_dim, 2 * inner + (h // (heads // groups)) * size
            _head(
                ssm[layer, b, h],
                row[at : at + head_dim],
                row[after : after + size],
                row[after + groups * size : after + (groups + 1) * size],
                row[h * head_dim : (h + 1) * head_dim],
                row[projected - heads + h],
                decays[layer, h],
                skips[layer, h],
                y[b, h * head_dim : (h + 1) * head_dim],
            )
            item = arrive(counters[deal + 1])
        goal += threads
        wait(barrier, goal)
        rms_norm(y, gate_norms[layer], eps, groups, own)
        first = arrive(counters[deal + 2]) * ROWS
        while first < width:
            last = min(first + ROWS, width)
            _project(out_weights[layer], out_scales[layer], own, x, first, last, wides)
            first = arrive(counters[deal + 2]) * ROWS
        goal += threads
        wait(barrier, goal)
        deal += 3
    rms_norm(x, norm_f, eps, 1, narrow)
    first = arrive(counters[deal]) * ROWS
    while first < head.shape[0]:
        _project(head, head_scale, narrow, logits, first, min(first + ROWS, head.shape[0]), wides)
        first = arrive(counters[deal]) * ROWS
    goal += threads
    wait(barrier, goal)
