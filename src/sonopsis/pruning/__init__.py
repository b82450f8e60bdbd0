"""Which tokens survive: scores, selection, reducers, schedule; `prune()` for live Hugging Face models.

What plans loads without torch; what needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonopsis.installed import needed_by
from sonopsis.pruning.config import REDUCERS, SCORES, Pruning, default_blocks, kept_count, uniform
from sonopsis.pruning.schedule import keep_rate_at

if TYPE_CHECKING:
    from sonopsis.pruning.scores import Candidates, ScoreFunction

__all__ = [
    "REDUCERS",
    "SCORES",
    "Candidates",
    "Pruning",
    "ScoreFunction",
    "default_blocks",
    "keep_rate_at",
    "kept_count",
    "uniform",
]

_TORCH = {"Candidates": "sonopsis.pruning.scores", "ScoreFunction": "sonopsis.pruning.scores"}


def __getattr__(name: str) -> Any:
    if name in _TORCH:
        with needed_by(f"sonopsis.pruning.{name}"):
            return getattr(import_module(_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
