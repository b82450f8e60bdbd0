"""Configurations: overrides, types, unknown keys, and that the ones in the repository are valid."""

from pathlib import Path

import pytest

from sonopsis.training.config import dump_config, load_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_of_the_repository_load(path: Path) -> None:
    config = load_config(path)
    assert config.output == f"runs/{path.stem}"


def test_overrides_reach_nested_keys_and_numbers_become_floats(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("stage: tagging\noutput: out\nlearning_rate: 1e-3\ndata: {speed: 0}\n")
    config = load_config(tmp_path / "a.yaml", ["data.reverb=1", "steps=7", "encoder.depth=4", "init=some/folder"])
    assert (config.learning_rate, config.data.speed, config.data.reverb) == (1e-3, 0.0, 1.0)
    assert (config.steps, config.encoder, config.init) == (7, {"depth": 4}, "some/folder")
    dump_config(config, tmp_path / "b.yaml")
    assert load_config(tmp_path / "b.yaml") == config


@pytest.mark.parametrize("override", ["data.sped=1", "stepz=1", "pruning.keep=1"])
def test_unknown_keys_are_refused(tmp_path: Path, override: str) -> None:
    (tmp_path / "a.yaml").write_text("stage: tagging\noutput: out\n")
    with pytest.raises(ValueError, match="unknown key"):
        load_config(tmp_path / "a.yaml", [override])


def test_a_value_where_keys_belong_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("stage: captioning\noutput: out\nlm: 3\n")
    with pytest.raises(ValueError, match="lm must hold"):
        load_config(tmp_path / "a.yaml")
