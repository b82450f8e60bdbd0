"""What a language model of transformers is, as data: it goes to JSON and back, and what cannot be is refused."""

import json
from typing import Any

import pytest

from sonopsis.captioning.config import read_lm_config
from sonopsis.causal.config import CausalConfig
from sonopsis.mamba2.config import Mamba2Config

LLAMA = {"model_type": "llama", "hidden_size": 8}


def test_it_goes_to_json_and_back() -> None:
    config = CausalConfig(8, 20, LLAMA, token_count=17)
    again = read_lm_config(json.loads(json.dumps(config.to_dict())))
    assert again == config and again.padding_ids == range(17, 20)
    assert (config.architecture, CausalConfig(8, 20, LLAMA).padding_ids) == ("llama", range(20, 20))
    mamba = Mamba2Config(16, 1, 20, head_dim=8)
    assert read_lm_config(mamba.to_dict()) == mamba


def test_where_a_model_came_from_is_left_out() -> None:
    found = CausalConfig(8, 20, {**LLAMA, "_name_or_path": "/home/me", "auto_map": {"a": "b"}, "dtype": "bfloat16"})
    assert found.transformers == LLAMA


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 0}, "width"),
        ({"token_count": 21}, "token_count"),
        ({"transformers": {"hidden_size": 8}}, "model_type"),
        ({"heads": 2}, "heads"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CausalConfig.from_dict({"width": 8, "vocab_size": 20, "transformers": LLAMA, **fields})
    with pytest.raises(ValueError, match="vocab_size"):
        CausalConfig.from_dict({"width": 8, "transformers": LLAMA})
