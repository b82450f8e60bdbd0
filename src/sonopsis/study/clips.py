"""The clips of a study: rows of a manifest or of a folder per class whose labels the model knows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.data.fetch import default_root
from sonopsis.data.folder_per_class import read_folder
from sonopsis.data.manifest import Row, read
from sonopsis.data.splits import Split
from sonopsis.metrics.evaluate import clip_mels, read_samples
from sonopsis.model import Model
from sonopsis.ontology import current

FEWEST_GROUPS = 5  # a bootstrap over fewer says little


@dataclass(frozen=True)
class Clip:
    """One recording of a study."""

    row: Row
    labels: tuple[int, ...]  # numbers among the model's labels, ascending

    @property
    def name(self) -> str:
        """What identifies the clip in the files of a study."""
        return f"{self.row.path} {self.row.start:g}-{self.row.end:g}"


@dataclass(frozen=True)
class Clips:
    """The clips of a study, where their files are, and what the user should know about the choice."""

    clips: list[Clip]
    folders: list[Path]
    split: str
    left_out: int  # rows without a label that the model knows
    notes: list[str]

    @property
    def present(self) -> list[int]:
        """The labels that clips have, as numbers among the model's."""
        return sorted({label for clip in self.clips for label in clip.labels})

    @property
    def digest(self) -> str:
        """A fingerprint of which clips these are, with labels and contents."""
        text = "\n".join(f"{clip.name} {clip.row.sha256} {clip.labels} {clip.row.source}" for clip in self.clips)
        return hashlib.sha256(text.encode()).hexdigest()

    def mels(self, model: Model, clip: Clip) -> list[NDArray[np.float32]]:
        """The windows of a clip as normalised log-Mel (1, T, M); raises AudioError when it cannot be read."""
        row = clip.row
        return clip_mels(model, read_samples(self.folders, row.path, row.start, row.end))


def find_clips(model: Model, source: Path, split: Split | None = "test", limit: int | None = None) -> Clips:
    """The clips of one split (None: all) of a manifest, or of a folder with a folder of recordings for each label.

    Labels are compared without regard to case. With `limit` so many clips are drawn, always the same ones. Raises
    ValueError when none is left, and DataError for a manifest or folder that cannot be read.
    """
    notes: list[str] = []
    if source.is_dir():
        found = read_folder(source)
        rows, folders, notes = found.rows, [source], [*found.notes]
        rows = [row for row in rows if split in (None, row.split)]
    else:
        rows, folders = read(source, split), [source.parent, default_root()]
    number = {current(label).casefold(): i for i, label in enumerate(model.labels)}
    numbers = [
        sorted({number[n] for label in row.labels if (n := current(label).casefold()) in number}) for row in rows
    ]
    clips = [Clip(row, tuple(labels)) for row, labels in zip(rows, numbers, strict=True) if labels]
    if not clips:
        theirs = sorted({label for row in rows for label in row.labels})
        said = f"its labels are {_some(theirs)}, the model's are {_some(model.labels)}" if rows else "it has no clip"
        raise ValueError(
            f"{source} has no clip of the split {split or 'all'} with a label the model knows: {said}; "
            "choose another --split, another model, or rename the labels"
        )
    left_out = len(rows) - len(clips)
    if limit is not None and limit < len(clips):
        drawn = sorted(clips, key=lambda clip: hashlib.sha256(clip.name.encode()).hexdigest())[:limit]
        notes.append(f"{limit} of {len(clips)} clips were drawn")
        clips = sorted(drawn, key=lambda clip: clip.name)
    return Clips(clips, folders, split or "all", left_out, notes)


def groups_of(rows: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """The coarsest grouping of clips ("source", "family", "clip") with a few groups at least, and the group of each.

    Clips of one source have more in common than their label, so an interval must draw whole sources.
    """
    for level in ("source", "family"):
        groups = [str(row[level]) for row in rows]
        if len(set(groups)) >= FEWEST_GROUPS:
            return level, groups
    return "clip", [str(row["clip"]) for row in rows]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
