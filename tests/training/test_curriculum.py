"""A file with several stages: each starts from the model of the one before."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from sonopsis.training.configfile import load_config, load_stages
from sonopsis.training.run import train

CURRICULUM = Path(__file__).parents[2] / "configs" / "captioning" / "curriculum.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text)
    return path


TEXT = """
stage: captioning
output: out
model: weights/encoder
language_model: weights/words
steps: 9
data: {speed: 0, reverb: 0}
stages:
  connector: {encoder: {train: frozen}, learning_rate: 1e-3, data: {reverb: 0.5}}
  all: {steps: 20}
  other: {model: another, language_model: weights/others}
"""


def test_each_stage_has_its_keys_over_those_of_the_file_and_the_model_before(tmp_path: Path) -> None:
    first, second, third = load_stages(written(tmp_path, TEXT))
    assert [one.output for one in (first, second, third)] == ["out/1-connector", "out/2-all", "out/3-other"]
    assert (first.model, first.language_model) == ("weights/encoder", "weights/words")
    assert (second.model, second.language_model) == ("out/1-connector/model", None)
    assert (third.model, third.language_model) == ("another", "weights/others")
    assert (first.encoder.train, second.encoder.train) == ("frozen", "all")
    assert (first.steps, second.steps, first.learning_rate) == (9, 20, 1e-3)
    assert (first.data.speed, first.data.reverb, second.data.reverb) == (0.0, 0.5, 0.0)


def test_overrides_hold_for_all_stages_or_for_one(tmp_path: Path) -> None:
    overrides = ["steps=3", "output=there", "stages.all.seed=5", "data.codec=0.25"]
    configs = load_stages(written(tmp_path, TEXT), overrides)
    assert [one.steps for one in configs] == [3, 3, 3]
    assert [one.seed for one in configs] == [0, 5, 0]
    assert [one.data.codec for one in configs] == [0.25, 0.25, 0.25]
    assert configs[1].model == "there/1-connector/model"


def test_an_override_of_one_stage_holds_before_those_of_all(tmp_path: Path) -> None:
    for overrides in (["steps=3", "stages.all.steps=7"], ["stages.all.steps=7", "steps=3"]):
        assert [one.steps for one in load_stages(written(tmp_path, TEXT), overrides)] == [3, 7, 3]
    configs = load_stages(written(tmp_path, TEXT), ["data.speed=0.1", "stages.connector.data.speed=0.2"])
    assert [one.data.speed for one in configs] == [0.2, 0.1, 0.1]


def test_the_model_of_the_command_line_is_that_of_the_first_stage(tmp_path: Path) -> None:
    overrides = ["model=weights/whisper", "language_model.width=32"]
    first, second, third = load_stages(written(tmp_path, TEXT), overrides)
    assert first.model == "weights/whisper" and getattr(first.language_model, "width", None) == 32
    assert (second.model, second.language_model) == ("out/1-connector/model", None)
    assert (third.model, third.language_model) == ("another", "weights/others")
    assert load_stages(written(tmp_path, TEXT), ["stages.all.model=other"])[1].model == "other"


def test_stages_may_be_numbered_and_the_output_given_with_the_command(tmp_path: Path) -> None:
    path = written(tmp_path, "stage: tagging\nstages: {1: {steps: 4}, 2: {}}")
    first, second = load_stages(path, ["output=there", "stages.2.steps=5"])
    assert [(one.output, one.steps) for one in (first, second)] == [("there/1-1", 4), ("there/2-2", 5)]


def test_a_file_without_stages_is_one_run(tmp_path: Path) -> None:
    path = written(tmp_path, "stage: tagging\noutput: out\n")
    assert load_stages(path, ["steps=3"]) == [load_config(path, ["steps=3"])]


@pytest.mark.parametrize(
    ("text", "overrides", "says"),
    [
        ("stage: tagging\noutput: out\nstages: [a, b]", [], "`stages` must give a name and keys to each stage"),
        ("stage: tagging\noutput: out\nstages: {}", [], "`stages` must give a name and keys to each stage"),
        ("stage: tagging\nstages: {a: {steps: 1}}", [], "`output` is missing"),
        ("stage: tagging\noutput: out\nstages: {a: {output: b}}", [], "stages.a: `output` belongs to the whole file"),
        ("stage: tagging\noutput: out\nstages: {a: {step: 1}}", [], "unknown key `step`"),
        ("stage: tagging\noutput: out\nstages: {a: {steps: 0}}", [], "steps must be at least 1"),
        (TEXT, ["output=3"], "`output` is missing"),
        (TEXT, ["stages.all=3"], "give a value to a key of a stage, as in stages.connector.steps=100"),
        (TEXT, ["stages.all.output=b"], "stages.all: `output` belongs to the whole file"),
        (TEXT, ["stages.al.steps=3"], "there is no stage 'al'; known: connector, all, other"),
    ],
)
def test_what_describes_no_stages_is_one_line(text: str, overrides: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.yaml: ") as refused:
        load_stages(written(tmp_path, text), overrides)
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_the_curriculum_of_the_paper_has_four_stages() -> None:
    stages = load_stages(CURRICULUM)
    assert [Path(one.output).name for one in stages] == ["1-proj_cla", "2-all_cla", "3-all_close", "4-all_mix"]
    assert [one.learning_rate for one in stages] == [1e-3, 1e-4, 1e-4, 1e-4]
    assert stages[0].encoder.frozen and stages[0].lora is not None and stages[0].lora.rank == 0
    assert all(not one.encoder.frozen and one.lora is not None and one.lora.rank == 8 for one in stages[1:])


def test_two_stages_are_trained_one_after_the_other(
    write_run: Callable[..., Path], lm: dict[str, int], tmp_path: Path
) -> None:
    path = write_run("captioning", language_model=lm)
    keys = yaml.safe_load(path.read_text())
    keys["encoder"] = {}
    own = {"encoder": {"width": 16, "depth": 4, "heads": 2, "stem": "patch", "train": "frozen"}}
    path.write_text(
        yaml.safe_dump({**keys, "stages": {"one": own, "two": {"encoder": {"train": "frozen"}}}}, sort_keys=False)
    )
    folder = train(path)
    assert folder == tmp_path / "run" / "2-two" / "model"
    first, second = (load_file(tmp_path / "run" / name / "model" / "model.safetensors") for name in ("1-one", "2-two"))
    encoder = [name for name in first if name.startswith("tagger.encoder.")]
    assert encoder and all(torch.equal(first[name], second[name]) for name in encoder)  # stage 2 began with stage 1
    assert any(not torch.equal(first[name], second[name]) for name in first)
    described = json.loads((folder / "config.json").read_text())["training"]
    assert described["from"]["stage"] == "captioning"
    before = (folder / "model.safetensors").read_bytes()
    assert train(path) == folder  # everything is done: nothing changes
    assert (folder / "model.safetensors").read_bytes() == before
