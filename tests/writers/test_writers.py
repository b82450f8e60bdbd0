"""Every format against a golden file, and read back by other means.

After a change that is meant, write the golden files anew: python tests/writers/test_writers.py
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonopsis.results import FileResult, LabelScore, Part, WindowResult, gathered
from sonopsis.writers import WRITERS, follow, open_writer, write

TEXT = [name for name, writer in WRITERS.items() if not writer.binary]
GOLDEN = Path(__file__).parents[1] / "golden" / "writers"

RESULTS = [
    FileResult(
        "street/märz, 1.wav",
        25.5,
        "default",
        [
            WindowResult(0.0, 10.24, [LabelScore("Dog", 0.921), LabelScore("Chicken, rooster", 0.5, distilled=True)]),
            WindowResult(10.24, 20.48, [], status="unclear", guess=LabelScore("Cattle, bovinae", 0.125)),
            WindowResult(20.48, 25.5, [("silence", 1.0)], status="silence"),
        ],
    ),
    FileResult("street/missing.wav", 0.0, "default", error="street/missing.wav: no such file; check the path"),
    FileResult(
        'forest "b".flac',
        3725.5,
        "default",
        [
            WindowResult(
                0.0, 10.24, [("Bird", 0.75)], "A bird sings & a dog <barks> --> far away.", -0.5, confidence=0.625
            ),
            WindowResult(10.24, 20.48, [], "An unclear sound.", None, None, "unclear", LabelScore("Dog", 0.0625)),
            WindowResult(3720.0, 3725.5, None, "rain\n\nfalls", -1.25),
        ],
    ),
]


def written(format: str, results: list[FileResult]) -> str:
    stream = io.StringIO()
    write(results, format, stream)
    return stream.getvalue()


@pytest.mark.parametrize("format", TEXT)
def test_golden(format: str) -> None:
    assert written(format, RESULTS) == (GOLDEN / f"results.{format}").read_text(encoding="utf-8")


def test_suffixes_tell_the_formats_apart() -> None:
    assert len({writer.suffix for writer in WRITERS.values()}) == len(WRITERS)


def test_json_is_what_results_say() -> None:
    assert json.loads(written("json", RESULTS)) == [result.to_dict() for result in RESULTS]


def test_json_without_files_is_an_empty_array() -> None:
    assert json.loads(written("json", [])) == []


@pytest.mark.parametrize("format", TEXT)
def test_formats_survive_no_files_and_nothing_but_failures(format: str) -> None:
    empty, failed = written(format, []), written(format, [RESULTS[1]])
    if format in ("text", "json", "jsonl"):
        assert "missing.wav" in failed
    else:
        assert failed == empty


@pytest.mark.parametrize("format", TEXT)
def test_each_file_is_out_before_the_next_is_asked_for(format: str) -> None:
    stream, seen = io.StringIO(), list[int]()

    def results() -> Iterator[FileResult]:
        for result in (RESULTS[0], RESULTS[2]):
            yield result
            seen.append(len(stream.getvalue()))

    write(results(), format, stream)
    assert 0 < seen[0] < seen[1]


def parts(results: list[FileResult]) -> Iterator[Part]:
    """What a run says of these results while it goes."""
    for result in results:
        head = replace(result, windows=[])
        yield from (Part(head, window) for window in result.windows)
        yield Part(head, None)


def test_parts_of_a_run_are_gathered_into_its_results() -> None:
    assert list(gathered(parts(RESULTS))) == RESULTS


@pytest.mark.parametrize("format", TEXT)
def test_window_by_window_gives_the_same_bytes(format: str) -> None:
    stream = io.StringIO()
    follow(parts(RESULTS), format, stream)
    assert stream.getvalue() == written(format, RESULTS)


@pytest.mark.parametrize("format", TEXT)
def test_formats_that_stream_write_each_window_before_the_next_is_asked_for(format: str) -> None:
    stream, seen = io.StringIO(), list[int]()

    def watched() -> Iterator[Part]:
        for part in parts([RESULTS[2]]):
            yield part
            seen.append(len(stream.getvalue()))

    follow(watched(), format, stream)
    *windows, _ = seen
    if WRITERS[format].streams:
        assert 0 < windows[0] < windows[1] < windows[2]
    else:
        assert format == "json" and len(set(windows)) == 1


def test_the_length_of_a_recording_that_has_not_ended_is_unknown() -> None:
    (window,) = [WindowResult(0.0, 1.0, [("dog", 0.5)])]
    head = FileResult("-", float("nan"), "m")
    live = [Part(head, window), Part(replace(head, duration=1.0), None)]
    for format, start in (("jsonl", '{"path": "-", "duration": null, '), ("text", "-  (length unknown)\n")):
        follow(live, format, stream := io.StringIO())
        assert stream.getvalue().startswith(start)


@pytest.mark.parametrize("format", TEXT)
def test_windows_before_a_failure_stay_where_they_are_written(format: str) -> None:
    bad = replace(RESULTS[0], windows=[], error="street/märz, 1.wav: is damaged")
    broken = [*list(parts(RESULTS[:1]))[:-1], Part(bad, None)]
    follow([*broken, *parts(RESULTS[2:])], format, stream := io.StringIO())
    text = stream.getvalue()
    if format == "json":
        assert text == written(format, [bad, RESULTS[2]])
        return
    before = written(format, RESULTS[:1])
    assert text.startswith(before)
    if format in ("text", "jsonl"):
        assert "is damaged" in text[len(before) :]
    if format == "audacity":  # the next recording begins where the last window ended
        assert text.splitlines()[-1].startswith(f"{25.5 + 3720:.6f}\t")


def test_an_interrupted_run_leaves_valid_json() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), open_writer("json", stream) as writer:
        writer.add(RESULTS[0])
        raise KeyboardInterrupt
    assert [found["path"] for found in json.loads(stream.getvalue())] == [RESULTS[0].path]


def test_npz_holds_what_numpy_reads_back(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    windows = [WindowResult(float(n), n + 1.5, embedding=vector) for n, vector in enumerate(vectors)]
    with (tmp_path / "street.npz").open("wb") as stream:
        write([FileResult("street.wav", 2.5, "m", windows)], "npz", stream)
    with np.load(tmp_path / "street.npz") as found:
        np.testing.assert_array_equal(found["embedding"], vectors)
        assert (found["start"].tolist(), found["end"].tolist()) == ([0.0, 1.0], [1.5, 2.5])
        assert (str(found["path"]), str(found["model"])) == ("street.wav", "m")
    with pytest.raises(ValueError, match="embeddings=True"):
        write(RESULTS[:1], "npz", io.BytesIO())


COMMAS = ["Walk, footsteps", "Gunshot, gunfire", "Digging"]


def test_labels_with_commas_are_one_label_in_every_format() -> None:
    result = FileResult("a.wav", 1.0, "m", [WindowResult(0.0, 1.0, [(label, 0.5) for label in COMMAS])])
    ids = ["/m/07pbtc8", "/m/032s66", ""]
    for format, delimiter in (("csv", ","), ("tsv", "\t")):
        rows = list(csv.DictReader(io.StringIO(written(format, [result])), delimiter=delimiter))
        assert [(row["label"], row["id"]) for row in rows] == list(zip(COMMAS, ids, strict=True))
    assert [line.split("\t")[2] for line in written("audacity", [result]).splitlines()] == COMMAS
    raven = list(csv.DictReader(io.StringIO(written("raven", [result])), delimiter="\t"))
    assert [row["Annotation"] for row in raven] == COMMAS
    for format in ("srt", "vtt"):
        assert "[walk, footsteps; gunshot, gunfire; digging]" in written(format, [result]).splitlines()
    assert "Walk, footsteps 0.50; Gunshot, gunfire 0.50; Digging 0.50" in written("text", [result])
    (window,) = json.loads(written("json", [result]))[0]["windows"]
    assert [(entry["label"], entry["id"] or "") for entry in window["labels"]] == list(zip(COMMAS, ids, strict=True))


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'xml'.*jsonl.*raven"):
        write([], "xml", io.StringIO())


@pytest.mark.parametrize("format", TEXT)
def test_a_stream_that_cannot_encode_everything_is_served(format: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write([FileResult("bad\udcff name é.wav", 1.0, "m", [WindowResult(0.0, 1.0, [("vögel", 0.5)])])], format, stream)
    assert b"v" in raw.getvalue()


# ---- properties, read back by parsers that are not ours

anything = st.text(st.characters(codec="utf-8"), max_size=30)


@given(anything, anything)
@settings(max_examples=50, deadline=None)
def test_json_keeps_any_text(path: str, caption: str) -> None:
    result = FileResult(path, 1.0, "m", [WindowResult(0.0, 1.0, None, caption, -1.0)])
    assert json.loads(written("json", [result])) == [result.to_dict()]
    assert json.loads(written("jsonl", [result]))["caption"] == caption


@given(st.lists(anything, max_size=5))
@settings(max_examples=50, deadline=None)
def test_tables_have_seven_cells_in_every_row(labels: list[str]) -> None:
    result = FileResult("a.wav", 1.0, "m", [WindowResult(0.0, 1.0, [(label, 0.5) for label in labels])])
    for format, delimiter in (("csv", ","), ("tsv", "\t")):
        rows = list(csv.reader(io.StringIO(written(format, [result]), newline=""), delimiter=delimiter))
        assert rows[0] == ["file", "start", "end", "label", "score", "id", "confidence"]
        assert [len(row) for row in rows] == [7] * (1 + len(labels))


@given(anything)
@settings(max_examples=50, deadline=None)
def test_tracks_have_a_line_per_label(label: str) -> None:
    result = FileResult("a.wav", 1.0, "m", [WindowResult(0.0, 1.0, [(label, 0.5), ("dog", 0.1)])])
    audacity = written("audacity", [result]).splitlines()
    assert [line.count("\t") for line in audacity] == [2, 2]
    raven = written("raven", [result]).splitlines()
    assert {line.count("\t") for line in raven} == {11}
    assert len(raven) == 3


@given(anything.filter(str.strip))
@example(".")
@settings(max_examples=50, deadline=None)
def test_a_cue_stays_one_cue(caption: str) -> None:
    result = FileResult("a.wav", 1.0, "m", [WindowResult(0.0, 1.0, None, caption, -1.0)])
    for format in ("srt", "vtt"):
        blocks = written(format, [result]).strip("\n").split("\n\n")
        assert len(blocks) == (1 if format == "srt" else 3)  # vtt: the signature and a note
        assert blocks[-1].count("\n") == (2 if format == "srt" else 1)
        assert blocks[-1].count("-->") == 1
        assert "<" not in blocks[-1].split("\n")[-1] or format == "srt"


@given(st.floats(0, 400_000), st.floats(0, 100))
@settings(max_examples=100, deadline=None)
def test_subtitle_times_are_exact_and_ordered(start: float, length: float) -> None:
    result = FileResult("a.wav", 1.0, "m", [WindowResult(start, start + length, [("dog", 0.5)])])
    for format, point in (("srt", ","), ("vtt", r"\.")):
        pattern = rf"(\d\d+):([0-5]\d):([0-5]\d){point}(\d\d\d)"
        clocks = re.findall(pattern, written(format, [result]))
        found = [int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in clocks]
        assert len(found) == 2
        assert abs(found[0] - start) <= 0.00051
        assert found[1] > found[0]
        assert abs(found[1] - start - length) <= 0.00151


def test_files_follow_each_other_on_a_timeline() -> None:
    times = [line.split("\t")[:2] for line in written("audacity", RESULTS).splitlines()]
    assert times[-1] == [f"{25.5 + 3720:.6f}", f"{25.5 + 3725.5:.6f}"]
    raven = [line.split("\t") for line in written("raven", RESULTS).splitlines()]
    last = dict(zip(raven[0], raven[-1], strict=True))
    assert last["Begin Time (s)"] == f"{25.5 + 3720:.6f}"
    assert (last["Begin Path"], last["File Offset (s)"]) == ('forest "b".flac', "3720.000000")


BEGAN = datetime(2024, 5, 1, 23, 59, 59, tzinfo=timezone(timedelta(hours=5, minutes=45)))


def test_tables_tell_the_time_of_day() -> None:
    result = FileResult("a.wav", 2.0, "m", [WindowResult(0.5, 2.0, [("Dog", 0.5)])], began=BEGAN)
    unknown = FileResult("b.wav", 2.0, "m", [WindowResult(0.5, 2.0, [("Dog", 0.5)])])
    late = FileResult("c.wav", 2.0, "m", [WindowResult(1.25, 2.0, [("Dog", 0.5)])], began=BEGAN.replace(tzinfo=None))
    found = {}
    for format in ("csv", "tsv", "raven"):
        with open_writer(format, stream := io.StringIO(), clock=True) as writer:
            for one in (result, unknown, late):
                writer.add(one)
        found[format] = list(csv.DictReader(io.StringIO(stream.getvalue()), delimiter="," if format == "csv" else "\t"))
    for format in ("csv", "tsv"):
        assert [(row["date"], row["time"], row["zone"]) for row in found[format]] == [
            ("2024-05-01", "23:59:59.500", "+05:45"),
            ("", "", ""),
            ("2024-05-02", "00:00:00.250", ""),
        ]
    assert [(row["Begin Date"], row["Begin Clock Time"]) for row in found["raven"]] == [
        ("2024/05/01", "23:59:59.500"),
        ("", ""),
        ("2024/05/02", "00:00:00.250"),
    ]
    assert json.loads(written("json", [result]))[0]["began"] == "2024-05-01T23:59:59+05:45"
    assert json.loads(written("jsonl", [late]))["began"] == "2024-05-01T23:59:59"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in TEXT:
        (GOLDEN / f"results.{name}").write_text(written(name, RESULTS), encoding="utf-8")
