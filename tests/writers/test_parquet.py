"""Parquet, read back by pyarrow and pandas, against the rows of the CSV table."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta, timezone
from pathlib import Path

import pandas
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sonopsis.cli.journal import Journal
from sonopsis.cli.outputs import Combined
from sonopsis.results import FileResult, Part, WindowResult
from sonopsis.writers import open_writer, write
from sonopsis.writers import parquet as writer

BEGAN = datetime(2024, 5, 1, 23, 59, 59, 500_000, tzinfo=timezone(timedelta(hours=1)))
anything = st.text(st.characters(codec="utf-8"), max_size=12)
windows = st.builds(
    lambda start, label, score, caption: WindowResult(start, start + 1, [(label, score)], caption or None, -score),
    st.floats(0, 1e6),
    anything,
    st.floats(0, 1),
    anything,
)
results = st.lists(
    st.builds(FileResult, anything, st.just(9.0), st.just("m"), st.lists(windows, max_size=4)), max_size=4
)


def stored(found: Sequence[FileResult], *, clock: bool = False) -> pyarrow.Table:
    with open_writer("parquet", stream := io.BytesIO(), clock=clock) as opened:
        for result in found:
            opened.add(result)
    return parquet.read_table(io.BytesIO(stream.getvalue()))


@given(results)
@settings(max_examples=40)
def test_the_rows_are_those_of_csv(found: list[FileResult]) -> None:
    write(found, "csv", text := io.StringIO(newline=""))
    table = pandas.read_csv(io.StringIO(text.getvalue(), newline=""), engine="python", keep_default_na=False, dtype=str)
    rows = stored(found).to_pylist()
    assert len(rows) == len(table)
    for row, (_, cells) in zip(rows, table.iterrows(), strict=True):
        assert Path(row["file"]) == Path(cells["file"]) or "\r" in row["file"]
        assert row["label"] == cells["label"].removeprefix("'") or row["label"] == cells["label"]
        for name, digits in (("start", 3), ("end", 3), ("score", 6)):
            assert f"{row[name]:.{digits}f}" == cells[name]
        assert ((row["id"] or ""), row["confidence"], row["error"]) == (cells["id"], None, None)


def test_the_schema_is_the_one_that_is_written_down() -> None:
    columns = {"file": "string", "start": "double", "end": "double", "label": "string", "score": "double"}
    columns |= {"id": "string", "confidence": "double"}
    clock = {"date": "date32[day]", "time": "time32[ms]", "zone": "string"}
    for table, expected in ((stored([]), columns), (stored([], clock=True), columns | clock)):
        assert {field.name: str(field.type) for field in table.schema} == expected | {"error": "string"}
        assert list(table.column_names) == [*expected, "error"]
        assert table.num_rows == 0


def test_a_failure_is_a_row_and_date_and_time_have_types() -> None:
    heard = FileResult("a.wav", 2.0, "m", [WindowResult(0.5, 2.0, [("Dog", 0.5)])], began=BEGAN)
    failed = FileResult("bad\udcff.wav", 0.0, "m", error="bad\udcff.wav: is damaged")
    table = stored([heard, replace(heard, began=None), failed], clock=True)
    first, second, third = table.to_pylist()
    assert (str(first["date"]), first["time"], first["zone"]) == ("2024-05-02", time(0, 0), "+01:00")
    assert (second["date"], second["time"], second["zone"]) == (None, None, None)
    assert third == dict.fromkeys(third) | {"file": "bad?.wav", "error": "bad?.wav: is damaged"}
    frame = table.to_pandas()
    assert list(frame["start"].isna()) == [False, False, True] and frame["score"].dtype == "float64"


def test_a_long_file_is_written_in_groups_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP", 4)
    day = FileResult("day.wav", 10.0, "m", [WindowResult(float(n), n + 1.0, [("Dog", 0.5)]) for n in range(10)])
    with open_writer("parquet", stream := io.BytesIO()) as opened:
        sizes = []
        for window in day.windows:
            opened.window(replace(day, windows=[]), window)
            sizes.append(stream.tell())
        opened.end(replace(day, windows=[]))
    assert sizes[2] == sizes[1] < sizes[3] < sizes[7]  # on the disk before the day ends
    groups = parquet.ParquetFile(io.BytesIO(stream.getvalue()))
    assert [groups.metadata.row_group(n).num_rows for n in range(groups.num_row_groups)] == [4, 4, 2]
    assert groups.read()["start"].to_pylist() == [float(n) for n in range(10)]


@given(results, st.data())
@settings(max_examples=20)
def test_a_file_becomes_its_draft_again_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, found: list[FileResult], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("draft")
    draft, whole = folder / "a.part", folder / "a.parquet"
    with draft.open("w") as stream, writer.RowsWriter(stream, clock=True) as rows:
        for result in found:
            rows.add(replace(result, began=data.draw(st.sampled_from([None, BEGAN]))))
    before = draft.read_bytes()
    writer.ParquetWriter.complete(draft, whole, clock=True)
    assert [path.name for path in folder.iterdir()] == ["a.parquet"]
    once = whole.read_bytes()
    writer.ParquetWriter.reopen(whole, draft, clock=True)
    assert draft.read_bytes() == before and [path.name for path in folder.iterdir()] == ["a.part"]
    writer.ParquetWriter.complete(draft, whole, clock=True)
    assert whole.read_bytes() == once


def test_a_run_that_is_stopped_leaves_rows_that_can_be_read(tmp_path: Path) -> None:
    def parts() -> Iterator[Part]:
        yield Part(FileResult("a.wav", 9.0, "m"), WindowResult(0.0, 1.0, [("Dog", 0.5)]))
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        Combined(tmp_path, ["parquet"], Journal(tmp_path, {}, resume=False)) as output,
    ):
        output.finished(["a.wav"])
        output.write(parts())
    (line,) = (tmp_path / "results.parquet.part").read_text().splitlines()
    assert json.loads(line) == ["a.wav", 0.0, 1.0, "Dog", 0.5, "/m/0bt9lr", None, None]
