"""Forking and reordering what a model remembers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sonopsis.mamba2 import Cache, Mamba2Config, Mamba2LM


def test_forks_are_independent(lm: Mamba2LM, ids: Tensor, assert_rounded: Callable[..., None]) -> None:
    """Read once, continue twice: each continuation is as if it had read everything itself."""
    cache = lm.new_cache(2)
    lm.prefill(ids[:, :15], cache=cache)
    other = cache.fork()
    kept = cache.ssm.clone()
    first = lm.step(ids[:, 15], other)
    assert torch.equal(cache.ssm, kept)
    second = lm.step(ids[:, 16], cache)
    with torch.no_grad():
        assert_rounded(first, lm(ids[:, :16], last_only=True), lm)
        again = torch.cat([ids[:, :15], ids[:, 16:17]], dim=1)
        assert_rounded(second, lm(again, last_only=True), lm)


def test_reorder_repeats_and_drops_rows(lm: Mamba2LM, ids: Tensor) -> None:
    cache = lm.new_cache(2)
    lm.prefill(ids, cache=cache)
    expected = lm.step(ids[:, 0], cache.fork())
    cache.reorder([1, 1, 0])
    assert cache.batch == 3
    logits = lm.step(ids[[1, 1, 0], 0], cache)
    torch.testing.assert_close(logits, expected[[1, 1, 0]], atol=1e-5, rtol=0)
    assert torch.equal(cache.ssm[:, 0], cache.ssm[:, 1])
    cache.reorder(torch.tensor([2]))
    assert cache.batch == 1


def test_saved_and_resumed(lm: Mamba2LM, ids: Tensor, tmp_path: Path) -> None:
    cache = lm.new_cache(2)
    lm.prefill(ids, cache=cache)
    cache.save(tmp_path / "read.safetensors")
    resumed = Cache.load(tmp_path / "read.safetensors")
    assert torch.equal(lm.step(ids[:, 0], resumed), lm.step(ids[:, 0], cache))
    lm.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"Cache\.save"):
        Cache.load(tmp_path / "model" / "model.safetensors")
    with pytest.raises(ValueError, match=r"Cache\.save"):
        Cache.load(tmp_path / "model" / "config.json")


def test_size_does_not_depend_on_the_length(lm: Mamba2LM, ids: Tensor) -> None:
    cache = lm.new_cache(2)
    size = cache.nbytes
    config = lm.config
    per_layer = (config.conv - 1) * config.conv_channels + config.inner * config.state
    assert size == 4 * 2 * config.depth * per_layer
    for _ in range(3):
        lm.prefill(ids, cache=cache)
    assert cache.nbytes == size


def test_published_size_of_the_130m_state() -> None:
    config = Mamba2Config(width=768, depth=24, vocab_size=50288)
    columns = config.depth * config.conv_channels  # published counts hold the current input of the convolution too
    assert Cache.new(config, device="meta").nbytes // 4 + columns == 4_890_624


def test_usable_across_inference_mode(lm: Mamba2LM, ids: Tensor) -> None:
    with torch.inference_mode():
        cache = lm.new_cache(2)
        lm.prefill(ids, cache=cache)
        cache.reorder([1, 0])
        cache = cache.fork()
    lm(ids, cache=cache).sum().backward()
    assert lm.backbone.embedding.weight.grad is not None


def test_many_continuations_of_one_prefix(lm: Mamba2LM, ids: Tensor, tmp_path: Path) -> None:
    """A prompt read once, stored, and asked questions of different lengths: as if each had been read from the start."""
    cache = lm.new_cache(1)
    lm.prefill(ids[:1], cache=cache)
    cache.save(tmp_path / "read.safetensors")
    stored = Cache.load(tmp_path / "read.safetensors")
    questions = [[3, 9, 4], [7], [5, 5, 5, 5, 8]]
    many = stored.fork(3)
    assert many.batch == 3
    for beams in (1, 3):
        found = lm.generate(questions, cache=many, max_new_tokens=6, beams=beams)
        for question, hypotheses in zip(questions, found, strict=True):
            alone = lm.generate([ids[0].tolist() + question], max_new_tokens=6, beams=beams)[0]
            assert [h.ids for h in hypotheses] == [h.ids for h in alone]
            assert [h.score for h in hypotheses] == pytest.approx([h.score for h in alone], abs=1e-4)
    assert torch.equal(many.ssm[:, 2:], cache.ssm) and torch.equal(many.conv[:, :1], cache.conv)
    with pytest.raises(ValueError, match="copies"):
        cache.fork(0)


def test_copies_of_a_batch_stand_together(lm: Mamba2LM, ids: Tensor) -> None:
    cache = lm.new_cache(2)
    lm.prefill(ids, cache=cache)
    assert torch.equal(cache.fork(2).ssm, cache.ssm[:, [0, 0, 1, 1]])


def test_caches_of_other_models_are_refused(lm: Mamba2LM, ids: Tensor) -> None:
    for sizes in ({"depth": 2}, {"state": 8}, {"conv": 3}):
        config = Mamba2Config.from_dict({**lm.config.to_dict(), **sizes})
        with pytest.raises(ValueError, match="another model's"):
            lm(ids, cache=Cache.new(config, 2))
        with pytest.raises(ValueError, match="another model's"):
            lm.generate(ids, cache=Cache.new(config, 2), max_new_tokens=2)
