"""Readers of the containers that packages and games keep audio in: ar, tar, zip, Qt resources (.rcc), OpenTTD (.cat).

Each yields (path, content). Whatever a damaged container holds, reading it gives its members or raises DataError, from
the reader or from a member's stream, in time and memory that its length limits. Nothing is written.
"""

import errno
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO, cast

from sonopsis.data.catalogue import DataError

_RCC_ZLIB, _RCC_FOLDER, _RCC_ZSTD = 1, 2, 4
_RCC_ENTRY_LIMIT = 1 << 30  # bytes one compressed resource may grow to
_RCC_PATH_LIMIT = 4096  # characters of a path; a longer one is damage, and no system could write it
_TAR_EXTENSION_LIMIT = 1 << 20  # bytes of a long name or of a pax header, which tarfile reads into memory
_TAR_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X")

AGAIN = "delete the file and fetch it again"


class _Section(io.RawIOBase):
    """Bytes [start, start+size) of a seekable file, as a file of their own."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._left = file, size
        file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def read_ar(file: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """Members of an ar archive (a .deb is one) as (name, stream); read each stream before asking for the next."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(8) != b"!<arch>\n":
        raise DataError(f"not a Debian package (no ar header); {AGAIN}")
    offset = 8
    while offset < end:
        file.seek(offset)
        header = file.read(60)
        digits = header[48:58].strip()
        if len(header) < 60 or header[58:] != b"`\n" or not digits.isdigit():
            raise DataError(f"damaged ar header at byte {offset}; {AGAIN}")
        size = int(digits)
        if offset + 60 + size > end:
            raise DataError(f"the Debian package is cut short; {AGAIN}")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        yield name, cast(BinaryIO, io.BufferedReader(_Section(file, offset + 60, size)))
        offset += 60 + size + size % 2


def read_tar(stream: IO[bytes], name: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Regular files of a tar stream, compressed as its name's suffix says; links, devices and folders are skipped."""
    with _damage(name):
        plain = _decompressed(stream, PurePosixPath(name).suffix)
        with tarfile.open(fileobj=plain, mode="r|", tarinfo=_Header) as archive:
            for member in archive:
                if not member.isreg():
                    continue
                if not member.name or member.issparse():  # a sparse file is as long as its header claims
                    raise DataError(f"{name} is damaged (a member without a name, or a sparse one); {AGAIN}")
                content = archive.extractfile(member)
                if content is not None:
                    yield member.name, _checked(content, name)
        while plain.read(1 << 20):  # to its end: a compressed stream that was cut short only shows there
            pass


class _Header(tarfile.TarInfo):
    """A tar header whose extensions, which tarfile reads into memory, have a limit."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> "_Header":
        header = super().frombuf(buf, encoding or "utf-8", errors)
        if header.type in _TAR_EXTENSIONS and header.size > _TAR_EXTENSION_LIMIT:
            raise DataError(f"damaged tar header: an extension of {header.size} bytes; {AGAIN}")
        return header


def _decompressed(stream: IO[bytes], suffix: str) -> IO[bytes]:
    match suffix:
        case ".tar":
            return stream
        case ".gz":
            return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
        case ".xz":
            return lzma.LZMAFile(stream, format=lzma.FORMAT_XZ)
        case ".zst":
            return cast(IO[bytes], _zstandard().ZstdDecompressor().stream_reader(stream))
    raise DataError(f"unknown compression {suffix!r} inside a Debian package; known: .gz .xz .zst and none")


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise DataError("this package is compressed with zstandard: pip install 'sonopsis[data]'") from None
    return zstandard


def read_zip(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Regular files of a zip archive as (name, stream); symbolic links are skipped.

    Members are stored or deflated: the other methods of zipfile may grow without limit in one step.
    """
    with _damage("the zip archive"), zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename:
                raise DataError(f"the zip archive is damaged (a member without a name); {AGAIN}")
            if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
                continue
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"{info.filename!r} is compressed by method {info.compress_type}; known: 0 and 8")
            with archive.open(info) as content:
                yield info.filename, _checked(content, "the zip archive")


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files of a Qt binary resource (format 1 to 3) as (path, bytes).

    The header points to a tree of nodes (name, flags, then children or data), a table of UTF-16 names, and the data;
    each datum is its length, then bytes that may be compressed with zlib (after a 4-byte length) or zstandard.
    """
    magic, version, tree, payload, names = fields_at(data, 0, ">4sIIII")
    if magic != b"qres" or not 1 <= version <= 3:
        raise DataError("not a Qt resource file of format 1 to 3")
    node_size = 14 if version == 1 else 22  # since format 2 a modification time follows
    folders = [(0, "")]
    seen = set()
    most = len(data) // node_size  # nodes that the file has room for
    while folders:
        node, path = folders.pop()
        if node in seen:
            raise DataError("damaged Qt resource: its tree has a loop")
        seen.add(node)
        name_at, flags, count, first = fields_at(data, tree + node * node_size, ">IHII")
        if not flags & _RCC_FOLDER:
            raise DataError("damaged Qt resource: a file where a folder is due")
        most -= count  # a node is in one folder
        if most < 0:
            raise DataError("damaged Qt resource: folders larger than the file")
        for child in range(first, first + count):
            name_at, flags, _country, start = fields_at(data, tree + child * node_size, ">IHII")
            (length, _hash) = fields_at(data, names + name_at, ">HI")
            name = path + bytes_at(data, names + name_at + 6, 2 * length).decode("utf-16-be", "replace")
            if not length or len(name) > _RCC_PATH_LIMIT:
                raise DataError(f"damaged Qt resource: no name, or a path of more than {_RCC_PATH_LIMIT} characters")
            if flags & _RCC_FOLDER:
                folders.append((child, f"{name}/"))
            else:
                (size,) = fields_at(data, payload + start, ">I")
                yield name, _resource(bytes_at(data, payload + start + 4, size), flags)


def _resource(raw: bytes, flags: int) -> bytes:
    with _damage("a Qt resource"):
        if flags & _RCC_ZSTD:
            zstandard = _zstandard()
            size = zstandard.frame_content_size(raw)
            _check_entry_size(size)
            content = _at_most(zstandard.ZstdDecompressor().stream_reader(raw), size)
        elif flags & _RCC_ZLIB:
            (size,) = fields_at(raw, 0, ">I")
            _check_entry_size(size)
            content = zlib.decompressobj().decompress(raw[4:], size + 1)
        else:
            return raw
    if len(content) != size:
        raise DataError("damaged Qt resource: an entry does not have the length it states")
    return content


def _at_most(stream: IO[bytes], size: int) -> bytes:
    """What a stream holds, up to a little more than `size` bytes; memory grows with what is there, not with `size`."""
    content = bytearray()
    while len(content) <= size and (piece := stream.read(1 << 20)):
        content += piece
    return bytes(content)


def _check_entry_size(size: int) -> None:
    if not 0 <= size <= _RCC_ENTRY_LIMIT:
        raise DataError("damaged Qt resource: an entry of unknown length, or of more than 1 GiB")


def read_cat(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Sounds of an OpenTTD sample catalogue as (title, RIFF file).

    A table of (offset, size) pairs, little-endian, whose first offset is also its length; the top bit marks the format.
    At each offset: the title's length and the title (Latin-1, ends with NUL), then a complete RIFF file.
    """
    (first,) = fields_at(data, 0, "<I")
    table = first & 0x7FFFFFFF
    if table % 8 or table > len(data):
        raise DataError("not an OpenTTD sound file: its table of sounds is damaged")
    for entry in range(0, table, 8):
        offset, size = fields_at(data, entry, "<II")
        offset &= 0x7FFFFFFF
        (length,) = fields_at(data, offset, "<B")
        title = bytes_at(data, offset + 1, length).split(b"\0")[0].decode("utf-8", "replace")
        riff = bytes_at(data, offset + 1 + length, size)
        if riff[:4] != b"RIFF":
            raise DataError(f"damaged OpenTTD sound file: sound {entry // 8} ({title!r}) is not a RIFF file")
        yield title, riff


def fields_at(data: bytes, offset: int, layout: str) -> tuple[Any, ...]:
    """The numbers of a `struct` layout at an offset in bytes; raises DataError when the data end before."""
    return struct.unpack(layout, bytes_at(data, offset, struct.calcsize(layout)))


def bytes_at(data: bytes, offset: int, size: int) -> bytes:
    """`size` bytes from an offset; raises DataError when the data end before."""
    if offset + size > len(data):
        raise DataError(f"the file is cut short; {AGAIN}")
    return data[offset : offset + size]


class _Checked(io.RawIOBase):
    """The stream of a member, whose damage is a DataError too."""

    def __init__(self, stream: IO[bytes], what: str) -> None:
        self._stream, self._what = stream, what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _damage(self._what):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _checked(stream: IO[bytes], what: str) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(_Checked(stream, what)))


@contextmanager
def _damage(what: str) -> Iterator[None]:
    """Turn whatever the standard library and zstandard raise on damaged content into DataError.

    They raise errors of a dozen types, IndexError and MemoryError among them, and other ones in other versions. Errors
    of the disk stay OSError, but not those for a place or a stream that cannot be: EINVAL, or no number at all.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{what} is damaged ({reason}); {AGAIN}") from error
