"""The language model of a captioner: our Mamba-2, or a causal one of transformers."""

from sonopsis.captioning.config import LMConfig
from sonopsis.causal.config import CausalConfig
from sonopsis.causal.model import CausalLM
from sonopsis.lora.targets import LanguageModel
from sonopsis.mamba2.model import Mamba2LM

__all__ = ["LanguageModel", "new_language_model"]


def new_language_model(config: LMConfig) -> LanguageModel:
    """A language model of these sizes with newly drawn weights."""
    return CausalLM(config) if isinstance(config, CausalConfig) else Mamba2LM(config)
