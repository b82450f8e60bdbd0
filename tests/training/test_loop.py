"""Training learns, stops, and resumes as if it had not stopped; what it writes loads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sonopsis
from sonopsis.training.run import train

TINY = """
steps: 6
batch_size: 4
warmup_steps: 2
log_every: 1
save_every: 3
validate_every: 6
precision: "no"
encoder: {width: 16, depth: 4, heads: 2, stem: patch}
data: {workers: 0}
"""


def config(folder: Path, root: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"{text}\n{TINY.replace('{workers: 0}', f'{{workers: 0, root: {root}}}')}")
    return path


def test_a_resumed_run_ends_like_one_that_was_never_stopped(root: Path, tmp_path: Path) -> None:
    path = config(tmp_path, root, "stage: tagging\noutput: unset")
    whole = train(path, [f"output={tmp_path / 'whole'}"])
    interrupted = [f"output={tmp_path / 'parts'}", "save_every=3"]

    class Stop(Exception):
        pass

    from sonopsis.training.log import Log

    write = Log.write

    def stop_after_4(log: Log, record: dict[str, float]) -> None:
        write(log, record)
        if record["step"] == 4:
            raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Log, "write", stop_after_4)
        train(path, interrupted)
    parts = train(path, interrupted)
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    losses = [{line["step"]: line["loss"] for line in map(json.loads, lines) if "loss" in line} for lines in logs]
    assert losses[0] == losses[1]
    first, second = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name].numpy(), second[name].numpy(), err_msg=name)


def test_figures_after_a_stop_are_means_of_the_steps_since(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps to a line, and a checkpoint after the third: the next line is of the fourth step alone."""
    from sonopsis.training.tagging import Tagging

    loss = Tagging.loss
    monkeypatch.setattr(Tagging, "loss", lambda self, *given: (loss(self, *given)[0], {"loss": 1.0}))
    path = config(tmp_path, root, f"stage: tagging\noutput: {tmp_path / 'run'}")
    train(path, ["steps=3", "log_every=2"])
    train(path, ["steps=6", "log_every=2"])
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert [(line["step"], line["loss"]) for line in lines if "loss" in line] == [(2, 1.0), (4, 1.0), (6, 1.0)]


@pytest.mark.slow
def test_a_captioner_is_trained_from_a_tagger_and_describes(root: Path, tmp_path: Path) -> None:
    tagger = train(config(tmp_path, root, "stage: tagging\noutput: unset"), [f"output={tmp_path / 'tagger'}"])
    assert sonopsis.load(tagger).tag(np.random.default_rng(0).standard_normal(16_000) * 0.1)[0].labels
    with pytest.raises(ValueError, match="only tags"):
        sonopsis.load(tagger).caption(np.random.default_rng(0).standard_normal(16_000) * 0.1)
    small = [
        "language_model={width: 16, depth: 1, state: 8, head_dim: 8, vocabulary: 320}",
        "labels=inherit",
        "encoder={}",
        "steps=3",
    ]
    words = train(config(tmp_path, root, f"stage: verbalising\noutput: {tmp_path / 'words'}\nmodel: {tagger}"), small)
    before, after = load_file(tagger / "model.safetensors"), load_file(words / "model.safetensors")
    assert all(torch.equal(value, after[f"tagger.{name}"]) for name, value in before.items())
    path = config(tmp_path, root, f"stage: captioning\noutput: {tmp_path / 'captioner'}\nmodel: {words}")
    folder = train(path, small)
    model = sonopsis.load(folder)
    (caption,) = model.caption(np.random.default_rng(0).standard_normal(16_000) * 0.1)
    assert isinstance(caption.text, str) and caption.score < 0
    facts = model.folder.config.training
    assert 0 < facts["tag_threshold"] < 1
    assert facts["clips"] == 18 and facts["from"]["stage"] == "verbalising" and facts["most_frequent_caption"]
    log = (tmp_path / "captioner" / "log.jsonl").read_text()
    assert "val_event_f1_leaf" in log and "caption" in log


@pytest.mark.slow
def test_the_loss_falls_on_what_can_be_learnt(root: Path, tmp_path: Path) -> None:
    """Six pitches, no augmentation: after 150 steps every held-out take of them is named."""
    still = ["data.speed=0", "data.reverb=0", "data.band_limit=0", "data.time_masks=0", "data.frequency_masks=0"]
    path = config(tmp_path, root, f"stage: tagging\noutput: {tmp_path / 'run'}")
    folder = train(path, [*still, "steps=150", "validate_every=150", "batch_size=16", "ema=0.9", "learning_rate=3e-3"])
    from sonopsis.metrics.evaluate import evaluate

    figures = evaluate(sonopsis.load(folder), root / "manifest.jsonl", root=root)["tagging"]
    assert figures["clips"] == 18
    assert figures["balanced_accuracy"] > 0.6 and figures["map"] > 0.7  # chance is 0.17


def test_runs_of_one_program_may_have_other_precisions(root: Path, tmp_path: Path) -> None:
    path = config(tmp_path, root, "stage: tagging\noutput: unset")
    for precision in ("no", "bf16", "no"):
        folder = train(path, [f"output={tmp_path / 'run'}", f"precision={precision}", "steps=3"])
        assert sonopsis.load(folder, engine="torch").labels
        for file in sorted((tmp_path / "run").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
