"""When labels sound within a window, and what a language model that reads facts is told of it.

A captioner whose connector scores every label at every time step (`Prompt.steps`; 0.16 s in the bundled model) knows
more than that a label is somewhere in a window of ten seconds:

    tags of the window      dog 0.9
    dog in time             .0 .1 .7 .9 .8 .1 .0 .0 .6 .7 .1 .0
    steps of at least 0.3 of the highest one:  |--dog--|       |dog|

`RELATIVE` and `BRIDGED` were chosen on composed validation scenes (`benchmarks/event_times.py`). NumPy alone.
"""

from collections.abc import Collection
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

RELATIVE = 0.3  # of its highest score in a window, with which a label sounds in a step
BRIDGED = 1  # steps below that between two that sound, which do not end an event


def sounds(track: NDArray[np.float32]) -> NDArray[np.bool_]:
    """In which time steps a label sounds, by its scores (t,): those near its highest one, short pauses bridged."""
    found = np.asarray(track >= RELATIVE * track.max())
    places = np.flatnonzero(found)
    for first, last in pairwise(places):
        if last - first <= BRIDGED + 1:
            found[first:last] = True
    return found


def facts(steps: NDArray[np.float32], present: Collection[int], *, summary: bool) -> NDArray[np.float32]:
    """Which labels sound when, 0 or 1: of scores in time (t, labels) and the places of the labels that are there.

    With `summary` one more row says which labels are there at all: (t + 1, labels), else (t, labels).
    """
    told = np.zeros_like(steps)
    for place in present:
        told[:, place] = sounds(steps[:, place])
    return np.concatenate([told, told.max(axis=0, keepdims=True)]) if summary else told
