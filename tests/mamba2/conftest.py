"""Tiny models shared by the tests of the language model."""

from collections.abc import Callable

import pytest
import torch

from sonopsis.mamba2 import Mamba2Config, Mamba2LM

SIZES = {"width": 32, "depth": 3, "vocab_size": 61, "state": 16, "head_dim": 16, "chunk": 8}


@pytest.fixture
def make_lm() -> Callable[..., Mamba2LM]:
    """A model of 3 layers whose parameters are all random, so that no term hides behind a zero or a one."""

    def make(seed: int = 0, **sizes: object) -> Mamba2LM:
        torch.manual_seed(seed)
        model = Mamba2LM(Mamba2Config.from_dict({**SIZES, **sizes}))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        return model.eval()

    return make


@pytest.fixture
def lm(make_lm: Callable[..., Mamba2LM]) -> Mamba2LM:
    return make_lm()


@pytest.fixture
def ids() -> torch.Tensor:
    """Two sequences of 21 tokens: three chunks, the last one short."""
    return torch.randint(0, SIZES["vocab_size"], (2, 21), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def peer() -> Callable[[Mamba2LM], torch.nn.Module]:
    """Makes transformers' model with the weights of ours."""
    transformers = pytest.importorskip("transformers")

    def build(lm: Mamba2LM) -> torch.nn.Module:
        config = lm.config
        other = transformers.Mamba2ForCausalLM(
            transformers.Mamba2Config(
                hidden_size=config.width,
                num_hidden_layers=config.depth,
                vocab_size=config.vocab_size,
                num_heads=config.heads,
                head_dim=config.head_dim,
                state_size=config.state,
                n_groups=config.groups,
                expand=config.expand,
                conv_kernel=config.conv,
                tie_word_embeddings=config.tie_embeddings,
                pad_token_id=0,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
        other.load_state_dict({**lm.state_dict(), "lm_head.weight": lm.lm_head.weight})
        return other.eval()

    return build
