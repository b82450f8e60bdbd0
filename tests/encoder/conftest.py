"""Small encoders, and a second implementation of them as plain as possible: one clip, eager attention, drop late."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sonopsis.encoder import Encoder, EncoderConfig

Make = Callable[..., Encoder]


@pytest.fixture
def plain_encode() -> Callable[..., dict[str, Any]]:
    """(state, config, clip (T, M), {block: patches that survive it}, score) -> what the encoder should return."""
    return _plain_encode


def _plain_encode(
    state: dict[str, Tensor], config: EncoderConfig, mel: Tensor, keep: dict[int, int], score: str
) -> dict[str, Any]:
    """One clip (T, M) through a patch-stem encoder; `keep` is block -> number of patches that survive it."""
    width, prefix = config.width, config.prefix_tokens
    (pt, pf), (st, sf) = config.patch, config.stride
    time, frequency = (mel.shape[0] - pt) // st + 1, (mel.shape[1] - pf) // sf + 1
    kernel, bias = state["stem.proj.weight"].reshape(width, -1), state["stem.proj.bias"]
    rows = [*state["prefix"][0]]
    for t in range(time):
        for f in range(frequency):
            rows.append(kernel @ mel[t * st : t * st + pt, f * sf : f * sf + pf].reshape(-1) + bias)
    x = torch.stack(rows)
    if config.position == "learned":
        x = x + state["positions"][0]
    else:
        codes = [_code(t, f, width) for t in range(time) for f in range(frequency)]
        x = x + torch.cat([torch.zeros(prefix, width), torch.tensor(codes)])

    def norm(name: str, x: Tensor) -> Tensor:
        deviation = x - x.mean(-1, keepdim=True)
        scaled = deviation / (deviation.pow(2).mean(-1, keepdim=True) + config.norm_eps).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    pre = config.norm == "pre"
    final = (lambda x: norm("norm", x)) if pre and config.pooling != "mean" else (lambda x: x)
    if not pre:
        x = norm("norm_in", x)
    cells = list(range(time * frequency))
    stages, dropped = [], torch.zeros(time * frequency, width)
    for block in range(config.depth):
        name = f"blocks.{block}"
        qkv = linear(f"{name}.attn.qkv", norm(f"{name}.norm1", x) if pre else x)
        size = width // config.heads
        outputs, matrices = [], []
        for head in range(config.heads):
            q, k, v = (qkv[:, part * width + head * size : part * width + (head + 1) * size] for part in range(3))
            matrix = F.softmax(q @ k.T / math.sqrt(size), dim=-1)
            outputs.append(matrix @ v)
            matrices.append(matrix)
        x = x + linear(f"{name}.attn.proj", torch.cat(outputs, dim=1))
        x = x if pre else norm(f"{name}.norm1", x)
        if block in keep:
            mean = torch.stack(matrices).mean(0)
            scores = mean[0, prefix:] if score == "cls" else mean[prefix:, prefix:].mean(0)
            best = sorted(range(len(cells)), key=lambda n: -scores[n].item())[: keep[block]]
            for position, cell in enumerate(cells):
                if position not in best:
                    dropped[cell] = final(x[prefix + position])
            best.sort()
            x = torch.cat([x[:prefix], x[prefix:][best]])
            cells = [cells[position] for position in best]
            stages.append(cells)
        hidden = linear(f"{name}.fc1", norm(f"{name}.norm2", x) if pre else x)
        gelu = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(f"{name}.fc2", gelu)
        x = x if pre else norm(f"{name}.norm2", x)
    x = final(x)
    pooled = {"cls": x[0], "cls_dist": x[:2].mean(0), "mean": x[prefix:].mean(0)}[config.pooling]
    return {
        "tokens": x[prefix:],
        "prefix": x[:prefix],
        "index": cells,
        "stages": stages,
        "dropped": dropped,
        "pooled": pooled,
        "grid": (time, frequency),
    }


def _code(t: int, f: int, width: int) -> list[float]:
    """The sin-cos code of one cell: frequency row in the first half, time row in the second."""
    quarter = width // 4
    out: list[float] = []
    for place in (f, t):
        angles = [place / 10000 ** (i / quarter) for i in range(quarter)]
        out += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return out
