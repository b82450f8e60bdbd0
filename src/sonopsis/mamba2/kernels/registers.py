"""Small matrix products whose results stay in vector registers, for what numba's loops leave slow. No torch."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sonopsis.mamba2.kernels.lanes import LANES, multiply_add, prefetch, row_pointer, spread

ROWS = 8  # of the result at once
VECTORS = 2 if LANES == 16 else 1  # of each, so that they take half of the registers
MANY = 16 if LANES == 16 else 8  # rows of `add_lanes`
TERMS = 256  # of its sums at once, so that both factors stay in the nearest cache
PITCH = TERMS + 16  # numbers from one row of its left factor to the next; rows a power of two apart share few lines
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


@intrinsic
def add_lanes(context: Any, out: Any, column: Any, left: Any, right: Any, ahead: Any) -> Any:
    """out (MANY, J) += left (MANY, PITCH) @ right (K, J), of the vector of columns from `column` on; K at most TERMS.

    Meanwhile MANY rows of TERMS numbers are asked for that begin with those of `ahead`, whether they exist or not:
    weights that are multiplied next come from memory while these are. All but those are float32, with whole rows.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, zero, one = signature.args, ir.Constant(I64, 0), ir.Constant(I64, 1)
        vector, number = VECTOR.as_pointer(), FLOAT.as_pointer()

        def row(which: int, index: Any, at: Any) -> Any:
            start = row_pointer(context, builder, kinds[which], arguments[which], index)
            return builder.gep(builder.bitcast(start, number), [at])

        def stride(which: int) -> Any:
            view = context.make_array(kinds[which])(context, builder, arguments[which])
            return cgutils.unpack_tuple(builder, view.strides)[0]

        view = context.make_array(right)(context, builder, arguments[3])
        count = cgutils.unpack_tuple(builder, view.shape)[0]
        multiply, weight_bytes, further = multiply_add(builder, VECTOR), ahead.dtype.bitwidth // 8, stride(4)
        targets = [builder.bitcast(row(0, ir.Constant(I64, r), arguments[1]), vector) for r in range(MANY)]
        before = [builder.load(target, align=4) for target in targets]
        first, next_row = row(2, zero, zero), row_pointer(context, builder, ahead, arguments[4], zero)
        entry, loop, done = builder.block, builder.append_basic_block("term"), builder.append_basic_block("sum")
        builder.cbranch(builder.icmp_signed(">", count, zero), loop, done)

        builder.position_at_end(loop)
        k, sums = builder.phi(I64), [builder.phi(VECTOR) for _ in range(MANY)]
        # The empty assembly keeps this address in one register. Added up from two wherever it is used, it halves the
        # speed of Intel's multiply-adds of a number in memory.
        kind = ir.FunctionType(number, [number])
        factors = builder.asm(kind, "", "=r,0", [builder.gep(first, [k])], True)
        terms = builder.load(builder.bitcast(row(3, k, arguments[1]), vector), align=4)
        after = []
        for r, total in enumerate(sums):
            factor = spread(builder, builder.load(builder.gep(factors, [ir.Constant(I64, PITCH * r)])))
            after.append(builder.call(multiply, [factor, terms, total]))
        a_row = ir.Constant(I64, TERMS // MANY)  # turns of this loop, each of which asks for MANY numbers of the row
        place = builder.mul(builder.urem(k, a_row), ir.Constant(I64, MANY * weight_bytes))
        place = builder.add(place, builder.mul(builder.udiv(k, a_row), further))
        prefetch(builder, builder.gep(next_row, [place]))
        following = builder.add(k, one)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
        k.add_incoming(zero, entry)
        k.add_incoming(following, loop)

        builder.position_at_end(done)
        results = [builder.phi(VECTOR) for _ in range(MANY)]
        for old, total, new, result in zip(before, sums, after, results, strict=True):
            total.add_incoming(old, entry)
            total.add_incoming(new, loop)
            result.add_incoming(old, entry)
            result.add_incoming(new, loop)
        for target, result in zip(targets, results, strict=True):
            builder.store(result, target, align=4)
        return context.get_dummy_value()

    return types.void(out, types.intp, left, right, ahead), generate
