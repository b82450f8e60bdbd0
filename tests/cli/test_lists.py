"""Names from lists: lines, zero bytes, marks of editors, names that are not UTF-8."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from click.testing import Result

from sonopsis.cli.lists import named, read_list

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a.wav\nb c.wav\n", ["a.wav", "b c.wav"]),
        (b"a.wav\r\n\r\nb.wav", ["a.wav", "b.wav"]),
        (b"\xef\xbb\xbfa.wav\n", ["a.wav"]),
        (b"a\nb.wav\0c.wav\0", ["a\nb.wav", "c.wav"]),
        (b"\xff.wav\n", [os.fsdecode(b"\xff.wav")]),
        (b"-\n", ["./-"]),
        ("\ufeffä.wav\r\nb c.wav\r\n".encode("utf-16-le"), ["ä.wav", "b c.wav"]),  # as PowerShell and Notepad do
        ("\ufeff日本.wav\n-\n".encode("utf-16-be"), ["日本.wav", "./-"]),
        (b"", []),
    ],
)
def test_what_a_list_names(data: bytes, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_bytes(data)
    assert read_list(str(tmp_path / "list.txt")) == names
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert read_list("-") == names


def test_spaces_behind_a_name_are_dropped_where_that_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav ", "b.wav", "# c.wav"):
        Path(name).touch()
    Path("list.txt").write_text("a.wav \t\r\nb.wav \n# c.wav  \nmissing.wav \n")
    assert read_list("list.txt") == ["a.wav", "b.wav ", "# c.wav", "missing.wav "]


def test_a_list_in_utf_16_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa.wav\n".encode("utf-16-le")[:-1])
    with pytest.raises(typer.BadParameter, match="save it as UTF-8"):
        read_list(str(tmp_path / "list.txt"))


def test_arguments_come_before_the_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("b.wav\n")
    assert named(["a.wav"], str(tmp_path / "list.txt")) == ["a.wav", "b.wav"]


@pytest.mark.parametrize(("arguments", "place"), [([], None), (["-"], "-"), ([], "nowhere.txt")])
def test_lists_that_make_no_sense(arguments: list[str], place: str | None) -> None:
    with pytest.raises(typer.BadParameter):
        named(arguments, place)


def test_the_command_reads_a_list(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    names = f"{sounds / 'noise.wav'}\n{sounds / 'deep'}\n".encode()
    listed = sonopsis("tag", "--files-from", "-", "--model", tiny_model, stdin=names)
    assert listed.exit_code == 0
    assert listed.stdout == sonopsis("tag", sounds / "noise.wav", sounds / "deep", "--model", tiny_model).stdout
