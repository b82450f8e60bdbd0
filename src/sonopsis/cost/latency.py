"""From a budget of time to the keep rate that meets it on this machine, by measuring."""

import time
from collections.abc import Callable
from statistics import median

RATES = tuple(step / 20 for step in range(20, 0, -1))  # 1.0, 0.95, ... 0.05
ROUNDS = 5  # runs per rate that is tried, after one that is not counted


def for_latency(run: Callable[[float], object], seconds: float) -> float:
    """The highest of RATES at which the median of a few `run(keep_rate)` takes at most `seconds`, by bisection.

    Time falls with the rate, so few rates are tried. Raises ValueError when even the lowest takes longer, with the
    time it took, or `seconds` is not positive.
    """
    if not seconds > 0:
        raise ValueError(f"a latency budget must be positive, not {seconds:g} s")
    if _took(run, RATES[0]) <= seconds:
        return RATES[0]
    fastest = _took(run, RATES[-1])
    if fastest > seconds:
        raise ValueError(
            f"{1000 * seconds:g} ms cannot be met: with a keep rate of {RATES[-1]:g} a window takes "
            f"{1000 * fastest:.1f} ms on this machine; ask for more, or take a smaller model or a faster engine"
        )
    slow, fast = 0, len(RATES) - 1  # places of a rate that is too slow, and of one that is not
    while fast - slow > 1:
        middle = (slow + fast) // 2
        slow, fast = (slow, middle) if _took(run, RATES[middle]) <= seconds else (middle, fast)
    return RATES[fast]


def _took(run: Callable[[float], object], keep_rate: float) -> float:
    run(keep_rate)
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        run(keep_rate)
        times.append(time.perf_counter() - begun)
    return median(times)
