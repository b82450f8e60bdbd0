"""Which tokens survive: scores, reducers, schedule, trace, and what it saves.

What counts and plans loads without torch; what needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonopsis.pruning.budget import for_budget
from sonopsis.pruning.config import REDUCERS, SCORES, Pruning, default_blocks, kept_count, uniform
from sonopsis.pruning.macs import Macs, encoder_macs
from sonopsis.pruning.schedule import keep_rate_at

if TYPE_CHECKING:
    from sonopsis.pruning.scores import Candidates, ScoreFunction
    from sonopsis.pruning.trace import Trace

__all__ = [
    "REDUCERS",
    "SCORES",
    "Candidates",
    "Macs",
    "Pruning",
    "ScoreFunction",
    "Trace",
    "default_blocks",
    "encoder_macs",
    "for_budget",
    "keep_rate_at",
    "kept_count",
    "uniform",
]

_TORCH = {
    "Candidates": "sonopsis.pruning.scores",
    "ScoreFunction": "sonopsis.pruning.scores",
    "Trace": "sonopsis.pruning.trace",
}


def __getattr__(name: str) -> Any:
    if name in _TORCH:
        return getattr(import_module(_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
