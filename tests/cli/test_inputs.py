"""Which recordings arguments mean, and what the files written for them are called."""

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.cli.inputs import Input, LeftOut, collect, targets


def names(arguments: list[object]) -> list[str]:
    return [item.name for item in collect([str(argument) for argument in arguments])]


def test_a_folder_is_searched_by_suffix_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.wav", "a.OGG", "sub/c.Mp3", "sub/.hidden.wav", ".git/d.wav", "notes.txt", "e.flac.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names([tmp_path]) == [str(tmp_path / name) for name in ("a.OGG", "b.wav", "sub/c.Mp3")]


@pytest.mark.parametrize("installed", [False, True])
def test_what_a_search_leaves_out_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr("sonopsis.cli.inputs.reads_media", lambda: installed)
    names_left = ("notes.txt", "b.txt", "cover.jpg", "LICENSE", ".DS_Store", ".git/x.wav", "sub/._a.wav", "sub/.b.wav")
    for name in (*names_left, "a.wav", "a.m4a", "sub/film.MP4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    left_out = LeftOut()
    found = [Path(item.name).name for item in collect([str(tmp_path)], left_out)]
    others = "4 of other types (.txt, no suffix, .jpg), 3 hidden, 1 AppleDouble (._*)"
    if installed:
        assert found == ["a.m4a", "a.wav", "film.MP4"]
        assert str(left_out) == f"files left out of the search: {others}"
    else:
        assert found == ["a.wav"]
        needs = "2 (.m4a, .mp4; needs PyAV: pip install 'sonopsis[media]')"
        assert str(left_out) == f"files left out of the search: {needs}, {others}"


def test_a_search_that_takes_everything_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    left_out = LeftOut()
    collect([str(tmp_path), str(tmp_path / "named.txt")], left_out)
    assert str(left_out) == ""


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
