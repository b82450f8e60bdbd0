"""Configurations: overrides, types, unknown keys, and that the ones in the repository are valid."""

import re
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from sonopsis.folder import DEFAULT_MODEL, describe
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.training.config import EncoderTraining, LanguageModelSizes, LoRASettings, TrainConfig
from sonopsis.training.configfile import dump_config, load_config, load_stages

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(file for file in FOLDER.rglob("*.yaml") if file.parent.name != "sweeps")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_of_the_repository_load(path: Path) -> None:
    folder = "runs/captioning" if path.parent.name == "captioning" else "runs"
    for config in load_stages(path):
        assert config.output.startswith(f"{folder}/{path.stem}")


def test_the_default_model_is_trained_on_all_labels_of_the_vocabulary() -> None:
    configs = Path(__file__).parents[2] / "configs"
    labels = load_config(configs / "ear-tagger.yaml").labels
    assert sorted(labels) == sorted(LEAVES) == sorted(load_config(configs / "small-tagger.yaml").labels)
    assert labels == describe(DEFAULT_MODEL).config.labels[: len(labels)]


def test_pretrained_and_drawn_encoders_are_fine_tuned_alike() -> None:
    pretraining, pretrained, drawn = (
        load_config(Path(__file__).parents[2] / "configs" / "pruning" / f"{name}.yaml")
        for name in ("masked", "masked-tagger", "scratch-tagger")
    )
    assert pretrained.model == f"{pretraining.output}/model"
    same: dict[str, Any] = {"output": "", "model": "", "encoder": EncoderTraining()}
    assert replace(pretrained, **same) == replace(drawn, **same)
    sizes: dict[str, Any] = {"stem": pretraining.encoder.stem, "depth": pretraining.encoder.depth}
    assert replace(pretrained.encoder, **sizes) == drawn.encoder
    assert drawn.model == pretraining.model


def keys_of(kind: type) -> Iterator[str]:
    """The keys of a configuration, those of sections with the name of the section and a dot."""
    for key, hint in get_type_hints(kind).items():
        sections = [choice for choice in (hint, *get_args(hint)) if is_dataclass(choice)]
        yield from (f"{key}.{below}" for section in sections for below in keys_of(section)) if sections else [key]


def test_the_page_on_training_has_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text().split("### Keys")[1].split("## Recipes")[0]
    documented = set()
    for row in re.findall(r"^\| (`.*)", page, flags=re.MULTILINE):
        first, *others = re.findall(r"`([\w.]+)`", row.split(" | ")[0])
        documented |= {first, *(first.rpartition(".")[0] + name if name[0] == "." else name for name in others)}
        if first == "language_model":  # one row for all sizes
            documented |= {f"{first}.{name}" for name in re.findall(r"`(\w+)`", row)}
    assert set(keys_of(TrainConfig)) - documented == set()


def written(folder: Path, text: str = "") -> Path:
    path = folder / "a.yaml"
    path.write_text(f"stage: tagging\noutput: out\n{text}")
    return path


def test_overrides_reach_nested_keys_and_numbers_become_floats(tmp_path: Path) -> None:
    path = written(tmp_path, "learning_rate: 1e-3\ndata: {speed: 0}\nlanguage_model: some/folder\n")
    overrides = [
        "data.reverb=1",
        "steps=7",
        "encoder.depth=4",
        "model=some/folder",
        "lora.rank=4",
        "lora.targets=[in_proj]",
    ]
    config = load_config(path, overrides)
    assert (config.learning_rate, config.data.speed, config.data.reverb) == (1e-3, 0.0, 1.0)
    assert (config.steps, config.encoder.depth, config.model) == (7, 4, "some/folder")
    assert config.lora == LoRASettings(rank=4, targets=["in_proj"]) and config.language_model == "some/folder"
    dump_config(config, tmp_path / "b.yaml")
    assert load_config(tmp_path / "b.yaml") == config
    assert load_config(path, ["language_model.width=64"]).language_model == LanguageModelSizes(width=64)


@pytest.mark.parametrize("override", ["data.sped=1", "stepz=1", "pruning.keep=1", "init=folder", "lora.r=8"])
def test_unknown_keys_are_refused(tmp_path: Path, override: str) -> None:
    path = written(tmp_path)
    with pytest.raises(ValueError) as refused:
        load_config(path, [override])
    assert f"{path}: unknown key `{override.split('=')[0]}`; known: " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("language_model: 3", "language_model", "a name or keys and values or null"),
        ("data: 3", "data", "keys and values"),
        ("steps: many", "steps", "a whole number"),
        ("steps: 1.5", "steps", "a whole number"),
        ("steps: true", "steps", "a whole number"),
        ("learning_rate: fast", "learning_rate", "a number"),
        ("encoder: {train: half}", "encoder.train", "all or frozen or a whole number"),
        ("pruning: {reduce: drop}", "pruning.reduce", "topk or fuse"),
        ("labels: [a, 1]", "labels", "a list of names"),
        ("lora: {targets: in_proj}", "lora.targets", "a list of names"),
        ("connector: {summary: maybe}", "connector.summary", "true or false"),
        ("steps: 0", "steps must be", "at least 1"),
        ("data: {codec: 2}", "data.codec is a share", "from 0 to 1"),
        ("data: {filter_db: -1}", "data.filter_db must not", "negative"),
        ("data: {speed: 1}", "data.speed must be", "under 1"),
        ("encoder: {layer_decay: 0}", "encoder.layer_decay must be", "over 0"),
        ("encoder: {train: -1}", "encoder.train must be", "a block"),
        ("pruning: {keep_rate: 1.5}", "pruning.keep_rate must be", "over 0"),
        ("pruning: {shrink_start: 0.5}", "pruning.shrink_start", "shares of the run"),
    ],
)
def test_a_wrong_type_or_value_is_one_line_with_file_and_key(
    tmp_path: Path, text: str, key: str, expected: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError) as refused:
        load_config(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ") and key in message and expected in message and "\n" not in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "a: [", "output: out"])
def test_what_describes_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml: "):
        load_config(tmp_path / "a.yaml")


def test_a_bare_no_is_a_precision(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "precision: no")).precision == "no"


@pytest.mark.parametrize(
    ("encoder", "frozen"),
    [({}, False), ({"train": "frozen"}, True), ({"learning_rate": 0}, True), ({"train": 3}, False)],
)
def test_a_rate_of_nought_is_a_frozen_encoder(tmp_path: Path, encoder: dict[str, Any], frozen: bool) -> None:
    assert load_config(written(tmp_path, f"encoder: {encoder}")).encoder.frozen is frozen


@pytest.mark.parametrize(("pruning", "rate"), [("{}", 0.5), ("{schedule: none}", 1.0), ("{model_keep_rate: 0.7}", 0.7)])
def test_the_keep_rate_of_the_saved_model(tmp_path: Path, pruning: str, rate: float) -> None:
    assert load_config(written(tmp_path, f"pruning: {pruning}")).pruning.used_rate == rate


def test_a_file_lies_over_its_base_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "lowest.yaml").write_text("stage: tagging\noutput: out\nsteps: 5\ndata: {speed: 0, reverb: 0}\n")
    (tmp_path / "deep" / "middle.yaml").write_text("base: ../lowest.yaml\nsteps: 6\ndata: {speed: 0.1}\n")
    (tmp_path / "top.yaml").write_text("base: deep/middle.yaml\nlabels: [Dog]\nbatch_size: 3\n")
    config = load_config(tmp_path / "top.yaml", ["batch_size=4", "data.codec=0.5"])
    assert (config.steps, config.batch_size, config.labels, config.output) == (6, 4, ["Dog"], "out")
    assert (config.data.speed, config.data.reverb, config.data.codec) == (0.1, 0, 0.5)


@pytest.mark.parametrize(
    ("base", "says"),
    [("none.yaml", "`base` must be the path"), ("[a]", "`base` must"), ("a.yaml", "back to this file")],
)
def test_a_wrong_base_is_one_line(base: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        load_config(written(tmp_path, f"base: {base}\n"))
    assert "\n" not in str(raised.value)
