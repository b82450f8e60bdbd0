"""How a language model's next-token scores become sentences: search, sampling, rules, consensus. NumPy only."""

from sonopsis.decoding.rules import Rules
from sonopsis.decoding.sampling import Sampling
from sonopsis.decoding.search import Hypothesis, Stepper, beam_search, greedy, sample, search

__all__ = ["Hypothesis", "Rules", "Sampling", "Stepper", "beam_search", "greedy", "sample", "search"]
