"""Which tokens survive: rules, selection, schedule, and what it saves."""

from sonopsis.pruning.config import Pruning, default_blocks, kept_count, uniform
from sonopsis.pruning.macs import Macs, encoder_macs
from sonopsis.pruning.schedule import keep_rate_at

__all__ = ["Macs", "Pruning", "default_blocks", "encoder_macs", "keep_rate_at", "kept_count", "uniform"]
