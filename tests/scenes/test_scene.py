"""Scenes as dataclasses, as JSON and as files."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.ontology import former
from sonopsis.scenes.scene import LABELS, Event, Facts, Scene, SceneType, freeze, read_scenes, write_scenes

NUMBERS = st.floats(-1e6, 1e6)
NAMES = st.text(max_size=12)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A scene of any type; its clips, places and sentences are arbitrary."""
    kind: SceneType = draw(st.sampled_from(list(LABELS)))
    count = draw(st.sampled_from(LABELS[kind]))
    labels = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
    if kind == "repeat":
        labels *= draw(st.integers(2, 4))
    pieces = [Event(draw(NAMES), draw(NAMES), *draw(st.tuples(NUMBERS, NUMBERS)), name, 0.0, -1.5) for name in labels]
    return Scene(
        id=draw(NAMES),
        split=draw(st.sampled_from(["train", "validation", "test"])),
        type=kind,
        duration=draw(NUMBERS),
        events=tuple(pieces[:-1]) if kind == "bed" else tuple(pieces),
        bed=pieces[-1] if kind == "bed" else None,
        noise_db=draw(NUMBERS),
        novel_pair=draw(st.booleans()),
        captions=tuple(draw(st.lists(NAMES, max_size=3))),
        families=tuple(draw(st.lists(NAMES, max_size=3))),
    )


@given(scenes())
def test_a_scene_is_the_same_after_json(scene: Scene) -> None:
    value = json.loads(json.dumps(scene.to_dict()))
    assert Scene.from_dict(value) == scene
    assert Scene.from_dict(value).to_dict() == value == scene.to_dict()


@given(st.lists(scenes(), max_size=4))
def test_a_file_of_scenes_reads_back_and_is_the_same_bytes(tmp_path_factory: Any, written: list[Scene]) -> None:
    folder = tmp_path_factory.mktemp("scenes")
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_scenes(written, folder / name)
    assert read_scenes(folder / "a.jsonl.gz") == written
    assert (folder / "a.jsonl.gz").read_bytes() == (folder / "b.jsonl.gz").read_bytes()
    lines = gzip.decompress((folder / "a.jsonl.gz").read_bytes())
    assert freeze(written) == hashlib.sha256(lines).hexdigest()


def event(label: str) -> dict[str, Any]:
    return {"path": f"{label}.wav", "sha256": "0", "start": 0, "end": 1.5, "label": label, "onset": 0.5, "gain_db": -3}


GOOD: dict[str, Any] = {
    "id": "train-0-000000",
    "split": "train",
    "type": "bed",
    "duration": 5,
    "events": [event("Dog")],
    "bed": event("Rain"),
    "labels": ["Dog", "Rain"],
    "noise_db": -60.0,
    "novel_pair": False,
    "captions": ["a dog barking over falling rain"],
    "families": ["plain"],
}


def test_the_canonical_line_sorts_the_fields_and_keeps_the_numbers_as_they_are_written() -> None:
    line = json.dumps(GOOD, sort_keys=True, separators=(",", ":")) + "\n"
    assert freeze([Scene.from_dict(GOOD)]) == hashlib.sha256(line.encode()).hexdigest()


BROKEN = [
    ({name: value for name, value in GOOD.items() if name != "noise_db"}, "the field 'noise_db' is missing"),
    ({name: value for name, value in GOOD.items() if name != "labels"}, "the field 'labels' is missing"),
    (GOOD | {"place": "Rome"}, "the field 'place' is unknown"),
    (
        GOOD | {"labels": ["Rain", "Dog"]},
        r"'labels' must be \['Dog', 'Rain'\], those of the events",
    ),
    (GOOD | {"type": "chorus"}, "'type' must be one of single, sequence, overlap, repeat, bed, not 'chorus'"),
    (GOOD | {"type": "single"}, "no scene is a 'single' of 2 labels"),
    (GOOD | {"novel_pair": 0}, "'novel_pair' must be true or false, not 0"),
    (GOOD | {"bed": []}, r"'bed': \[\] is not a JSON object"),
    (
        GOOD | {"events": [event("Dog") | {"gain_db": "loud"}]},
        "'events': 'gain_db' must be a finite number",
    ),
    (GOOD | {"events": [{"path": "dog.wav"}]}, "'events': the field 'sha256' is missing"),
    ([], r"\[\] is not a JSON object"),
]


@pytest.mark.parametrize(("value", "said"), BROKEN)
def test_a_line_that_is_no_scene_is_named_with_its_field(tmp_path: Path, value: Any, said: str) -> None:
    path = tmp_path / "scenes.jsonl.gz"
    path.write_bytes(gzip.compress(f"{json.dumps(GOOD)}\n{json.dumps(value)}\n".encode()))
    with pytest.raises(ValueError, match=rf"scenes.jsonl.gz, line 2: {said}.*; write the file again"):
        read_scenes(path)


def test_a_damaged_file_is_one_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "scenes.jsonl.gz"
    whole = gzip.compress((json.dumps(GOOD) + "\n").encode())
    for content in (whole[:-20], whole[:-4] + b"1234", b"no gzip at all", whole[:20] + b"\xff" * 20 + whole[40:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"scenes.jsonl.gz, line \d: .*; write the file again"):
            read_scenes(path)


def test_facts_know_how_many_labels_a_scene_has() -> None:
    with pytest.raises(ValueError, match="no scene is a 'sequence' of 1 labels; there are single of 1, sequence of 2"):
        Facts("sequence", ("Dog",))


def test_older_names_of_labels_become_todays() -> None:
    old = GOOD | {"events": [event("dog")], "bed": event("rain"), "labels": ["dog", "rain"]}
    scene = Scene.from_dict(old)
    assert scene.labels == ("Dog", "Rain")
    assert scene.renamed(former).to_dict() == old
