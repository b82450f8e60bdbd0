"""Count how often the labels that a model shows are right, for several thresholds; write the table of docs/scores.md.

python scripts/thresholds.py MANIFEST docs/scores.md      # between <!-- thresholds --> and <!-- end -->

A clip of the manifest may last several windows; each window counts, and has the labels of its clip.
"""

import sys
from pathlib import Path

import numpy as np

import sonopsis
from sonopsis.audio import AudioError
from sonopsis.data.manifest import read
from sonopsis.model import Model

THRESHOLDS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
LONGEST = 30.0  # seconds of a clip


def counts(model: Model, manifest: Path) -> tuple[list[tuple[float, float, float]], int, int]:
    """(threshold, right of the labels shown, shown of the right labels) of validation clips; windows; clips."""
    shown: list[float] = []  # scores of all labels of all windows, and whether each is right
    right: list[bool] = []
    windows = clips = 0
    for row in read(manifest, "validation"):
        try:
            found = model.tag(manifest.parent / row.path, top_k=len(model.labels), threshold=0.0)
        except AudioError:
            continue
        found = [window for window in found if window.start < LONGEST and window.labels[0][0] != "silence"]
        clips, windows = clips + bool(found), windows + len(found)
        for label, score in (pair for window in found for pair in window.labels):
            shown.append(score)
            right.append(label in row.labels)
    scores, truth = np.array(shown), np.array(right)
    table = []
    for threshold in THRESHOLDS:
        over = scores >= threshold
        table.append((threshold, float(truth[over].mean()), float(over[truth].mean())))
    return table, windows, clips


def main(manifest: Path, page: Path) -> None:
    """Measure, and replace the block of the page."""
    table, windows, clips = counts(sonopsis.load(), manifest)
    lines = [
        "| threshold | of the labels shown, right | of the right labels, shown |",
        "|---:|---:|---:|",
        *(f"| {threshold:g} | {precision:.0%} | {recall:.0%} |" for threshold, precision, recall in table),
        "",
        f"`python scripts/thresholds.py MANIFEST {page}`: {windows} windows of {clips} validation clips, at the "
        "model's own keep rate.",
    ]
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- thresholds -->\n")
    after = rest.partition("<!-- end -->")[2]
    page.write_text(f"{before}<!-- thresholds -->\n{chr(10).join(lines)}\n<!-- end -->{after}", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} MANIFEST PAGE")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
