"""Tables for spreadsheets and data frames: a row per tag, or per caption where windows have captions."""

import csv
import io
from collections.abc import Iterable

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import StreamedWriter, clock_of, decimal, entries

COLUMNS = ("file", "start", "end", "label", "score", "id", "confidence")
CLOCK_COLUMNS = ("date", "time", "zone")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what a cell begins with that is computed


class CsvWriter(StreamedWriter):
    """Columns file, start, end (s), label, score, id, confidence, with `clock` also date, time, zone.

    There are no rows for failed files, and none for windows that are unclear, unless they have a caption.
    """

    suffix = ".csv"
    delimiter = ","

    def header(self) -> str:
        """The column names."""
        return table_line((*COLUMNS, *(CLOCK_COLUMNS if self.clock else ())), self.delimiter)

    def row(self, result: FileResult, window: WindowResult) -> str:
        """The window's rows."""
        clock = clock_of(result, window.start) if self.clock else ()
        file = path_cell(result.path)
        times = (f"{window.start:.3f}", f"{window.end:.3f}")
        return "".join(
            table_line(
                (file, *times, text_cell(text), decimal(score), label_id or "", decimal(window.confidence), *clock),
                self.delimiter,
            )
            for text, score, label_id in entries(window)
        )


class TsvWriter(CsvWriter):
    """The same with tabs."""

    suffix = ".tsv"
    delimiter = "\t"


def table_line(cells: Iterable[str], delimiter: str = ",") -> str:
    """One line of a table; a cell with a delimiter, a quotation mark or a line break stands in quotation marks."""
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(cells)  # quotes what has either of the two
    return line.getvalue().removesuffix("\r\n") + "\n"


def path_cell(path: str) -> str:
    """A path that no spreadsheet takes for a formula: `=a.wav` is written `./=a.wav`, which is the same file."""
    return f"./{path}" if path.startswith(FORMULA) and path != "-" else path


def text_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: `=1+1` is written with an apostrophe before it."""
    return f"'{text}" if text.startswith(FORMULA) else text
