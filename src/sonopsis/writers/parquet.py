"""Parquet for data frames and databases: the rows of the tables with their types, and a row for each failure.

A Parquet file is of no use before its end is written, and nothing can be added after it. So a file that grows, and may
be cut off and gone on with, holds its rows as lines of JSON (`RowsWriter`) until it is whole. Then they become
Parquet (`ParquetWriter`), a group at a time.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date, time
from pathlib import Path
from typing import Any, ClassVar, Self

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import StreamedWriter, Writer, clock_of, entries

Row = list[Any]  # cells in the order of the columns, as JSON has them

# The columns and their Arrow types; any cell but `file` may be null.
COLUMNS = {
    "file": "string",
    "start": "float64",  # s
    "end": "float64",  # s
    "label": "string",
    "score": "float64",
    "id": "string",
    "confidence": "float64",
}
CLOCK_COLUMNS = {"date": "date32", "time": "time32[ms]", "zone": "string"}
LAST_COLUMNS = {"error": "string"}
GROUP = 65_536  # rows that are in memory at once, and stand together in the file
NEW = ".new"  # what the name of a file ends in while its rows are turned into Parquet


class RowsWriter(StreamedWriter):
    """The rows of a Parquet file that is not whole, each an array of JSON on a line."""

    suffix = ".parquet"

    def row(self, result: FileResult, window: WindowResult) -> str:
        """The window's lines."""
        return _lines(rows_of(result, window, clock=self.clock))

    def closing(self, result: FileResult) -> str:
        """The line of a file that failed."""
        return _lines(failure(result, clock=self.clock))


class ParquetWriter(Writer):
    """Columns file, start, end (s), label, score, id, confidence, with `clock` also date, time, zone, and error.

    There is a row per tag, or per caption where windows have captions, and one with an error for a file that failed.
    """

    suffix: ClassVar[str] = ".parquet"
    streams: ClassVar[bool] = True
    binary: ClassVar[bool] = True
    needs: ClassVar[str | None] = "pyarrow"
    draft: ClassVar[type[Writer] | None] = RowsWriter

    def __enter__(self) -> Self:
        import pyarrow.parquet

        self._rows: list[Row] = []
        self._schema = schema(clock=self.clock)
        self._table = pyarrow.parquet.ParquetWriter(self.stream, self._schema)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._rows or not self._written:
            self._group()
        self._table.close()

    _written = 0  # groups

    def add(self, result: FileResult) -> None:
        """Write one file's rows, or the row with its error."""
        for window in result.windows if result.error is None else ():
            self.window(result, window)
        self.end(result)

    def window(self, result: FileResult, window: WindowResult) -> None:
        """Take a window's rows; they are written when there are enough for a group."""
        self.take(rows_of(result, window, clock=self.clock))

    def end(self, result: FileResult) -> None:
        """Take the row of a file that failed; its rows from before that stay."""
        self.take(failure(result, clock=self.clock))

    def take(self, rows: Iterable[Row]) -> None:
        """Write rows, in groups."""
        for row in rows:
            self._rows.append(row)
            if len(self._rows) == GROUP:
                self._group()

    def _group(self) -> None:
        self._table.write_table(_table(self._rows, self._schema), row_group_size=GROUP)
        self._rows = []
        self._written += 1

    @classmethod
    def complete(cls, draft: Path, whole: Path, *, clock: bool) -> None:
        """Turn the lines of a draft into the whole file, which appears at once."""
        new = Path(f"{whole}{NEW}")
        with draft.open(encoding="utf-8") as lines, new.open("wb") as stream, cls(stream, clock=clock) as writer:
            writer.take(json.loads(line) for line in lines)
        new.replace(whole)
        draft.unlink()

    @classmethod
    def reopen(cls, whole: Path, draft: Path, *, clock: bool) -> None:
        """Turn a whole file into its draft again; a file that is damaged is removed."""
        import pyarrow.parquet

        new = Path(f"{draft}{NEW}")
        with ExitStack() as stack:
            lines = stack.enter_context(new.open("w", encoding="utf-8"))
            try:
                table = stack.enter_context(pyarrow.parquet.ParquetFile(whole))
                for batch in table.iter_batches(GROUP):
                    columns = [[_plain(cell) for cell in column.to_pylist()] for column in batch.columns]
                    lines.write(_lines(map(list, zip(*columns, strict=True))))
            except pyarrow.ArrowException:
                new.unlink()
            else:
                lines.flush()
                new.replace(draft)
        whole.unlink()


def schema(*, clock: bool) -> Any:
    """The columns as an Arrow schema."""
    import pyarrow

    columns = COLUMNS | (CLOCK_COLUMNS if clock else {}) | LAST_COLUMNS
    types = {"time32[ms]": pyarrow.time32("ms")}
    return pyarrow.schema([(name, types.get(kind) or pyarrow.type_for_alias(kind)) for name, kind in columns.items()])


def rows_of(result: FileResult, window: WindowResult, *, clock: bool) -> Iterator[Row]:
    """The rows of a window."""
    moment = [cell or None for cell in clock_of(result, window.start)] if clock else []
    for text, score, label_id in entries(window):
        numbers = [_finite(score), label_id, _finite(window.confidence)]
        yield [_letters(result.path), float(window.start), float(window.end), _letters(text), *numbers, *moment, None]


def failure(result: FileResult, *, clock: bool) -> Iterator[Row]:
    """The row of a file that failed, none for another."""
    if result.error is not None:
        empty = [None] * (len(COLUMNS) - 1 + (len(CLOCK_COLUMNS) if clock else 0))
        yield [_letters(result.path), *empty, _letters(result.error)]


def _table(rows: list[Row], columns: Any) -> Any:
    import pyarrow

    read = {"date": date.fromisoformat, "time": time.fromisoformat}
    arrays = []
    for number, field in enumerate(columns):
        cells = (row[number] for row in rows)
        parse = read.get(field.name)
        found = list(cells) if parse is None else [None if cell is None else parse(cell) for cell in cells]
        arrays.append(pyarrow.array(found, field.type))
    return pyarrow.Table.from_arrays(arrays, schema=columns)


def _plain(cell: Any) -> Any:
    if isinstance(cell, time):
        return cell.isoformat(timespec="milliseconds")
    return cell.isoformat() if isinstance(cell, date) else cell


def _lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _letters(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")  # bytes of a file name need not be letters


def _finite(value: float | None) -> float | None:
    return None if value is None or not abs(value) < float("inf") else float(value)
