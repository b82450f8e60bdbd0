"""One decoding step of a Mamba-2 model: one token appended to each of a few sequences. No torch.

All threads of a step run `step` at once, each with its own number. Rows of the weights and heads of the state are dealt
out as they get done, and a barrier stands wherever one thread reads what another wrote: three times a layer. Weights
are read in their stored type; all arithmetic and the state are float32. docs/kernels.md maps the lines to torch's.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonopsis.mamba2.kernels.barrier import arrive, wait
from sonopsis.mamba2.kernels.functions import ZERO, exp, group_norm, rms_norm, silu, softplus
from sonopsis.mamba2.kernels.intrinsics.dot import update_state
from sonopsis.mamba2.kernels.intrinsics.scalars import as_float, wide_registers
from sonopsis.mamba2.kernels.intrinsics.vectors import LANES
from sonopsis.mamba2.kernels.jit import FAST, jit
from sonopsis.mamba2.kernels.matmul import ROWS, ProductMemory, project, transpose
from sonopsis.mamba2.kernels.weights import Floats, LayerParameters, Matrix, Weights


class StepMemory(NamedTuple):
    """Memory for `step`: residual (B, E), projected (B, projected), y (B, inner), logits (B, V) and `counters` (3
    layers + 2, 8) are shared by all threads; normed (threads, B, the wider of E and inner), and columns, widened and
    sums (threads, ...; see `ProductMemory`) have a part for each thread. `new` fills those that must be zero."""

    residual: Floats
    projected: Floats
    y: Floats
    normed: Floats
    columns: Floats
    widened: Floats
    sums: Floats
    logits: Floats
    counters: NDArray[np.int64]

    @classmethod
    def new(cls, weights: Weights, batch: int, threads: int) -> "StepMemory":
        """For `batch` sequences and so many threads."""
        layers, width, inner = weights.out_proj.data.shape
        widest = max(width, inner)
        products = ProductMemory.new(threads, widest, batch)
        return cls(
            residual=np.empty((batch, width), np.float32),
            projected=np.empty((batch, weights.in_proj.data.shape[1]), np.float32),
            y=np.empty((batch, inner), np.float32),
            normed=np.empty((threads, batch, widest), np.float32),
            columns=np.zeros((threads, *products.columns.shape), np.float32),
            widened=products.widened,
            sums=products.sums,
            logits=np.zeros((batch, weights.head.data.shape[0]), np.float32),
            counters=np.zeros((3 * layers + 2, 8), np.int64),
        )


class HeadInput(NamedTuple):
    """What one head of one sequence reads: x and z (p,), B and C (n,), and the number dt."""

    x: Floats
    z: Floats
    B: Floats
    C: Floats
    dt: np.float32


@jit()
def _layer(parameters, index):  # type: ignore[no-untyped-def]
    """`LayerParameters.layer` as machine code."""
    return LayerParameters(
        parameters.norm[index],
        parameters.taps[index],
        parameters.bias[index],
        parameters.dt_bias[index],
        parameters.A[index],
        parameters.D[index],
        parameters.gate_norm[index],
        parameters.eps,
        parameters.groups,
    )


@jit(fastmath=FAST)
def _convolve(x, window, layer, first, last):  # type: ignore[no-untyped-def]
    """Convolution and SiLU of the channels first..last of one sequence, in place: x is their newest position.

    window (taps - 1, channels) is moved on. Loops run over channels, so that they become vector code; the sum is made
    where the oldest position stood. Rows are cut out one by one, since the compiler does not know that the numbers of
    a cut table's rows lie side by side.
    """
    wide_registers()
    count = window.shape[0]
    newest, bias = layer.taps[count, first:last], layer.bias[first:last]
    if count:
        total, tap = window[0, first:last], layer.taps[0, first:last]
        for c in range(total.shape[0]):
            total[c] = bias[c] + tap[c] * total[c]
        for j in range(1, count):
            value, tap = window[j, first:last], layer.taps[j, first:last]
            for c in range(total.shape[0]):
                total[c] += tap[c] * value[c]
        for c in range(total.shape[0]):
            new = x[c]
            x[c] = silu(total[c] + newest[c] * new)
            total[c] = new
        for j in range(count - 1):
            this, following = window[j, first:last], window[j + 1, first:last]
            for c in range(this.shape[0]):
                new = this[c]
                this[c] = following[c]
                following[c] = new
    else:
        for c in range(x.shape[0]):
            x[c] = silu(bias[c] + newest[c] * x[c])


@jit(fastmath=FAST)
def _activate(projected, window, layer, first, last):  # type: ignore[no-untyped-def]
    """What follows in_proj, for its rows first..last: [z | x B C | dt] of projected (B, projected) in place.

    SiLU of z; convolution and SiLU of [x B C], with window (B, taps - 1, channels) moved on; softplus of dt + dt_bias.
    """
    wide_registers()
    inner, channels = layer.gate_norm.shape[0], window.shape[2]
    # numba assumes that an index may be negative and emits gathers; slices avoid that.
    c0, c1 = min(max(first - inner, 0), channels), max(min(last - inner, channels), 0)
    d0, d1 = max(first - inner - channels, 0), max(last - inner - channels, 0)
    for b in range(projected.shape[0]):
        gate = projected[b, min(first, inner) : min(last, inner)]
        for r in range(gate.shape[0]):
            gate[r] = silu(gate[r])
        _convolve(projected[b, inner + c0 : inner + c1], window[b], layer, c0, c1)
        dts, shift = projected[b, inner + channels + d0 : inner + channels + d1], layer.dt_bias[d0:d1]
        for r in range(dts.shape[0]):
            dts[r] = softplus(dts[r] + shift[r])


@jit(fastmath=FAST)
def _read_head(row, h, layer, state):  # type: ignore[no-untyped-def]
    """What head h reads in an activated row [z | x B C | dt]; state (h, p, n) gives the sizes."""
    heads, head_dim, size = state.shape
    inner, g = heads * head_dim, h // (heads // layer.groups)
    x, B, C = inner + h * head_dim, 2 * inner + g * size, 2 * inner + (layer.groups + g) * size
    return HeadInput(
        row[x : x + head_dim],
        row[h * head_dim : (h + 1) * head_dim],
        row[B : B + size],
        row[C : C + size],
        row[row.shape[0] - heads + h],
    )


@jit(fastmath=FAST)
def _recur(state, head, A, D, y):  # type: ignore[no-untyped-def]
    """One head of one sequence: state (p, n) = exp(dt A) state + dt x B^T; y (p,) = (state C + D x) * z."""
    wide_registers()
    keep = exp(head.dt * A)
    even = state.shape[1] - state.shape[1] % LANES
    for p in range(y.shape[0]):
        row = state[p]
        write = head.dt * head.x[p]
        (total,) = update_state(state, p, head.B, head.C, keep, (write,), even)
        for n in range(even, row.shape[0]):
            value = row[n] * keep + write * head.B[n]
            row[n] = value
            total += value * head.C[n]
        y[p] = (total + D * head.x[p]) * head.z[p]


@jit()
def step(ids, weights, state, memory, thread, threads):  # type: ignore[no-untyped-def]
    """Append ids (B,) int64, as thread `thread` of `threads`: memory.logits (B, V), and `State` of all layers in place.

    weights: `Weights`; memory: `StepMemory`.
    """
    residual, projected, y, logits = memory.residual, memory.projected, memory.y, memory.logits
    batch, width = residual.shape
    layers, rows = weights.in_proj.data.shape[0], weights.in_proj.data.shape[1]
    heads, head_dim = state.ssm.shape[2], state.ssm.shape[3]
    own = memory.normed[thread].reshape(-1)
    narrow, gated = own[: residual.size].reshape((batch, width)), own[: y.size].reshape(y.shape)
    products = ProductMemory(memory.columns[thread], memory.widened[thread], memory.sums[thread])
    barrier, deal = memory.counters[0], 1
    for b in range(thread, batch, threads):
        for k in range(width):
            residual[b, k] = as_float(weights.embedding.data[ids[b], k]) * weights.embedding.scale[ids[b]]
    goal = threads
    wait(barrier, goal)
    for index in range(layers):
        layer, conv, ssm = _layer(weights.parameters, index), state.conv[index], state.ssm[index]
        in_proj = Matrix(weights.in_proj.data[index], weights.in_proj.scale[index])
        out_proj = Matrix(weights.out_proj.data[index], weights.out_proj.scale[index])

        for b in range(batch):
            rms_norm(residual[b], layer.norm, layer.eps, narrow[b])
        transpose(narrow, products.columns, 0, width)
        first = arrive(memory.counters[deal]) * ROWS
        while first < rows:
            last = min(first + ROWS, rows)
            for b in range(batch):
                projected[b, first:last] = ZERO
            project(in_proj, narrow, projected, first, last, products)
            _activate(projected, conv, layer, first, last)
            first = arrive(memory.counters[deal]) * ROWS
        goal += threads
        wait(barrier, goal)

        item = arrive(memory.counters[deal + 1])
        while item < batch * heads:
            b, h = item // heads, item % heads
            head = _read_head(projected[b], h, layer, ssm[b])
            _recur(ssm[b, h], head, layer.A[h], layer.D[h], y[b, h * head_dim : (h + 1) * head_dim])
            item = arrive(memory.counters[deal + 1])
        goal += threads
        wait(barrier, goal)

        for b in range(batch):
            group_norm(y[b], layer.gate_norm, layer.eps, layer.groups, gated[b])
        transpose(gated, products.columns, 0, y.shape[1])
        first = arrive(memory.counters[deal + 2]) * ROWS
        while first < width:
            project(out_proj, gated, residual, first, min(first + ROWS, width), products)
            first = arrive(memory.counters[deal + 2]) * ROWS
        goal += threads
        wait(barrier, goal)
        deal += 3

    for b in range(batch):
        rms_norm(residual[b], weights.norm_f, weights.parameters.eps, narrow[b])
    transpose(narrow, products.columns, 0, width)
    vocabulary = weights.head.data.shape[0]
    first = arrive(memory.counters[deal]) * ROWS
    while first < vocabulary:
        project(weights.head, narrow, logits, first, min(first + ROWS, vocabulary), products)
        first = arrive(memory.counters[deal]) * ROWS
    goal += threads
    wait(barrier, goal)
