"""A folder for each label -> rows: where sources are read from, and what is held out."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError
from sonopsis.data.folder_per_class import FolderRows, choose_sources, read_folder


def make(root: Path, *files: str) -> Path:
    """Half a second of noise in each file, a different one in each."""
    for number, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.random.default_rng(number).uniform(-0.1, 0.1, 8_000), 16_000)
    return root


def held_out(found: FolderRows) -> set[str]:
    return {row.path for row in found.rows if row.split != "train"}


def test_sources_are_folders_below_the_label(tmp_path: Path) -> None:
    names = [f"{label}/{place}/deep/{take}.wav" for label in ("cat", "dog") for place in "abcd" for take in range(2)]
    found = read_folder(make(tmp_path, *names))
    assert [row.path for row in found.rows] == sorted(names)
    first = found.rows[0]
    assert (first.labels, first.source, first.start, first.end) == (("cat",), "a", 0.0, 0.5) and len(first.sha256) == 64
    assert len(found.held_out_sources) == 1 and not found.notes and not found.labels_without_sources
    (source,) = found.held_out_sources
    assert held_out(found) == {name for name in names if f"/{source}/" in name}


@pytest.mark.parametrize("separator", ["_", "-", ".", " "])
def test_sources_are_the_beginnings_of_names(separator: str, tmp_path: Path) -> None:
    names = [
        f"{label}/{place}{separator}{take}.wav" for label in ("cat", "dog") for place in "abc" for take in range(2)
    ]
    found = read_folder(make(tmp_path, *names))
    (source,) = found.held_out_sources
    assert held_out(found) == {name for name in names if f"/{source}{separator}" in name}


@pytest.mark.parametrize("pattern", ["dog{}.wav", "take_{}.wav"])  # a source for each file; one source for all
def test_where_names_tell_no_sources_every_fourth_file_is_held_out_and_said(pattern: str, tmp_path: Path) -> None:
    names = [f"{label}/{pattern.format(number)}" for label in ("cat", "dog") for number in range(8)]
    found = read_folder(make(tmp_path, *names))
    assert found.held_out_sources == [] and found.labels_without_sources == ["cat", "dog"]
    assert held_out(found) == {f"{label}/{pattern.format(number)}" for label in ("cat", "dog") for number in (3, 7)}
    (note,) = found.notes
    assert note.startswith("cat, dog: the files do not tell at least two sources") and "\n" not in note


def test_a_label_with_two_files_holds_out_one_and_with_one_file_none(tmp_path: Path) -> None:
    found = read_folder(make(tmp_path, "cat/1.wav", "cat/2.wav", "dog/1.wav"))
    assert held_out(found) == {"cat/2.wav"}
    assert found.notes[-1] == "dog: no recording is held out, so the score says nothing of it"


def test_a_division_of_ones_own_is_kept(tmp_path: Path) -> None:
    found = read_folder(make(tmp_path, "train/cat/1.wav", "train/dog/1.wav", "val/cat/2.wav", "test/dog/3.wav"))
    assert {row.path: (row.labels[0], row.split) for row in found.rows} == {
        "train/cat/1.wav": ("cat", "train"),
        "train/dog/1.wav": ("dog", "train"),
        "val/cat/2.wav": ("cat", "validation"),
        "test/dog/3.wav": ("dog", "test"),
    }
    assert found.divided and not found.notes


def test_files_that_are_no_recordings_and_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "cat/a/1.wav", "cat/b/1.wav", "dog/a/1.wav", "dog/b/1.wav", ".trash/x.wav", "__notes/x.wav")
    (tmp_path / "cat" / "readme.txt").write_text("no recording")
    (tmp_path / "__notes" / "x.wav").unlink()
    assert {row.labels for row in read_folder(tmp_path).rows} == {("cat",), ("dog",)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "recordings of 0 labels"),
        (("dog/1.wav",), r"recordings of 1 labels \(dog\)"),
        (("loose.wav",), "recordings of 0 labels"),
        (("train/dog/1.wav", "train/cat/1.wav", "bird/1.wav"), "has both train/ and bird/"),
        (("test/dog/1.wav", "test/cat/1.wav"), "has test/ but no train/"),
        (("train/dog/1.wav", "train/cat/1.wav", "test/bird/1.wav"), "'bird' has no recordings in train/"),
    ],
)
def test_what_is_no_folder_for_each_label_is_refused_in_one_line(
    files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        read_folder(make(tmp_path, *files))
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        read_folder(tmp_path / "nowhere")


SOURCES = st.dictionaries(
    st.sampled_from(["dog", "cat", "cow", "bird"]), st.sets(st.sampled_from("abcdefghij"), min_size=2), min_size=1
)


@given(sources=SOURCES)
def test_of_no_label_all_sources_are_held_out_and_the_choice_is_always_the_same(sources: dict[str, set[str]]) -> None:
    chosen = choose_sources(sources)
    assert chosen == choose_sources(dict(reversed(sources.items())))
    for found in sources.values():
        assert found - chosen
    assert any(found & chosen for found in sources.values())


@given(count=st.integers(2, 40))
def test_labels_with_the_same_sources_lose_a_quarter_of_them(count: int) -> None:
    names = {str(number) for number in range(count)}
    assert len(choose_sources({"dog": names, "cat": set(names)})) == max(1, count // 4)
