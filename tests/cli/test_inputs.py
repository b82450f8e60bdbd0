"""Which recordings arguments mean, and what the files written for them are called."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.cli.inputs import Input, collect, targets
from sonopsis.cli.search import LeftOut

Run = Callable[..., Result]


def names(arguments: list[object]) -> list[str]:
    return [item.name for item in collect([str(argument) for argument in arguments])]


def test_a_folder_is_searched_by_suffix_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.wav", "a.OGG", "sub/c.Mp3", "sub/.hidden.wav", ".git/d.wav", "notes.txt", "e.flac.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names([tmp_path]) == [str(tmp_path / name) for name in ("a.OGG", "b.wav", "sub/c.Mp3")]


@pytest.mark.parametrize("installed", [False, True])
def test_what_a_search_leaves_out_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr("sonopsis.cli.search.reads_media", lambda: installed)
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


def test_links_to_folders_are_followed_once_and_not_in_circles(tmp_path: Path) -> None:
    for name in ("card/b.wav", "card/deep/c.wav", "week/a.wav", "week/monday/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    week = tmp_path / "week"
    for link, goal in (("card", "../card"), ("again", "monday"), ("monday/up", "../.."), ("card2", "../card/deep")):
        (week / link).symlink_to(goal, target_is_directory=True)
    (tmp_path / "card" / "back").symlink_to(week, target_is_directory=True)
    left_out = LeftOut()
    found = [str(Path(item.name).relative_to(week)) for item in collect([str(week)], left_out)]
    assert found == ["a.wav", "card/b.wav", "card/deep/c.wav", "monday/d.wav"]
    links = ", ".join(str(week / link) for link in ("again", "card/back", "card2", "monday/up"))
    assert str(left_out) == f"left out of the search: 4 links to folders that are searched already, or around ({links})"


def test_empty_folders_are_counted(tmp_path: Path) -> None:
    for name in ("one", "two/three", "four"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a.wav", "notes.txt", "four/b.wav"):
        (tmp_path / name).touch()
    left_out = LeftOut()
    assert names([tmp_path]) == [item.name for item in collect([str(tmp_path)], left_out)]
    assert str(left_out) == "files left out of the search: 1 of other types (.txt); 2 empty folders"


@pytest.mark.skipif(sys.platform == "win32", reason="the limit of a path is another one")
def test_a_folder_that_cannot_be_read_is_an_error(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    """A path of over 4096 bytes cannot be read by anybody, not even by the administrator."""
    shutil.copy(sounds / "deep" / "tone.flac", tmp_path)
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tmp_path)
        for _ in range(21):
            os.mkdir("x" * 200)
            os.chdir("x" * 200)
    finally:
        os.fchdir(before)
        os.close(before)
    done = sonopsis("tag", tmp_path, "--model", tiny_model, "--errors", tmp_path / "errors.csv", "-f", "csv")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.exit_code == 1 and len(errors) == 1
    assert errors[0].endswith(f"{'x' * 200}: cannot be searched (File name too long); check its permissions")
    assert done.stderr.splitlines()[-1] == "1 of 2 file(s) failed"
    assert {line.split(",")[0] for line in done.stdout.splitlines()[1:]} == {str(tmp_path / "tone.flac")}
    assert len((tmp_path / "errors.csv").read_text().splitlines()) == 2
    shutil.rmtree(tmp_path / ("x" * 200))


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


def test_a_problem_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "two\nlines").mkdir()
    for item in collect([str(tmp_path / "two\nlines"), str(tmp_path / "a\nb*.wav")]):
        assert item.problem is not None and len(item.problem.splitlines()) == 1 and "\n" in item.name


def inputs(*places: str) -> list[Input]:
    return [Input(f"{i}/{place}", PurePath(place)) for i, place in enumerate(places)]


def test_targets_keep_folders_and_drop_the_suffix_where_that_is_clear() -> None:
    chosen = targets(inputs("street.wav", "deep/rain.ogg", "deep/street.wav"))
    assert [str(place) for place in chosen.values()] == ["street", "deep/rain", "deep/street"]


def test_targets_of_like_names_differ() -> None:
    chosen = targets(inputs("a.wav", "a.ogg", "a.wav", "a.wav-2.wav"))
    assert [str(place) for place in chosen.values()] == ["a.wav", "a.ogg", "a.wav-2", "a.wav-2-2"]


def test_names_of_dots_stay_in_their_folder() -> None:
    chosen = targets(inputs("..wav", "...wav", "deep/..wav", ".wav", "..."))
    assert [str(place) for place in chosen.values()] == ["..wav", "...wav", "deep/..wav", ".wav", "..."]
    (up,) = collect(["no-such-folder/.."])
    assert up.place == PurePath("input")


@pytest.mark.parametrize("options", [(), ("-o", "{out}")])
def test_an_empty_name_is_an_error_in_one_line(
    sonopsis: Run, tiny_model: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    more = [option.format(out=tmp_path / "out") for option in options]
    done = sonopsis("tag", "", "--model", tiny_model, "-f", "json", "-q", *more)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "error: an empty name is no recording; name a file, a folder or a pattern",
        "1 of 1 file(s) failed",
    ]


@given(st.lists(st.sampled_from(["a", "a.wav", "a.ogg", "x/a.wav", "a.wav-2", "a-2.wav", "a.wav-2.wav", "b"])))
def test_no_two_inputs_share_a_target(places: list[str]) -> None:
    found = inputs(*places)
    chosen = targets(found)
    assert set(chosen) == {item.name for item in found}
    assert len(set(chosen.values())) == len(places)
