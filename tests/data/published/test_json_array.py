"""Large JSON arrays: the same elements as json.loads, with their lines, however the file is cut into chunks."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError
from sonopsis.data.published import json_array
from sonopsis.data.published.json_array import read_array

objects = st.dictionaries(st.text(max_size=4), st.text(max_size=9) | st.lists(st.integers(), max_size=3), max_size=3)


@given(st.lists(objects, max_size=6), st.sampled_from([None, 1]), st.integers(1, 40), st.booleans())
def test_the_elements_are_those_of_json(
    tmp_path_factory: pytest.TempPathFactory, found: list[object], indent: int | None, chunk: int, ascii_only: bool
) -> None:
    file = tmp_path_factory.mktemp("array") / "array.json"
    file.write_text("\n" + json.dumps(found, indent=indent, ensure_ascii=ascii_only) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "CHUNK", chunk)
        assert [element for _, element in read_array(file)] == json.loads(file.read_text(encoding="utf-8"))


def test_every_element_comes_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "array.json"
    file.write_text('[\n {"a": "x\\ny",\n  "b": 1},\n\n {"a": 2}, {"a": 3}\n]')
    assert [line for line, _ in read_array(file)] == [2, 5, 5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[\n{"a": 1},\n{"a": }\n]', r"array\.json, line 3: this is not JSON"),
        ('[\n{"a": 1}\n{"a": 2}]', r"line 3: expected a comma or the end of the array, found '\{'"),
        ('{"data": []}', r"line 1: expected an array of objects"),
        ('[\n{"a": 1},\n', r"line 3: the file ends before its array does"),
        ("", r"line 1: the file ends"),
        ('[{"a": "never ends', r"line 1: this is not JSON"),
    ],
)
def test_what_is_wrong_names_its_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "array.json").write_text(text)
    with pytest.raises(DataError, match=says):
        list(read_array(tmp_path / "array.json"))
