"""Adapters go to PEFT and come back: the same files mean the same logits in both."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sonopsis import lora
from sonopsis.lora import LoRAConfig
from sonopsis.mamba2 import Mamba2Config, Mamba2LM

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

CONFIG = Mamba2Config(width=32, depth=3, vocab_size=61, state=16, head_dim=16, groups=2, chunk=8)
PARTS = ("in_proj.z", "in_proj.x", "in_proj.B", "in_proj.C", "in_proj.dt")


def ours() -> Mamba2LM:
    """Random weights in every place, so that each part of a projection matters."""
    torch.manual_seed(0)
    lm = Mamba2LM(CONFIG)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return lm.eval()


def theirs() -> Any:
    """transformers' model with the weights of `ours`."""
    model = transformers.Mamba2ForCausalLM(
        transformers.Mamba2Config(
            hidden_size=CONFIG.width,
            num_hidden_layers=CONFIG.depth,
            vocab_size=CONFIG.vocab_size,
            num_heads=CONFIG.heads,
            head_dim=CONFIG.head_dim,
            state_size=CONFIG.state,
            n_groups=CONFIG.groups,
            tie_word_embeddings=True,
        )
    )
    state = ours().state_dict()
    state["backbone.embeddings.weight"] = state["lm_head.weight"] = state.pop("backbone.embedding.weight")
    model.load_state_dict(state)
    return model.eval()


class Plain(nn.Module):
    """Our model as a module of no family, which is what PEFT asks for before it puts adapters on `out_proj`."""

    def __init__(self) -> None:
        super().__init__()
        lm = ours()
        self.backbone, self.lm_head = lm.backbone, lm.lm_head
        self.lm = [lm]  # in a list: its modules shall have no other names

    def forward(self, ids: Tensor) -> Tensor:
        return self.lm[0](ids)


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 61, (2, 13), generator=torch.Generator().manual_seed(1))


def shake(model: nn.Module) -> None:
    """Adapters as training might leave them."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def trained(targets: tuple[str, ...], folder: Path, **options: float) -> Mamba2LM:
    """Our model with adapters that are saved in the folder."""
    lm = ours()
    lora.attach(lm, LoRAConfig(rank=4, targets=targets, **options))  # type: ignore[arg-type]
    shake(lm)
    lora.save(lm, folder)
    return lm


@pytest.mark.parametrize("targets", [("in_proj",), ("in_proj.B",), PARTS])
@torch.no_grad()
def test_peft_reads_ours_on_transformers(ids: Tensor, targets: tuple[str, ...], tmp_path: Path) -> None:
    lm = trained(targets, tmp_path, alpha=7.0)
    base = theirs()
    before = base(ids).logits
    adapted = peft.PeftModel.from_pretrained(base, tmp_path)
    assert (adapted(ids).logits - before).abs().max() > 1e-2
    torch.testing.assert_close(adapted(ids).logits, lm(ids), atol=1e-4, rtol=0)
    torch.testing.assert_close(adapted.merge_and_unload()(ids).logits, lm(ids), atol=1e-4, rtol=0)


@pytest.mark.parametrize("targets", [("out_proj",), ("in_proj", "out_proj"), (*PARTS, "out_proj")])
@torch.no_grad()
def test_peft_reads_ours_on_out_proj(ids: Tensor, targets: tuple[str, ...], tmp_path: Path) -> None:
    lm = trained(targets, tmp_path)
    fields = json.loads((tmp_path / "adapter_config.json").read_text())
    assert "out_proj" in fields["target_modules"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields | {"task_type": None}))  # Plain generates nothing
    torch.testing.assert_close(peft.PeftModel.from_pretrained(Plain(), tmp_path)(ids), lm(ids), atol=1e-5, rtol=0)


def test_peft_refuses_out_proj_of_mamba2(tmp_path: Path) -> None:
    """The reason why the test above needs a module without `model_type`; where this fails, docs can promise more."""
    trained(("out_proj",), tmp_path)
    with pytest.raises(ValueError, match="out_proj"):
        peft.PeftModel.from_pretrained(theirs(), tmp_path)


@torch.no_grad()
def test_ours_reads_peft_on_transformers(ids: Tensor, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, lora_alpha=6, lora_dropout=0.1, target_modules=["in_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(theirs(), config).eval()
    shake(adapted)
    adapted.save_pretrained(tmp_path)
    lm = ours()
    before = lm(ids)
    lora.load(lm, tmp_path)
    assert (lm(ids) - before).abs().max() > 1e-2
    torch.testing.assert_close(lm(ids), adapted(ids).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("patterns", [{}, {"rank_pattern": {"out_proj": 3}, "alpha_pattern": {"in_proj": 5}}])
@torch.no_grad()
def test_ours_reads_peft_on_both(ids: Tensor, patterns: dict[str, Any], tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=["in_proj", "out_proj"], **patterns)
    adapted = peft.get_peft_model(Plain(), config).eval()
    shake(adapted)
    adapted.save_pretrained(tmp_path)
    lm = ours()
    lora.load(lm, tmp_path)
    assert lora.coverage(lm).adapters == {"in_proj": 3, "out_proj": 3}
    torch.testing.assert_close(lm(ids), adapted(ids), atol=1e-5, rtol=0)


def test_a_file_goes_round(ids: Tensor, tmp_path: Path) -> None:
    """Ours, through PEFT, and back to ours: not a bit is lost."""
    trained(("in_proj",), tmp_path / "ours")
    peft.PeftModel.from_pretrained(theirs(), tmp_path / "ours").save_pretrained(tmp_path / "peft")
    first, second = ours(), ours()
    lora.load(first, tmp_path / "ours")
    lora.load(second, tmp_path / "peft")
    assert torch.equal(first(ids), second(ids))


@pytest.mark.parametrize("targets", [None, ("query_key_value", "dense")])
@torch.no_grad()
def test_peft_reads_ours_on_another_language_model(targets: tuple[str, ...] | None, tmp_path: Path) -> None:
    """GPT-NeoX, whose projections have biases; PEFT puts the adapters on transformers' own model."""
    from sonopsis.causal.source import sized

    torch.manual_seed(0)
    lm = sized("gpt_neox", 32, 2, 4, 61, 0).eval()
    base = copy.deepcopy(lm.model)
    lora.attach(lm, LoRAConfig(rank=4, alpha=7, targets=targets))
    shake(lm)
    lora.save(lm, tmp_path)
    prompt = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(1))
    expected, before = lm.logits(prompt, 9), base(inputs_embeds=prompt).logits
    assert (expected - before).abs().max() > 1e-2
    adapted = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    torch.testing.assert_close(adapted(inputs_embeds=prompt).logits, expected, atol=1e-5, rtol=0)
    lora.merge(lm)
    lora.detach(lm)
    torch.testing.assert_close(lm.logits(prompt, 9), expected, atol=1e-5, rtol=0)
    assert all(type(one) is nn.Linear for one in lm.modules() if isinstance(one, nn.Linear))
