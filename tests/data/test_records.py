"""Dataclasses from JSON and back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError
from sonopsis.data.records import decode, encode, read_lines


@dataclass(frozen=True)
class Leaf:
    name: str
    weight: float


@dataclass(frozen=True)
class Tree:
    kind: Literal["oak", "elm"]
    old: bool
    leaves: tuple[Leaf, ...]
    words: tuple[str, ...]
    fruit: Leaf | None

    def __post_init__(self) -> None:
        if self.kind == "elm" and self.fruit:
            raise ValueError("an elm has no fruit")


leaves = st.builds(Leaf, st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9))
trees = st.builds(
    Tree,
    st.just("oak"),
    st.booleans(),
    st.lists(leaves, max_size=3).map(tuple),
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
    st.none() | leaves,
)


@given(trees)
def test_a_record_is_the_same_after_json(tree: Tree) -> None:
    text = json.dumps(encode(tree))
    again = decode(Tree, json.loads(text))
    assert again == tree
    assert json.dumps(encode(again)) == text  # 2 stays 2 and 2.0 stays 2.0


GOOD: dict[str, Any] = {"kind": "oak", "old": True, "leaves": [], "words": ["a"], "fruit": None}


@given(st.sampled_from(sorted(GOOD)), st.text(min_size=1, max_size=8).filter(lambda name: name not in GOOD))
def test_a_missing_and_an_unknown_field_are_named(field: str, other: str) -> None:
    with pytest.raises(ValueError, match=f"the field '{field}' is missing"):
        decode(Tree, {name: value for name, value in GOOD.items() if name != field})
    with pytest.raises(ValueError) as error:
        decode(Tree, GOOD | {other: 1})
    assert str(error.value) == f"the field {other!r} is unknown; the fields are kind, old, leaves, words, fruit"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "ash"}, "'kind' must be one of oak, elm, not 'ash'"),
        ({"kind": ["oak"]}, "'kind' must be one of oak, elm, not ['oak']"),
        ({"old": 1}, "'old' must be true or false, not 1"),
        ({"words": "a"}, "'words' must be a list, not 'a'"),
        ({"words": [None]}, "'words' must be text, not None"),
        ({"leaves": [{"name": "a", "weight": False}]}, "'leaves': 'weight' must be a finite number, not False"),
        ({"leaves": [{"name": "a", "weight": float("inf")}]}, "'leaves': 'weight' must be a finite number, not inf"),
        ({"fruit": {"name": "a"}}, "'fruit': the field 'weight' is missing"),
        ({"kind": "elm", "fruit": {"name": "a", "weight": 1}}, "an elm has no fruit"),
    ],
)
def test_a_wrong_value_is_named_with_its_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        decode(Tree, GOOD | change)
    assert str(error.value) == said


@given(st.integers(0, 6), st.sampled_from([b"", b"{", b"3", b"\xff", b"[" * 100_000, b'{"kind": "oak"}']))
def test_a_wrong_line_is_named_with_its_number(before: int, wrong: bytes) -> None:
    lines = [json.dumps(GOOD).encode()] * before + [wrong]
    found = []
    with pytest.raises(DataError, match=rf"^trees.jsonl, line {before + 1}: .*; write the file again$"):
        for tree in read_lines(Path("trees.jsonl"), lines, lambda value: decode(Tree, value)):
            found.append(tree)
    assert len(found) == before
