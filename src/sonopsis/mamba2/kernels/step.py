"""One decoding step of Mamba-2 as machine code, compiled by numba on first use and kept in its cache. No torch.

All threads of a step run `step` at once, each with its own number: rows of the weights and heads of the state are
dealt out as they get done, and a barrier stands wherever one thread reads what another wrote, three times a layer.
Weights are float32, or read as they are multiplied from bfloat16 (held as uint16), float16 (held as int16) or int8 with
a scale per row; all arithmetic and all state is float32.
"""

import numpy as np

from sonopsis.mamba2.kernels.barrier import arrive, wait
from sonopsis.mamba2.kernels.compiled import FAST, ZERO, compiled, exp, rms_norm, silu
from sonopsis.mamba2.kernels.lanes import LANES, as_float, state_rows, wide_registers
from sonopsis.mamba2.kernels.products import ROWS, project, turn


@compiled(fastmath=FAST)
def _convolve(x, window, taps, bias, first, last):  # type: ignore[no-untyped-def]
    """The channels first..last of one sequence, convolved and through SiLU in place: x is the first of them on.

    window (taps - 1, channels) is moved on. Loops run over channels, so that they become vector code; the sum is made
    where the oldest of the window stood.
    """
    wide_registers()
    count = window.shape[0]
    weight, shift = taps[count, first:last], bias[first:last]
    if count:
        total, tap = window[0, first:last], taps[0, first:last]
        for c in range(total.shape[0]):
            total[c] = shift[c] + tap[c] * total[c]
        for j in range(1, count):
            value, tap = window[j, first:last], taps[j, first:last]
            for c in range(total.shape[0]):
                total[c] += tap[c] * value[c]
        for c in range(total.shape[0]):
            new = x[c]
            x[c] = silu(total[c] + weight[c] * new)
            total[c] = new
        for j in range(count - 1):
            this, following = window[j, first:last], window[j + 1, first:last]
            for c in range(this.shape[0]):
                new = this[c]
                this[c] = following[c]
                following[c] = new
    else:
        for c in range(x.shape[0]):
            x[c] = silu(shift[c] + weight[c] * x[c])


@compiled(fastmath=FAST)
def _inputs(wide, conv, taps, bias, dt_bias, inner, first, last):  # type: ignore[no-untyped-def]
    """What follows the first projection, for its rows first..last: [z | x B C | dt] of `wide` (B, rows) in place.

    SiLU of z; convolution, with its window moved on, and SiLU of [x B C]; softplus of dt.
    """
    wide_registers()
    channels = conv.shape[2]
    # Slices, since the compiler takes an index for one that may count from the end, and gathers.
    c0, c1 = min(max(first - inner, 0), channels), max(min(last - inner, channels), 0)
    d0, d1 = max(first - inner - channels, 0), max(last - inner - channels, 0)
    for b in range(wide.shape[0]):
        gate = wide[b, min(first, inner) : min(last, inner)]
        for r in range(gate.shape[0]):
            gate[r] = silu(gate[r])
        _convolve(wide[b, inner + c0 : inner + c1], conv[b], taps, bias, c0, c1)
        dts, shift = wide[b, inner + channels + d0 : inner + channels + d1], dt_bias[d0:d1]
        for r in range(dts.shape[0]):
            dt = dts[r] + shift[r]
            dts[r] = dt if dt > np.float32(20) else np.float32(np.log1p(np.exp(dt)))


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
    conv, ssm, eps, groups, x, wide, y, normed, turned, rows, sums, logits, counters, thread, threads,
):  # fmt: skip
    """One position for ids (B,), as thread `thread` of `threads`: logits (B, V), conv and ssm in place.

    x (B, E), wide (B, projected), y (B, inner) are shared; normed (threads, B, inner) and turned, rows, sums (threads,
    ...; see `kernels.products`) are each thread's own. turned, rows, sums, logits and counters, which are
    (1 + 3 layers + 1, 8), start as zeros. Weights: see `sonopsis.mamba2.kernels.packed.Packed`.
    """
    batch, width = x.shape
    layers, projected = in_weights.shape[0], in_weights.shape[1]
    heads, head_dim, size = ssm.shape[2], ssm.shape[3], ssm.shape[4]
    inner = heads * head_dim
    own = normed[thread]
    narrow = own.reshape(-1)[: batch * width].reshape((batch, width))
    mine, widened, total = turned[thread], rows[thread], sums[thread]
    barrier, deal = counters[0], 1
    for b in range(thread, batch, threads):
        for k in range(width):
            x[b, k] = as_float(table[ids[b], k]) * table_scale[ids[b]]
    goal = threads
    wait(barrier, goal)
    for layer in range(layers):
        rms_norm(x, norms[layer], eps, 1, narrow)
        turn(narrow, mine)
        first = arrive(counters[deal]) * ROWS
        while first < projected:
            last = min(first + ROWS, projected)
            for b in range(batch):
                wide[b, first:last] = ZERO
            project(in_weights[layer], in_scales[layer], narrow, mine, wide, first, last, widened, total)
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
        turn(own, mine)
        first = arrive(counters[deal + 2]) * ROWS
        while first < width:
            last = min(first + ROWS, width)
            project(out_weights[layer], out_scales[layer], own, mine, x, first, last, widened, total)
            first = arrive(counters[deal + 2]) * ROWS
        goal += threads
        wait(barrier, goal)
        deal += 3
    rms_norm(x, norm_f, eps, 1, narrow)
    turn(narrow, mine)
    first = arrive(counters[deal]) * ROWS
    while first < head.shape[0]:
        last = min(first + ROWS, head.shape[0])
        project(head, head_scale, narrow, mine, logits, first, last, widened, total)
        first = arrive(counters[deal]) * ROWS
    goal += threads
    wait(barrier, goal)
