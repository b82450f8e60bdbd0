"""Files below a folder: whole or under a temporary name, and nothing of a recording that failed."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.cli.inputs import Input, targets
from sonopsis.cli.journal import JOURNAL, Journal
from sonopsis.cli.outputs import SAY_ERRORS, Folder
from sonopsis.results import FileResult, Part, WindowResult
from sonopsis.writers import WRITERS

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


def test_a_recording_that_fails_now_keeps_no_rows_of_an_earlier_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a recording that is not there stay."""
    formats, folder = ["csv", "json", "srt"], tmp_path / "a"
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with opened(tmp_path, formats) as output:
        output.write([*(Part(HEAD, window) for window in WINDOWS), Part(HEAD, None)])
    output.journal.close(keep=False)
    (folder / "night.csv").write_text("of another recording\n")
    (folder / "day.vtt").write_text("of a format that is not asked for\n")
    failed = FileResult("a/day.wav", 0.0, "m", error="a/day.wav: is damaged")
    for kept in (["day.csv", "day.json", "day.srt", "day.vtt", "night.csv"], ["day.json", "day.vtt", "night.csv"]):
        with opened(tmp_path, formats) as output:
            output.write([Part(failed, None)])
        output.journal.close(keep=False)
        assert sorted(path.name for path in folder.iterdir()) == kept
        (here / "a").mkdir(exist_ok=True)
        (here / "a" / "day.wav").write_text("it is damaged")
    assert json.loads((folder / "day.json").read_text())[0]["error"] == failed.error
    removed = [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()]
    assert removed == [f"removed {folder / name}" for name in ("day.csv", "day.srt")]


def test_a_recording_without_a_row_has_its_files_and_is_not_described_again(tmp_path: Path) -> None:
    recording = tmp_path / "day.wav"
    recording.write_text("nothing happens")
    head, out = FileResult(str(recording), 2.0, "m"), tmp_path / "out"
    places = {head.path: PurePath("day")}
    out.mkdir()
    (out / "day.csv").write_text("the table of an earlier run\n")
    with Folder(out, FORMATS, Journal(out, {}, resume=False), places) as folder:
        assert folder.finished([head.path]) == {}
        folder.write([Part(head, None)])
    folder.journal.close(keep=True)
    assert names(out) == sorted(f"day{WRITERS[name].suffix}" for name in FORMATS)
    assert (out / "day.csv").read_text().splitlines() == ["file,start,end,label,score,id,confidence"]
    assert json.loads((out / "day.json").read_text())[0]["windows"] == []
    again = Folder(out, FORMATS, Journal(out, {}, resume=True), places)
    assert again.finished([head.path]) == {head.path: None}


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


# ---- several formats at once: the files that were asked for, and each recording in its own

FORMATS = [name for name, writer in WRITERS.items() if not writer.binary]
NAMES = [
    "a",
    "A",
    "a.labels",
    "a.selections",
    "a.csv",
    "a.csv.part",
    "a-2",
    ".sonopsis-run",
    "märz",
    "ma\u0308rz",
    "=1",
]
recordings = st.lists(
    st.tuples(
        st.sampled_from(["", "x", "a.csv", "a.JSON.part"]),  # folders, some with the name of a result
        st.sampled_from([*NAMES, "long" * 60, "ä" * 125]),
        st.sampled_from([".wav", ".WAV", ".flac"]),
    ),
    min_size=1,
    max_size=8,
)


@given(recordings, st.sets(st.sampled_from(FORMATS), min_size=1), st.sets(st.integers(0, 7)))
@settings(max_examples=40)
def test_every_recording_has_its_own_files_and_there_are_no_others(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, str, str]], formats: set[str], failing: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("out")
    inputs = [
        Input(f"{number}/{where}/{stem}{suffix}", PurePath(where, f"{stem}{suffix}"))
        for number, (where, stem, suffix) in enumerate(found)
    ]
    places = targets(inputs)
    output = Folder(folder, sorted(formats), Journal(folder, {}, resume=False), places)
    output.finished([item.name for item in inputs])
    for number, item in enumerate(inputs):
        head = FileResult(item.name, 1.0, "m")
        failed = FileResult(item.name, 0.0, "m", error=f"{item.name}: is damaged")
        window = WindowResult(0.0, 1.0, [(f"sound {number}", 0.5)])
        output.write([Part(head, window), Part(failed if number in failing else head, None)])
    output.journal.close(keep=False)
    expected = {
        f"{places[item.name]}{WRITERS[name].suffix}": number
        for number, item in enumerate(inputs)
        for name in formats
        if number not in failing or name in SAY_ERRORS
    }
    written = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert set(written) == set(expected)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in written}) == len(written)
    for name, number in expected.items():
        text = written[name].read_text(encoding="utf-8")
        said = {n for n in range(len(inputs)) if f"sound {n}" in text or f'"{n}/' in text}
        assert said == {number}
