"""The frozen scene benchmark: which scenes of held-out recordings captions are scored on (version 1).

The scenes were composed once, before any model was trained, and ship with the package as recipes (clips by path and
hash, places, gains, five captions each); the recordings come from `sonopsis data fetch --profile test`.
"""

from collections import Counter
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from sonopsis.data.clips import Clip
from sonopsis.data.manifest import Row
from sonopsis.scenes.compose import compose
from sonopsis.scenes.scene import Scene, freeze, read_scenes, write_scenes

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
    if freeze(scenes) != DIGEST:
        raise ValueError(f"the packaged scenes are not benchmark version {BENCHMARK_VERSION}; reinstall sonopsis")
    return scenes


def missing_clips(scenes: Iterable[Scene], rows: Iterable[Row]) -> set[str]:
    """Paths of clips that scenes need and a manifest does not hold, byte for byte."""
    held = {(row.path, row.sha256) for row in rows}
    pieces = (piece for scene in scenes for piece in scene.pieces)
    return {piece.path for piece in pieces if (piece.path, piece.sha256) not in held}


def benchmark_labels(rows: Iterable[Row]) -> set[str]:
    """Leaf labels a benchmark of these manifest rows may hold: those with two clips or more in training and in test."""
    counts = Counter((label, row.split) for row in rows for label in row.labels)
    labels = {label for label, _ in counts}
    return {label for label in labels if counts[label, "train"] >= 2 and counts[label, "test"] >= 2}


def write_benchmark(clips: Iterable[Clip], labels: set[str], path: Path) -> str:
    """Compose the benchmark from the test clips of some labels; returns its digest, for `DIGEST`."""
    chosen = [clip for clip in clips if set(clip.labels) <= labels]
    scenes = list(compose(chosen, seed=SEED, count=SCENES, split="test"))
    write_scenes(scenes, path)
    return freeze(scenes)
