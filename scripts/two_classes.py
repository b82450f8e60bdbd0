"""A folder of two labels that the default model does not tell apart, from fetched data: closed and open hi-hats.

sonopsis data fetch --profile small
python scripts/two_classes.py FOLDER
sonopsis train --from default FOLDER -o OUT

The vocabulary has one label for both, "Hi-hat". Sources are drum kits: FOLDER/closed/<kit>/..., FOLDER/open/<kit>/...
Recordings whose names say neither, or something in between ("semi-open"), are left out.
"""

import shutil
import sys
from pathlib import Path

from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import find_clips

LABELS = {"closed": "close", "open": "open"}  # label: what names say
BETWEEN = ("semi", "half", "pedal", "foot")


def main(folder: Path, root: Path) -> None:
    """Copy the hi-hats of the data root into a folder for each label, with a folder for each kit inside."""
    for clip in find_clips(root):
        file = root / clip.path
        name = file.stem.lower()
        named = [label for label, word in LABELS.items() if word in name]
        if clip.named.labels != ("Hi-hat",) or len(named) != 1 or any(word in name for word in BETWEEN):
            continue
        kit = clip.named.family.partition(":")[2].removeprefix("kit-")
        kit = clip.source if "/" in kit else kit  # a sample of no drum kit
        target = folder / named[0] / kit / f"{file.parent.name}-{file.name}".replace(" ", "-")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for label in LABELS:
        kits = sorted(kit.name for kit in (folder / label).iterdir())
        count = sum(1 for file in (folder / label).rglob("*") if file.is_file())
        print(f"{label}: {count} recordings of {len(kits)} kits ({', '.join(kits)})")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    main(Path(sys.argv[1]), default_root())
