"""Which tokens survive: scores, reducers, schedule, and what it saves."""

from sonopsis.pruning.config import REDUCERS, SCORES, Pruning, default_blocks, kept_count, uniform
from sonopsis.pruning.macs import Macs, encoder_macs
from sonopsis.pruning.schedule import keep_rate_at
from sonopsis.pruning.scores import Candidates, ScoreFunction

__all__ = [
    "REDUCERS",
    "SCORES",
    "Candidates",
    "Macs",
    "Pruning",
    "ScoreFunction",
    "default_blocks",
    "encoder_macs",
    "keep_rate_at",
    "kept_count",
    "uniform",
]
