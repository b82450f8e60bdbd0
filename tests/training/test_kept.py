"""The model of the best validation is the one that stays."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import sonopsis
from sonopsis.data.clips import ClipBank
from sonopsis.training.config import TrainConfig
from sonopsis.training.kept import MODEL, Kept, find_kept, keep_if_better
from sonopsis.training.run import train
from sonopsis.training.start import open_start
from sonopsis.training.tagging import Tagging


def written(text: str) -> Callable[[Path], None]:
    def export(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").write_text(text)

    return export


def test_only_a_higher_figure_replaces_the_model(tmp_path: Path) -> None:
    assert find_kept(tmp_path) is None
    for step, value in [(10, 0.3), (20, 0.5), (30, 0.5), (40, math.nan), (50, 0.4)]:
        keep_if_better(tmp_path, step, value, written(str(step)))
    assert find_kept(tmp_path) == Kept(20, 0.5)
    assert (tmp_path / MODEL / "weights").read_text() == "20"


def test_a_kill_while_writing_leaves_the_model_before_and_the_next_try_has_the_new_one(tmp_path: Path) -> None:
    keep_if_better(tmp_path, 10, 0.3, written("ten"))

    def killed(folder: Path) -> None:
        written("half")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_if_better(tmp_path, 20, 0.5, killed)
    assert (tmp_path / MODEL / "weights").read_text() == "ten" and find_kept(tmp_path) == Kept(10, 0.3)
    keep_if_better(tmp_path, 20, 0.5, written("twenty"))
    assert (tmp_path / MODEL / "weights").read_text() == "twenty" and find_kept(tmp_path) == Kept(20, 0.5)


def test_a_run_keeps_its_best_validation_by_map(
    write_run: Callable[..., Path],
    make_config: Callable[..., TrainConfig],
    clips: tuple[ClipBank, ClipBank],
    tmp_path: Path,
) -> None:
    keys = {"steps": 12, "validate_every": 2, "save_every": 6, "learning_rate": 0.01, "ema": 0.5}
    folder = train(write_run("tagging", "best", keep="best", **keys))
    lines = [json.loads(line) for line in (folder.parent / "log.jsonl").read_text().splitlines()]
    figures = {line["step"]: line["val_map"] for line in lines if "val_map" in line}
    best = find_kept(folder.parent)
    assert best is not None and len(figures) == 6
    assert figures[best.step] == round(best.value, 4) == max(figures.values())
    train(write_run("tagging", "best", keep="best", **keys))  # once more: there is nothing left to do
    assert find_kept(folder.parent) == best
    model = sonopsis.load(folder)
    rate = {"schedule": "none", "model_keep_rate": model.keep_rate}
    config = make_config("tagging", "again", model=str(folder), labels="inherit", pruning=rate)
    again = Tagging(config, open_start(config), *clips).validate(model.module)
    assert again["map"] == pytest.approx(best.value, abs=0.02)  # its weights are stored in float16
    train(write_run("tagging", "last", **keys))
    assert find_kept(tmp_path / "last") is None
