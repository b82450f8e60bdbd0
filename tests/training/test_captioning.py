"""Captioners: every connector trains and runs on every engine, adapters are saved and merged, and one learns."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from safetensors.torch import load_file

import sonopsis
from sonopsis import lora
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import read, write
from sonopsis.engines.runners import installed
from sonopsis.mamba2 import Mamba2Config, Mamba2LM
from sonopsis.mel import mel_input
from sonopsis.model import Model
from sonopsis.training import asking, captioning
from sonopsis.training.batches import Batch, stack
from sonopsis.training.captioning import Captioning
from sonopsis.training.config import TrainConfig
from sonopsis.training.loop import fit
from sonopsis.training.run import train
from sonopsis.training.start import Start, open_start
from sonopsis.training.tokens import encode_captions, train_tokenizer

LM = {"width": 16, "depth": 1, "state": 8, "head_dim": 8, "vocabulary": 300}
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRAINING_SCENES", 200)
    monkeypatch.setattr(captioning, "VALIDATION_SCENES", 4)
    monkeypatch.setattr("sonopsis.training.run.VALIDATION_SCENES", 4)


def engines(folder: Path, exported: Path) -> Iterator[tuple[str, Model]]:
    """A model on every engine of this machine, torch first."""
    yield "torch", sonopsis.load(folder, engine="torch")
    sonopsis.load(folder, engine="torch").export(exported, to="onnx")
    for name in ("onnx", "openvino"):
        if installed(name):
            yield name, sonopsis.load(exported, engine=name)


def assert_same_on_every_engine(folder: Path, exported: Path) -> Model:
    """Logits of a real recording agree, and so do its captions; returns the model on torch."""
    models = dict(engines(folder, exported))
    first = models["torch"]
    mel = first.mel(EXAMPLES / "walk_to_the_lock.flac")
    for name, model in models.items():
        np.testing.assert_allclose(model.logits(mel), first.logits(mel), atol=2e-3, err_msg=name)
        captions = [
            [caption.text for caption in one.caption(EXAMPLES / "walk_to_the_lock.flac", beams=2)]
            for one in (model, first)
        ]
        assert captions[0] == captions[1] and len(captions[0]) > 0, name
    return first


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["concat", "time_major", "frequency_major"])
@pytest.mark.parametrize(("labels", "summary"), [(None, True), (None, False), (0, True), (0, False)])
def test_every_connector_trains_is_saved_and_captions(
    layout: str, labels: int | None, summary: bool, write_run: Callable[..., Path], tmp_path: Path
) -> None:
    connector = {"layout": layout, "labels": labels, "summary": summary}
    keys = {"language_model": LM, "connector": connector, "pruning": {"keep_rate": 0.5, "shrink_start": 0.0}}
    folder = train(write_run("captioning", data={"time_masks": 0}, **keys, learning_rate=0.01))
    model = assert_same_on_every_engine(folder, tmp_path / "exported")
    assert model.module.connector.config.layout == layout
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"caption", "tagging"} <= set(logged[0])
    assert ("timing" in logged[0]) == (labels is None)
    assert np.isfinite([value for line in logged for value in line.values()]).all()


def pretrained(folder: Path, layout: str, sentences: list[str]) -> Mamba2LM:
    """A random "pretrained" language model with a tokenizer beside it, in one of the published layouts."""
    tokenizer = train_tokenizer(sentences, 300)
    tokens, rows = tokenizer.get_vocab_size(), 320  # padded, as published models are
    torch.manual_seed(0)
    lm = Mamba2LM(Mamba2Config(16, 2, rows, state=8, head_dim=8))
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    folder.mkdir()
    state = lm.state_dict()
    if layout == "state-spaces":
        fields: dict[str, Any] = {
            "d_model": 16, "d_intermediate": 0, "n_layer": 2, "vocab_size": tokens, "pad_vocab_size_multiple": 320,
            "ssm_cfg": {"layer": "Mamba2", "d_state": 8, "headdim": 8}, "attn_layer_idx": [], "attn_cfg": {},
            "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True, "tie_embeddings": True,
        }  # fmt: skip
        torch.save({**state, "lm_head.weight": lm.lm_head.weight.detach()}, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(fields))
    else:
        transformers = pytest.importorskip("transformers")
        other = transformers.Mamba2ForCausalLM(
            transformers.Mamba2Config(
                hidden_size=16, num_hidden_layers=2, vocab_size=rows, num_heads=4, head_dim=8, state_size=8,
                n_groups=1, expand=2, tie_word_embeddings=True, pad_token_id=0, bos_token_id=0, eos_token_id=0,
            )
        )  # fmt: skip
        other.load_state_dict({**state, "lm_head.weight": lm.lm_head.weight})
        other.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return lm


@pytest.mark.parametrize("layout", ["state-spaces", "huggingface"])
def test_a_pretrained_language_model_learns_through_adapters_alone(
    layout: str, write_run: Callable[..., Path], tmp_path: Path, clips: tuple[ClipBank, ClipBank]
) -> None:
    base = tmp_path / "mamba2"
    before = pretrained(base, layout, list(asking.training_captions(clips[0])))
    tagger = train(write_run("tagging", "tagger"))
    folder = train(
        write_run(
            "captioning", "captioner", model=str(tagger), labels="inherit", language_model=str(base),
            lora={"rank": 4, "alpha": 8, "targets": ["in_proj", "out_proj"]}, encoder={"train": "frozen"},
            steps=6, learning_rate=0.05, ema=0.0,
        )
    )  # fmt: skip
    model = assert_same_on_every_engine(folder, tmp_path / "exported")

    adapters = tmp_path / "captioner" / "adapter"
    fields = json.loads((adapters / "adapter_config.json").read_text())
    assert (fields["peft_type"], fields["r"], fields["lora_alpha"]) == ("LORA", 4, 8)
    assert fields["target_modules"] == ["in_proj", "out_proj"] and fields["base_model_name_or_path"] == str(base)
    stored = load_file(adapters / "adapter_model.safetensors")
    for module in ("in_proj", "out_proj"):  # both are reached by the gradient: their second factor starts at zero
        assert all(
            stored[f"base_model.model.backbone.layers.{layer}.mixer.{module}.lora_B.weight"].abs().max() > 1e-3
            for layer in range(2)
        )

    lm = Mamba2LM.load(base)  # the base and its adapters, read back, are the language model of the folder
    ids = torch.randint(0, 250, (2, 9))
    plain = lm(ids)
    torch.testing.assert_close(plain, before(ids), atol=1e-4, rtol=1e-4)
    lora.load(lm, adapters)
    merged = model.module.lm
    torch.testing.assert_close(lm.eval()(ids), merged(ids), atol=2e-2, rtol=2e-2)  # the folder holds float16
    assert (merged(ids) - plain).abs().max() > 0.2
    assert merged.config.token_count == 300  # the tokenizer's; rows beyond are never generated

    old, new = (sonopsis.load(path, engine="torch").module for path in (tagger, folder))
    for name, value in old.encoder.state_dict().items():
        assert torch.equal(value, new.tagger.encoder.state_dict()[name]), name


def test_a_language_model_without_a_tokenizer_or_with_a_larger_one_is_refused(
    write_run: Callable[..., Path], tmp_path: Path
) -> None:
    base = tmp_path / "mamba2"
    pretrained(base, "state-spaces", ["a dog", "a cow"])
    path = write_run("captioning", language_model=str(base))
    train_tokenizer([f"word{number} {number * 7919}" for number in range(3000)], 700).save(str(base / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"language_model: .* has 320 tokens, and its tokenizer\.json 700"):
        train(path)
    (base / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"language_model: .*tokenizer\.json is missing; .*gpt-neox-20b"):
        train(path)


CAPTIONS = ["a low tone", "a high tone"]


def tone(number: int, rng: np.random.Generator) -> np.ndarray:
    """One second near 300 Hz (number 0) or near 2,500 Hz (1), in noise."""
    time = np.arange(16_000) / 16_000
    pitch = (300, 2500)[number] * rng.uniform(0.9, 1.1)
    return (0.3 * np.sin(2 * np.pi * pitch * time) + 0.01 * rng.standard_normal(16_000)).astype(np.float32)


class Tones(Captioning):
    """The captioning stage on two tones in place of scenes."""

    def __init__(self, config: TrainConfig, start: Start, train: ClipBank, validation: ClipBank) -> None:
        super().__init__(config, start, train, validation)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        for step in range(first, last):
            rng = np.random.default_rng((7, step))
            numbers = rng.integers(0, 2, self.config.batch_size)
            mels = [mel_input(tone(number, rng), self.start.mel)[0] for number in numbers]
            labels = torch.nn.functional.one_hot(torch.from_numpy(numbers), len(self.labels)).float()
            ids = encode_captions(self.tokenizer, [CAPTIONS[number] for number in numbers])
            yield Batch(stack(mels, self.start.mel), labels, ids, ids)

    def validate(self, module: torch.nn.Module) -> dict[str, float]:
        return {}


def told(folder: Path) -> list[bool]:
    """Whether the captions of tones that were not in training say which they are."""
    model, rng = sonopsis.load(folder, engine="torch"), np.random.default_rng(99)
    texts = [(number, model.caption(tone(number, rng), beams=1)[0].text) for number in (0, 1) * 4]
    return [text == CAPTIONS[number] for number, text in texts]


def test_a_captioner_learns_to_say_what_it_hears(
    make_config: Callable[..., TrainConfig], clips: tuple[ClipBank, ClipBank]
) -> None:
    """Sound in, right sentence out, through encoder, connector and language model; weights alone do not give it."""
    keys: dict[str, Any] = {
        "language_model": {"width": 32, "depth": 1, "state": 16, "head_dim": 16, "vocabulary": 320},
        "connector": {"labels": 0},
        "batch_size": 8,
        "learning_rate": 5e-3,
        "warmup_steps": 10,
        "ema": 0.9,
        "save_every": 1000,
        "validate_every": 1000,
        "log_every": 50,
    }
    results = []
    for steps in (1, 60):
        config = make_config("captioning", f"run{steps}", steps=steps, **keys)
        set_seed(0)
        results.append(told(fit(Tones(config, open_start(config), *clips), config)))
    assert not any(results[0])
    assert all(results[1])


def test_scenes_that_cannot_be_composed_stop_a_run_before_it_begins(
    write_run: Callable[..., Path], root: Path, tmp_path: Path
) -> None:
    rows = [row for row in read(root / "manifest.jsonl", None) if row.split == "train"]
    write(rows, tmp_path / "train.jsonl")
    path = write_run("captioning", data={"manifest": str(tmp_path / "train.jsonl")}, language_model=LM)
    with pytest.raises(ValueError, match="the 'validation' split has single-label clips of 0 labels"):
        train(path)
    assert not (tmp_path / "run" / "log.jsonl").exists()
