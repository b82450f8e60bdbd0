"""Names of a model folder's files: JSON and weights are found, or one line says what is wrong."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sonopsis import folder
from sonopsis.files import PICKLE, SHARDS, WEIGHTS, ModelError, read_fields, read_json, weight_files


@dataclass
class Sizes:
    width: int
    depth: int = 2
    labels: list[str] = field(default_factory=list)


def test_a_section_becomes_a_dataclass() -> None:
    assert read_fields(Sizes, {"width": 3, "labels": ["a"]}, "model") == Sizes(3, 2, ["a"])
    with pytest.raises(ValueError, match=r"unknown model fields \['height'\]; known: \['depth', 'labels', 'width'\]"):
        read_fields(Sizes, {"width": 3, "height": 1}, "model")
    with pytest.raises(ValueError, match=r"model fields \['width'\] are missing"):
        read_fields(Sizes, {"depth": 3}, "model")


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"width": 16, "name": "Straße"}', encoding="utf-8")
    assert read_json(tmp_path / "config.json") == {"width": 16, "name": "Straße"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1]", "JSON object"),
        (b"null", "JSON object"),
        (None, "is missing"),
    ],
)
def test_what_is_no_json_object_is_refused_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "config.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        read_json(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_json_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path / "config.json")


def test_single_safe_weights_come_first_then_shards_then_pickles(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        weight_files(tmp_path)
    (tmp_path / PICKLE).touch()
    assert weight_files(tmp_path) == [tmp_path / PICKLE]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    table = {"weight_map": {"b": shards[1], "a": shards[0], "c": shards[1]}}
    (tmp_path / SHARDS).write_text(json.dumps(table))
    with pytest.raises(ModelError, match=r"00001.*00002.*is missing"):
        weight_files(tmp_path)
    for name in shards:
        (tmp_path / name).touch()
    assert weight_files(tmp_path) == [tmp_path / name for name in shards]
    (tmp_path / WEIGHTS).touch()
    assert weight_files(tmp_path) == [tmp_path / WEIGHTS]


@pytest.mark.parametrize("table", [{}, {"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../b"}}])
def test_a_damaged_table_of_shards_is_refused(tmp_path: Path, table: dict[str, object]) -> None:
    (tmp_path / SHARDS).write_text(json.dumps(table))
    with pytest.raises(ModelError, match="no weight_map"):
        weight_files(tmp_path)


def test_the_error_is_one_class_under_both_names() -> None:
    assert folder.ModelError is ModelError
