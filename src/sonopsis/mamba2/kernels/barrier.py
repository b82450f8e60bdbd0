"""How the threads of one compiled function wait for each other and share out work. No torch."""

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sonopsis.mamba2.kernels.jit import jit

SPINS = 4000  # polls of a barrier before the thread offers its core to others


@intrinsic
def arrive(context: Any, counter: Any) -> Any:
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

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if sys.platform != "win32":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@jit()
def wait(counter, goal):  # type: ignore[no-untyped-def]
    """Wait until `goal` arrivals were counted, this one among them."""
    arrive(counter)
    polls = 0
    while _arrived(counter) < goal:
        polls += 1
        if polls > SPINS:
            _rest()
