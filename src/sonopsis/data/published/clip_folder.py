"""A folder with a data set in it: audio files by the end of their path, and the data set's own lists by their name.

Data sets are unpacked in many ways: one folder more or less, FLAC in place of WAV, links. So nothing is expected at an
exact place; a clip is known by its name, or by its name and the folders directly around it.
"""

import os
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from sonopsis.audio import SUFFIXES
from sonopsis.data.catalogue import DataError

CACHE = "cache"  # decoded clips of earlier runs


class ClipFolder:
    """All files below a folder, walked once; links to folders are followed. DataError when it is no folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"{root} is no folder; give the one that the data set was unpacked to")
        self.root = root
        self.audio: list[Path] = []
        self._others: list[Path] = []
        self._ends: dict[int, dict[str, Path | None]] = {}
        seen: set[str] = set()
        for parent, folders, names in os.walk(root, followlinks=True):
            real = os.path.realpath(parent)
            if real in seen:  # a link to a folder above it, or a second one to the same
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if name != CACHE and not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    is_audio = Path(name).suffix.lower() in SUFFIXES
                    (self.audio if is_audio else self._others).append(Path(parent, name))

    def lists(self, pattern: str) -> list[Path]:
        """Files that are not audio and whose name fits a pattern, the least deep first."""
        found = [file for file in self._others if fnmatch(file.name, pattern)]
        return sorted(found, key=lambda file: (len(file.parts), str(file)))

    def list_named(self, pattern: str) -> Path:
        """The least deep file whose name fits a pattern; DataError when there is none."""
        if found := self.lists(pattern):
            return found[0]
        raise DataError(f"{self.root}: there is no {pattern}; put this file of the data set anywhere in the folder")

    def find(self, name: str, parts: int = 1) -> Path | None:
        """The audio file whose last `parts` names are those of a path, whatever its suffix.

        None when there is no such file, and when there are several.
        """
        if parts not in self._ends:
            ends: dict[str, Path | None] = {}
            for file in self.audio:
                end = _end(file.as_posix(), parts)
                ends[end] = None if end in ends else file
            self._ends[parts] = ends
        return self._ends[parts].get(_end(name, parts))

    def find_longest(self, path: str) -> Path | None:
        """The audio file that shares most names with the end of a path, if it is one alone; up to four names."""
        known = len(PurePosixPath(path.replace("\\", "/")).parts)
        for parts in range(min(4, known), 0, -1):
            if (found := self.find(path, parts)) is not None:
                return found
        return None

    def locate(self, path: str) -> Path | None:
        """The clip where a list says it is, from the folder or from the root, if that is a file; otherwise the one in
        the folder that ends like it."""
        listed = self.root / path  # an absolute path stays as it is
        return listed if listed.is_file() else self.find_longest(path)


def _end(path: str, parts: int) -> str:
    end = "/".join(path.replace("\\", "/").split("/")[-parts:])
    stem, dot, suffix = end.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in SUFFIXES else end
