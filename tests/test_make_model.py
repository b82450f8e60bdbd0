"""The plan of `make model`: every stage finds what it reads, and the runs start from one another's models."""

from pathlib import Path

import make_model
import pytest
from make_model import ROOT, RUNS, plan
from ship_model import ship

from sonopsis.files import CARD, ModelError
from sonopsis.training.configfile import load_config


def test_whatever_a_stage_reads_is_in_the_repository_or_made_before(tmp_path: Path) -> None:
    made = [tmp_path / "unlabelled.jsonl"]  # beside the manifest
    stages = plan(tmp_path)
    for stage in stages:
        for path in (*stage.reads, *filter(None, [stage.copies])):
            before = any(path == other or other in path.parents or path in other.parents for other in made)
            assert before or ((ROOT / path).exists() and RUNS not in path.parents), (stage.name, path)
        if stage.copies is not None:
            assert stage.copies in stage.reads  # so that it is copied anew when it changes
        made += [stage.result] if stage.result is not None else []
    assert len({stage.name for stage in stages}) == len(stages)
    assert len({stage.result for stage in stages if stage.result}) == sum(stage.result is not None for stage in stages)


def test_the_runs_are_those_of_the_configurations_and_fit_together(tmp_path: Path) -> None:
    runs = [stage for stage in plan(tmp_path) if stage.begun is not None]
    configs = [load_config(stage.command[4], stage.command[5:]) for stage in runs]
    assert [config.stage for config in configs] == ["tagging", "verbalising", "verbalising", "captioning"]
    for stage, config in zip(runs, configs, strict=True):
        assert Path(config.output) == stage.begun and stage.result == Path(config.output) / "model"
    assert configs[0].model == load_config(runs[0].command[4]).model
    assert configs[1].model == load_config(runs[1].command[4]).model == "runs/ear-joint"
    for number in (2, 3):
        started = load_config(runs[number].command[4]).model
        assert configs[number].model == started == str(runs[number - 1].result)


def test_the_plan_is_printed_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SONOPSIS_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert make_model.main(["--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [stage.name for stage in plan(tmp_path)]
    assert list(tmp_path.iterdir()) == []
    assert make_model.main(["--all"]) == 2


def test_a_model_takes_the_place_of_another_and_the_card_stays(tmp_path: Path, tiny_model: Path) -> None:
    place = tmp_path / "default"
    place.mkdir()
    for name in (CARD, "config.json", "old.onnx"):
        (place / name).write_text("old")
    ship(tiny_model, place)
    names = {file.name for file in tiny_model.iterdir()} | {CARD}
    assert {file.name for file in place.iterdir()} == names
    assert (place / CARD).read_text() == "old"
    assert all((place / name).read_bytes() == (tiny_model / name).read_bytes() for name in names - {CARD})
    with pytest.raises(ModelError):
        ship(tmp_path, place)
