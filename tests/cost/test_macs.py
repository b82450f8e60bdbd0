"""MACs against the published counts, and against what the encoder is seen to multiply."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sonopsis.cost import encoder_macs
from sonopsis.cost.macs import patch_counts, stem_macs
from sonopsis.encoder import PRESETS, Encoder, EncoderConfig, Head
from sonopsis.encoder.config import whisper_config
from sonopsis.pruning import Pruning, uniform

# GMACs of arXiv 2504.01690's models by its formula: keep rate -> columns of COLUMNS.
COLUMNS = [
    (preset, frames, labels)
    for preset in ("audiomae", "ast", "ast_stride10")
    for frames, labels in ((1024, 527), (512, 50), (128, 35))
]
TABLE = {
    1.0: (48.523, 23.096, 5.611, 48.627, 23.190, 5.699, 130.514, 57.928, 12.822),
    0.9: (41.755, 20.010, 4.933, 41.857, 20.103, 5.020, 111.139, 49.769, 11.153),
    0.8: (36.008, 17.283, 4.296, 36.108, 17.375, 4.383, 95.188, 42.882, 9.704),
    0.75: (33.441, 16.059, 3.946, None, None, None, 88.296, 39.872, 8.991),
    0.7: (31.187, 15.008, 3.719, 31.285, 15.100, 3.806, 82.109, 37.076, 8.404),
    0.65: (29.037, 13.983, 3.492, None, None, None, 76.432, 34.575, 7.880),
    0.6: (27.084, 13.044, 3.265, 27.180, 13.135, 3.352, 71.319, 32.231, 7.357),
    0.5: (23.638, 11.361, 2.810, 23.733, 11.451, 2.897, 62.433, 28.186, 6.393),
}


@pytest.mark.parametrize("keep_rate", TABLE)
def test_reference_macs_equal_the_published_counts(keep_rate: float) -> None:
    for (preset, frames, labels), expected in zip(COLUMNS, TABLE[keep_rate], strict=True):
        if expected is not None:
            macs = encoder_macs(PRESETS[preset], frames, keep_rate, labels)
            assert round(macs.reference, 3) == expected, (preset, frames)


@pytest.mark.parametrize(
    ("preset", "executed"),
    [
        ("ast", {1.0: 45.20, 0.7: 29.59, 0.5: 22.56}),
        ("ast_stride10", {1.0: 121.1, 0.7: 77.3, 0.5: 58.8}),
        ("audiomae", {1.0: 47.31, 0.7: 30.46, 0.5: 23.09}),
    ],
)
def test_executed_macs_leave_out_what_no_output_needs(preset: str, executed: dict[float, float]) -> None:
    digits = 1 if preset == "ast_stride10" else 2
    for keep_rate, expected in executed.items():
        assert round(encoder_macs(PRESETS[preset], 1024, keep_rate, 527).executed, digits) == expected


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("score", ["cls", "attention"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("keep", [{}, {0: 0.7, 1: 0.6}, {1: 0.5, 2: 0.5}], ids=["all", "early", "last too"])
def test_counts_equal_what_torch_is_seen_to_multiply(
    stem: Any, score: Any, pooling: Any, norm: Any, keep: dict[int, float]
) -> None:
    config = EncoderConfig(
        "sonopsis", 32, 3, 4, frames=64, mlp_ratio=3, stem=stem, score=score, pooling=pooling, norm=norm
    )
    encoder, head = Encoder(config).eval(), Head(32, 7)
    mel, pruning = torch.randn(1, 48, 128), Pruning(keep)
    macs = encoder_macs(config, 48, pruning, 7)

    def seen(**arguments: bool) -> float:
        counter = FlopCounterMode(display=False)
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
            head(encoder.pool(encoder(mel, pruning, **arguments)))
        return counter.get_total_flops() / 2

    assert seen(pooled_only=True) == round(macs.executed * 1e9)
    if score == "attention" or not keep:  # the cls score needs one more row than the attention itself
        assert seen(collect_dropped=True) == round(macs.reference * 1e9)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize(
    "changes", [{}, {"token_norm": False}, {"layer_weights": True}, {"token_norm": False, "pooling": "layers"}], ids=str
)
@pytest.mark.parametrize("keep", [{}, {0: 0.7, 1: 0.6}, {1: 0.5, 2: 0.5}], ids=["all", "early", "last too"])
def test_counts_of_whisper_equal_what_torch_is_seen_to_multiply(
    keep: dict[int, float], changes: dict[str, bool], mels: int
) -> None:
    config = replace(whisper_config(32, 3, 4, mels, frames=64), **changes)
    encoder, pruning = Encoder(config).eval(), Pruning(keep)
    head = Head(32, 7, further=config.pooled_width - 32)
    macs = encoder_macs(config, 48, pruning, 7)
    for arguments, expected in (({"pooled_only": True}, macs.executed), ({"collect_dropped": True}, macs.reference)):
        counter = FlopCounterMode(display=False)
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
            head(encoder.pool(encoder(torch.randn(1, 48, mels), pruning, **arguments)))
        assert counter.get_total_flops() / 2 == round(expected * 1e9)


def test_patches_left_after_the_default_blocks() -> None:
    expected = {  # 512, 256, 64 and 1212 patches
        ("ast", 1024): {0.9: (461, 415, 374), 0.8: (410, 328, 263), 0.7: (359, 252, 177), 0.6: (308, 185, 111)},
        ("ast", 512): {0.9: (231, 208, 188), 0.8: (205, 164, 132), 0.7: (180, 126, 89), 0.5: (128, 64, 32)},
        ("ast", 128): {0.9: (58, 53, 48), 0.8: (52, 42, 34), 0.7: (45, 32, 23), 0.6: (39, 24, 15)},
        ("ast_stride10", 1024): {0.9: (1091, 982, 884), 0.7: (849, 595, 417), 0.5: (606, 303, 152)},
    }
    for (preset, frames), rates in expected.items():
        for rate, counts in rates.items():
            config = PRESETS[preset]
            left = patch_counts(config, frames, uniform(config.depth, rate))
            assert (left[3], left[6], left[9]) == counts
            assert left[0] == math.prod(config.grid(frames)) and left[11] == left[9]


def test_the_small_model_spends_little_on_its_stem() -> None:
    small = PRESETS["small"]
    assert stem_macs(small, 1024) / 1e9 < 0.15 * encoder_macs(small).executed
    assert encoder_macs(small).executed < 1.2


@pytest.mark.parametrize("reduce", ["topk", "fuse", "merge", "segment", "columns", "bands"])
@pytest.mark.parametrize("score", ["cls", "value", "attention", "std"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_counts_of_every_reducer_equal_what_torch_is_seen_to_multiply(reduce: Any, score: Any, pooling: Any) -> None:
    config = EncoderConfig("sonopsis", 32, 4, 4, frames=64, pooling=pooling)
    encoder, head = Encoder(config).eval(), Head(32, 7)
    pruning, counter = Pruning({0: 0.7, 2: 0.3}, score, reduce), FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        head(encoder.pool(encoder(torch.randn(1, 48, 128), pruning, pooled_only=True)))
    assert counter.get_total_flops() / 2 == round(encoder_macs(config, 48, pruning, 7).executed * 1e9)


def test_mass_never_costs_more_than_counted() -> None:
    config = EncoderConfig("sonopsis", 32, 4, 4, frames=64)
    encoder, pruning = Encoder(config).eval(), Pruning({0: 0.7, 2: 0.7}, reduce="mass")
    counts = patch_counts(config, 48, pruning)
    with torch.inference_mode():
        stages = encoder(torch.randn(3, 48, 128), pruning).stages
    assert stages[0].shape[1] <= counts[0] and stages[1].shape[1] <= counts[2]
