"""What a frozen encoder heard once is what it would hear again, is never stale, and gives batches that repeat."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import set_seed
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from sonopsis.data.clips import ClipBank
from sonopsis.pruning import uniform
from sonopsis.training import asking, captioning
from sonopsis.training.batches import Batch
from sonopsis.training.captioning import Captioning
from sonopsis.training.config import TrainConfig
from sonopsis.training.loop import fit
from sonopsis.training.resume import find_checkpoint
from sonopsis.training.scene_features import features_folder, hear_scenes, heard_scenes
from sonopsis.training.start import open_start

Clips = tuple[ClipBank, ClipBank]
Make = Callable[..., TrainConfig]


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRAINING_SCENES", 50)
    monkeypatch.setattr(captioning, "VALIDATION_SCENES", 2)
    monkeypatch.setattr(captioning, "IN_A_FILE", 4)
    monkeypatch.setattr("sonopsis.training.heard.IN_A_FILE", 4)


def make_task(
    make_frozen: Make, clips: Clips, output: str = "run", kind: type[Captioning] = Captioning, **keys: Any
) -> Captioning:
    data = {"scenes": 10, **keys.pop("data", {})}
    config = make_frozen(output, data=data, **keys)
    set_seed(0)
    return kind(config, open_start(config), *clips)


def heard_by(task: Captioning) -> list[Path]:
    source = task.scenes(4)
    return hear_scenes(task.module, source, features_folder(task.module, source, task.config), task.config)


def test_the_files_hold_what_the_encoder_hears(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips, pruning={"schedule": "none"})
    files = heard_by(task)
    assert len(files) == 3
    for number, file in enumerate(files):
        batch, stored = task.scenes(4).batch(number), load_file(file)
        with torch.inference_mode():
            heard = task.module.hear(batch.mel)
        for name in ("steps", "summary", "pooled"):
            torch.testing.assert_close(stored[name].float(), getattr(heard, name), atol=2e-3, rtol=2e-3)
        assert torch.equal(stored["labels"].float(), batch.labels)
        assert batch.sounding is not None and torch.equal(stored["sounding"].float(), batch.sounding)
        assert stored["steps"].shape[1] == batch.sounding.shape[1] == -(-batch.mel.shape[1] // 16)


def test_files_have_keep_rates_of_their_own(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips, pruning={"keep_rate": 0.2}, encoder={"depth": 4})
    rates = []
    for number, file in enumerate(heard_by(task)):
        mel, steps = task.scenes(4).batch(number).mel, load_file(file)["steps"].float()
        with torch.inference_mode():
            errors = {
                tenths: float((task.module.hear(mel, uniform(4, tenths / 10)).steps - steps).abs().max())
                for tenths in range(2, 11)
            }
        rates += [tenths for tenths, error in errors.items() if error < 2e-3]
    assert len(rates) == 3 and len(set(rates)) > 1  # one for each file


def test_files_of_another_encoder_or_other_settings_are_not_read(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips)
    key = lambda task: features_folder(task.module, task.scenes(4), task.config)  # noqa: E731
    first = key(task)
    assert key(make_task(make_frozen, clips, data={"scenes": 20, "workers": 1}, learning_rate=0.5)) == first
    for changes in (
        {"data": {"reverb": 0.5}},
        {"connector": {"pool": 4}},
        {"pruning": {"keep_rate": 0.3}},
        {"seed": 5},
    ):
        assert key(make_task(make_frozen, clips, **changes)) != first, changes
    with torch.no_grad():
        task.module.tagger.encoder.blocks[1].fc2.bias[3] += 1e-3
    assert key(task) != first


def contents(file: Path) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """What is in a file; the order of its metadata is another one each time."""
    with safe_open(file, "pt") as stored:
        return {name: tensor.tolist() for name, tensor in load_file(file).items()}, stored.metadata()


def test_only_what_is_missing_is_heard(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips)
    files = heard_by(task)
    times = [file.stat().st_mtime_ns for file in files]
    content = contents(files[2])
    files[2].unlink()
    more = heard_by(make_task(make_frozen, clips, data={"scenes": 14}))
    assert more[:3] == files and len(more) == 4 and more[3].is_file()
    assert [file.stat().st_mtime_ns for file in files[:2]] == times[:2]
    assert load_file(files[2]).keys() == {"steps", "summary", "pooled", "labels", "sounding"}
    assert contents(files[2]) == content


def rows(batches: list[Batch]) -> list[bytes]:
    found = []
    for batch in batches:
        assert batch.features is not None
        found += [row.numpy().tobytes() for row in batch.features.pooled]
    return found


def test_an_epoch_has_every_scene_once_and_a_step_repeats(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips, data={"scenes": 12, "feature_noise": 0.1, "feature_drop": 0.3})
    batches = list(task.batches(0, 6))  # two epochs
    epochs = [rows(batches[:3]), rows(batches[3:])]
    assert len(set(epochs[0])) == 12 and set(epochs[0]) == set(epochs[1]) and epochs[0] != epochs[1]
    again = next(task.batches(4, 5))
    assert again.features is not None and batches[4].features is not None and again.ids is not None
    assert torch.equal(again.features.steps, batches[4].features.steps) and torch.equal(again.ids, batches[4].ids)
    silent = (again.features.steps == 0).all(dim=2).float().mean()
    assert 0.1 < silent < 0.5


def test_a_shorter_scene_is_continued_by_its_last_step(make_frozen: Make, clips: Clips) -> None:
    task = make_task(make_frozen, clips, data={"scenes": 12})
    files = heard_by(task)
    source = heard_scenes(files, 12, 0, task.tokenizer, task.config.data)
    batch = source.batch(0)
    assert batch.features is not None and batch.sounding is not None
    stored = {}
    for file in files:
        tensors = load_file(file)
        for i, pooled in enumerate(tensors["pooled"]):
            stored[pooled.float().numpy().tobytes()] = (tensors["steps"][i].float(), tensors["sounding"][i].float())
    lengths = set()
    for steps, pooled, sounding in zip(batch.features.steps, batch.features.pooled, batch.sounding, strict=True):
        own, facts = stored[pooled.numpy().tobytes()]
        lengths.add(len(own))
        assert torch.equal(steps[: len(own)], own) and torch.equal(sounding[: len(own)], facts)
        assert bool((steps[len(own) :] == own[-1]).all()) and bool((sounding[len(own) :] == facts[-1]).all())
    assert len(lengths) > 1 and max(lengths) == batch.features.steps.shape[1]


class Stopped(Captioning):
    """Captioning that fails in its sixth step."""

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        if progress >= 5 / self.config.steps:
            raise ConnectionError
        return super().loss(module, batch, progress)


def test_a_run_that_dies_ends_with_the_weights_of_one_that_does_not(make_frozen: Make, clips: Clips) -> None:
    keys: dict[str, Any] = {
        "steps": 8, "save_every": 3, "validate_every": 8, "learning_rate": 0.01, "tag_weight": 0,
        "data": {"feature_noise": 0.1},
    }  # fmt: skip
    task = make_task(make_frozen, clips, "whole", **keys)
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    whole = fit(task, task.config)
    task = make_task(make_frozen, clips, "parts", Stopped, **keys)
    with pytest.raises(ConnectionError):
        fit(task, task.config)
    assert find_checkpoint(Path(task.config.output))[1] == 3
    task = make_task(make_frozen, clips, "parts", **keys)
    parts = fit(task, task.config)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    after = task.module.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"connector", "lm"}  # neither the encoder nor the head


def test_what_cannot_be_kept_is_refused(make_config: Make, make_frozen: Make, clips: Clips) -> None:
    with pytest.raises(ValueError, match=r"data\.scenes: only what a frozen encoder hears can be kept"):
        make_config("captioning", data={"scenes": 10})
    with pytest.raises(ValueError, match=r"data\.scenes: what the encoder heard is kept for layout concat, not time"):
        make_task(make_frozen, clips, connector={"layout": "time_major"})
