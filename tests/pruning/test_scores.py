"""Scores against their definition, element by element."""

import math

import pytest
import torch

from sonopsis.pruning.scores import attention_column, attention_weights, cls_row


def heads(batch: int = 2, count: int = 3, tokens: int = 7, size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, batch, count, tokens, size, generator=generator).unbind(0)
    return q, k


def softmax_row(q: torch.Tensor, k: torch.Tensor) -> list[float]:
    logits = [sum(float(a * b) for a, b in zip(q, key, strict=True)) / math.sqrt(len(q)) for key in k]
    total = sum(math.exp(value) for value in logits)
    return [math.exp(value) / total for value in logits]


@pytest.mark.parametrize("prefix", [1, 2])
def test_scores_follow_their_definition(prefix: int) -> None:
    q, k = heads()
    weights = attention_weights(q, k)
    for clip in range(2):
        rows = [[softmax_row(q[clip, head, query], k[clip, head]) for query in range(7)] for head in range(3)]
        from_cls = [sum(rows[head][0][key] for head in range(3)) / 3 for key in range(prefix, 7)]
        assert cls_row(weights, prefix)[clip].tolist() == pytest.approx(from_cls, rel=1e-5)
        queries = range(prefix, 7)
        from_patches = [
            sum(rows[head][query][key] for head in range(3) for query in queries) / 3 / len(queries)
            for key in range(prefix, 7)
        ]
        assert attention_column(weights, prefix)[clip].tolist() == pytest.approx(from_patches, rel=1e-5)


def test_the_cls_row_needs_no_other_query() -> None:
    q, k = heads()
    assert torch.allclose(cls_row(attention_weights(q[:, :, :1], k), 2), cls_row(attention_weights(q, k), 2), atol=1e-7)


def test_scores_stay_float32_under_autocast_and_carry_no_gradient() -> None:
    q, k = heads()
    expected = attention_weights(q.bfloat16().float(), k.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        weights = attention_weights(q.bfloat16().requires_grad_(), k.bfloat16())
    assert weights.dtype == torch.float32
    assert torch.equal(weights, expected)
    assert weights.requires_grad and not cls_row(weights, 1).requires_grad
    assert not attention_column(weights, 1).requires_grad
