"""Captioners whose language model is one of transformers: trained, stopped and resumed, saved, loaded, asked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import sonopsis
from sonopsis import lora
from sonopsis.causal.model import CausalLM
from sonopsis.causal.source import load, sized
from sonopsis.data.clips import ClipBank
from sonopsis.files import ModelError
from sonopsis.graphs.write import write_graphs
from sonopsis.training import asking, captioning
from sonopsis.training.building import build_captioner
from sonopsis.training.config import TrainConfig
from sonopsis.training.log import Log
from sonopsis.training.optimizer import make_optimizer
from sonopsis.training.run import train
from sonopsis.training.start import open_start
from sonopsis.training.tokens import train_tokenizer

pytest.importorskip("transformers")
EXAMPLE = Path(__file__).parents[2] / "examples" / "walk_to_the_lock.flac"
LLAMA = {"architecture": "llama", "width": 16, "depth": 1, "heads": 2, "vocabulary": 320}
Run = Callable[..., Path]


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRAINING_SCENES", 100)
    monkeypatch.setattr(captioning, "VALIDATION_SCENES", 2)
    monkeypatch.setattr("sonopsis.training.run.VALIDATION_SCENES", 2)


def pretrained(folder: Path, clips: tuple[ClipBank, ClipBank], architecture: str = "llama") -> CausalLM:
    """A folder as transformers writes it: weights that say something, a tokenizer, and rows that are no tokens."""
    tokenizer = train_tokenizer(asking.training_captions(clips[0]), 300)
    torch.manual_seed(1)
    lm = sized(architecture, 16, 2, 2, 320, 0)
    lm.model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return lm


def test_one_with_drawn_weights_is_trained_saved_loaded_and_asked(
    write_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(write_run("captioning", language_model=LLAMA, data={"questions": 0.5}))
    fields = json.loads((folder / "config.json").read_text())["lm"]
    assert (fields["width"], fields["transformers"]["model_type"]) == (16, "llama")
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "run")
    model = sonopsis.load(moved)
    assert model.engine.name == "torch" and isinstance(model.module.lm, CausalLM)
    state = load_file(moved / "model.safetensors")
    assert "lm.model.model.embed_tokens.weight" in state and "lm.model.lm_head.weight" not in state
    (first, *_) = model.caption(EXAMPLE, beams=2)
    model.engine.prepare()  # there are no kernels for it
    assert model.caption(EXAMPLE, beams=2)[0] == first and first.text
    questions = ["is there a dog?", "what is heard?"]
    together = {(answer.start, answer.question): answer for answer in model.ask(EXAMPLE, questions)}
    singly = [answer for one in questions for answer in model.ask(EXAMPLE, one)]
    assert together == {(answer.start, answer.question): answer for answer in singly} and len(together) == len(singly)

    with pytest.raises(ModelError, match=r"graphs have no language model of transformers \(llama\).*engine='torch'"):
        model.export(tmp_path / "exported", to="onnx")
    assert not (tmp_path / "exported").exists()
    with pytest.raises(ValueError, match="graphs have no language model of transformers"):
        write_graphs(model.folder.config, moved / "model.safetensors")
    again = sonopsis.load(model.export(tmp_path / "copy", to="folder") or tmp_path / "copy")
    assert again.caption(EXAMPLE, beams=2)[0] == first
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r"a language model of transformers needs transformers.*sonopsis\[hf\]"):
        sonopsis.load(moved)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "mamba"])
def test_a_pretrained_one_learns_through_adapters_alone(
    architecture: str, write_run: Run, tmp_path: Path, clips: tuple[ClipBank, ClipBank]
) -> None:
    base = tmp_path / "pretrained"
    before = pretrained(base, clips, architecture)
    lora_keys = {"rank": 4, "alpha": 8}
    keys: dict[str, Any] = {"language_model": str(base), "lora": lora_keys, "steps": 4, "ema": 0.0}
    folder = train(write_run("captioning", learning_rate=0.05, **keys))
    fields = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert (fields["r"], fields["lora_alpha"], fields["base_model_name_or_path"]) == (4, 8, str(base))

    lm = load(base).eval()
    ids = torch.randint(0, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = lm.logits(lm.embed(ids), 9)
        torch.testing.assert_close(plain, before.eval().logits(before.embed(ids), 9), atol=1e-5, rtol=0)
        lora.load(lm, tmp_path / "run" / "adapter")
        shutil.rmtree(base)  # the trained folder has all that it needs
        merged = sonopsis.load(folder).module.lm
        torch.testing.assert_close(
            lm.eval().logits(lm.embed(ids), 9), merged.logits(merged.embed(ids), 9), atol=2e-2, rtol=2e-2
        )  # the folder holds float16
        assert (merged.logits(merged.embed(ids), 9) - plain).abs().max() > 0.1
    assert merged.config.token_count == 300  # the tokenizer's; rows beyond are never generated
    assert sonopsis.load(folder).caption(EXAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("adapters", [None, {"rank": 2, "dropout": 0.1}])
def test_a_resumed_run_ends_like_one_that_was_never_stopped(
    adapters: dict[str, Any] | None, write_run: Run, tmp_path: Path, clips: tuple[ClipBank, ClipBank]
) -> None:
    base = tmp_path / "pretrained"
    pretrained(base, clips)
    keys = {"language_model": str(base), "lora": adapters, "steps": 4, "save_every": 2, "learning_rate": 0.01}
    whole = train(write_run("captioning", "whole", **keys))

    class Stop(Exception):
        pass

    write = Log.write

    def stop_after_3(log: Log, record: dict[str, float]) -> None:
        write(log, record)
        if record["step"] == 3:
            raise Stop

    path = write_run("captioning", "parts", **keys)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Log, "write", stop_after_3)
        train(path)
    parts = train(path)
    first, second = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    ("adapters", "trained"),
    [
        ({"rank": 0}, set()),
        ({"rank": 2}, {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ({"rank": 2, "targets": ["q_proj", "v_proj"]}, {"q_proj", "v_proj"}),
        (None, None),
    ],
)
def test_gradients_reach_what_is_trained_alone(
    adapters: dict[str, Any] | None, trained: set[str] | None, make_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = make_config("captioning", language_model=LLAMA, lora=adapters)
    captioner, _ = build_captioner(config, open_start(config), ["Dog", "Cat"], lambda: ["a dog barks", "it rains"])
    optimizer = make_optimizer(captioner, config)
    optimized = {id(one) for group in optimizer.param_groups for one in group["params"]}
    words, _, _ = captioner(torch.randn(2, 64, 128), torch.randint(0, 250, (2, 5)))
    words.logsumexp(-1).sum().backward()
    reached = {name for name, one in captioner.lm.named_parameters() if one.grad is not None}
    wanted = {name for name, one in captioner.lm.named_parameters() if trained is None or ".lora_" in name}
    assert reached == wanted == {name for name, one in captioner.lm.named_parameters() if id(one) in optimized}
    if trained is not None:
        assert {name.split(".adapters.")[0].rpartition(".")[2] for name in wanted} == trained
    assert all(one.grad is not None for one in captioner.connector.parameters())  # through the language model


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"language_model": {"architecture": "nothing"}}, "language_model: architecture 'nothing' is neither mamba2"),
        ({"language_model": {**LLAMA, "fields": {"layers": 3}}}, r"language_model: fields \['layers'\] are not known"),
        ({"language_model": LLAMA, "lora": {"targets": ["in_proj"]}}, r"lora: LoRA targets \['in_proj'\].*q_proj"),
    ],
)
def test_what_does_not_fit_is_one_line(
    keys: dict[str, Any], words: str, make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config("captioning", **keys)
    with pytest.raises(ValueError, match=words):
        build_captioner(config, open_start(config), ["Dog", "Cat"], lambda: ["a dog barks", "it rains"])


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({**LLAMA, "state": 8}, "state is no size of architecture llama; .* heads and fields"),
        ({"heads": 2}, "heads is no size of architecture mamba2; a Mamba-2 has state, head_dim, expand, groups"),
        ({**LLAMA, "heads": 0}, "heads must be at least 1"),
        ({**LLAMA, "fields": [1]}, "`language_model.fields` must be keys and values"),
    ],
)
def test_sizes_of_another_architecture_are_refused(
    sizes: dict[str, Any], words: str, make_config: Callable[..., TrainConfig]
) -> None:
    with pytest.raises(ValueError, match=words):
        make_config("captioning", language_model=sizes)
