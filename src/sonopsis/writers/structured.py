"""JSON for programs: one array of files, or one line per window. ASCII only: every terminal takes it."""

import json
from typing import Any

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import StreamedWriter, Writer


class JsonWriter(Writer):
    """An array with one object per file (`FileResult.to_dict`), valid also without files."""

    suffix = ".json"
    memory = ("separator",)

    def __init__(self, stream: Any, *, clock: bool = False) -> None:
        super().__init__(stream, clock=clock)
        self.separator = "\n"

    def header(self) -> str:
        """The array's opening bracket."""
        return "["

    def part(self, result: FileResult) -> str:
        """The file's object on indented lines."""
        text = json.dumps([result.to_dict()], indent=2, allow_nan=False)[2:-2]  # indented as in the array it stands in
        separator, self.separator = self.separator, ",\n"
        return separator + text

    def footer(self) -> str:
        """The array's closing bracket."""
        return "]\n" if self.separator == "\n" else "\n]\n"


class JsonlWriter(StreamedWriter):
    """An object per window, with its file's path, duration and model; after them one with the summary, if there is one;
    for a failed file one object with the error."""

    suffix = ".jsonl"
    needs_duration = True

    def row(self, result: FileResult, window: WindowResult) -> str:
        """The window's line."""
        return json.dumps(result.head() | window.to_dict(), allow_nan=False) + "\n"

    def closing(self, result: FileResult) -> str:
        """The line of a file that failed, or of a file's summary."""
        return (
            "" if result.error is None and result.summary is None else json.dumps(result.head(), allow_nan=False) + "\n"
        )
