"""A recording of a whole day: how long captions of it take, and how much memory.

    python benchmarks/day.py FOLDER                  # 24 hours; about an hour of sound in a minute of writing
    python benchmarks/day.py FOLDER --hours 0.5      # to try it
    python benchmarks/day.py FOLDER --silence 0.9    # a day of which little has to be heard

Writes FOLDER/day.flac (32 kHz, mono), unless it is there with that length: the recordings of examples/ at random times
and levels over a floor of noise, with pauses of digital silence. Then it runs

    sonopsis caption FOLDER/day.flac -f vtt -f raven -o FOLDER/out

and reads what that wrote: cues and selections must be in order, and reach the end. Prints Markdown.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import soxr
import typer
from numpy.typing import NDArray

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE = 32_000  # Hz
MINUTE = 60 * RATE  # samples
FLOOR = 10 ** (-60 / 20)
QUIET = 0.1  # share of the minutes that are digital silence, unless another is given
MOST = 5  # recordings in a minute
COMMAND = ("caption", "-f", "vtt", "-f", "raven")


def day(hours: float, silence: float = QUIET, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """The minutes of a day, samples (S,) each, in [-1, 1], a share of them silent; the last one may be short."""
    rng = np.random.default_rng(seed)
    sounds = [_sound(path) for path in sorted(EXAMPLES.iterdir()) if path.suffix in (".flac", ".mp3", ".ogg", ".wav")]
    left = round(hours * 3600 * RATE)
    while left > 0:
        length = min(MINUTE, left)
        left -= length
        minute = np.zeros(MINUTE, np.float32)
        if rng.random() >= silence:
            minute += FLOOR * rng.standard_normal(MINUTE, np.float32)
            for _ in range(rng.integers(0, MOST + 1)):
                sound = sounds[rng.integers(len(sounds))]
                first = rng.integers(0, MINUTE - len(sound))
                minute[first : first + len(sound)] += 10 ** rng.uniform(-1, 0) * sound
        yield np.clip(minute[:length], -1, 1)


def write(path: Path, hours: float, silence: float = QUIET) -> None:
    """Write the day, unless a file is there that lasts as long."""
    if path.exists() and soundfile.info(path).frames == round(hours * 3600 * RATE):
        return
    with soundfile.SoundFile(path, "w", RATE, 1, format="FLAC", subtype="PCM_16") as file:
        for minute in day(hours, silence):
            file.write(minute)


def checked(folder: Path, duration: float) -> tuple[int, int]:
    """How many cues and selections the command wrote; ValueError if they are not in order or do not reach the end."""
    lines = (folder / "day.vtt").read_text(encoding="utf-8").splitlines()
    cues = [[_seconds(time) for time in line.split(" --> ")] for line in lines if " --> " in line]
    rows = [line.split("\t") for line in (folder / "day.selections.txt").read_text(encoding="utf-8").splitlines()[1:]]
    selections = [[float(row[3]), float(row[4])] for row in rows]
    for found in (cues, selections):
        if found != sorted(found) or not found or not 0 <= duration - found[-1][1] < 0.01:
            raise ValueError(f"{folder}: rows are out of order, or end before the recording does")
    return len(cues), len(selections)


def _sound(path: Path) -> NDArray[np.float32]:
    """An example, mono at the rate of the day, at most half a minute of it."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono: NDArray[np.float32] = soxr.resample(samples.mean(axis=1), rate, RATE)
    return mono[: MINUTE // 2]


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def main(
    folder: Annotated[Path, typer.Argument(help="Where the recording and the results go; 2 GB for a day.")],
    hours: Annotated[float, typer.Option(min=0.01, help="How long the recording lasts.")] = 24.0,
    silence: Annotated[float, typer.Option(min=0, max=1, help="Share of the minutes that are silent.")] = QUIET,
) -> None:
    """Write a day, describe it, print time and memory."""
    folder.mkdir(parents=True, exist_ok=True)
    recording = folder / "day.flac"
    write(recording, hours, silence)
    command = [sys.executable, "-m", "sonopsis", COMMAND[0], str(recording), *COMMAND[1:], "-o", str(folder / "out")]
    begin = time.monotonic()
    subprocess.run(command, check=True)
    took = time.monotonic() - begin
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    cues, selections = checked(folder / "out", hours * 3600)
    typer.echo("| hours | minutes taken | x real time | peak MiB | cues | selections |")
    typer.echo("| ---: | ---: | ---: | ---: | ---: | ---: |")
    typer.echo(f"| {hours:g} | {took / 60:.1f} | {hours * 3600 / took:.0f} | {peak:.0f} | {cues} | {selections} |")


if __name__ == "__main__":
    typer.run(main)
