"""The frozen scene benchmark: which scenes of held-out recordings captions are scored on (version 1).

The scenes were composed once, before any model was trained, and ship with the package as recipes (clips by path and
hash, places, gains, five captions each); the recordings come from `sonopsis data fetch --profile test`.
`sonopsis data compose --benchmark` composes them again and checks that they are the same.

The file has the labels by the names that they had then; scenes that are read have today's.
"""

from collections.abc import Iterable
from importlib import resources

from sonopsis.data.clips import Clip
from sonopsis.data.manifest import Row
from sonopsis.ontology import former
from sonopsis.scenes.compose import compose
from sonopsis.scenes.scene import Scene, freeze, read_scenes

BENCHMARK_VERSION = 1
SEED = 2026
SCENES = 1200
DIGEST = "26a8b408d54de3cbbb2c121274862475ea7c76917ed295b9f5f8fc4dae2e5a86"


def load_benchmark() -> list[Scene]:
    """The test scenes; ValueError when the packaged file is not the frozen one."""
    with resources.as_file(
        resources.files("sonopsis.scenes").joinpath(f"scenes-v{BENCHMARK_VERSION}.jsonl.gz")
    ) as path:
        scenes = read_scenes(path)
    if _digest(scenes) != DIGEST:
        raise ValueError(f"the packaged scenes are not benchmark version {BENCHMARK_VERSION}; reinstall sonopsis")
    return scenes


def missing_clips(scenes: Iterable[Scene], rows: Iterable[Row]) -> set[str]:
    """Paths of clips that scenes need and a manifest does not hold, byte for byte."""
    held = {(row.path, row.sha256) for row in rows}
    pieces = (piece for scene in scenes for piece in scene.pieces)
    return {piece.path for piece in pieces if (piece.path, piece.sha256) not in held}


def compose_benchmark(clips: Iterable[Clip]) -> list[Scene]:
    """The benchmark composed again from test clips.

    Its labels are those of the packaged scenes: the leaf labels that had two clips or more in training and in test when
    version 1 was frozen. ValueError when other scenes come out than those that were frozen.
    """
    labels = {label for scene in load_benchmark() for label in scene.labels}
    chosen = [clip for clip in clips if set(clip.labels) <= labels]
    scenes = list(compose(chosen, seed=SEED, count=SCENES, split="test"))
    if _digest(scenes) != DIGEST:
        raise ValueError(
            f"these recordings give other scenes than benchmark version {BENCHMARK_VERSION}: fetch those of the "
            "profile test or full, and build the manifest again"
        )
    return scenes


def _digest(scenes: Iterable[Scene]) -> str:
    return freeze(scene.renamed(former) for scene in scenes)
