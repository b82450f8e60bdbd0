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
    """One clip (T, M) through an encoder with patches or Whisper's columns; `keep` is block -> how many survive it."""
    width, prefix = config.width, config.prefix_tokens
    (pt, pf), (st, sf) = config.patch, config.stride
    time, frequency = (mel.shape[0] - pt) // st + 1, (mel.shape[1] - pf) // sf + 1
    rows = [*state["prefix"][0]]
    if config.stem == "conv1d":
        rows += _convolved(state, "stem.conv2", _convolved(state, "stem.conv1", [*mel]))[::2]
    else:
        kernel, bias = state["stem.proj.weight"].reshape(width, -1), state["stem.proj.bias"]
        for t in range(time):
            for f in range(frequency):
                rows.append(kernel @ mel[t * st : t * st + pt, f * sf : f * sf + pf].reshape(-1) + bias)
    x = torch.stack(rows)
    if config.position == "sinusoid":
        x = x + torch.tensor([_time_code(t, width) for t in range(time)])
    elif config.position == "learned":
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
    final = (lambda x: norm("norm", x)) if "norm.weight" in state else (lambda x: x)
    if not pre:
        x = norm("norm_in", x)
    cells = list(range(time * frequency))
    stages, dropped = [], torch.zeros(time * frequency, width)
    layers = [x]  # what enters the first block and leaves each block, of the patches that are left
    shares = [0.0] * config.depth + [1.0]  # of each of these in a token: by default, all of the last
    if config.layer_weights:
        powers = [math.exp(weight) for weight in state["layer_weights"].tolist()]
        shares = [power / sum(powers) for power in powers]

    def summed(layers: list[Tensor]) -> Tensor:
        """The sum over layers, of which the last stands for those that have not been computed."""
        layers = [*layers, *[layers[-1]] * (config.depth + 1 - len(layers))]
        return sum(share * layer for share, layer in zip(shares, [*layers[:-1], final(layers[-1])], strict=True))

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
            last = summed([*layers, x])
            for position, cell in enumerate(cells):
                if position not in best:
                    dropped[cell] = last[prefix + position]
            best.sort()
            x, *layers = (torch.cat([rows[:prefix], rows[prefix:][best]]) for rows in (x, *layers))
            cells = [cells[position] for position in best]
            stages.append(cells)
        hidden = linear(f"{name}.fc1", norm(f"{name}.norm2", x) if pre else x)
        gelu = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(f"{name}.fc2", gelu)
        x = x if pre else norm(f"{name}.norm2", x)
        layers.append(x)
    x = summed(layers)
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


def _convolved(state: dict[str, Tensor], name: str, rows: list[Tensor]) -> list[Tensor]:
    """A convolution over three rows with zeros around them, and GELU."""
    weight, nothing = state[f"{name}.weight"], torch.zeros_like(rows[0])
    around = [nothing, *rows, nothing]
    found = []
    for t in range(len(rows)):
        out = state[f"{name}.bias"] + sum(weight[:, :, k] @ around[t + k] for k in range(3))
        found.append(out * 0.5 * (1 + torch.erf(out / math.sqrt(2))))
    return found


def _time_code(t: int, width: int) -> list[float]:
    """Whisper's code of one time step: frequencies fall from 1 to 1/10000, sines before cosines."""
    half = width // 2
    angles = [t / 10000 ** (i / (half - 1)) for i in range(half)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


def _code(t: int, f: int, width: int) -> list[float]:
    """The sin-cos code of one cell: frequency row in the first half, time row in the second."""
    quarter = width // 4
    out: list[float] = []
    for place in (f, t):
        angles = [place / 10000 ** (i / quarter) for i in range(quarter)]
        out += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return out
