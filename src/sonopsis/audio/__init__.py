"""Recordings in, mono float32 at 16 kHz out: whole, or as windows over files of any length.

    path | file object | array -> parts (blocks of frames of one rate) -> mono -> soxr -> samples (S,) -> windows

Decoding and resampling run block by block, so a day-long file needs no more memory than a short one. What cannot be
used raises AudioError, in one line that names the source and says how to fix it. What is left out or mended is said in
a warning.
"""

from sonopsis.audio.formats import MEDIA_SUFFIXES, NEEDS_MEDIA, SUFFIXES, reads_media
from sonopsis.audio.read import SAMPLE_RATE, AudioInfo, Window, is_silent, iter_windows, load_audio, probe
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
    "is_silent",
    "iter_windows",
    "load_audio",
    "probe",
    "reads_media",
]
