"""Results in the formats that other programs read, each by the name the command line gives it."""

from collections.abc import Iterable
from typing import Any

from sonopsis.results import FileResult, Part
from sonopsis.writers.arrays import NpzWriter
from sonopsis.writers.base import Writer
from sonopsis.writers.parquet import ParquetWriter
from sonopsis.writers.structured import JsonlWriter, JsonWriter
from sonopsis.writers.subtitles import SrtWriter, VttWriter
from sonopsis.writers.tables import CsvWriter, TsvWriter
from sonopsis.writers.text import TextWriter
from sonopsis.writers.tracks import AudacityWriter, RavenWriter

__all__ = ["WRITERS", "Writer", "follow", "open_writer", "write"]

WRITERS: dict[str, type[Writer]] = {
    "text": TextWriter,
    "json": JsonWriter,
    "jsonl": JsonlWriter,
    "csv": CsvWriter,
    "tsv": TsvWriter,
    "srt": SrtWriter,
    "vtt": VttWriter,
    "audacity": AudacityWriter,
    "raven": RavenWriter,
    "parquet": ParquetWriter,
    "npz": NpzWriter,
}


def open_writer(format: str, stream: Any, *, clock: bool = False) -> Writer:
    """A writer to use in a `with` block, one per stream (of text, or of bytes for `binary` formats).

    `clock` adds the date and time of each row to tables. Raises ValueError for an unknown format.
    """
    if format not in WRITERS:
        raise ValueError(f"no format is called {format!r}; choose one of {', '.join(WRITERS)}")
    return WRITERS[format](stream, clock=clock)


def write(results: Iterable[FileResult], format: str, stream: Any) -> None:
    """Write results as they come, so that an endless run can be followed and stopped; ValueError as `open_writer`."""
    with open_writer(format, stream) as writer:
        for result in results:
            writer.add(result)


def follow(parts: Iterable[Part], format: str, stream: Any, *, clock: bool = False) -> None:
    """Write the parts of a run as they come; the bytes are those of `write`. The rest is as in `open_writer`."""
    with open_writer(format, stream, clock=clock) as writer:
        for result, window in parts:
            if window is None:
                writer.end(result)
            else:
                writer.window(result, window)
