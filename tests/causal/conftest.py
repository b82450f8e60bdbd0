"""What tests of causal language models share: tiny ones of several architectures, all weights random."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sonopsis.causal.model import CausalLM

pytest.importorskip("transformers")

MORE: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},  # fewer keys than queries
    "gpt_neox": {"tie_word_embeddings": False},  # biases, partial rotation, a head of its own
    "gpt2": {},  # learned positions
    "mamba": {"state_size": 4},  # no attention: a recurrent state
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0},  # something between the last state and the logits
}
TOKENS = 61


@pytest.fixture
def make_causal() -> Callable[..., CausalLM]:
    """A model of an architecture whose parameters are all random, so that no term hides behind a zero or a one."""
    from sonopsis.causal.source import sized

    def make(architecture: str, spread: float = 0.2) -> CausalLM:
        torch.manual_seed(0)
        lm = sized(architecture, 32, 2, 4, TOKENS, 0, MORE[architecture])
        with torch.no_grad():
            for parameter in lm.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=spread)
        return lm.eval()

    return make


@pytest.fixture
def prefix() -> Tensor:
    """What a connector might have written: two prompts (2, 9, 32)."""
    return torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(1))
