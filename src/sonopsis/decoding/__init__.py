"""How next-token scores become sentences: options, rules, search, sampling, consensus. NumPy only."""

from sonopsis.decoding.options import DecodingOptions
from sonopsis.decoding.sampling import Sampling
from sonopsis.decoding.search import Hypothesis, Stepper, beam_search, decode, greedy, sample

__all__ = ["DecodingOptions", "Hypothesis", "Sampling", "Stepper", "beam_search", "decode", "greedy", "sample"]
