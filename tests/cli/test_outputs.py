"""Files below a folder: whole or under a temporary name, and nothing of a recording that failed."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from sonopsis.cli.journal import JOURNAL, Journal
from sonopsis.cli.outputs import Folder
from sonopsis.results import FileResult, Part, WindowResult

HEAD = FileResult("a/day.wav", 2.0, "m")
WINDOWS = [WindowResult(0.0, 1.0, [("Dog", 0.5)]), WindowResult(1.0, 2.0, [("Rain", 0.75)])]
PLACES = {"a/day.wav": PurePath("a/day")}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL)


def opened(folder: Path, formats: list[str]) -> Folder:
    output = Folder(folder, formats, Journal(folder, {}, resume=False), PLACES)
    assert output.finished(list(PLACES)) == {}
    return output


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    seen = list[list[str]]()

    def parts() -> Iterator[Part]:
        for part in (*(Part(HEAD, window) for window in WINDOWS), Part(HEAD, None)):
            seen.append(names(tmp_path))
            yield part

    with opened(tmp_path, ["csv", "json"]) as folder:
        folder.write(parts())
    assert seen == [[], ["day.csv.part", "day.json.part"], ["day.csv.part", "day.json.part"]]
    assert names(tmp_path) == ["day.csv", "day.json"]
    assert (tmp_path / "a" / "day.csv").read_text().splitlines()[2].startswith("a/day.wav,1.000,2.000,Rain,")
    assert len(json.loads((tmp_path / "a" / "day.json").read_text())[0]["windows"]) == 2


def test_a_recording_that_failed_leaves_what_says_so_alone(tmp_path: Path) -> None:
    failed = FileResult("a/day.wav", 0.0, "m", error="a/day.wav: is damaged")
    with opened(tmp_path, ["csv", "jsonl", "srt"]) as folder:
        folder.write([Part(HEAD, WINDOWS[0]), Part(failed, None)])
    assert names(tmp_path) == ["day.jsonl"]
    assert [json.loads(line)["error"] for line in (tmp_path / "a" / "day.jsonl").read_text().splitlines()] == [
        failed.error
    ]


def test_an_interruption_keeps_what_is_done(tmp_path: Path) -> None:
    def parts() -> Iterator[Part]:
        yield Part(HEAD, WINDOWS[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), opened(tmp_path, ["csv", "json"]) as folder:
        folder.write(parts())
    assert folder.unfinished == [tmp_path / "a" / "day.csv.part", tmp_path / "a" / "day.json.part"]
    assert len((tmp_path / "a" / "day.csv.part").read_text().splitlines()) == 2
    (found,) = json.loads((tmp_path / "a" / "day.json.part").read_text())
    assert (found["duration"], len(found["windows"])) == (1.0, 1)
