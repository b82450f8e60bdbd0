"""SmolLM2-135M, a real pretrained Transformer: read as transformers reads it, and a captioner learns through adapters.

`make smollm2` fetches it; without it these tests are skipped.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import sonopsis
from sonopsis import lora
from sonopsis.causal.source import load
from sonopsis.data.fetch import default_root
from sonopsis.lora import LoRAConfig
from sonopsis.training import asking, captioning
from sonopsis.training.run import train
from sonopsis.training.tokens import end_of_text, read_tokenizer

FOLDER = default_root() / "pretrained" / "smollm2"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (FOLDER / "model.safetensors").is_file(), reason="needs SmolLM2: `make smollm2` fetches it"),
]


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(captioning, "VALIDATION_SCENES", 2)
    monkeypatch.setattr("sonopsis.training.run.VALIDATION_SCENES", 2)
    monkeypatch.setattr(asking, "TRAINING_SCENES", 100)
    yield


@torch.no_grad()
def test_it_says_what_transformers_says() -> None:
    transformers = pytest.importorskip("transformers")
    lm, tokenizer = load(FOLDER).eval(), read_tokenizer(FOLDER)
    assert (lm.config.width, lm.config.vocab_size, end_of_text(tokenizer)) == (576, 49152, 0)
    assert sum(parameter.numel() for parameter in lm.parameters()) == 134_515_008
    text = "The capital of France is"
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False).ids])
    peer = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    torch.testing.assert_close(lm.logits(lm.embed(ids), ids.shape[1]), peer(ids).logits, rtol=0, atol=1e-5)
    expected = peer.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    found = lm.generate(embeds=lm.embed(ids), max_new_tokens=8)[0][0].ids
    assert list(found) == expected[0, ids.shape[1] :].tolist()
    assert "Paris" in tokenizer.decode(list(found))


@pytest.mark.parametrize("rank", [8, 32])
def test_adapters_of_two_ranks(rank: int) -> None:
    lm = load(FOLDER)
    lora.attach(lm, LoRAConfig(rank=rank))
    found = lora.coverage(lm)
    assert set(found.adapters.values()) == {30} and len(found.adapters) == 7 and found.layers == 30
    widths = 2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536)  # in and out of q, o; of k, v; of the MLP
    assert found.trainable == found.adapter_parameters == rank * 30 * widths


def test_a_captioner_learns_through_adapters(root: Path, tmp_path: Path) -> None:
    keys = {
        "stage": "captioning", "output": str(tmp_path / "run"), "precision": "no", "steps": 8, "batch_size": 2,
        "warmup_steps": 1, "log_every": 1, "save_every": 100, "validate_every": 100, "ema": 0.0, "learning_rate": 2e-3,
        "encoder": {"width": 16, "depth": 4, "heads": 2, "stem": "patch"}, "data": {"root": str(root), "workers": 0},
        "connector": {"labels": 0, "pool": 8}, "language_model": "pretrained/smollm2", "lora": {"rank": 8},
        "tag_weight": 0.0, "pruning": {"schedule": "none"},
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(keys))
    folder = train(tmp_path / "run.yaml")
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["caption"] for line in logged if "caption" in line]
    assert sum(losses[-2:]) < 0.8 * sum(losses[:2])
    adapters = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert len(adapters) == 2 * 7 * 30
    sound = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    (said,) = sonopsis.load(folder).caption(sound, sample_rate=16_000, beams=2)
    assert -3 < said.score < 0  # of the mean word; a guess among all tokens would have -10.8
