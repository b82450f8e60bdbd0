"""Encoder configs as files, and contradictions refused."""

import json
from typing import Any

import pytest

from sonopsis.encoder import PRESETS, EncoderConfig


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_json(preset: str) -> None:
    config = PRESETS[preset]
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("preset", "frames", "grid"),
    [
        ("ast", 1024, (64, 8)),
        ("ast_stride10", 1024, (101, 12)),
        ("ast_stride10", 512, (50, 12)),
        ("ast_stride10", 128, (12, 12)),
        ("eat", 512, (32, 8)),
        ("small", 1024, (64, 4)),
        ("small", 16, (1, 4)),
        ("whisper-tiny", 3000, (1500, 1)),
        ("whisper-large-v3", 2, (1, 1)),
    ],
)
def test_grid(preset: str, frames: int, grid: tuple[int, int]) -> None:
    assert PRESETS[preset].grid(frames) == grid


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown encoder fields \['layers'\]; known: \['depth'"):
        EncoderConfig.from_dict({**PRESETS["small"].to_dict(), "layers": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, "multiple of heads"),
        ({"width": 30, "heads": 3}, "multiple of 4"),
        ({"norm": "none"}, "choose one of"),
        ({"pooling": "cls_dist"}, "prefix_tokens >= 2"),
        ({"prefix_tokens": 0, "pooling": "mean"}, "prefix_tokens >= 1"),
        ({"stride": (32, 32)}, "skip input"),
        ({"stride": (10, 10), "stem": "conv"}, "patch == stride"),
        ({"patch": (16, 24), "stride": (16, 24)}, "do not tile 128"),
        ({"frames": 1000}, "multiples of 16"),
        ({"drop_path": 1.0}, r"\[0, 1\)"),
        ({"stem": "conv1d", "position": "sinusoid"}, "tokens of 2 frames and all 128 Mel bins"),
        ({"position": "sinusoid"}, "stem 'conv1d'"),
        ({"token_norm": True}, "pooling 'mean'"),
        ({"layer_weights": True}, "that reads patches"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"family": "sonopsis", "width": 32, "depth": 2, "heads": 4, **changes}
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**fields)
