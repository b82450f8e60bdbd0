"""Write into a model folder the threshold of each label at which F1 is best on validation clips.

python scripts/set_thresholds.py FOLDER MANIFEST
"""

import sys
from dataclasses import replace
from pathlib import Path

import sonopsis
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.folder import write_description
from sonopsis.metrics.evaluate import choose_thresholds


def main(folder: Path, manifest: Path) -> dict[str, float]:
    """Choose, write and return the thresholds; they are used by default from then on."""
    model = sonopsis.load(folder)
    thresholds = choose_thresholds(model, read(manifest, "validation"), [manifest.parent, default_root()])
    write_description(folder, replace(model.folder.config, thresholds=thresholds), model.folder.mel)
    return thresholds


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER MANIFEST")
    for label, threshold in main(Path(sys.argv[1]), Path(sys.argv[2])).items():
        print(f"{threshold:.3f}  {label}")
