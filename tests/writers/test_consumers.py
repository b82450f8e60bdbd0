"""Every format read by a program that people open it with, or by an independent reader with the same rules.

subtitles   FFmpeg's demuxers, which most media players use (through PyAV), and a WebVTT parser
tables      pandas, and what a spreadsheet computes
tracks      the rules of Audacity's import and of Raven Pro's selection tables, written down here
"""

import io
import re
from pathlib import Path

import av
import numpy as np
import pandas
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.cli.errors import ErrorList
from sonopsis.results import FileResult, WindowResult
from sonopsis.writers import write

DAY = 24 * 3600.0
anything = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
labels = st.one_of(
    anything, st.sampled_from(["<b>dog</b>", "{\\an8}dog", "a --> b", "&amp;", "dog\n\n1\n00:00", "NOTE"])
)
windows = st.lists(
    st.tuples(st.integers(0, 400_000_000), st.integers(1, 100_000), labels),
    min_size=1,
    max_size=6,
    unique_by=lambda drawn: drawn[0],
)


def written(format: str, results: list[FileResult]) -> str:
    write(results, format, stream := io.StringIO(newline=""))
    return stream.getvalue()


def recording(drawn: list[tuple[int, int, str]], path: str = "a.wav") -> FileResult:
    """A recording with windows at so many milliseconds, in the order of time."""
    found = [WindowResult(at / 1000, (at + long) / 1000, [(text, 0.5)]) for at, long, text in sorted(drawn)]
    return FileResult(path, 400_100.0, "m", found)


def visible(text: str) -> str:
    return re.sub(r"[^\w]+", "", text)


def cues(path: Path) -> list[tuple[int, int, str]]:
    """Start and duration (ms) and text of what a media player would show."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.subtitles
        packets = [packet for packet in container.demux(stream) if packet.size]
        unit = 1000 * stream.time_base
        return [(int(p.pts * unit), int(p.duration * unit), bytes(p).decode()) for p in packets]


# ---- subtitles


@pytest.mark.parametrize("format", ["srt", "vtt"])
@given(drawn=windows)
@settings(max_examples=30)
def test_a_media_player_shows_every_cue_when_it_sounds(
    format: str, drawn: list[tuple[int, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    result = recording(drawn)
    path = tmp_path_factory.mktemp("player") / f"a.{format}"
    path.write_text(written(format, [result]), encoding="utf-8", newline="")
    said = [window for window in result.windows if window.labels and window.labels[0].label.strip().removesuffix(".")]
    found = cues(path)
    assert [(start, long) for start, long, _ in found] == [
        (round(window.start * 1000), round(window.end * 1000) - round(window.start * 1000)) for window in said
    ]
    if format == "srt":  # nothing in it is markup, so nothing vanishes from the screen
        assert not any(re.search(r"[<>{}]", text) for _, _, text in found)


def test_a_media_player_reads_subtitles_of_a_week(tmp_path: Path) -> None:
    starts = [0.0, DAY - 1, DAY, 99 * 3600.0, 100 * 3600.0, 7 * DAY]
    result = FileResult("week.wav", 8 * DAY, "m", [WindowResult(s, s + 2.5, None, "Rain.", -1.0) for s in starts])
    for format in ("srt", "vtt"):
        path = tmp_path / f"week.{format}"
        path.write_text(written(format, [result]), encoding="utf-8")
        assert cues(path) == [(round(start * 1000), 2500, "[rain]") for start in starts]


@given(windows)
@settings(max_examples=30)
def test_a_webvtt_parser_reads_every_cue(drawn: list[tuple[int, int, str]]) -> None:
    result = recording(drawn, "NOTE --> <odd> & name.wav")
    found = webvtt.from_string(written("vtt", [result])).captions
    said = [window for window in result.windows if window.labels and window.labels[0].label.strip().removesuffix(".")]
    assert len(found) == len(said)
    for cue, window in zip(found, said, strict=True):
        assert cue.start_in_seconds == int(round(window.start * 1000) / 1000)
        assert len(cue.raw_text.splitlines()) <= 1
        assert "<" not in cue.raw_text and "-->" not in cue.raw_text


# ---- tables


def computed(cell: object) -> bool:
    """Whether a spreadsheet computes a cell of a CSV file, and does not show it as it is."""
    if not isinstance(cell, str) or cell == "-":
        return False
    return cell[:1] in set("=+-@\t\r\n＝＋－＠") and not re.fullmatch(r"-?\d+(\.\d+)?", cell)


@pytest.mark.parametrize(("format", "delimiter"), [("csv", ","), ("tsv", "\t")])
@given(path=anything, label=labels)
@settings(max_examples=80)
def test_a_table_is_read_back_and_nothing_in_it_is_computed(format: str, delimiter: str, path: str, label: str) -> None:
    windows = [WindowResult(0.0, 1.0, [(label, 0.5), ("Dog", 0.25)]), WindowResult(1.0, 2.0, None, "rain", -1.25)]
    text = written(format, [FileResult(path, 2.0, "m", windows)])
    # pandas' parser in Python keeps a carriage return inside of quotation marks; the one in C changes it
    table = pandas.read_csv(
        io.StringIO(text, newline=""), sep=delimiter, keep_default_na=False, engine="python", dtype=str
    )
    assert [len(table), list(table["label"][1:])] == [3, ["Dog", "rain"]]
    assert list(table["score"]) == ["0.500000", "0.250000", "-1.250000"]
    assert {Path(cell) for cell in table["file"]} == {Path(path)} or "\r" in path
    assert not any(computed(cell) for cell in table.to_numpy().ravel())


NAMES = [
    "=cmd|'/c calc'!A1.wav",
    "two\nlines.wav",
    "carriage\rreturn.wav",
    'a "quoted", name.wav',
    "+1.wav",
    "märz.wav",
]


def test_odd_names_of_recordings_are_one_cell(tmp_path: Path) -> None:
    results = [FileResult(name, 1.0, "m", [WindowResult(0.0, 1.0, [("Dog", 0.5)])]) for name in NAMES]
    table = pandas.read_csv(io.StringIO(written("csv", results), newline=""), engine="python")
    assert [str(Path(name)) for name in table["file"]] == NAMES
    assert not any(computed(cell) for cell in table["file"])
    with ErrorList(tmp_path / "errors.csv") as errors:
        for name in NAMES:
            errors.add(name, f"{name}: is damaged")
    failed = pandas.read_csv(tmp_path / "errors.csv", engine="python")
    assert [str(Path(name)) for name in failed["file"]] == NAMES
    assert not any(computed(cell) for cell in failed.to_numpy().ravel())


# ---- label tracks


def audacity_import(text: str) -> list[tuple[float, float, str]]:
    """What Audacity makes of a label file: two numbers and a title a line; a line with a backslash is a band of the
    label before it."""
    found = []
    for line in text.split("\n"):
        if line and not line.startswith("\\"):
            first, second, title = line.split("\t", 2)
            start, end = float(first), float(second)
            assert start <= end
            found.append((start, end, title))
    return found


@given(windows)
@settings(max_examples=40)
def test_audacity_imports_every_label(drawn: list[tuple[int, int, str]]) -> None:
    result = recording(drawn)
    found = audacity_import(written("audacity", [result]))
    assert len(found) == len(drawn)
    for (start, end, title), window in zip(found, result.windows, strict=True):
        assert (start, end) == (round(window.start, 6), round(window.end, 6))
        assert window.labels and visible(title) == visible(window.labels[0].label)


def test_raven_opens_a_table_of_several_files() -> None:
    """Raven Pro lays the files of a table end to end: times count from the beginning of the first one, and `File
    Offset (s)` from that of `Begin File`."""
    results = [
        FileResult("site a/one.wav", 25.5, "m", [WindowResult(0.0, 10.0, [("Dog", 0.9), ("Cat", 0.4)])]),
        FileResult("broken.wav", 0.0, "m", error="broken.wav: is damaged"),
        FileResult("site b/two.wav", 3600.0, "m", [WindowResult(10.0, 20.0, [("Rain", 0.5)])]),
        FileResult("site b/three.wav", 5.0, "m", [WindowResult(2.5, 5.0, None, "a bird", -0.5)]),
    ]
    table = pandas.read_csv(io.StringIO(written("raven", results)), sep="\t")
    needed = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]
    assert list(table.columns[:7]) == needed
    assert list(table["Selection"]) == [1, 2, 3, 4]
    assert set(table["View"]) == {"Spectrogram 1"} and set(table["Channel"]) == {1}
    lengths = {result.path: result.duration for result in results}
    begins = dict(zip(lengths, np.cumsum([0.0, *lengths.values()]), strict=False))
    for _, row in table.iterrows():
        assert Path(row["Begin Path"]).name == row["Begin File"]
        assert row["Begin Time (s)"] == pytest.approx(begins[row["Begin Path"]] + row["File Offset (s)"])
        assert row["Begin Time (s)"] < row["End Time (s)"] <= begins[row["Begin Path"]] + lengths[row["Begin Path"]]
        assert 0 <= row["Low Freq (Hz)"] < row["High Freq (Hz)"]
