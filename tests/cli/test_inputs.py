"""Which recordings arguments mean, and what the files written for them are called."""

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.cli.inputs import Input, collect, targets


def names(arguments: list[object]) -> list[str]:
    return [item.name for item in collect([str(argument) for argument in arguments])]


def test_a_folder_is_searched_by_suffix_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.wav", "a.OGG", "sub/c.Mp3", "sub/.hidden.wav", ".git/d.wav", "notes.txt", "e.flac.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names([tmp_path]) == [str(tmp_path / name) for name in ("a.OGG", "b.wav", "sub/c.Mp3")]


def test_a_named_file_needs_no_suffix_of_audio_and_no_existence(tmp_path: Path) -> None:
    (tmp_path / "tape").touch()
    assert [item.problem for item in collect([str(tmp_path / "tape"), str(tmp_path / "missing.wav")])] == [None, None]


def test_globs_are_sorted_and_recursive(tmp_path: Path) -> None:
    for name in ("b.wav", "a.wav", "x/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names([tmp_path / "*.wav"]) == [str(tmp_path / name) for name in ("a.wav", "b.wav")]
    assert names([tmp_path / "**" / "*.wav"]) == [str(tmp_path / name) for name in ("a.wav", "b.wav", "x/c.wav")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    for name in ("take[1].wav", "take1.wav"):
        (tmp_path / name).touch()
    assert names([tmp_path / "take[1].wav"]) == [str(tmp_path / "take[1].wav")]


def test_a_recording_named_twice_comes_once_in_the_place_of_the_first(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    assert names([tmp_path / "b.wav", tmp_path / "*.wav", "-", "-"]) == [
        str(tmp_path / "b.wav"),
        str(tmp_path / "a.wav"),
        "-",
    ]


@pytest.mark.parametrize(("argument", "problem"), [("", "no recordings in this folder"), ("*.wav", "no file matches")])
def test_nothing_found_is_a_problem_that_names_the_argument(tmp_path: Path, argument: str, problem: str) -> None:
    given_name = str(tmp_path / argument)
    (item,) = collect([given_name])
    assert item.problem is not None and item.problem.startswith(f"{item.name}: {problem}")
    assert item.name.rstrip("/") == given_name.rstrip("/")


def inputs(*places: str) -> list[Input]:
    return [Input(f"{i}/{place}", PurePath(place)) for i, place in enumerate(places)]


def test_targets_keep_folders_and_drop_the_suffix_where_that_is_clear() -> None:
    chosen = targets(inputs("street.wav", "deep/rain.ogg", "deep/street.wav"))
    assert [str(place) for place in chosen.values()] == ["street", "deep/rain", "deep/street"]


def test_targets_of_like_names_differ() -> None:
    chosen = targets(inputs("a.wav", "a.ogg", "a.wav", "a.wav-2.wav"))
    assert [str(place) for place in chosen.values()] == ["a.wav", "a.ogg", "a.wav-2", "a.wav-2-2"]


@given(st.lists(st.sampled_from(["a", "a.wav", "a.ogg", "x/a.wav", "a.wav-2", "a-2.wav", "a.wav-2.wav", "b"])))
def test_no_two_inputs_share_a_target(places: list[str]) -> None:
    found = inputs(*places)
    chosen = targets(found)
    assert set(chosen) == {item.name for item in found}
    assert len(set(chosen.values())) == len(places)
