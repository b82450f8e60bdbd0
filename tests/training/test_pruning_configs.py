"""configs/pruning: the paper's recipes are complete, and start on folders in the published layouts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sonopsis.data.manifest import write
from sonopsis.data.published.layouts import build_rows, find_items
from sonopsis.training.configfile import load_config
from sonopsis.training.run import run
from sonopsis.training.start import open_start

FOLDER = Path(__file__).parents[2] / "configs" / "pruning"
# Layout, clips for training, front end, Mel frames, epochs and epochs of shrinking of AST and of AudioMAE: arXiv
# 2504.01690 and its code. Of AST on VoxCeleb1 there is nothing.
DATA_SETS = {
    "as20k": ("audioset-20k", 20_550, (-4.2677393, 4.5689974), 1024, (30, 15, 25), (60, 30, 50)),
    "esc50": ("esc50", 1_600, (-6.6268077, 5.358466), 512, (30, 5, 20), (120, 20, 60)),
    "spc2": ("speech-commands", 84_843, (-6.845978, 5.5654526), 128, (30, 5, 20), (90, 10, 40)),
    "voxceleb1": ("voxceleb1", 138_361, (-6.37, 3.074), 1024, None, (90, 20, 60)),
}
CASES = [(model, data) for model in ("ast", "audiomae") for data in DATA_SETS]
TINY = ["encoder.width=16", "encoder.depth=3", "encoder.heads=2"]


def test_every_file_is_tested() -> None:
    found = {file.stem for model in ("ast", "audiomae") for file in FOLDER.glob(f"{model}-*.yaml")}
    assert found == {f"{model}-{data}" for model, data in CASES}


@pytest.mark.parametrize(("model", "data"), CASES)
def test_settings_are_those_of_the_paper(model: str, data: str) -> None:
    config = load_config(FOLDER / f"{model}-{data}.yaml", [f"model={model}", *TINY])
    _, clips, (mean, std), frames, *epochs = DATA_SETS[data]
    start = open_start(config)
    assert (start.mel.mean, start.mel.std, start.mel.padding) == (mean, std, "clip_min")
    assert start.mel.frames == start.encoder.frames == frames == round(config.data.seconds * 100)
    assert (config.pruning.schedule, config.data.mixing) == ("cosine", 0)
    if (found := epochs[model == "audiomae"]) is not None:
        number, first, last = found
        assert config.steps == round(number * clips / config.batch_size)
        shares = (config.pruning.shrink_start, config.pruning.shrink_end)
        assert shares == pytest.approx((first / number, last / number), abs=1e-3)
    if model == "audiomae":  # per 256 clips 1e-3; 4 epochs of warm-up
        assert config.learning_rate == pytest.approx(1e-3 * config.batch_size / 256)
        assert config.warmup_steps == round(4 * clips / config.batch_size)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "data"), CASES)
def test_a_run_starts_on_the_published_layout(
    model: str, data: str, published: Callable[[str, Path], Path], tmp_path: Path
) -> None:
    layout = DATA_SETS[data][0]
    root = published(layout, tmp_path / "data")
    found = build_rows(find_items(layout, root, 1 if layout == "esc50" else None), layout, root, 0.25)
    write(found.rows, root / "manifest.jsonl")
    changes = [f"model={model}", *TINY, "steps=2", "batch_size=2", "warmup_steps=1", "log_every=1", "save_every=2"]
    changes += ["validate_every=2", "precision=no", "data.workers=0", f"data.root={root}", f"output={tmp_path / 'run'}"]
    folder = run(load_config(FOLDER / f"{model}-{data}.yaml", changes))
    saved = json.loads((folder / "config.json").read_text())
    labels = {label for row in found.rows if row.split == "train" for label in row.labels}
    assert saved["labels"] == sorted(labels) and saved["keep_rate"] == 0.7
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any(line.get("val_clips", 0) > 0 for line in lines)
