"""The clips of one split, decoded once to 16 kHz and kept in a memory-mapped file that all workers share."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE, AudioError, load_audio
from sonopsis.scenes.compose import CLIP_REACH, with_activity


class ClipBank:
    """Decoded clips by path: `bank.read(path)` -> (S,) float32 at 16 kHz, at most `CLIP_REACH` seconds of each.

    `rows` are the manifest's, with the stretches that hold sound ("active", see `with_activity`); rows that cannot be
    decoded or are silent are left out.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], root: Path) -> None:
        """Open the cache of these rows under `root`, decoding into it first if there is none."""
        key = hashlib.sha256(json.dumps([(row["path"], row["sha256"], row["start"]) for row in rows]).encode())
        folder = root / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        index_file, data_file = (folder / f"clips-{key.hexdigest()[:16]}.{end}" for end in ("json", "int16"))
        if not index_file.is_file():
            _decode(rows, root, index_file, data_file)
        index = json.loads(index_file.read_text(encoding="utf-8"))
        self._places: dict[str, list[int]] = index["places"]
        self._data = np.memmap(data_file, dtype=np.int16, mode="r")
        active = index["active"]
        self.rows = [{**row, "active": active[row["path"]]} for row in rows if row["path"] in active]

    def read(self, path: str) -> NDArray[np.float32]:
        """One clip's samples (S,) in [-1, 1], from the start of its file."""
        start, length = self._places[path]
        return self._data[start : start + length].astype(np.float32) / 32767.0


def _decode(rows: Sequence[Mapping[str, Any]], root: Path, index_file: Path, data_file: Path) -> None:
    """Write all samples one after the other, and where each clip's are: path -> [first sample, samples]."""
    places: dict[str, list[int]] = {}
    position = 0
    with data_file.open("wb") as stream:
        for row in rows:
            try:
                samples = load_audio(root / row["path"])[: round((row["start"] + CLIP_REACH) * SAMPLE_RATE)]
            except AudioError:
                continue
            np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16).tofile(stream)
            places[row["path"]] = [position, len(samples)]
            position += len(samples)
    data = np.memmap(data_file, dtype=np.int16, mode="r")

    def read(path: str) -> NDArray[np.float32]:
        start, length = places[path]
        return data[start : start + length].astype(np.float32) / 32767.0

    decoded = [row for row in rows if row["path"] in places]
    active = {row["path"]: row["active"] for row in with_activity(decoded, read)}
    index_file.write_text(json.dumps({"places": places, "active": active}), encoding="utf-8")
