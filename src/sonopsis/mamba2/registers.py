"""Small matrix products whose results stay in vector registers, for what numba's loops leave slow. No torch."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sonopsis.mamba2.lanes import LANES, multiply_add, row_pointer, spread

ROWS = 8  # of the result at once
VECTORS = 2 if LANES == 16 else 1  # of each, so that they take half of the registers
FLOAT, I64 = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)


def _add_product(rows: int, vectors: int) -> Any:
    """`add_product` for so many rows of the result, and vectors of each."""

    @intrinsic
    def add_product(
        context: Any, out: Any, i: Any, column: Any, keep: Any, left: Any, right: Any, count: Any
    ) -> Any:  # fmt: skip
        """out = keep * out + left @ right, of out (I, J) the rows from i on, of each the vectors from `column` on.

        left (I, K) may have any strides; of right (K, J) the first `count` rows are used, at least one. All are
        float32.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            i, column, keep, left, count = (arguments[number] for number in (1, 2, 3, 4, 6))

            def row(number: int, index: Any) -> Any:
                start = row_pointer(context, builder, kinds[number], arguments[number], index)
                return builder.gep(builder.bitcast(start, FLOAT.as_pointer()), [column])

            def vector(pointer: Any, index: int) -> Any:
                at = builder.gep(pointer, [ir.Constant(I64, index * LANES)])
                return builder.bitcast(at, VECTOR.as_pointer())

            multiply = multiply_add(builder, VECTOR)
            numbers = [builder.add(i, ir.Constant(I64, r)) for r in range(rows)]
            starts = [row(0, number) for number in numbers]
            kept = spread(builder, keep)
            before = [
                [builder.fmul(kept, builder.load(vector(start, v), align=4)) for v in range(vectors)]
                for start in starts
            ]
            factors = [row_pointer(context, builder, kinds[4], left, number) for number in numbers]
            view = context.make_array(kinds[4])(context, builder, left)
            stride = cgutils.unpack_tuple(builder, view.strides)[1]
            entry = builder.block
            loop, done = builder.append_basic_block("term"), builder.append_basic_block("sum")
            builder.branch(loop)

            builder.position_at_end(loop)
            k = builder.phi(I64)
            sums = [[builder.phi(VECTOR) for _ in range(vectors)] for _ in range(rows)]
            terms = row(5, k)
            values = [builder.load(vector(terms, v), align=4) for v in range(vectors)]
            after = []
            for pointer, line in zip(factors, sums, strict=True):
                at = builder.bitcast(builder.gep(pointer, [builder.mul(k, stride)]), FLOAT.as_pointer())
                factor = spread(builder, builder.load(at))
                after.append([builder.call(multiply, [factor, *both]) for both in zip(values, line, strict=True)])
            following = builder.add(k, ir.Constant(I64, 1))
            builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
            k.add_incoming(ir.Constant(I64, 0), entry)
            k.add_incoming(following, loop)
            for line, old, new in zip(sums, before, after, strict=True):
                for part, start, end in zip(line, old, new, strict=True):
                    part.add_incoming(start, entry)
                    part.add_incoming(end, loop)

            builder.position_at_end(done)
            for start, line in zip(starts, after, strict=True):
                for v, value in enumerate(line):
                    builder.store(value, vector(start, v), align=4)
            return context.get_dummy_value()

        return types.void(out, types.intp, types.intp, types.float32, left, right, types.intp), generate

    return add_product


add_tile, add_row = _add_product(ROWS, VECTORS), _add_product(1, 1)
