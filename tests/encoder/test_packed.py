"""Weights packed for oneDNN give the same tokens; what cannot be packed is left alone."""

from dataclasses import replace

import pytest
import torch

from sonopsis.encoder import PRESETS, Encoder, EncoderConfig
from sonopsis.encoder import packed as module
from sonopsis.encoder.packed import pack
from sonopsis.pruning import uniform

LARGE = replace(PRESETS["ast"], width=384, heads=6, depth=4, frames=64)


def encoder(config: EncoderConfig) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config).eval()


@pytest.mark.parametrize("family", ["ast", "audiomae", "eat"])
@pytest.mark.parametrize("rate", [1.0, 0.6])
@pytest.mark.parametrize("pooled_only", [True, False])
def test_the_same_tokens(family: str, rate: float, pooled_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_best", lambda runs: [1.0, 2.0])  # whatever this machine would say
    config = replace(PRESETS[family], width=384, heads=6, depth=4, frames=64)
    plain, fast = encoder(config), encoder(config)
    if not pack(fast):
        pytest.skip("this build of torch has no such operators")
    mel = torch.randn(2, 64, 128)
    with torch.inference_mode():
        expected, found = (one(mel, uniform(4, rate), pooled_only=pooled_only) for one in (plain, fast))
        assert torch.allclose(plain.pool(expected), fast.pool(found), atol=1e-5)
    for stage, other in zip(expected.stages, found.stages, strict=True):
        assert torch.equal(stage, other)
    assert list(plain.state_dict()) == list(fast.state_dict())


def test_changed_weights_are_never_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in (
        lambda one: one.train(),
        lambda one: one.double(),
        lambda one: one.load_state_dict(encoder(replace(LARGE, norm_eps=1e-5)).state_dict()),
    ):
        monkeypatch.setattr(module, "_best", lambda runs: [1.0, 2.0])
        large = encoder(LARGE)
        if not pack(large):
            pytest.skip("this build of torch has no such operators")
        change(large)
        assert all(block.attn.packed is None for block in large.blocks)


def test_what_does_not_pay_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    small = encoder(PRESETS["small"])
    assert not pack(small)
    large = encoder(LARGE)
    monkeypatch.setattr(module, "_best", lambda runs: [1.0, 1.0])
    assert not pack(large)
    assert not pack(large.to(torch.bfloat16))
    assert all(block.attn.packed is None for block in (*small.blocks, *large.blocks))


def test_an_operator_that_is_wrong_or_missing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    large = encoder(LARGE)
    monkeypatch.setattr(module.Packed, "__call__", lambda self, y: torch.zeros(*y.shape[:2], 4 * 384))
    assert not pack(large)

    def missing(self: object, *arguments: object, **options: object) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    monkeypatch.setattr(module.Packed, "__init__", missing)
    assert not pack(large)
