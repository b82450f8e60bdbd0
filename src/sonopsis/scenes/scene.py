"""A scene as a recipe: which excerpts of which clips sound when and how loud, with captions; and files of scenes.

Files are gzipped JSON lines in one canonical form, so that a file of scenes can be told by its digest.
"""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sonopsis.data.records import decode, encode, read_lines
from sonopsis.data.splits import Split
from sonopsis.ontology import current

SceneType = Literal["single", "sequence", "overlap", "repeat", "bed"]
LABELS: dict[SceneType, tuple[int, ...]] = {  # how many labels a scene of each type may have
    "single": (1,),
    "sequence": (2, 3, 4),
    "overlap": (2,),
    "repeat": (1,),
    "bed": (2, 3),
}


@dataclass(frozen=True)
class Facts:
    """What is true of a scene: its type, its labels by onset (a bed's label last), how often a repeated one occurs.

    ValueError when no scene of that type has so many labels.
    """

    type: SceneType
    labels: tuple[str, ...]
    count: int = 1

    def __post_init__(self) -> None:
        if len(self.labels) not in LABELS.get(self.type, ()):
            known = ", ".join(f"{name} of {' or '.join(map(str, counts))}" for name, counts in LABELS.items())
            raise ValueError(f"no scene is a {self.type!r} of {len(self.labels)} labels; there are {known}")


@dataclass(frozen=True)
class Event:
    """An excerpt of a clip at its place in a scene, or a bed (looped under the whole scene, its onset 0).

    start and end are the excerpt's place in its clip and onset is its place in the scene, all in seconds; gain_db is
    relative to the common level of events.
    """

    sha256: str
    path: str
    start: float
    end: float
    label: str
    onset: float
    gain_db: float

    @property
    def span(self) -> float:
        """How long the excerpt lasts, in seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class Scene:
    """What sounds in `duration` seconds, over a floor of noise of noise_db dBFS, and captions that are true of it.

    families name the wording of each caption; novel_pair says that two of the labels never meet in training scenes.
    """

    id: str
    split: Split
    type: SceneType
    duration: float
    events: tuple[Event, ...]
    bed: Event | None
    noise_db: float
    novel_pair: bool
    captions: tuple[str, ...]
    families: tuple[str, ...]

    def __post_init__(self) -> None:
        _ = self.facts

    @property
    def facts(self) -> Facts:
        """What captions may say."""
        return Facts(self.type, self.labels, len(self.events))

    @property
    def labels(self) -> tuple[str, ...]:
        """The different labels of the events in their order, then that of the bed."""
        return labels_of(self.events, self.bed)

    @property
    def pieces(self) -> tuple[Event, ...]:
        """The events, then the bed if there is one."""
        return self.events if self.bed is None else (*self.events, self.bed)

    @classmethod
    def from_dict(cls, value: object) -> "Scene":
        """The scene that a JSON object describes, its labels by today's names; ValueError for wrong fields."""
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not a JSON object")
        scene = decode(cls, {name: field for name, field in value.items() if name != "labels"})
        if "labels" not in value:
            raise ValueError("the field 'labels' is missing")
        labels = list(scene.labels)
        if value["labels"] != labels:
            raise ValueError(f"'labels' must be {labels}, those of the events and the bed, not {value['labels']}")
        return scene.renamed(current)

    def renamed(self, rename: Callable[[str], str]) -> "Scene":
        """The scene with other names for its labels."""
        events = tuple(replace(event, label=rename(event.label)) for event in self.events)
        bed = None if self.bed is None else replace(self.bed, label=rename(self.bed.label))
        return replace(self, events=events, bed=bed)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the scene; its labels are written down as well."""
        return encode(self) | {"labels": list(self.labels)}


def labels_of(events: Iterable[Event], bed: Event | None) -> tuple[str, ...]:
    """The different labels of events in their order, then that of the bed."""
    return tuple(dict.fromkeys(piece.label for piece in (*events, *([bed] if bed else ()))))


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
    with gzip.open(path, "rb") as stream:
        return list(read_lines(path, stream, Scene.from_dict))


def _line(scene: Scene) -> bytes:
    return json.dumps(scene.to_dict(), sort_keys=True, separators=(",", ":")).encode() + b"\n"
