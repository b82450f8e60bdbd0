"""What a run computes in: bfloat16 where the processor multiplies in it, unless its configuration says otherwise."""

from typing import Literal

import pytest
import torch

from sonopsis.processor import Processor
from sonopsis.training import precision
from sonopsis.training.config import TrainConfig


@pytest.mark.parametrize(
    ("wanted", "flags", "found"),
    [
        ("auto", {"avx2", "avx512f"}, "no"),
        ("auto", {"avx2", "avx512f", "avx512_bf16"}, "bf16"),
        ("auto", {"amx_bf16"}, "bf16"),
        ("bf16", {"avx2"}, "bf16"),
        ("no", {"amx_bf16"}, "no"),
    ],
)
def test_bfloat16_where_the_processor_has_it(
    wanted: Literal["auto", "no", "bf16"], flags: set[str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "processor", lambda: Processor("one", "", frozenset(flags)))
    assert precision.precision_of(TrainConfig("tagging", "out", precision=wanted)) == found
