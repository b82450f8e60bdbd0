"""Label tracks of sound editors: Audacity labels and Raven selection tables, a line per tag or caption."""

import os

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import clock_of, decimal, entries, one_line
from sonopsis.writers.timeline import TimelineWriter

HIGHEST = 8_000  # Hz, the top of what models hear at 16 kHz
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Annotation",
    "Score",
    "Begin File",
    "Begin Path",
    "File Offset (s)",
)
RAVEN_CLOCK_COLUMNS = ("Begin Date", "Begin Clock Time")


class AudacityWriter(TimelineWriter):
    """Start, end (s) and text, separated by tabs."""

    suffix = ".labels.txt"

    def lines(self, result: FileResult, window: WindowResult) -> str:
        """The window's labels."""
        times = f"{self.offset + window.start:.6f}\t{self.offset + window.end:.6f}"
        return "".join(f"{times}\t{text}\n" for text, _, _ in entries(window))


class RavenWriter(TimelineWriter):
    """Selections over the whole band, with times on the common timeline and in the file they are from."""

    suffix = ".selections.txt"
    memory = ("offset", "selection")
    selection = 0

    def header(self) -> str:
        """The column names."""
        return "\t".join(RAVEN_COLUMNS + (RAVEN_CLOCK_COLUMNS if self.clock else ())) + "\n"

    def lines(self, result: FileResult, window: WindowResult) -> str:
        """The window's selections."""
        begin, end = f"{self.offset + window.start:.6f}", f"{self.offset + window.end:.6f}"
        path = one_line(result.path)
        origin = f"{os.path.basename(path)}\t{path}\t{window.start:.6f}"
        if self.clock:
            day, time, _ = clock_of(result, window.start)
            origin += f"\t{day.replace('-', '/')}\t{time}"
        rows = []
        for text, score, _ in entries(window):
            self.selection += 1
            selected = f"{self.selection}\tSpectrogram 1\t1\t{begin}\t{end}\t0\t{HIGHEST}"
            rows.append(f"{selected}\t{text}\t{decimal(score)}\t{origin}\n")
        return "".join(rows)
