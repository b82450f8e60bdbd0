"""Which tokens survive: scores, reducers, schedule, trace, and what it saves."""

from sonopsis.pruning.budget import for_budget
from sonopsis.pruning.config import REDUCERS, SCORES, Pruning, default_blocks, kept_count, uniform
from sonopsis.pruning.macs import Macs, encoder_macs
from sonopsis.pruning.schedule import keep_rate_at
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
