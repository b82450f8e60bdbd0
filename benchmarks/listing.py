"""How long a run takes to list its recordings, and how much memory the list needs, before it reads the first of them.

    python benchmarks/listing.py                    # 100,000 empty files in 1,000 folders
    python benchmarks/listing.py --files 1000000

It makes the files in a temporary folder, and measures what `sonopsis tag FOLDER -o OUT --resume` does with them: the
search, the places of their results, and the stamps that tell whether they have changed.
"""

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

from sonopsis.cli.inputs import collect, targets
from sonopsis.cli.journal import stamp

IN_FOLDER = 100  # files


def make(root: Path, files: int) -> None:
    """Empty files with the names that a field recorder gives, the same ones in every folder."""
    for first in range(0, files, IN_FOLDER):
        folder = root / f"site{first // IN_FOLDER:06d}"
        folder.mkdir()
        for number in range(min(IN_FOLDER, files - first)):
            (folder / f"20240501_{number:06d}.WAV").touch()


def list_all(root: Path) -> int:
    """What a run does before it reads a recording; returns the number of recordings."""
    inputs = collect([str(root)])
    places = targets(inputs)
    stamps = {item.name: stamp(item.name) for item in inputs}
    return len({*places} & {*stamps})


def measure(files: int) -> tuple[float, float]:
    """Seconds for all files, and bytes at the peak for each, in two runs: tracing memory takes time."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), files)
        began = time.perf_counter()
        found = list_all(Path(folder))
        seconds = time.perf_counter() - began
        tracemalloc.start()
        list_all(Path(folder))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found == files
    return seconds, peak / files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    count = parser.parse_args().files
    seconds, each = measure(count)
    print(f"{count:,} files: {seconds:.1f} s, {each:,.0f} bytes each, {each * count / 2**20:,.0f} MiB")
