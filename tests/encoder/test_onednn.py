"""Weights laid out for oneDNN give the same tokens; what cannot be laid out is left alone."""

from dataclasses import replace

import pytest
import torch

from sonopsis.encoder import PRESETS, Encoder, EncoderConfig
from sonopsis.encoder import onednn as module
from sonopsis.encoder.onednn import make_fast
from sonopsis.processor import Processor
from sonopsis.pruning import uniform

LARGE = replace(PRESETS["ast"], width=384, heads=6, depth=4, frames=64)
AMD = Processor("a processor of AMD", "AuthenticAMD", frozenset({"avx2"}))


@pytest.fixture(autouse=True)
def on_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sees a processor of AMD, whatever the machine."""
    monkeypatch.setattr(module, "processor", lambda: AMD)


def encoder(config: EncoderConfig) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config).eval()


def has_fast_form(one: Encoder) -> list[bool]:
    return [part.fast is not None for block in one.blocks for part in (block, block.attn)]


def large() -> Encoder:
    made = encoder(LARGE)
    if not make_fast(made):
        pytest.skip("this build of torch has no such operators")
    return made


@pytest.mark.parametrize("family", ["ast", "audiomae", "eat"])
@pytest.mark.parametrize("rate", [1.0, 0.6])
@pytest.mark.parametrize("pooled_only", [True, False])
def test_the_same_tokens(family: str, rate: float, pooled_only: bool) -> None:
    config = replace(PRESETS[family], width=384, heads=6, depth=4, frames=64)
    plain, fast = encoder(config), encoder(config)
    if not make_fast(fast):
        pytest.skip("this build of torch has no such operators")
    assert all(has_fast_form(fast)) and not any(has_fast_form(plain))
    mel = torch.randn(2, 64, 128)
    with torch.inference_mode():
        expected, found = (one(mel, uniform(4, rate), pooled_only=pooled_only) for one in (plain, fast))
        assert torch.allclose(plain.pool(expected), fast.pool(found), atol=1e-5)
    for stage, other in zip(expected.stages, found.stages, strict=True):
        assert torch.equal(stage, other)
    assert list(plain.state_dict()) == list(fast.state_dict())


def test_a_change_of_the_weights_deletes_their_fast_form() -> None:
    for change in (
        lambda one: one.train(),
        lambda one: one.double(),
        lambda one: one.load_state_dict(encoder(replace(LARGE, norm_eps=1e-5)).state_dict()),
    ):
        changed = large()
        change(changed)
        assert not any(has_fast_form(changed))


def test_inference_mode_keeps_the_fast_form() -> None:
    assert all(has_fast_form(large().eval()))


def test_what_would_not_gain_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    small = encoder(PRESETS["small"])
    assert not make_fast(small)
    half = encoder(LARGE).to(torch.bfloat16)
    assert not make_fast(half)
    monkeypatch.setattr(module, "processor", lambda: replace(AMD, vendor="GenuineIntel"))
    intel = encoder(LARGE)
    assert not make_fast(intel)
    assert not any(has_fast_form(small) + has_fast_form(half) + has_fast_form(intel))


def test_an_operator_that_is_wrong_or_missing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    one = encoder(LARGE)
    monkeypatch.setattr(module.FastLinear, "__call__", lambda self, y: torch.zeros(*y.shape[:2], 4 * 384))
    assert not make_fast(one)

    def missing(self: object, *arguments: object, **options: object) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    monkeypatch.setattr(module.FastLinear, "__init__", missing)
    assert not make_fast(one)
    assert not any(has_fast_form(one))
