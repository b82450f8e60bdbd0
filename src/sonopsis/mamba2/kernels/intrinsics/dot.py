"""Dot products along rows: of weights with a few vectors, and of the state with C while it is updated. No torch."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sonopsis.mamba2.kernels.intrinsics.vectors import (
    LANES,
    ZEROS,
    Loop,
    broadcast,
    floats,
    multiply_add,
    number,
    prefetch,
    row_pointer,
    strides,
    sum_lanes,
    vector_pointer,
    widened,
)

UNROLL = 2
STEP = LANES * UNROLL  # columns that one turn of the loop takes
LINE = 64  # bytes of a cache line


def _dot_rows(rows: int, vectors: int) -> Any:
    """`dot_rows` for so many rows of weights and so many vectors."""

    @intrinsic
    def dot_rows(context: Any, weight: Any, row: Any, x: Any, b: Any, count: Any) -> Any:
        """Products of consecutive rows of weight (R, K), any stored type, and of x (B, K) over the first `count`
        columns, a multiple of STEP; a tuple, row after row.

            for i in range(rows):
                for j in range(vectors):
                    result[i * vectors + j] = sum(float(weight[row + i, k]) * x[b + j, k] for k in range(count))

        All sums stay in vector registers. With a single vector, time goes into reading weights, so the rows that come
        next are prefetched.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, size = signature.args, weight.dtype.bitwidth // 8
            _, first, _, first_vector, count = arguments
            stored = ir.VectorType(context.get_data_type(weight.dtype), LANES).as_pointer()
            weights = [
                row_pointer(context, builder, kinds[0], arguments[0], builder.add(first, number(i)))
                for i in range(rows)
            ]
            inputs = [
                floats(
                    builder,
                    row_pointer(context, builder, kinds[2], arguments[2], builder.add(first_vector, number(j))),
                )
                for j in range(vectors)
            ]
            next_rows = builder.mul(strides(context, builder, kinds[0], arguments[0])[0], number(rows))
            with Loop(builder, count, STEP, [ZEROS] * (rows * vectors), "dot") as loop:
                sums = list(loop.carried)
                for turn in range(UNROLL):
                    k = builder.add(loop.k, number(turn * LANES))
                    xs = [builder.load(vector_pointer(builder, pointer, k), align=4) for pointer in inputs]
                    for i, pointer in enumerate(weights):
                        here = builder.gep(pointer, [builder.mul(k, number(size))])
                        value = builder.load(builder.bitcast(here, stored), align=size)
                        if vectors == 1 and turn * LANES * size % LINE == 0:
                            prefetch(builder, builder.gep(here, [next_rows]))
                        value = widened(builder, value, weight.dtype)
                        for j, other in enumerate(xs):
                            n = i * vectors + j
                            sums[n] = multiply_add(builder, value, other, sums[n])
                loop.next = sums
            totals = [sum_lanes(builder, total) for total in loop.results]
            return context.make_tuple(builder, signature.return_type, totals)

        result = types.UniTuple(types.float32, rows * vectors)
        return result(weight, types.intp, x, types.intp, types.intp), generate

    return dot_rows


dot_4x1, dot_4x4 = _dot_rows(4, 1), _dot_rows(4, 4)


@intrinsic
def update_state(context: Any, state: Any, p: Any, b: Any, c: Any, keep: Any, writes: Any, count: Any) -> Any:
    """Update consecutive rows of a head's state (P, N) in place and read them, over the first `count` columns.

        for i in range(len(writes)):
            state[p + i, :count] = keep * state[p + i, :count] + writes[i] * b[:count]
            result[i] = sum(state[p + i, n] * c[n] for n in range(count))

    count is a multiple of LANES; writes is a tuple of float32. Each number of the state is read and written once.
    """
    rows = writes.count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        pointers = [
            floats(builder, row_pointer(context, builder, kinds[0], arguments[0], builder.add(arguments[1], number(i))))
            for i in range(rows)
        ]
        b_data, c_data = (context.make_array(kinds[i])(context, builder, arguments[i]).data for i in (2, 3))
        keeps = broadcast(builder, arguments[4])
        factors = [broadcast(builder, write) for write in cgutils.unpack_tuple(builder, arguments[5])]
        with Loop(builder, arguments[6], LANES, [ZEROS] * rows, "state") as loop:
            b_here, c_here = (builder.load(vector_pointer(builder, data, loop.k), align=4) for data in (b_data, c_data))
            for pointer, factor, total in zip(pointers, factors, loop.carried, strict=True):
                here = vector_pointer(builder, pointer, loop.k)
                kept = builder.fmul(builder.load(here, align=4), keeps)
                value = multiply_add(builder, factor, b_here, kept)
                builder.store(value, here, align=4)
                loop.next.append(multiply_add(builder, value, c_here, total))
        totals = [sum_lanes(builder, total) for total in loop.results]
        return context.make_tuple(builder, signature.return_type, totals)

    kinds = (state, types.intp, b, c, types.float32, types.UniTuple(types.float32, rows), types.intp)
    return types.UniTuple(types.float32, rows)(*kinds), generate
