"""Recordings in, mono float32 at 16 kHz out: whole, or as windows over files of any length.

    path | file object | array -> parts (blocks of frames of one rate) -> mono -> soxr -> samples (S,) -> windows

Decoding and resampling run block by block, so a day-long file needs no more memory than a short one. What cannot be
used raises AudioError, in one line that names the source and says how to fix it. What is left out or mended is said in
a warning.

Which files can be read is known at once; what reads them is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonopsis.audio.formats import MEDIA_SUFFIXES, NEEDS_MEDIA, SUFFIXES, reads_media

if TYPE_CHECKING:
    from sonopsis.audio.read import (
        SAMPLE_RATE,
        AudioInfo,
        Window,
        declared_duration,
        is_silent,
        iter_windows,
        load_audio,
        probe,
    )
    from sonopsis.audio.source import AudioError, AudioSource, LiveAudio

__all__ = [
    "MEDIA_SUFFIXES",
    "NEEDS_MEDIA",
    "SAMPLE_RATE",
    "SUFFIXES",
    "AudioError",
    "AudioInfo",
    "AudioSource",
    "LiveAudio",
    "Window",
    "declared_duration",
    "is_silent",
    "iter_windows",
    "load_audio",
    "probe",
    "reads_media",
]

_OF_SOURCE = ("AudioError", "AudioSource", "LiveAudio")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sonopsis.audio.source" if name in _OF_SOURCE else "sonopsis.audio.read"), name)
