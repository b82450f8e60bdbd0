"""What failed in a run: a line each on standard error, and a row each in a table if one is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sonopsis.cli.console import fail, report


class ErrorList:
    """Counts and reports errors. With a path, it writes a CSV file with the columns file and error as they come."""

    def __init__(self, path: Path | None) -> None:
        self.count = 0
        self._path = path
        self._stream: Any = None

    def __enter__(self) -> "ErrorList":
        if self._path is not None:
            with self._checked():
                self._path.parent.mkdir(parents=True, exist_ok=True)  # as for the results of --output
                self._stream = self._path.open("w", encoding="utf-8", errors="replace", newline="")
            self._write("file,error\n")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            with suppress(OSError):  # which has been said
                self._stream.close()

    def add(self, path: str, error: str) -> None:
        """Note that a recording failed."""
        self.count += 1
        report(f"error: {error}")
        if self._stream is not None:
            from sonopsis.writers.tables import path_cell, table_line, text_cell

            self._write(table_line((path_cell(path), text_cell(error))))

    def _write(self, line: str) -> None:
        with self._checked():
            self._stream.write(line)
            self._stream.flush()

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            fail(f"{self._path}: cannot be written to ({error.strerror}); choose another file for --errors")
