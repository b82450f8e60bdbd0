"""Put a model folder in the place of the default model of the package; its card stays.

    python scripts/ship_model.py FOLDER

Files are replaced one by one, so that a kill leaves none half written; the same command then finishes. Git keeps the
model that was there.
"""

import os
import shutil
import sys
from pathlib import Path

from sonopsis.files import CARD
from sonopsis.folder import DEFAULT_MODEL, describe


def ship(folder: Path, place: Path) -> None:
    """Make the files of `place` those of a model folder, except for the card; ModelError where no model is."""
    describe(folder)
    place.mkdir(parents=True, exist_ok=True)
    names = {file.name for file in folder.iterdir() if file.name != CARD}
    for name in sorted(names):
        new = place / (name + ".new")
        shutil.copyfile(folder / name, new)
        os.replace(new, place / name)
    for file in place.iterdir():
        if file.name not in names | {CARD}:
            file.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    ship(Path(sys.argv[1]), DEFAULT_MODEL)
