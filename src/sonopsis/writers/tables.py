"""Tables for spreadsheets and data frames: a row per tag, or per caption where windows have captions."""

import csv
import io
from typing import Any

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import StreamedWriter, clock_of, decimal, entries

CLOCK_COLUMNS = ("date", "time", "zone")


class CsvWriter(StreamedWriter):
    """Columns file, start, end (s), label, score, id, confidence, with `clock` also date, time, zone.

    There are no rows for failed files, and none for windows that are unclear, unless they have a caption.
    """

    suffix = ".csv"
    delimiter = ","

    def header(self) -> str:
        """The column names."""
        clock = CLOCK_COLUMNS if self.clock else ()
        return self._row("file", "start", "end", "label", "score", "id", "confidence", *clock)

    def row(self, result: FileResult, window: WindowResult) -> str:
        """The window's rows."""
        clock = clock_of(result, window.start) if self.clock else ()
        return "".join(
            self._row(
                result.path,
                f"{window.start:.3f}",
                f"{window.end:.3f}",
                text,
                decimal(score),
                label_id or "",
                decimal(window.confidence),
                *clock,
            )
            for text, score, label_id in entries(window)
        )

    def _row(self, *cells: Any) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self.delimiter, lineterminator="\n").writerow(cells)
        return line.getvalue()


class TsvWriter(CsvWriter):
    """The same with tabs."""

    suffix = ".tsv"
    delimiter = "\t"
