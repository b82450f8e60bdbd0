"""The recurrence over several positions, with a part of the state in vector registers all along. No torch."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sonopsis.mamba2.lanes import LANES, multiply_add, row_pointer, spread

COLUMNS = 8  # of the state at once
VECTORS = 2 if LANES == 16 else 1  # of each, so that they take half of the registers
FLOAT, I64 = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)


def _recur_part(vectors: int, columns: int) -> Any:
    """`recur_part` for so many columns of the state, and vectors of each."""

    @intrinsic
    def recur_part(
        context: Any, state: Any, n: Any, p: Any, xbc: Any, b_at: Any, c_at: Any, writes: Any, keeps: Any, h: Any,
        first: Any, count: Any, y: Any,
    ) -> Any:  # fmt: skip
        """Positions first..first + count (at least one) of a part of a head's state: columns from n on, of each the
        vectors from p on. `state` (n, p) is laid out column by column, so that no sum runs across a vector.

        At each position t that part becomes keeps[t, h] * state + B writes[t - first], and C times it is added to
        y[t - first]. B and C stand in xbc[t] from b_at and c_at on. All arrays are float32.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args

            def place(number: int, row: Any, column: Any) -> Any:
                """Pointer to a number of an argument, an array of two axes."""
                start = row_pointer(context, builder, kinds[number], arguments[number], row)
                return builder.gep(builder.bitcast(start, FLOAT.as_pointer()), [column])

            def vector(pointer: Any, index: int) -> Any:
                at = builder.gep(pointer, [ir.Constant(I64, index * LANES)])
                return builder.bitcast(at, VECTOR.as_pointer())

            def load(pointer: Any) -> list[Any]:
                return [builder.load(vector(pointer, v), align=4) for v in range(vectors)]

            n, p, b_at, c_at, h, first, count = (arguments[i] for i in (1, 2, 4, 5, 8, 9, 10))
            multiply = multiply_add(builder, VECTOR)
            numbers = [builder.add(n, ir.Constant(I64, i)) for i in range(columns)]
            starts = [place(0, number, p) for number in numbers]
            before = [load(start) for start in starts]
            entry = builder.block
            loop, done = builder.append_basic_block("position"), builder.append_basic_block("last")
            builder.branch(loop)

            builder.position_at_end(loop)
            here = builder.phi(I64)
            parts = [[builder.phi(VECTOR) for _ in range(vectors)] for _ in range(columns)]
            t = builder.add(first, here)
            keep = spread(builder, builder.load(place(7, t, h)))
            written, out = load(place(6, here, p)), place(11, here, p)
            totals = load(out)
            after = []
            for number, column in zip(numbers, parts, strict=True):
                b, c = (spread(builder, builder.load(place(3, t, builder.add(at, number)))) for at in (b_at, c_at))
                moved = [
                    builder.call(multiply, [b, write, builder.fmul(part, keep)])
                    for write, part in zip(written, column, strict=True)
                ]
                totals = [builder.call(multiply, [c, *both]) for both in zip(moved, totals, strict=True)]
                after.append(moved)
            for v, total in enumerate(totals):
                builder.store(total, vector(out, v), align=4)
            following = builder.add(here, ir.Constant(I64, 1))
            builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
            here.add_incoming(ir.Constant(I64, 0), entry)
            here.add_incoming(following, loop)
            for column, old, new in zip(parts, before, after, strict=True):
                for part, start, end in zip(column, old, new, strict=True):
                    part.add_incoming(start, entry)
                    part.add_incoming(end, loop)

            builder.position_at_end(done)
            for start, column in zip(starts, after, strict=True):
                for v, value in enumerate(column):
                    builder.store(value, vector(start, v), align=4)
            return context.get_dummy_value()

        i = types.intp
        return types.void(state, i, i, xbc, i, i, writes, keeps, i, i, i, y), generate

    return recur_part


recur_block, recur_vector, recur_single = _recur_part(VECTORS, COLUMNS), _recur_part(1, COLUMNS), _recur_part(1, 1)
