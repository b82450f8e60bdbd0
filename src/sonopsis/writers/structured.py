"""JSON for programs: one array of files, or one line per window. ASCII only: every terminal takes it."""

import json
from typing import Any, TextIO

from sonopsis.results import FileResult
from sonopsis.writers.base import Writer


class JsonWriter(Writer):
    """An array with one object per file (`FileResult.to_dict`), valid also without files."""

    suffix = ".json"

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._separator = "\n"

    def header(self) -> str:
        """The array's opening bracket."""
        return "["

    def part(self, result: FileResult) -> str:
        """The file's object on indented lines."""
        text = json.dumps([result.to_dict()], indent=2, allow_nan=False)[2:-2]  # indented as in the array it stands in
        separator, self._separator = self._separator, ",\n"
        return separator + text

    def footer(self) -> str:
        """The array's closing bracket."""
        return "]\n" if self._separator == "\n" else "\n]\n"


class JsonlWriter(Writer):
    """An object per window, with its file's path, duration and model; for a failed file one object with the error."""

    suffix = ".jsonl"

    def part(self, result: FileResult) -> str:
        """The file's lines."""
        head = result.head()
        rows: list[dict[str, Any]] = [head | window.to_dict() for window in result.windows]
        if result.error is not None:
            rows.append(head)
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
