"""One decoding step of Mamba-2 as machine code, compiled by numba on first use and kept in its cache. No torch.

All threads of a step run `step` at once, each with its own number: rows of the weights and heads of the state are
dealt out as they get done, and a barrier stands wherever one thread reads what another wrote, three times a layer.
Weights are float32, or read as they are multiplied from bfloat16 (held as uint16), float16 (held as int16) or int8 with
a scale per row; all arithmetic and all state is float32.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])
ROWS = 64  # of a matrix that a thread takes at once; whoever is done takes the next, since cores are not alike
SPINS = 4000  # polls of a barrier before the thread offers its core to others
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
C2, C3, C4, C5, C6, C7 = (
    np.float32(value) for value in (0.5, 0.16666665459, 0.0416657959, 0.00833345201, 0.001393209, 1.9875691e-4)
)
LEAST, MOST = np.float32(-87), np.float32(88)


def compiled(**flags: Any) -> Callable[[F], F]:
    """`numba.njit` with a cache on disk, or without where no folder can be written."""

    def wrap(function: F) -> F:
        try:
            kernel: F = njit(nogil=True, error_model="numpy", cache=True, **flags)(function)
        except RuntimeError:  # numba finds neither a folder beside the source nor one of the user
            kernel = njit(nogil=True, error_model="numpy", **flags)(function)
        return kernel

    return wrap


FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; infinities and NaN keep their meaning


@intrinsic
def _wide(context: Any) -> Any:
    """Ask for whole 512-bit registers where there are any; compilers shy away from them on servers of Intel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


LANES = 16 if get_host_cpu_features().get("avx512f") else 8
UNROLL = 2
STEP = LANES * UNROLL  # columns that a tile takes at once


def _widened(builder: Any, value: Any, kind: Any) -> Any:
    """A stored weight, or a vector of them, as float32."""

    def like(scalar: Any) -> Any:
        return ir.VectorType(scalar, value.type.count) if isinstance(value.type, ir.VectorType) else scalar

    if kind == types.uint16:
        i32 = like(ir.IntType(32))
        wide = builder.shl(builder.zext(value, i32), ir.Constant(i32, [16] * LANES if i32 != ir.IntType(32) else 16))
        return builder.bitcast(wide, like(ir.FloatType()))
    if kind == types.int16:
        return builder.fpext(builder.bitcast(value, like(ir.HalfType())), like(ir.FloatType()))
    if kind == types.int8:
        return builder.sitofp(builder.sext(value, like(ir.IntType(32))), like(ir.FloatType()))
    return value


@intrinsic
def _float(context: Any, value: Any) -> Any:
    """A stored weight as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _widened(builder, arguments[0], value)

    return types.float32(value), generate


def _multiply_add(builder: Any, vector: Any) -> Any:
    kind = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")


def _sum(builder: Any, vector: Any) -> Any:
    kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), vector.type])
    reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
    return builder.call(reduce, [ir.Constant(ir.FloatType(), 0.0), vector], fastmath=("reassoc",))


def _prefetch(builder: Any, pointer: Any) -> Any:
    """Ask for a cache line of weights: rows are too short for the processor to see where reading goes on."""
    i32, i8p = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [i8p, i32, i32, i32])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(fetch, [builder.bitcast(pointer, i8p), *(ir.Constant(i32, value) for value in (0, 3, 1))])


def _row_pointer(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    """Where a row of a two-dimensional array begins, as i8*."""
    view = context.make_array(kind)(context, builder, array)
    stride = cgutils.unpack_tuple(builder, view.strides)[0]
    return builder.gep(builder.bitcast(view.data, ir.IntType(8).as_pointer()), [builder.mul(row, stride)])


def _tile(rows: int, columns: int) -> Any:
    """Products of `rows` rows of weights and `columns` rows of x, all sums in vector registers."""

    @intrinsic
    def tile(context: Any, weight: Any, row: Any, x: Any, b: Any, count: Any) -> Any:
        """Rows from `row` of weight by rows from `b` of x over the first `count` columns, a multiple of STEP."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            i64, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
            kinds, size = signature.args, weight.dtype.bitwidth // 8
            stored = ir.VectorType(context.get_data_type(weight.dtype), LANES)
            at = [builder.add(arguments[1], ir.Constant(i64, i)) for i in range(rows)]
            to = [builder.add(arguments[3], ir.Constant(i64, i)) for i in range(columns)]
            weights = [_row_pointer(context, builder, kinds[0], arguments[0], i) for i in at]
            inputs = [_row_pointer(context, builder, kinds[2], arguments[2], i) for i in to]
            view = context.make_array(kinds[0])(context, builder, arguments[0])
            ahead = builder.mul(cgutils.unpack_tuple(builder, view.strides)[0], ir.Constant(i64, rows))
            multiply = _multiply_add(builder, vector)
            zero = ir.Constant(vector, [0.0] * LANES)
            before = builder.block
            loop, done = builder.append_basic_block("tile"), builder.append_basic_block("tiled")
            builder.cbranch(builder.icmp_signed(">", arguments[4], ir.Constant(i64, 0)), loop, done)
            builder.position_at_end(loop)
            place = builder.phi(i64)
            sums = [builder.phi(vector) for _ in range(rows * columns)]
            added = list(sums)
            for turn in range(UNROLL):
                k = builder.add(place, ir.Constant(i64, turn * LANES))
                xs = []
                for pointer in inputs:
                    pointer = builder.gep(pointer, [builder.mul(k, ir.Constant(i64, 4))])
                    xs.append(builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4))
                for i, pointer in enumerate(weights):
                    pointer = builder.gep(pointer, [builder.mul(k, ir.Constant(i64, size))])
                    value = builder.load(builder.bitcast(pointer, stored.as_pointer()), align=size)
                    if columns == 1 and turn * LANES * size % 64 == 0:
                        _prefetch(builder, builder.gep(pointer, [ahead]))
                    value = _widened(builder, value, weight.dtype)
                    for j, other in enumerate(xs):
                        n = i * columns + j
                        added[n] = builder.call(multiply, [value, other, added[n]])
            following = builder.add(place, ir.Constant(i64, STEP))
            builder.cbranch(builder.icmp_signed("<", following, arguments[4]), loop, done)
            place.add_incoming(ir.Constant(i64, 0), before)
            place.add_incoming(following, loop)
            builder.position_at_end(done)
            results = []
            for phi, last in zip(sums, added, strict=True):
                phi.add_incoming(zero, before)
                phi.add_incoming(last, loop)
                total = builder.phi(vector)
                total.add_incoming(zero, before)
                total.add_incoming(last, loop)
                results.append(total)
            return context.make_tuple(builder, signature.return_type, [_sum(builder, total) for total in results])

        return types.UniTuple(types.float32, rows * columns)(weight, types.intp, x, types.intp, types.intp), generate

    return tile


_tile1, _tile4 = _tile(4, 1), _tile(4, 4)


@intrinsic
def _state_row(context: Any, state: Any, p: Any, b: Any, c: Any, keep: Any, write: Any, count: Any) -> Any:
    """state[p, :count] = state[p, :count] * keep + write * b, and its product with c; count a multiple of LANES."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i64, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
        row = _row_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        row = builder.bitcast(row, ir.FloatType().as_pointer())
        others = [context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (2, 3)]
        multiply = _multiply_add(builder, vector)
        zero = ir.Constant(vector, [0.0] * LANES)

        def spread(value: Any) -> Any:
            one = builder.insert_element(zero, value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, zero, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

        keeps, writes = spread(arguments[4]), spread(arguments[5])
        before = builder.block
        loop, done = builder.append_basic_block("state"), builder.append_basic_block("read")
        builder.cbranch(builder.icmp_signed(">", arguments[6], ir.Constant(i64, 0)), loop, done)
        builder.position_at_end(loop)
        place, total = builder.phi(i64), builder.phi(vector)
        here = builder.bitcast(builder.gep(row, [place]), vector.as_pointer())
        b_here, c_here = (
            builder.load(builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer()), align=4)
            for pointer in others
        )
        value = builder.call(multiply, [writes, b_here, builder.fmul(builder.load(here, align=4), keeps)])
        builder.store(value, here, align=4)
        added = builder.call(multiply, [value, c_here, total])
        following = builder.add(place, ir.Constant(i64, LANES))
        builder.cbranch(builder.icmp_signed("<", following, arguments[6]), loop, done)
        builder.position_at_end(done)
        result = builder.phi(vector)
        for phi, first, later in ((place, ir.Constant(i64, 0), following), (total, zero, added)):
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        result.add_incoming(zero, before)
        result.add_incoming(added, loop)
        return _sum(builder, result)

    return types.float32(state, types.intp, b, c, types.float32, types.float32, types.intp), generate


@intrinsic
def _power_of_two(context: Any, exponent: Any) -> Any:
    """2 ** exponent (int32 in -126..127) as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.shl(builder.add(arguments[0], ir.Constant(i32, 127)), ir.Constant(i32, 23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _arrive(context: Any, counter: Any) -> Any:
    """Add one to counter[0] for all threads to see, and return what it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counter), generate


@intrinsic
def _arrived(context: Any, counter: Any) -> Any:
    """counter[0] as other threads left it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "seq_cst", 8)

    return types.int64(counter), generate


@intrinsic
def _rest(context: Any) -> Any:
    """Offer the core to another thread, where the system has POSIX's call for it."""
    import sys

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if sys.platform != "win32":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@compiled()
def _barrier(counter, goal):  # type: ignore[no-untyped-def]
    """Wait until `goal` arrivals were counted, this one among them."""
    _arrive(counter)
    polls = 0
    while _arrived(counter) < goal:
        polls += 1
        if polls > SPINS:
            _rest()


@compiled(fastmath={"contract"})
def _exp(x):  # type: ignore[no-untyped-def]
    """exp(x) in float32 without a branch, so that loops over it become vector code; error below 2e-7 of the value."""
    x = min(max(x, LEAST), MOST)
    k = np.float32(np.floor(x * LOG2E + HALF))
    r = x - k * LN2_HIGH - k * LN2_LOW
    p = ((((C7 * r + C6) * r + C5) * r + C4) * r + C3) * r + C2
    return (p * r * r + r + ONE) * _power_of_two(np.int32(k))


@compiled(fastmath=FAST)
def _silu(x):  # type: ignore[no-untyped-def]
    return x / (ONE + _exp(-x))


@compiled(fastmath=FAST)
def _normed(x, weight, eps, groups, out):  # type: ignore[no-untyped-def]
    """RMS norm of each row of x (B, width) in equal groups."""
    _wide()
    size = x.shape[1] // groups
    for b in range(x.shape[0]):
        for g in range(groups):
            total = ZERO
            for k in range(g * size, (g + 1) * size):
                total += x[b, k] * x[b, k]
            factor = ONE / np.sqrt(total / np.float32(size) + eps)
            for k in range(g * size, (g + 1) * size):
                out[b, k] = x[b, k] * factor * weight[k]


@compiled(fastmath={"contract"})  # in order: vector code for so few terms would double what is to be compiled
def _remainder(w, x, start):  # type: ignore[no-untyped-def]
    """The product of two vectors from `start` on."""
    total = ZERO
    for k in range(start, w.shape[0]):
        total += _float(w[k]) * x[k]
    return total


@compiled(fastmath=FAST)
def _four(weight, scale, row, x, out, out_row):  # type: ignore[no-untyped-def]
    """Four rows of weight by every x (B, K), added to `out` (B, rows) from `out_row` on."""
    batch, size = x.shape[0], weight.shape[1]
    even = size - size % STEP
    b = 0
    while b + 4 <= batch:
        sums = _tile4(weight, row, x, b, even)
        for j in range(4):
            for i in range(4):
                rest = _remainder(weight[row + i], x[b + j], even) if even < size else ZERO
                out[b + j, out_row + i] += (sums[4 * i + j] + rest) * scale[i]
        b += 4
    while b < batch:
        column = _tile1(weight, row, x, b, even)
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
                    wide[i, k] = _float(weight[row + i, k])
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
    _wide()
    channels = conv.shape[2]
    count = conv.shape[1]
    c0, c1 = max(first - inner, 0), min(last - inner, channels)
    for b in range(wide.shape[0]):
        row = wide[b]
        for r in range(first, min(last, inner)):
            row[r] = _silu(row[r])
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
            row[r] = _silu(row[r])
        for r in range(max(first, inner + channels), last):
            dt = row[r] + dt_bias[r - inner - channels]
            row[r] = dt if dt > np.float32(20) else np.float32(np.log1p(np.exp(dt)))


@compiled(fastmath=FAST)
def _head(state, x, b, c, z, dt, decay, skip, out):  # type: ignore[no-untyped-def]
    """One head of one sequence: its state (p, n) moved on and read, y gated by z (p,) into `out` (p,)."""
    _wide()
    keep = _exp(dt * decay)
    even = state.shape[1] - state.shape[1] % LANES
    for p in range(x.shape[0]):
        row = state[p]
        write = dt * x[p]
        total = _state_row(state, p, b, c, keep, write, even)
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
            x[b, k] = _float(table[ids[b], k]) * table_scale[ids[b]]
    goal = threads
    _barrier(barrier, goal)
    for layer in range(layers):
        _normed(x, norms[layer], eps, 1, narrow)
        first = _arrive(counters[deal]) * ROWS
        while first < projected:
            last = min(first + ROWS, projected)
            for b in range(batch):
                wide[b, first:last] = ZERO
            _project(in_weights[layer], in_scales[layer], narrow, wide, first, last, wides)
            _inputs(wide, conv[layer], taps[layer], biases[layer], dt_biases[layer], inner, first, last)
            first = _arrive(counters[deal]) * ROWS
        goal += threads
        _barrier(barrier, goal)
        item = _arrive(counters[deal + 1])
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
            item = _arrive(counters[deal + 1])
        goal += threads
        _barrier(barrier, goal)
        _normed(y, gate_norms[layer], eps, groups, own)
        first = _arrive(counters[deal + 2]) * ROWS
        while first < width:
            last = min(first + ROWS, width)
            _project(out_weights[layer], out_scales[layer], own, x, first, last, wides)
            first = _arrive(counters[deal + 2]) * ROWS
        goal += threads
        _barrier(barrier, goal)
        deal += 3
    _normed(x, norm_f, eps, 1, narrow)
    first = _arrive(counters[deal]) * ROWS
    while first < head.shape[0]:
        _project(head, head_scale, narrow, logits, first, min(first + ROWS, head.shape[0]), wides)
        first = _arrive(counters[deal]) * ROWS
    goal += threads
    _barrier(barrier, goal)
