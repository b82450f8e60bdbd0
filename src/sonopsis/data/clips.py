"""The clips of one split, decoded once to 16 kHz and kept in a memory-mapped file that all workers share."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE, AudioError, load_audio
from sonopsis.data.activity import Samples, active_stretches
from sonopsis.data.manifest import Row

CLIP_REACH = 30.0  # seconds; of a longer clip only the beginning is used

Read = Callable[[str], Samples]  # path -> samples (S,) at 16 kHz


@dataclass(frozen=True)
class Clip(Row):
    """A row of the manifest whose recording was listened to: `active` are the stretches that sound, (start, end) in s
    from the start of the file."""

    active: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, row: Row, active: Iterable[tuple[float, float]]) -> "Clip":
        """A manifest row with its active stretches."""
        return cls(**{**vars(row), "active": tuple(active)})


def with_activity(rows: Iterable[Row], read: Read) -> Iterator[Clip]:
    """Manifest rows as clips, their stretches found in the samples that `read` gives; silent rows are left out."""
    for row in rows:
        samples = read(row.path)[round(row.start * SAMPLE_RATE) : round(row.end * SAMPLE_RATE)]
        stretches = active_stretches(samples)
        if stretches:
            yield Clip.of(row, ((round(row.start + a, 2), round(row.start + b, 2)) for a, b in stretches))


class ClipBank:
    """Decoded clips by path: `bank.read(path)` -> (S,) float32 at 16 kHz, at most `CLIP_REACH` seconds of each.

    `rows` are the manifest's rows as clips; rows that cannot be decoded or are silent are left out.
    """

    def __init__(self, rows: Sequence[Row], root: Path, cache: Path | None = None) -> None:
        """Open the decoded clips of these rows, whose paths are under `root`, in the folder `cache` (None: root/cache).

        They are decoded into it first if they are not there. Programs that do so at once do not disturb each other.
        """
        key = hashlib.sha256(json.dumps([(row.path, row.sha256, row.start, row.end) for row in rows]).encode())
        folder = root / "cache" if cache is None else cache
        folder.mkdir(parents=True, exist_ok=True)
        index_file, data_file = (folder / f"clips-{key.hexdigest()[:16]}.{end}" for end in ("json", "int16"))
        if not index_file.is_file():
            _decode(rows, root, index_file, data_file)
        index = json.loads(index_file.read_text(encoding="utf-8"))
        self._places: dict[str, list[int]] = index["places"]
        self._data = _mapped(data_file)
        active = index["active"]
        self.rows = [
            Clip.of(row, ((start, end) for start, end in active[_part(row)])) for row in rows if _part(row) in active
        ]

    def read(self, path: str) -> Samples:
        """One clip's samples (S,) in [-1, 1], from the start of its file."""
        start, length = self._places[path]
        return self._data[start : start + length].astype(np.float32) / 32767.0

    def part(self, clip: Row) -> Samples:
        """The samples (S,) of a clip's file between its start and its end, as `read` gives them."""
        return self.read(clip.path)[round(clip.start * SAMPLE_RATE) : max(1, round(clip.end * SAMPLE_RATE))]


def _decode(rows: Sequence[Row], root: Path, index_file: Path, data_file: Path) -> None:
    """Write all samples one after the other, and where each clip's are: path -> [first sample, samples]."""
    places: dict[str, list[int]] = {}
    reaches: dict[str, float] = {}  # path -> seconds of it; several rows may be parts of one recording
    for row in rows:
        reaches[row.path] = max(reaches.get(row.path, 0.0), row.start + CLIP_REACH)
    position = 0
    with _written(data_file) as scratch, scratch.open("wb") as stream:
        for path, reach in reaches.items():
            try:
                samples = load_audio(root / path)[: round(reach * SAMPLE_RATE)]
            except AudioError:
                continue
            np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16).tofile(stream)
            places[path] = [position, len(samples)]
            position += len(samples)
    data = _mapped(data_file)

    def read(path: str) -> Samples:
        start, length = places[path]
        return data[start : start + length].astype(np.float32) / 32767.0

    decoded = [row for row in rows if row.path in places]
    active = {_part(clip): clip.active for clip in with_activity(decoded, read)}
    with _written(index_file) as scratch:
        scratch.write_text(json.dumps({"places": places, "active": active}), encoding="utf-8")


@contextmanager
def _written(file: Path) -> Iterator[Path]:
    """A file of this process alone, which takes the place of `file` when it is whole; what reads that one reads on."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        yield scratch
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def _mapped(data_file: Path) -> NDArray[np.int16]:
    """The samples of a file without reading it; a file without any, as of a run without validation clips, cannot be
    mapped."""
    return np.memmap(data_file, np.int16, "r") if data_file.stat().st_size else np.empty(0, np.int16)


def _part(row: Row) -> str:
    """Tells the parts of a recording apart."""
    return f"{row.start:g} {row.end:g} {row.path}"
