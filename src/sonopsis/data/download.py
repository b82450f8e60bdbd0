"""Download one file whose size and SHA-256 are known, continuing where an earlier attempt ended."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from sonopsis.data.catalogue import DataError

Progress = Callable[[int, int], None]
"""Called with the bytes on disk and the bytes of the whole file."""

_BLOCK = 1 << 20
_ATTEMPTS = 3
_TIMEOUT = 60.0  # seconds without an answer from the server


class GoneError(DataError):
    """The server does not have the file (any more)."""


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_verified(file: Path, size: int, sha256: str) -> bool:
    """Whether the file exists with that size in bytes and that SHA-256."""
    return file.is_file() and file.stat().st_size == size and sha256_of(file) == sha256


def download(url: str, file: Path, size: int, sha256: str, progress: Progress) -> None:
    """Download an http, https or file address; `file` appears once its size (bytes) and SHA-256 are right.

    What arrived so far is kept in `<file>.part` and continued by a range request, here or in a later call.
    GoneError if the server does not have the file, DataError if it cannot be had or is another file.
    """
    part = file.with_name(file.name + ".part")
    trouble = ""
    for _ in range(_ATTEMPTS):
        try:
            continued = _append(url, part, size, progress)
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                raise GoneError(f"the server answers {error.code} {error.reason}") from error
            trouble = f"the server answers {error.code} {error.reason}"
            if error.code == 416:  # the server's file ends before ours does: ours is the start of another one
                part.unlink()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", None), FileNotFoundError):
                raise GoneError(f"there is no file {url}") from error
            trouble = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            if is_verified(part, size, sha256):
                part.replace(file)
                return
            arrived = part.stat().st_size
            if arrived < size:
                trouble = f"the connection ended after {arrived} of {size} bytes"
                continue
            part.unlink()
            if not continued:
                raise DataError("the file does not have the expected SHA-256 and was deleted; try another mirror")
            trouble = "the continued file does not have the expected SHA-256 and was deleted"
    raise DataError(f"the download failed: {trouble}; run the command again to continue it")


def _append(url: str, part: Path, size: int, progress: Progress) -> bool:
    """Read what the .part file lacks; True if it holds bytes of an earlier attempt."""
    start = part.stat().st_size if part.exists() else 0
    if start >= size:
        return True
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        continued = start > 0 and answer.status == 206
        with open(part, "ab" if continued else "wb") as file:
            arrived = start if continued else 0
            progress(arrived, size)
            while arrived <= size and (block := answer.read(_BLOCK)):  # of a longer file, at most one block too many
                file.write(block)
                arrived += len(block)
                progress(min(arrived, size), size)
    return continued
