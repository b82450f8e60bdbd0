"""A tagger of a user's own labels from a folder: it learns, is scored on held-out sources, and is an ordinary model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import sonopsis
from sonopsis.audio import load_audio
from sonopsis.cli.main import app
from sonopsis.encoder import Head
from sonopsis.engines.runners import installed
from sonopsis.training import features, own_labels
from sonopsis.training.config import TrainConfig
from sonopsis.training.features import Features, example_count, fit_head
from sonopsis.training.own_labels import train_own_labels
from sonopsis.training.run import train

EXAMPLES = Path(__file__).parents[2] / "examples"
SOUNDS = {
    "engine": ("car_passing.mp3", "helicopter.ogg"),
    "steps": ("footsteps_on_ice.mp3", "water_filling_a_lock.ogg"),
}


@pytest.fixture
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "FEWEST", 96)
    monkeypatch.setattr(features, "PER_CLIP", 2)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of a second from each of two real recordings for each label; a recording is a source."""
    root = tmp_path_factory.mktemp("own")
    for label, files in SOUNDS.items():
        for name in files:
            samples = load_audio(EXAMPLES / name)
            folder = root / label / Path(name).stem
            folder.mkdir(parents=True)
            for take, start in enumerate(np.linspace(0, len(samples) - 16_000, 4).astype(int)):
                soundfile.write(folder / f"{take}.wav", samples[start : start + 16_000], 16_000)
    return root


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Two pitches from four sources, which differ in level and noise."""
    rng, time = np.random.default_rng(0), np.arange(12_000) / 16_000
    for label, pitch in (("low", 200.0), ("high", 3000.0)):
        for source in range(4):
            for take in range(3):
                wave = 0.05 * (1 + source) * np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * time)
                path = tmp_path / "tones" / label / f"mic{source}_{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, wave + 0.002 * rng.standard_normal(12_000), 16_000)
    return tmp_path / "tones"


def ast_folder(folder: Path) -> None:
    """A small random AST as transformers writes it, with labels of its own and an input of 1.28 s."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    names = ["Speech", "Music", "Silence"]
    config = transformers.ASTConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=1, intermediate_size=96, max_length=128,
        time_stride=16, frequency_stride=16, layer_norm_eps=1e-6, id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)}, initializer_range=0.1,
    )  # fmt: skip
    transformers.ASTForAudioClassification(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=128, mean=-5.0, std=3.0).save_pretrained(folder)


def assert_same_logits_on_every_engine(folder: Path, recording: Path) -> None:
    first = sonopsis.load(folder, engine="torch")
    mel = first.mel(recording)
    for name in ("onnx", "openvino"):
        if installed(name):
            model = sonopsis.load(folder, engine=name)
            np.testing.assert_allclose(model.logits(mel), first.logits(mel), atol=2e-3, err_msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("few_examples")
def test_transformers_ast_learns_labels_that_nobody_knew(recordings: Path, tmp_path: Path) -> None:
    """Saved, loaded, and the same on every engine; the front end is the checkpoint's."""
    ast_folder(tmp_path / "ast")
    result = train_own_labels(str(tmp_path / "ast"), recordings, tmp_path / "out", steps=4)
    assert {file.name for file in result.folder.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "README.md",
        "tag.onnx",
    }
    assert not (result.folder / "run").exists()
    model = sonopsis.load(result.folder, engine="torch")
    assert model.labels == ["engine", "steps"]
    assert (model.folder.mel.frames, model.folder.mel.mean, model.folder.mel.std) == (128, -5.0, 3.0)
    assert_same_logits_on_every_engine(result.folder, EXAMPLES / "helicopter.ogg")
    old = sonopsis.load(tmp_path / "ast", engine="torch").module.encoder.state_dict()
    new = model.module.encoder.state_dict()
    changed = {
        name.split(".")[1] for name in old if name.startswith("blocks.") and not torch.equal(old[name], new[name])
    }
    assert changed >= {"2", "3"}  # the upper half is trained
    assert all((old[name] - new[name]).abs().max() < 1e-2 for name in old if name.startswith(("stem", "blocks.0")))


@pytest.mark.usefixtures("few_examples")
@pytest.mark.parametrize("stage", ["head alone", pytest.param("with the encoder", marks=pytest.mark.slow)])
def test_held_out_sources_are_told_apart(stage: str, tones: Path, tmp_path: Path) -> None:
    result = train_own_labels("default", tones, tmp_path / "out", steps=None if stage == "head alone" else 10)
    figures = result.figures
    assert figures is not None and figures["clips"] == 6 and figures["accuracy"] == 1.0 and figures["map"] == 1.0
    assert "on 6 clips of 1 held-out sources: accuracy 1.000" in result.text
    model = sonopsis.load(result.folder)
    facts = model.folder.config.training
    assert facts["clips_of"] == {"high": 9, "low": 9} and len(facts["held_out_sources"]) == 1
    assert facts["held_out_figures"]["map"] == 1.0 and facts["from"]["stage"] == "captioning"
    assert facts.get("steps") == (None if stage == "head alone" else 10)
    time = np.arange(16_000) / 16_000
    for label, pitch in (("low", 210.0), ("high", 2900.0)):
        assert model.tag(0.1 * np.sin(2 * np.pi * pitch * time))[0].labels[0][0] == label
    card = (result.folder / "README.md").read_text()
    (source,) = facts["held_out_sources"]
    assert "| high | 9 | 3 | 1.000 |" in card and f"held-out sources ({source})" in card and "## Limits" in card


@pytest.mark.usefixtures("few_examples")
def test_the_frozen_encoder_is_that_of_the_model(tones: Path, tmp_path: Path) -> None:
    folder = train_own_labels("default", tones, tmp_path / "out").folder
    old, new = sonopsis.load(engine="torch").module.tagger, sonopsis.load(folder, engine="torch").module
    for name, value in old.encoder.state_dict().items():
        assert torch.equal(value, new.encoder.state_dict()[name]), name


@pytest.mark.slow
@pytest.mark.usefixtures("few_examples")
def test_an_interrupted_command_carries_on(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after the head, the command does not train it again, and ends with the same weights."""
    whole = train_own_labels("default", tones, tmp_path / "whole", steps=3)

    def interrupted(*arguments: object) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(own_labels, "_fine_tune", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_own_labels("default", tones, tmp_path / "parts", steps=3)
    assert not (tmp_path / "parts" / "config.json").exists()
    with pytest.raises(ValueError, match="holds an unfinished run of another model or folder"):
        train_own_labels(str(whole.folder), tones, tmp_path / "parts")
    monkeypatch.setattr(own_labels, "_train_head", lambda *_: pytest.fail("the head was trained already"))
    parts = train_own_labels("default", tones, tmp_path / "parts", steps=3)
    assert (parts.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("few_examples")
def test_minutes_become_steps_by_what_a_step_takes(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_labels, "seconds_per_step", lambda config, scratch: 0.25)
    result = train_own_labels("default", tones, tmp_path / "out", minutes=0.1)
    assert sonopsis.load(result.folder).folder.config.training["steps"] == 24


def test_what_a_step_takes_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was stopped in the midst of the measurement has left lines of its own."""
    scratch = tmp_path / "trial"
    scratch.mkdir()
    (scratch / "log.jsonl").write_text('{"step": 8, "seconds": 900.0}\n{"step": 16, "seconds": 901.0}\n')

    def run(config: TrainConfig) -> None:
        Path(config.output).mkdir(exist_ok=True)
        with (Path(config.output) / "log.jsonl").open("a") as log:
            log.writelines(json.dumps({"step": step, "seconds": step / 4}) + "\n" for step in (8, 16, 24))

    monkeypatch.setattr(own_labels, "run", run)
    assert own_labels.seconds_per_step(TrainConfig("tagging", "unset", "small"), scratch) == 0.25
    assert not scratch.exists()


@pytest.mark.usefixtures("few_examples")
def test_recordings_that_cannot_be_used_are_counted(
    tones: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tones / "low" / "mic0_9.wav").write_bytes(b"no recording")
    soundfile.write(tones / "low" / "mic1_9.wav", np.zeros(8_000), 16_000)
    result = train_own_labels("default", tones, tmp_path / "out")
    assert (
        "2 of 26 recordings are left out, because they are silent or cannot be decoded: low/mic0_9.wav" in caplog.text
    )
    assert result.figures is not None


@pytest.mark.usefixtures("few_examples")
def test_a_label_without_a_usable_recording_and_a_used_output_are_refused(tones: Path, tmp_path: Path) -> None:
    (tones / "odd").mkdir()
    (tones / "odd" / "x.wav").write_bytes(b"no recording")
    with pytest.raises(ValueError, match="no recording of 'odd' can be used for training"):
        train_own_labels("default", tones, tmp_path / "out")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a model already"):
        train_own_labels("default", tones, tmp_path / "used")
    with pytest.raises(ValueError, match="either minutes or steps"):
        train_own_labels("default", tones, tmp_path / "other", minutes=1, steps=1)


def test_a_folder_can_be_the_data_of_a_yaml_file(tones: Path, write_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = train(write_run("tagging", data={"folder": str(tones), "root": None}))
    assert sonopsis.load(folder).labels == ["high", "low"]
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["val_clips"] == 6
    assert list((tmp_path / "run" / "cache").iterdir()) and not (tones / "cache").exists()


def test_a_head_separates_what_can_be_separated() -> None:
    """Held against the closed answer: on well separated clusters no example is on the wrong side."""
    torch.manual_seed(0)
    centres = 3 * torch.randn(3, 16)
    classes = torch.randint(0, 3, (300,))
    given = Features(centres[classes] + 0.3 * torch.randn(300, 16), torch.eye(3)[classes])
    head = Head(16, 3)
    loss = fit_head(head, given, steps=200)
    with torch.no_grad():
        assert bool((head(given.pooled).argmax(1) == classes).all())
    assert loss < 0.05 < 3 * 0.693  # three labels of unknown truth


@pytest.mark.parametrize(("clips", "count"), [(2, 640), (110, 672), (10_000, 3200)])
def test_few_clips_give_enough_examples_and_many_not_too_many(clips: int, count: int) -> None:
    assert example_count(clips) == count


@pytest.mark.usefixtures("few_examples")
def test_the_command_prints_the_score_and_the_folder(tones: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--from", "default", str(tones), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'out'}\n"
    assert "held-out sources: accuracy 1.000" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}"], "to train on it: sonopsis train --from default"),
        (["--from", "default", "{folder}"], "--from needs -o OUT"),
        (["--from", "default", "{folder}", "steps=3", "-o", "x"], "and no KEY=VALUE"),
        (["{folder}", "-o", "x"], "belong to --from"),
    ],
)
def test_a_command_line_that_makes_no_sense_says_what_does(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", *(part.format(folder=tmp_path) for part in arguments)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
