"""Language models from folders of transformers and from sizes; what is no causal model with weights is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis.causal.model import CausalLM
from sonopsis.causal.source import load, sized

transformers = pytest.importorskip("transformers")
Make = Callable[..., CausalLM]


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "mamba"])
@torch.no_grad()
def test_a_folder_of_transformers(architecture: str, make_causal: Make, prefix: Tensor, tmp_path: Path) -> None:
    lm = make_causal(architecture)
    lm.model.to(torch.bfloat16).save_pretrained(tmp_path)
    found = load(tmp_path).eval()
    expected = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    torch.testing.assert_close(found.logits(prefix, 9), expected(inputs_embeds=prefix).logits, rtol=0, atol=1e-5)
    assert (found.config.width, found.config.vocab_size, found.config.architecture) == (32, 61, architecture)
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float32}


def test_sizes_are_those_asked_for() -> None:
    lm = sized("llama", 128, 3, None, 70, 0)
    config = lm.model.config
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size, config.intermediate_size) == (
        128,
        3,
        70,
        512,
    )
    assert config.num_attention_heads == config.num_key_value_heads == 2  # one for each 64 of the width
    assert config.eos_token_id == config.bos_token_id == 0
    assert lm.lm_head.weight is lm.model.get_input_embeddings().weight
    other = sized("gpt2", 32, 1, 4, 70, 0, {"n_inner": 48, "resid_pdrop": 0.0})  # whose fields have other names
    assert (other.model.config.n_embd, other.model.config.n_inner, other.model.config.n_head) == (32, 48, 4)
    torch.manual_seed(3)
    first = sized("llama", 32, 1, 2, 70, 0)
    torch.manual_seed(3)
    second = sized("llama", 32, 1, 2, 70, 0)
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), second.parameters(), strict=True))
    assert first.embed(torch.arange(70)).std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    ("architecture", "more", "words"),
    [
        ("nothing", {}, "architecture 'nothing' is neither mamba2 nor a causal language model"),
        ("t5", {}, "architecture 't5' is neither"),
        ("llama", {"layers": 3}, r"fields \['layers'\] are not known .* llama; known: .*num_hidden_layers"),
        ("llama", {"hidden_act": "nothing"}, "cannot make a llama language model: .*nothing"),
        ("bert", {}, "bert looks ahead"),
    ],
)
def test_sizes_that_cannot_be(architecture: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sized(architecture, 32, 1, 2, 70, 0, more)


def test_folders_that_cannot_be_read(make_causal: Make, tmp_path: Path) -> None:
    make_causal("llama").model.save_pretrained(tmp_path)
    fields, state = json.loads((tmp_path / "config.json").read_text()), load_file(tmp_path / "model.safetensors")

    def change(**changes: Any) -> None:
        (tmp_path / "config.json").write_text(json.dumps(fields | changes))

    change(quantization_config={"quant_method": "awq"})
    with pytest.raises(ValueError, match="quantised weights"):
        load(tmp_path)
    change(model_type="nothing")
    with pytest.raises(ValueError, match=r"cannot be read as a causal language model of transformers .*nothing"):
        load(tmp_path)
    change(num_hidden_layers=3)
    with pytest.raises(ValueError, match=r"tensors are missing or of another size: .*layers\.2"):
        load(tmp_path)
    change(auto_map={"AutoModelForCausalLM": "evil.Model"}, model_type="evil")
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path)
    change()
    save_file({**state, "model.norm.weight": torch.ones(31)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"model\.norm\.weight|size"):
        load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        load(tmp_path / "nowhere")
