"""Described clips that a frozen encoder hears a few times: what it would hear again, and batches that repeat."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import set_seed
from safetensors.torch import load_file

import sonopsis
from sonopsis.asking import asked
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import Question
from sonopsis.training.clip_features import clip_features_folder, hear_clips, heard_clips
from sonopsis.training.config import TrainConfig
from sonopsis.training.described import Described
from sonopsis.training.described_clips import DescribedClips
from sonopsis.training.loop import fit
from sonopsis.training.start import open_start
from sonopsis.training.tokens import PADDING

Clips = tuple[ClipBank, ClipBank]
Make = Callable[..., TrainConfig]


def make_task(make_frozen: Make, clips: Clips, output: str = "run", **keys: Any) -> Described:
    data = {"captions": "manifest", "hearings": 2, **keys.pop("data", {})}
    config = make_frozen(output, data=data, **keys)
    few = [copy.copy(bank) for bank in clips]
    for bank in few:
        bank.rows = [replace(row, captions=(f"the sound of {row.labels[0]}",)) for row in bank.rows[:10]]
    set_seed(0)
    return Described(config, open_start(config), *few)


def source_of(task: Described) -> DescribedClips:
    return DescribedClips(task.train, task.clips, task.labels, task.start.mel, task.config, task.tokenizer)


def test_the_files_hold_what_the_encoder_hears(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips, pruning={"schedule": "none"})
    source = source_of(task)
    folder = clip_features_folder(task.module, source, task.config)
    files = hear_clips(task.module, source, folder, task.config)
    assert len(files) == 2 and folder.parent.name == "clips"  # 20 hearings of 10 clips
    for number, file in enumerate(files):
        batch, stored = source.to_hear(number, 16), load_file(file)
        with torch.inference_mode():
            heard = task.module.hear(batch.mel)
        for name in ("steps", "summary", "pooled"):
            torch.testing.assert_close(stored[name].float(), getattr(heard, name), atol=2e-3, rtol=2e-3)
        assert torch.equal(stored["labels"].float(), batch.labels)
    times = [file.stat().st_mtime_ns for file in files]
    assert hear_clips(task.module, source, folder, task.config) == files
    assert [file.stat().st_mtime_ns for file in files] == times


def test_an_epoch_has_every_hearing_once_with_the_words_of_its_clip(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips)
    said = []
    for batch in task.batches(0, 5):
        assert batch.ids is not None and batch.features is not None and batch.sounding is None
        for ids, labels in zip(batch.ids.tolist(), batch.labels, strict=True):
            said.append(task.tokenizer.decode([i for i in ids if i not in (PADDING, 0)]).strip())
            assert said[-1] == f"the sound of {task.labels[int(labels.argmax())]}"
    assert sorted(said) == sorted(2 * [clip.captions[0] for clip in task.clips])


def test_questions_are_asked_in_their_share(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips, data={"questions": 0.5})
    task.clips = [replace(clip, questions=(Question("what is it", "a sound"),)) for clip in task.clips]
    source = source_of(task)
    files = hear_clips(task.module, source, clip_features_folder(task.module, source, task.config), task.config)
    heard = heard_clips(files, source, task.config)
    texts = [
        task.tokenizer.decode([i for i in ids if i not in (PADDING, 0)])
        for step in range(20)
        for ids in heard.batch(step).ids.tolist()  # type: ignore[union-attr]
    ]
    asks = sum(text.strip().startswith(asked("what is it").strip()) for text in texts)
    assert len(texts) == 80 and 20 < asks < 60


def test_other_clips_or_settings_are_other_files(make_frozen: Make, clips: Clips) -> None:
    def folder(task: Described) -> Path:
        return clip_features_folder(task.module, source_of(task), task.config)

    task = make_task(make_frozen, clips)
    first = folder(task)
    assert folder(make_task(make_frozen, clips, data={"hearings": 3, "feature_noise": 0.1})) == first
    assert folder(make_task(make_frozen, clips, data={"reverb": 0.9})) != first
    clips_of_task = task.clips
    task.clips = clips_of_task[1:]
    assert folder(task) != first
    for words in ({"captions": ("another sound",)}, {"questions": (Question("what is it", "a sound"),)}):
        task.clips = [*clips_of_task[:-1], replace(clips_of_task[-1], **words)]
        assert folder(task) != first  # the files hold what is said of their clips


def test_a_run_learns_from_what_was_heard(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips, steps=6, validate_every=6, learning_rate=0.01, tag_weight=0)
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    folder = fit(task, task.config)
    after = task.module.state_dict()
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"connector", "lm"}
    assert sonopsis.load(folder, engine="torch").labels == task.labels


def test_what_cannot_be_kept_is_refused(make_config: Make, make_frozen: Make, clips: Clips) -> None:
    with pytest.raises(ValueError, match=r"data\.hearings: only what a frozen encoder hears of clips with captions"):
        make_config("captioning", data={"hearings": 2}, encoder={"train": "frozen"})
    with pytest.raises(ValueError, match="hearings must be at least 1"):
        make_config("captioning", data={"hearings": 0, "captions": "manifest"}, encoder={"train": "frozen"})
    with pytest.raises(ValueError, match=r"data\.hearings: what the encoder heard is kept for layout concat, not time"):
        make_task(make_frozen, clips, connector={"layout": "time_major"})
