"""Building blocks that the generators of vector code share. They run at compile time and emit LLVM instructions.

A vector holds LANES float32 numbers, one processor register. `sonopsis.mamba2.kernels.intrinsics` explains none of the
LLVM classes; an `ir.Builder` appends instructions to the function being compiled, and each call returns the name of the
instruction's result.
"""

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils, config


def _has_avx512() -> bool:
    """Whether numba compiles for 512-bit registers: the processor has them, unless numba was told another target."""
    features: str | None = getattr(config, "CPU_FEATURES", None)  # NUMBA_CPU_FEATURES, NUMBA_CPU_NAME
    if features is not None:
        return "+avx512f" in features
    if getattr(config, "CPU_NAME", None) not in (None, "", "host"):
        return False
    return bool(get_host_cpu_features().get("avx512f"))


LANES = 16 if _has_avx512() else 8
FLOAT, I32, I64, BYTES = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
VECTOR = ir.VectorType(FLOAT, LANES)
ZEROS = ir.Constant(VECTOR, [0.0] * LANES)


def number(value: int) -> Any:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def widened(builder: Any, value: Any, kind: Any) -> Any:
    """A stored weight, or a vector of them, as float32; `kind` is numba's type of the stored number."""
    several = isinstance(value.type, ir.VectorType)

    def like(scalar: Any) -> Any:
        return ir.VectorType(scalar, value.type.count) if several else scalar

    if kind == types.uint16:  # bfloat16 is the upper half of a float32
        shift = ir.Constant(like(I32), [16] * value.type.count if several else 16)
        return builder.bitcast(builder.shl(builder.zext(value, like(I32)), shift), like(FLOAT))
    if kind == types.int16:
        return builder.fpext(builder.bitcast(value, like(ir.HalfType())), like(FLOAT))
    if kind == types.int8:
        return builder.sitofp(builder.sext(value, like(I32)), like(FLOAT))
    return value


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c of three vectors, rounded once where the processor can."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
    return builder.call(function, [a, b, c])


def broadcast(builder: Any, value: Any) -> Any:
    """A float32 in all lanes of a vector."""
    one = builder.insert_element(ZEROS, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, ZEROS, ir.Constant(ir.VectorType(I32, LANES), [0] * LANES))


def sum_lanes(builder: Any, vector: Any) -> Any:
    """The sum of a vector's lanes."""
    kind = ir.FunctionType(FLOAT, [FLOAT, VECTOR])
    reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
    return builder.call(reduce, [ir.Constant(FLOAT, 0.0), vector], fastmath=("reassoc",))


def prefetch(builder: Any, pointer: Any) -> None:
    """Ask for a cache line of weights: rows are too short for the processor to predict where reading continues."""
    kind = ir.FunctionType(ir.VoidType(), [BYTES, I32, I32, I32])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(fetch, [builder.bitcast(pointer, BYTES), *(ir.Constant(I32, value) for value in (0, 3, 1))])


def strides(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """The strides of an array in bytes, one for each axis."""
    return cgutils.unpack_tuple(builder, context.make_array(kind)(context, builder, array).strides)


def row_pointer(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    """The address where a row of a two-dimensional array begins, as i8*."""
    data = context.make_array(kind)(context, builder, array).data
    offset = builder.mul(row, strides(context, builder, kind, array)[0])
    return builder.gep(builder.bitcast(data, BYTES), [offset])


def floats(builder: Any, pointer: Any) -> Any:
    """An address as that of float32 numbers."""
    return builder.bitcast(pointer, FLOAT.as_pointer())


def vector_pointer(builder: Any, pointer: Any, index: Any) -> Any:
    """The address of the vector that begins at number `index` behind an address of float32 numbers."""
    return builder.bitcast(builder.gep(pointer, [index]), VECTOR.as_pointer())


class Loop:
    """A counted loop that carries vectors: for k in range(0, count, step), `count` a multiple of `step`.

    `with loop: ...` emits the body, in which `k` is the counter and `carried` are the vectors before this turn; `next`
    is set to those after it. Afterwards `results` are the vectors after the last turn, or `start` when there was none.
    """

    def __init__(self, builder: Any, count: Any, step: int, start: list[Any], name: str) -> None:
        self.builder, self.count, self.step, self.start, self.name = builder, count, step, start, name
        self.next: list[Any] = []
        self.results: list[Any] = []

    def __enter__(self) -> "Loop":
        builder = self.builder
        self.before = builder.block
        self.body = builder.append_basic_block(self.name)
        self.done = builder.append_basic_block(f"{self.name}.done")
        builder.cbranch(builder.icmp_signed(">", self.count, number(0)), self.body, self.done)
        builder.position_at_end(self.body)
        self.k = builder.phi(I64)
        self.carried = [builder.phi(value.type) for value in self.start]
        return self

    def __exit__(self, *error: object) -> None:
        builder = self.builder
        following = builder.add(self.k, number(self.step))
        builder.cbranch(builder.icmp_signed("<", following, self.count), self.body, self.done)
        self.k.add_incoming(number(0), self.before)
        self.k.add_incoming(following, self.body)
        builder.position_at_end(self.done)
        for start, carried, value in zip(self.start, self.carried, self.next, strict=True):
            result = builder.phi(start.type)
            for phi in (carried, result):
                phi.add_incoming(start, self.before)
                phi.add_incoming(value, self.body)
            self.results.append(result)
