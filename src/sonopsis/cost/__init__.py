"""What an encoder costs under a pruning: multiply-accumulates, and the keep rate that meets a budget."""

from sonopsis.cost.budget import for_budget
from sonopsis.cost.latency import for_latency
from sonopsis.cost.macs import Macs, encoder_macs

__all__ = ["Macs", "encoder_macs", "for_budget", "for_latency"]
