"""Vector code that numba would not find by itself: tiles of matrix products and rows of the state. No torch.

Weights are float32, or read as they are multiplied from bfloat16 (held as uint16), float16 (held as int16) or int8; all
arithmetic is float32.
"""

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def wide_registers(context: Any) -> Any:
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
def as_float(context: Any, value: Any) -> Any:
    """A stored weight as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _widened(builder, arguments[0], value)

    return types.float32(value), generate


@intrinsic
def narrowed(context: Any, value: Any, out: Any) -> Any:
    """A float32 as the array `out` stores it: as it is, or the nearest bfloat16's bits (uint16)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if out.dtype == types.float32:
            return arguments[0]
        i32 = ir.IntType(32)
        bits = builder.bitcast(arguments[0], i32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(i32, 16)), ir.Constant(i32, 1))
        rounded = builder.add(builder.add(bits, ir.Constant(i32, 0x7FFF)), odd)
        broken = builder.fcmp_unordered("uno", arguments[0], arguments[0])  # NaN would be rounded to a number
        kept = builder.select(broken, ir.Constant(i32, 0x7FC00000), rounded)
        return builder.trunc(builder.lshr(kept, ir.Constant(i32, 16)), ir.IntType(16))

    return out.dtype(value, out), generate


def multiply_add(builder: Any, vector: Any) -> Any:
    """The function a * b + c of three vectors."""
    kind = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")


def spread(builder: Any, value: Any) -> Any:
    """A float32 in all lanes of a vector."""
    i32, zero = ir.IntType(32), ir.Constant(ir.VectorType(ir.FloatType(), LANES), [0.0] * LANES)
    one = builder.insert_element(zero, value, ir.Constant(i32, 0))
    return builder.shuffle_vector(one, zero, ir.Constant(ir.VectorType(i32, LANES), [0] * LANES))


def sum_lanes(builder: Any, vector: Any) -> Any:
    """The sum of a vector's lanes."""
    kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), vector.type])
    reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
    return builder.call(reduce, [ir.Constant(ir.FloatType(), 0.0), vector], fastmath=("reassoc",))


def prefetch(builder: Any, pointer: Any) -> None:
    """Ask for a cache line of weights: rows are too short for the processor to see where reading goes on."""
    i32, i8p = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [i8p, i32, i32, i32])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(fetch, [builder.bitcast(pointer, i8p), *(ir.Constant(i32, value) for value in (0, 3, 1))])


def row_pointer(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
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
            weights = [row_pointer(context, builder, kinds[0], arguments[0], i) for i in at]
            inputs = [row_pointer(context, builder, kinds[2], arguments[2], i) for i in to]
            view = context.make_array(kinds[0])(context, builder, arguments[0])
            ahead = builder.mul(cgutils.unpack_tuple(builder, view.strides)[0], ir.Constant(i64, rows))
            multiply = multiply_add(builder, vector)
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
                        prefetch(builder, builder.gep(pointer, [ahead]))
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
            return context.make_tuple(builder, signature.return_type, [sum_lanes(builder, total) for total in results])

        return types.UniTuple(types.float32, rows * columns)(weight, types.intp, x, types.intp, types.intp), generate

    return tile


tile1, tile4 = _tile(4, 1), _tile(4, 4)


@intrinsic
def state_rows(context: Any, state: Any, p: Any, b: Any, c: Any, keep: Any, writes: Any, count: Any) -> Any:
    """row[:count] = row[:count] * keep + write * b for one row of the state after another from `p` on, as many as
    there are `writes` (a tuple), and their products with c; count a multiple of LANES."""
    rows = writes.count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i64, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
        at = [builder.add(arguments[1], ir.Constant(i64, i)) for i in range(rows)]
        pointers = [row_pointer(context, builder, signature.args[0], arguments[0], i) for i in at]
        pointers = [builder.bitcast(pointer, ir.FloatType().as_pointer()) for pointer in pointers]
        others = [context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (2, 3)]
        multiply = multiply_add(builder, vector)
        zero = ir.Constant(vector, [0.0] * LANES)

        keeps = spread(builder, arguments[4])
        factors = [spread(builder, write) for write in cgutils.unpack_tuple(builder, arguments[5])]
        before = builder.block
        loop, done = builder.append_basic_block("state"), builder.append_basic_block("read")
        builder.cbranch(builder.icmp_signed(">", arguments[6], ir.Constant(i64, 0)), loop, done)
        builder.position_at_end(loop)
        place, totals = builder.phi(i64), [builder.phi(vector) for _ in range(rows)]
        b_here, c_here = (
            builder.load(builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer()), align=4)
            for pointer in others
        )
        added = []
        for pointer, factor, total in zip(pointers, factors, totals, strict=True):
            here = builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())
            kept = builder.fmul(builder.load(here, align=4), keeps)
            value = builder.call(multiply, [factor, b_here, kept])
            builder.store(value, here, align=4)
            added.append(builder.call(multiply, [value, c_here, total]))
        following = builder.add(place, ir.Constant(i64, LANES))
        builder.cbranch(builder.icmp_signed("<", following, arguments[6]), loop, done)
        place.add_incoming(ir.Constant(i64, 0), before)
        place.add_incoming(following, loop)
        builder.position_at_end(done)
        results = []
        for total, last in zip(totals, added, strict=True):
            total.add_incoming(zero, before)
            total.add_incoming(last, loop)
            result = builder.phi(vector)
            result.add_incoming(zero, before)
            result.add_incoming(last, loop)
            results.append(result)
        return context.make_tuple(builder, signature.return_type, [sum_lanes(builder, result) for result in results])

    kinds = (state, types.intp, b, c, types.float32, types.UniTuple(types.float32, rows), types.intp)
    return types.UniTuple(types.float32, rows)(*kinds), generate
