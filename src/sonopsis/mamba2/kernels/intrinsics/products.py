"""Small matrix products whose results stay in vector registers. No torch."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sonopsis.mamba2.kernels.intrinsics.vectors import (
    FLOAT,
    I64,
    LANES,
    Loop,
    broadcast,
    floats,
    multiply_add,
    number,
    prefetch,
    row_pointer,
    strides,
    vector_pointer,
)

TILE_ROWS = 8  # rows of the result that `add_tile` computes at once
TILE_VECTORS = 2 if LANES == 16 else 1  # vectors of each row, so that they take half of the registers
WEIGHT_ROWS, COLUMN_VECTORS = (16, 1) if LANES == 16 else (6, 2)  # the same of `add_columns`
TERMS = 256  # terms of a sum that `add_columns` takes at once, so that both factors stay in the nearest cache
PITCH = TERMS + 16  # numbers from one row of its left factor to the next: rows a power of two apart share few lines


def _add_product(rows: int, vectors: int) -> Any:
    """`add_product` for so many rows of the result, and vectors of each."""

    @intrinsic
    def add_product(
        context: Any, out: Any, i: Any, column: Any, keep: Any, left: Any, right: Any, count: Any
    ) -> Any:  # fmt: skip
        """Rows from `i` and columns from `column` of out (I, J) = keep * out + left @ right, all float32.

            for r in range(i, i + rows):
                for j in range(column, column + vectors * LANES):
                    out[r, j] = keep * out[r, j] + sum(left[r, k] * right[k, j] for k in range(count))

        left (I, K) may have any strides; of right (K, J) the first `count` rows are used.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            out, i, column, keep, left, right, count = arguments
            numbers = [builder.add(i, number(r)) for r in range(rows)]
            columns = [builder.add(column, number(v * LANES)) for v in range(vectors)]
            starts = [floats(builder, row_pointer(context, builder, kinds[0], out, r)) for r in numbers]
            targets = [vector_pointer(builder, start, c) for start in starts for c in columns]
            kept = broadcast(builder, keep)
            before = [builder.fmul(kept, builder.load(target, align=4)) for target in targets]
            factors = [row_pointer(context, builder, kinds[4], left, r) for r in numbers]
            stride = strides(context, builder, kinds[4], left)[1]
            with Loop(builder, count, 1, before, "product") as loop:
                terms = floats(builder, row_pointer(context, builder, kinds[5], right, loop.k))
                values = [builder.load(vector_pointer(builder, terms, c), align=4) for c in columns]
                for r, pointer in enumerate(factors):
                    at = floats(builder, builder.gep(pointer, [builder.mul(loop.k, stride)]))
                    factor = broadcast(builder, builder.load(at))
                    for v, value in enumerate(values):
                        loop.next.append(multiply_add(builder, factor, value, loop.carried[r * vectors + v]))
            for target, result in zip(targets, loop.results, strict=True):
                builder.store(result, target, align=4)
            return context.get_dummy_value()

        return types.void(out, types.intp, types.intp, types.float32, left, right, types.intp), generate

    return add_product


add_tile, add_row = _add_product(TILE_ROWS, TILE_VECTORS), _add_product(1, 1)


def _add_columns(vectors: int) -> Any:
    """`add_columns` for so many vectors of columns."""

    @intrinsic
    def add_columns(context: Any, out: Any, column: Any, left: Any, right: Any, ahead: Any) -> Any:
        """Columns from `column` of out (WEIGHT_ROWS, J) += left @ right, all float32; prefetches weights meanwhile.

            for j in range(column, column + vectors * LANES):
                for r in range(WEIGHT_ROWS):
                    out[r, j] += sum(left[r, k] * right[k, j] for k in range(len(right)))

        left (WEIGHT_ROWS, PITCH) holds weights that were widened already; right (K, J) has at most TERMS rows. Weights
        of any type that are multiplied next begin with the rows of `ahead`: one line of them is asked for in each turn
        of the loop, whether they exist or not.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, zero = signature.args, number(0)
            out, column, left, right, ahead_rows = arguments
            columns = [builder.add(column, number(v * LANES)) for v in range(vectors)]
            starts = [
                floats(builder, row_pointer(context, builder, kinds[0], out, number(r))) for r in range(WEIGHT_ROWS)
            ]
            targets = [vector_pointer(builder, start, c) for start in starts for c in columns]
            before = [builder.load(target, align=4) for target in targets]
            first = floats(builder, row_pointer(context, builder, kinds[2], left, zero))
            view = context.make_array(kinds[3])(context, builder, right)
            count = builder.extract_value(view.shape, 0)
            next_row = row_pointer(context, builder, kinds[4], ahead_rows, zero)
            next_stride = strides(context, builder, kinds[4], ahead_rows)[0]
            turns = number(TERMS // WEIGHT_ROWS)  # of the loop for one row of `ahead`, WEIGHT_ROWS numbers a turn
            with Loop(builder, count, 1, before, "columns") as loop:
                # The empty assembly keeps this address in one register. Computed from two wherever it is used, it
                # halves the speed of Intel's multiply-adds of a number in memory.
                kind = ir.FunctionType(FLOAT.as_pointer(), [FLOAT.as_pointer()])
                factors = builder.asm(kind, "", "=r,0", [builder.gep(first, [loop.k])], True)
                terms = floats(builder, row_pointer(context, builder, kinds[3], right, loop.k))
                values = [builder.load(vector_pointer(builder, terms, c), align=4) for c in columns]
                for r in range(WEIGHT_ROWS):
                    factor = broadcast(builder, builder.load(builder.gep(factors, [ir.Constant(I64, PITCH * r)])))
                    for v, value in enumerate(values):
                        loop.next.append(multiply_add(builder, factor, value, loop.carried[r * vectors + v]))
                place = builder.mul(builder.urem(loop.k, turns), number(WEIGHT_ROWS * ahead.dtype.bitwidth // 8))
                place = builder.add(place, builder.mul(builder.udiv(loop.k, turns), next_stride))
                prefetch(builder, builder.gep(next_row, [place]))
            for target, result in zip(targets, loop.results, strict=True):
                builder.store(result, target, align=4)
            return context.get_dummy_value()

        return types.void(out, types.intp, left, right, ahead), generate

    return add_columns


add_columns, add_column = _add_columns(COLUMN_VECTORS), _add_columns(1)
