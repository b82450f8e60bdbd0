"""The masked stage: what it hears, what it saves, that it resumes, and that tagging starts from it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sonopsis
from sonopsis.data.clips import ClipBank
from sonopsis.training.config import TrainConfig
from sonopsis.training.log import Log
from sonopsis.training.masked import Masked
from sonopsis.training.recordings import open_clips
from sonopsis.training.run import train
from sonopsis.training.start import open_start
from sonopsis.training.tagging import Tagging

MASKED = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}


@pytest.fixture
def whole_root(root: Path, tmp_path: Path) -> Path:
    """A data root that also lists recordings without labels: a third of those of the manifest."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "audio").symlink_to(root / "audio")
    rows = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    unknown = [row for place, row in enumerate(rows) if place % 3 == 0 and row["split"] == "train"]
    for name, some in (("manifest", [row for row in rows if row not in unknown]), ("unlabelled", unknown)):
        texts = (json.dumps(row if name == "manifest" else {**row, "labels": []}) for row in some)
        (folder / f"{name}.jsonl").write_text("\n".join(texts) + "\n")
    return folder


@pytest.fixture
def stage(make_config: Callable[..., TrainConfig], whole_root: Path) -> Masked:
    config = make_config("masked", data={"root": str(whole_root), "seconds": 1.28}, masked=MASKED)
    return Masked(config, open_start(config), *open_clips(config))


def test_every_training_recording_is_heard_with_and_without_labels(stage: Masked) -> None:
    heard = [row for _, row in stage.train.clips]
    assert len(heard) == 18 and {row.split for row in heard} == {"train"}
    assert sum(not row.labels for row in heard) == 6
    assert {row.split for _, row in stage.validation.clips} == {"validation"}


def test_examples_are_whole_excerpts_and_repeat_by_step(stage: Masked) -> None:
    first, same, other = stage.train.batch(5), stage.train.batch(5), stage.train.batch(6)
    assert first.visible is not None and same.visible is not None and other.visible is not None
    assert first.mel.shape == (2, 128, 128) and first.visible.shape == (2, 6)  # of a grid of 8 x 4
    assert torch.equal(first.mel, same.mel) and torch.equal(first.visible, same.visible)
    assert not torch.equal(first.mel, other.mel) and not torch.equal(first.visible, other.visible)
    # Recordings of 0.8 s are followed by others: the end is no silence.
    loudest = torch.cat([stage.train.batch(step).mel[:, -8:].amax(dim=(1, 2)) for step in range(20)])
    assert loudest.min() > first.mel.amin() + 0.5


def test_a_manifest_of_ones_own_needs_no_list_of_recordings_without_labels(
    make_config: Callable[..., TrainConfig], root: Path
) -> None:
    own = make_config("masked", data={"manifest": str(root / "manifest.jsonl")})
    assert len(Masked(own, open_start(own), *open_clips(own)).train.clips) == 18
    config = make_config("masked")
    with pytest.raises(ValueError, match=r"unlabelled.jsonl, .*is missing; write it with `sonopsis data manifest`"):
        Masked(config, open_start(config), *open_clips(config))


def test_validation_hears_the_same_excerpts_with_the_same_masks(stage: Masked) -> None:
    torch.manual_seed(0)
    first = stage.validate(stage.module.eval())
    np.random.default_rng(9).random(5)
    torch.manual_seed(1)
    assert stage.validate(stage.module) == first
    assert first["clips"] == 18 and first["explained"] == pytest.approx(1 - first["loss"], abs=0.01)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"encoder": {"stem": "conv"}}, r"model: stage masked needs .*small has stem conv.*`encoder.stem: patch`"),
        ({"encoder": {"train": "frozen"}}, r"encoder.train: stage masked trains the encoder"),
    ],
)
def test_what_cannot_be_pretrained_is_refused(
    keys: dict[str, dict[str, str]],
    message: str,
    make_config: Callable[..., TrainConfig],
    clips: tuple[ClipBank, ClipBank],
) -> None:
    config = make_config("masked", **keys)
    with pytest.raises(ValueError, match=message):
        Masked(config, open_start(config), *clips)


@pytest.mark.parametrize("masking", ["unstructured", "time_frequency"])
def test_a_resumed_run_ends_like_one_that_was_never_stopped(
    masking: str, write_run: Callable[..., Path], root: Path
) -> None:
    keys = {
        "steps": 6,
        "save_every": 3,
        "encoder": {"drop_path": 0.3},
        "masked": {**MASKED, "masking": masking},
        "data": {"manifest": str(root / "manifest.jsonl"), "seconds": 0.64},
    }
    whole = train(write_run("masked", "whole", **keys))
    path = write_run("masked", "parts", **keys)

    class Stop(Exception):
        pass

    write = Log.write

    def stop_after_4(log: Log, record: dict[str, float]) -> None:
        write(log, record)
        if record["step"] == 4:
            raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Log, "write", stop_after_4)
        train(path)
    parts = train(path)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize("pooling", ["mean", None])
def test_tagging_starts_from_the_encoder_that_was_saved(
    pooling: str | None, write_run: Callable[..., Path], make_config: Callable[..., TrainConfig], root: Path
) -> None:
    data = {"manifest": str(root / "manifest.jsonl"), "seconds": 0.64}
    folder = train(write_run("masked", "masked", masked=MASKED, data=data))
    model = sonopsis.load(folder, engine="torch")
    assert model.labels == [] and model.folder.config.training["stage"] == "masked"
    saved = load_file(folder / "model.safetensors")
    assert all(name.startswith("encoder.") for name in saved)

    config = make_config("tagging", "tagger", model=str(folder), encoder={"pooling": pooling}, data=data)
    task = Tagging(config, open_start(config), *open_clips(config))
    assert len(task.labels) == 6 and task.module.head is not None
    for name, value in task.module.encoder.state_dict().items():
        assert torch.equal(value, saved[f"encoder.{name}"].float()), name
    assert ("norm.weight" in task.module.encoder.state_dict()) == (pooling is None)


@pytest.mark.slow
def test_pretraining_learns_to_fill_in_and_a_tagger_is_trained_from_it(
    write_run: Callable[..., Path], whole_root: Path, tmp_path: Path
) -> None:
    long: dict[str, Any] = {
        "steps": 240,
        "batch_size": 16,
        "warmup_steps": 20,
        "log_every": 40,
        "save_every": 240,
        "ema": 0.9,
    }
    long |= {"validate_every": 40, "learning_rate": 3e-3}
    data = {"root": str(whole_root), "seconds": 1.28, "workers": 1}
    masked = {"decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}
    encoder = {"width": 32, "depth": 4, "heads": 2}
    folder = train(write_run("masked", "masked", encoder=encoder, masked=masked, data=data, **long))
    records = [json.loads(line) for line in (tmp_path / "masked" / "log.jsonl").read_text().splitlines()]
    explained = [record["val_explained"] for record in records if "val_explained" in record]
    assert explained[-1] > explained[0] + 0.05 and explained[-1] > 0.1
    still = {"speed": 0, "reverb": 0, "band_limit": 0, "time_masks": 0, "frequency_masks": 0}
    keys = long | {"steps": 160, "model": str(folder), "data": data | still}
    tagger = train(write_run("tagging", "tagger", **keys))
    records = [json.loads(line) for line in (tmp_path / "tagger" / "log.jsonl").read_text().splitlines()]
    assert records[-1]["val_map"] > 0.5  # of six labels; chance is about 1/6
    assert len(sonopsis.load(tagger, engine="torch").labels) == 6
