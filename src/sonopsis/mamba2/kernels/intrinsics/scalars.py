"""Intrinsics of single numbers, and the request for wide registers. No torch."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sonopsis.mamba2.kernels.intrinsics.vectors import FLOAT, I32, widened


@intrinsic
def wide_registers(context: Any) -> Any:
    """Ask for 512-bit registers in the calling function where the processor has them.

    LLVM prefers 256 bits on Intel's servers. It computes nothing: the function gets the attribute
    "prefer-vector-width"="512".
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def as_float(context: Any, value: Any) -> Any:
    """A stored weight as float32.

    uint16 (bfloat16):  bits << 16, taken as a float32
    int16 (float16):    the float16 with these bits
    int8:               the integer
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return widened(builder, arguments[0], value)

    return types.float32(value), generate


@intrinsic
def as_stored(context: Any, value: Any, out: Any) -> Any:
    """A float32 as the array `out` stores it: unchanged, or the bits of the nearest bfloat16 (uint16).

    float32:  value
    uint16:   (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, which rounds halves to even; NaN becomes 0x7FC0
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if out.dtype == types.float32:
            return arguments[0]
        bits = builder.bitcast(arguments[0], I32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(I32, 16)), ir.Constant(I32, 1))
        rounded = builder.add(builder.add(bits, ir.Constant(I32, 0x7FFF)), odd)
        is_nan = builder.fcmp_unordered("uno", arguments[0], arguments[0])  # rounding could make a number of it
        kept = builder.select(is_nan, ir.Constant(I32, 0x7FC00000), rounded)
        return builder.trunc(builder.lshr(kept, ir.Constant(I32, 16)), ir.IntType(16))

    return out.dtype(value, out), generate


@intrinsic
def power_of_two(context: Any, exponent: Any) -> Any:
    """2 ** exponent as float32, for an int32 exponent in -126..127.

    bits = (exponent + 127) << 23, taken as a float32: the exponent field of a number with mantissa 1
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.add(arguments[0], ir.Constant(I32, 127)), ir.Constant(I32, 23))
        return builder.bitcast(bits, FLOAT)

    return types.float32(types.int32), generate
