"""The exported language model against the torch one: any length, in pieces, step by step, and the search on top."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from sonopsis.decoding import DecodingOptions, Sampling, decode
from sonopsis.engines.exported import ExportedStepper
from sonopsis.engines.runners import OnnxRunner, OpenVinoRunner, Runner
from sonopsis.graphs.names import PREFILL, STEP
from sonopsis.graphs.write import write_lm_graphs
from sonopsis.mamba2 import Mamba2Config, Mamba2LM

CONFIGS = {
    "one group": Mamba2Config(width=32, depth=3, vocab_size=40, state=16, head_dim=8),
    "groups, untied": Mamba2Config(
        width=24, depth=2, vocab_size=30, state=12, head_dim=4, groups=3, conv=3, chunk=16, tie_embeddings=False
    ),
}


@pytest.fixture(params=list(CONFIGS))
def exported(request: Any, tmp_path: Path) -> tuple[Mamba2LM, Path]:
    torch.manual_seed(0)
    lm = Mamba2LM(CONFIGS[request.param]).eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    lm.save(tmp_path)
    write_lm_graphs(lm.config, tmp_path / "model.safetensors")
    return lm, tmp_path


def decoder(lm: Mamba2LM, folder: Path, kind: type = OnnxRunner) -> ExportedStepper:
    def open_runner(name: str) -> Runner:
        if kind is OnnxRunner:
            return OnnxRunner(folder / name, 1)
        return OpenVinoRunner(folder / name, "float32", 1)

    return ExportedStepper(lm.config, open_runner(PREFILL), open_runner(STEP))


@pytest.mark.parametrize("length", [1, 15, 16, 17, 64, 65, 200, 700])  # 700 is read in two pieces
def test_prefill_of_any_length(exported: tuple[Mamba2LM, Path], length: int) -> None:
    lm, folder = exported
    embeds = torch.randn(2, length, lm.config.width, generator=torch.Generator().manual_seed(length))
    cache = lm.new_cache(2)
    expected = lm.prefill(embeds=embeds, cache=cache).numpy()
    exported_lm = decoder(lm, folder)
    np.testing.assert_allclose(exported_lm.prefill(embeds.numpy()), expected, atol=2e-4)
    for layer in range(lm.config.depth):
        np.testing.assert_allclose(exported_lm._state[f"conv_{layer}"], cache.conv[layer], atol=2e-4)
        np.testing.assert_allclose(exported_lm._state[f"ssm_{layer}"], cache.ssm[layer], atol=2e-4)


def test_steps_after_a_prompt(exported: tuple[Mamba2LM, Path]) -> None:
    lm, folder = exported
    embeds = torch.randn(3, 20, lm.config.width, generator=torch.Generator().manual_seed(1))
    cache = lm.new_cache(3)
    lm.prefill(embeds=embeds, cache=cache)
    exported_lm = decoder(lm, folder)
    exported_lm.prefill(embeds.numpy())
    generator = np.random.default_rng(0)
    for number in range(12):
        ids = generator.integers(0, lm.config.vocab_size, 3)
        if number == 6:
            rows = np.array([2, 0, 0])
            cache.reorder(torch.from_numpy(rows))
            exported_lm.reorder(rows)
        expected = lm.step(torch.from_numpy(ids), cache).numpy()
        np.testing.assert_allclose(exported_lm.step(ids), expected, atol=2e-4)


@pytest.mark.parametrize("kind", [OnnxRunner, OpenVinoRunner])
def test_the_search_finds_the_same_on_both(exported: tuple[Mamba2LM, Path], kind: type) -> None:
    lm, folder = exported
    embeds = torch.randn(2, 9, lm.config.width, generator=torch.Generator().manual_seed(2))
    for options in ({}, {"beams": 3}, {"sampling": Sampling(0.8, samples=4)}):
        expected = lm.generate(embeds=embeds, max_new_tokens=8, **options)  # type: ignore[arg-type]
        found = decode(decoder(lm, folder, kind), embeds.numpy(), DecodingOptions(max_new_tokens=8, **options))  # type: ignore[arg-type]
        for ours, theirs in zip(found, expected, strict=True):
            assert [hypothesis.ids for hypothesis in ours] == [hypothesis.ids for hypothesis in theirs]
            np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], atol=2e-4)


def test_onnxruntime_alone_is_enough(exported: tuple[Mamba2LM, Path]) -> None:
    """The graphs need nothing of ours: states in, states out, by the names the documentation gives."""
    lm, folder = exported
    session = onnxruntime.InferenceSession(folder / STEP, providers=["CPUExecutionProvider"])
    config = lm.config
    inputs: dict[str, Any] = {"ids": np.array([3])}
    for layer in range(config.depth):
        inputs[f"conv_{layer}"] = np.zeros((1, config.conv - 1, config.conv_channels), np.float32)
        inputs[f"ssm_{layer}"] = np.zeros((1, config.heads, config.head_dim, config.state), np.float32)
    assert {value.name for value in session.get_inputs()} == set(inputs)
    (logits,) = session.run(["logits"], inputs)
    np.testing.assert_allclose(logits, lm(torch.tensor([[3]]))[:, 0].detach(), atol=2e-4)
