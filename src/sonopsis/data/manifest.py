"""The manifest: one JSON line for each recording that is used, with its labels, captions, family, licence and group.

{"path", "start", "end", "labels", "captions", "source", "family", "licence", "split", "sha256"}

and "questions", a list of {"text", "answer", "kind"}, where there are any.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import soundfile

from sonopsis.audio import SUFFIXES
from sonopsis.data.catalogue import DataError, get_source, list_sources
from sonopsis.data.naming import Named, name_clip
from sonopsis.data.records import decode, encode, read_lines
from sonopsis.data.splits import STRICTNESS, Split, Splits, load_splits
from sonopsis.ontology import current

SHORTEST = 0.02  # s
SILENT_PEAK = 10.0 ** (-60 / 20)  # of full scale
SPEECH_PER_FAMILY = 60  # voices and languages of one package
SPEECH_PER_SOURCE = 150


@dataclass(frozen=True)
class Question:
    """A question about a recording, its answer, and the kind of question, as its data set calls it."""

    text: str
    answer: str
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """One recording of a manifest.

    path is relative to the data root; start and end are the used part of the file, in seconds; labels are leaf labels;
    captions are true of the recording, and so are the answers to questions; source is its package and family its group
    of takes; sha256 is that of the file's bytes.
    """

    path: str
    start: float
    end: float
    labels: tuple[str, ...]
    captions: tuple[str, ...]
    source: str
    family: str
    licence: str
    split: Split
    sha256: str
    questions: tuple[Question, ...] = field(default=(), kw_only=True)

    @classmethod
    def from_dict(cls, value: object) -> "Row":
        """The row that a JSON object describes; ValueError for missing, unknown and wrong fields."""
        return decode(cls, value)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the row, its keys in the order of the file; without "questions" when there are none."""
        found = encode(self)
        return found if self.questions else {key: value for key, value in found.items() if key != "questions"}


@dataclass(frozen=True)
class Found:
    """A file whose name says what it holds: path relative to the data root, package, and what the name says."""

    path: str
    source: str
    named: Named


@dataclass(frozen=True)
class Report:
    """What happened to the files of a build: how many of which package were left out for which reason."""

    left_out: Counter[tuple[str, str]]

    def total(self, reason: str) -> int:
        """Files left out for a reason, over all packages."""
        return sum(n for (_, why), n in self.left_out.items() if why == reason)


def package_folders(root: Path) -> list[Path]:
    """The folders root/audio/<package>, sorted; DataError when nothing has been unpacked."""
    audio = root / "audio"
    if not audio.is_dir():
        raise DataError(f"{audio} is no folder: run `sonopsis data fetch` first")
    return sorted(entry for entry in audio.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def find_clips(root: Path) -> Iterator[Found]:
    """The files under root/audio/<package>/ that a label rule knows, sorted by path.

    DataError when nothing has been unpacked.
    """
    for folder in package_folders(root):
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                file = Path(parent, name)
                if file.suffix.lower() not in SUFFIXES:
                    continue
                named = name_clip(folder.name, file.relative_to(folder).as_posix())
                if named is not None:
                    yield Found(file.relative_to(root).as_posix(), folder.name, named)


def cap_speech(
    found: Iterable[Found], per_family: int = SPEECH_PER_FAMILY, per_source: int = SPEECH_PER_SOURCE
) -> list[Found]:
    """All but speech, and at most so many files of speech of a family and of a source, by the hash of the path."""
    kept: list[Found] = []
    speech: list[tuple[str, Found]] = []
    for item in found:
        if item.named.labels == ("Speech",):
            speech.append((hashlib.sha256(item.path.encode()).hexdigest(), item))
        else:
            kept.append(item)
    families: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for _, item in sorted(speech, key=lambda pair: pair[0]):
        if families[item.named.family] < per_family and sources[item.source] < per_source:
            families[item.named.family] += 1
            sources[item.source] += 1
            kept.append(item)
    return sorted(kept, key=lambda item: item.path)


def duration_of(file: Path) -> float | None:
    """Seconds of a file, or None for one that cannot be decoded, is shorter than SHORTEST, or silent throughout."""
    try:
        info = soundfile.info(file)
        if info.frames < SHORTEST * info.samplerate:
            return None
        for block in soundfile.blocks(file, blocksize=1 << 18, dtype="float32"):
            if float(np.abs(block).max(initial=0.0)) >= SILENT_PEAK:
                return float(info.frames / info.samplerate)
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    return None


def build(root: Path, splits: Splits | None = None) -> tuple[list[Row], Report]:
    """Rows for all recordings under the data root that the rules know, sorted by path, and what was left out and why.

    Of byte-identical files one stays: a test file, else a validation file, else the first path; when their labels
    disagree none does.  Recordings listed as near-duplicates leave.  DataError when nothing has been unpacked.
    """
    splits = splits or load_splits()
    left_out: Counter[tuple[str, str]] = Counter()
    by_hash: dict[str, list[Row]] = defaultdict(list)
    for item in cap_speech(find_clips(root)):
        duration = duration_of(root / item.path)
        if duration is None:
            left_out[item.source, "silent, short or undecodable"] += 1
            continue
        with (root / item.path).open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        by_hash[sha256].append(_row(item, duration, sha256, splits))
    rows = []
    for sha256, copies in by_hash.items():
        kept = min(copies, key=lambda row: (-STRICTNESS[row.split], row.path))
        reason = _why_not(kept, copies, sha256 in splits.near_duplicates)
        if reason:
            left_out[kept.source, reason] += 1
        else:
            rows.append(kept)
        for copy in copies:
            if copy is not kept:
                left_out[copy.source, "identical"] += 1
    return sorted(rows, key=lambda row: row.path), Report(left_out)


def _why_not(kept: Row, copies: list[Row], near_duplicate: bool) -> str:
    if len({copy.labels for copy in copies}) > 1:
        return "identical under two labels"
    return "near-duplicate" if near_duplicate and kept.split != "test" else ""


def _row(item: Found, duration: float, sha256: str, splits: Splits) -> Row:
    return Row(
        path=item.path,
        start=0.0,
        end=round(duration, 6),
        labels=item.named.labels,
        captions=item.named.captions,
        source=item.source,
        family=item.named.family,
        licence=get_source(item.source).licence,
        split=splits.split_of(item.source, item.named.family),
        sha256=sha256,
    )


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows as JSON Lines; the file appears complete or not at all."""
    scratch = path.with_name(path.name + ".part")
    with scratch.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row.to_dict(), ensure_ascii=False) + "\n")
    scratch.replace(path)


def read(path: Path, split: Split | None = None) -> list[Row]:
    """Rows of a manifest, those of one group if `split` is given.

    A row is never given for a group when its sha256 also stands in a group held out more strictly, whatever its own
    "split" says, nor for training or validation when the committed list names it a near-duplicate.  Older names of
    labels become today's in recordings of the catalogue's packages; others may have labels that only look like ours.
    ValueError for an unknown group, DataError for a missing or broken file.
    """
    if split is not None and split not in get_args(Split):
        raise ValueError(f"unknown split {split!r}: use one of {', '.join(get_args(Split))}")
    if not path.is_file():
        raise DataError(f"{path} does not exist: run `sonopsis data manifest` first")
    with path.open("rb") as stream:
        rows = list(read_lines(path, stream, Row.from_dict))
    packages = {source.package for source in list_sources()}
    rows = [replace(row, labels=tuple(map(current, row.labels))) if row.source in packages else row for row in rows]
    if split is None:
        return rows
    strictest: dict[str, int] = {}
    for row in rows:
        strictest[row.sha256] = max(strictest.get(row.sha256, 0), STRICTNESS[row.split])
    leaving = frozenset() if split == "test" else frozenset(load_splits().near_duplicates)
    return [
        row
        for row in rows
        if row.split == split and strictest[row.sha256] == STRICTNESS[split] and row.sha256 not in leaving
    ]
