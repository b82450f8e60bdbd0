"""SRT and WebVTT: a cue per window, in the brackets and lower case that subtitles keep for sounds."""

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import entries, one_line
from sonopsis.writers.timeline import TimelineWriter

_NO_MARKUP = str.maketrans("<>{}", "‹›()")  # SRT cannot escape what players take for tags


class SrtWriter(TimelineWriter):
    """Numbered cues with commas before the milliseconds, and other brackets for those that players take for tags."""

    suffix = ".srt"
    memory = ("offset", "number")
    number = 0

    def lines(self, result: FileResult, window: WindowResult) -> str:
        """One cue, none where nothing was found."""
        text = sound(window).translate(_NO_MARKUP)
        if not text:
            return ""
        self.number += 1
        return f"{self.number}\n{cue_times(self.offset, window, ',')}\n{text}\n\n"


class VttWriter(TimelineWriter):
    """A `WEBVTT` header, the file's name in a note, cues with dots before the milliseconds and escaped text."""

    suffix = ".vtt"

    def header(self) -> str:
        """The signature line."""
        return "WEBVTT\n\n"

    def opening(self, result: FileResult) -> str:
        """The file's name."""
        return f"NOTE {_escaped(one_line(result.path))}\n\n"

    def closing(self, result: FileResult) -> str:
        """The summary of the file, if there is one."""
        super().closing(result)
        return "" if result.summary is None else f"NOTE {_escaped(one_line(result.summary.text))}\n\n"

    def lines(self, result: FileResult, window: WindowResult) -> str:
        """One cue, none where nothing was found."""
        text = _escaped(sound(window))
        return f"{cue_times(self.offset, window, '.')}\n{text}\n\n" if text else ""


def sound(window: WindowResult) -> str:
    """A window's caption as `[a dog barks]`, else its labels as `[dog; walk, footsteps]`; empty if it has neither."""
    text = "; ".join(text for text, _, _ in entries(window)).strip().lower()
    return f"[{text.removesuffix('.') or text}]" if text else ""


def cue_times(offset: float, window: WindowResult, point: str) -> str:
    """`00:00:01,000 --> 00:00:02,500`; an end is at least one millisecond after its start."""
    start = round((offset + window.start) * 1000)
    end = max(round((offset + window.end) * 1000), start + 1)
    return f"{_clock(start, point)} --> {_clock(end, point)}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{milliseconds:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
