"""Scenes on disk: gzipped JSON lines in one canonical form, so that a file of scenes can be told by its digest."""

import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sonopsis.scenes.phrasing import facts_of

Scene = dict[str, Any]


def freeze(scenes: Iterable[Scene]) -> str:
    """The sha256 of the scenes' canonical JSON lines: what a published benchmark is identified by."""
    digest = hashlib.sha256()
    for scene in scenes:
        digest.update(_line(scene))
    return digest.hexdigest()


def write_scenes(scenes: Iterable[Scene], path: Path) -> None:
    """Write scenes as gzipped JSON lines; the same scenes give the same bytes (no time, no name in the header)."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", mtime=0, fileobj=file) as stream:
        for scene in scenes:
            stream.write(_line(scene))


def read_scenes(path: Path) -> list[Scene]:
    """The scenes of a file that `write_scenes` wrote; ValueError naming the line that is no scene."""
    scenes: list[Scene] = []
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                scene = json.loads(line)
                facts_of(scene)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number} is no scene ({error}); compose the file again") from error
            scenes.append(scene)
    return scenes


def _line(scene: Scene) -> bytes:
    return json.dumps(scene, sort_keys=True, separators=(",", ":")).encode() + b"\n"
