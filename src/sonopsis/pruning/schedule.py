"""The keep rate over training."""

import math


def keep_rate_at(epoch: float, base: float, start: float, length: float) -> float:
    """Keep rate at a (fractional) epoch: 1 until `start`, a cosine down to `base` over `length` epochs, then `base`.

    The schedule of arXiv 2504.01690, in which accuracy is only read once the rate has reached `base`. `epoch`, `start`
    and `length` may be in any one unit, such as steps.
    """
    if epoch < start:
        return 1.0
    if epoch >= start + length:
        return base
    return base + (1 - base) * (math.cos(math.pi * (epoch - start) / length) + 1) / 2
