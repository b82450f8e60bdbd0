"""The search of a folder for recordings, and what it leaves out, counted for the person who started it."""

import os
from collections import Counter
from pathlib import Path

from sonopsis.audio import MEDIA_SUFFIXES, NEEDS_MEDIA, SUFFIXES, reads_media

NAMED = 5  # suffixes, or links, in the line on what was left out


class LeftOut:
    """What searches of folders found and did not take, counted."""

    def __init__(self) -> None:
        self.hidden = 0  # files and folders
        self.apple_double = 0
        self.media: Counter[str] = Counter()  # by suffix, where PyAV is not there to read them
        self.other: Counter[str] = Counter()
        self.empty = 0  # folders
        self.links: list[str] = []  # to folders, that were not followed

    def __str__(self) -> str:
        """One line for the person who started the search; empty when nothing was left out."""
        files = []
        if self.media:
            files.append(f"{self.media.total()} ({_suffixes(self.media)}; {NEEDS_MEDIA})")
        if self.other:
            files.append(f"{self.other.total()} of other types ({_suffixes(self.other)})")
        if self.hidden:
            files.append(f"{self.hidden} hidden")
        if self.apple_double:
            files.append(f"{self.apple_double} AppleDouble (._*)")
        groups = [", ".join(files)] if files else []
        if self.empty:
            groups.append("1 empty folder" if self.empty == 1 else f"{self.empty} empty folders")
        if self.links:
            links = "1 link" if len(self.links) == 1 else f"{len(self.links)} links"
            groups.append(f"{links} to folders that are searched already, or around ({_some(sorted(self.links))})")
        what = "; ".join(groups)
        if files:
            return f"files left out of the search: {what}"
        return f"left out of the search: {what}" if groups else ""


def _suffixes(counted: Counter[str]) -> str:
    """The most frequent suffixes, ties in the order of the alphabet."""
    return _some([name or "no suffix" for name, _ in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))])


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def search(folder: str, left_out: LeftOut) -> list[tuple[str, str | None]]:
    """The path of every file below a folder with a suffix of audio, sorted, each with None; and every folder that
    cannot be read, with the reason.

    Links to folders are followed, and no folder is searched twice; hidden files and folders are left alone. Suffixes of
    videos and of audio that PyAV reads count where it is installed.
    """
    found = list[tuple[str, str | None]]()
    links, seen = [folder], set[tuple[int, int]]()

    def failed(error: OSError) -> None:
        from sonopsis.audio.source import source_name

        place = os.fsdecode(error.filename)
        found.append((place, f"{source_name(place)}: cannot be searched ({error.strerror}); check its permissions"))

    while links:
        top = links.pop(0)
        if top != folder and _lies_around(top):
            left_out.links.append(top)
            continue
        for where, folders, files in os.walk(top, onerror=failed):
            identity = os.stat(where)
            if (key := (identity.st_dev, identity.st_ino)) in seen:
                left_out.links.append(where)
                folders.clear()
                continue
            seen.add(key)
            left_out.empty += where != folder and not folders and not files
            left_out.hidden += sum(name.startswith(".") for name in folders)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links += [path for name in folders if os.path.islink(path := os.path.join(where, name))]
            found += [(os.path.join(where, file), None) for file in _taken(sorted(files), left_out)]
    return sorted(found, key=lambda pair: _order(os.path.relpath(pair[0], folder)))


def _lies_around(link: str) -> bool:
    """Whether a link leads to a folder that it is in."""
    return Path(os.path.realpath(os.path.dirname(link))).is_relative_to(os.path.realpath(link))


def _taken(files: list[str], left_out: LeftOut) -> list[str]:
    """The files of a folder that are taken for recordings."""
    wanted = SUFFIXES | MEDIA_SUFFIXES if reads_media() else SUFFIXES
    taken = []
    for file in files:
        suffix = Path(file).suffix.lower()
        if file.startswith("._"):
            left_out.apple_double += 1
        elif file.startswith("."):
            left_out.hidden += 1
        elif suffix not in wanted:
            (left_out.media if suffix in MEDIA_SUFFIXES else left_out.other)[suffix] += 1
        else:
            taken.append(file)
    return taken


def _order(path: str) -> list[tuple[bool, str]]:
    """Sorts the files of a folder before what is in its folders."""
    *folders, name = path.split(os.sep)
    return [*((True, folder) for folder in folders), (False, name)]
