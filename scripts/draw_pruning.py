"""Draw which patches of a recording survive each pruning block of a model: docs/images/pruning.png of the README.

python scripts/draw_pruning.py examples/walk_to_the_lock.flac -o docs/images/pruning.png
python scripts/draw_pruning.py street.wav -o street.png --start 20 --keep-rate 0.5 --model FOLDER

The picture has a transparent background, so that it suits a dark page and a light one. Needs matplotlib (extra report).
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

import sonopsis
from sonopsis.audio import SAMPLE_RATE, load_audio
from sonopsis.encoder.trace import Trace
from sonopsis.mel import mel_input

INK = "#808080"  # can be read on white and on black
DIMMED = 0.12  # opacity of a dropped patch
COLOURS = 96  # in a PNG
TICKS = (250, 1_000, 2_000, 4_000, 8_000)  # Hz
LOWEST, HIGHEST = 20.0, 8_000.0  # Hz, the range of the Mel filters


def mel_of(hertz: float) -> float:
    """Hz -> position on the Mel scale, from 0 (the lowest filter's edge) to 1 (the highest's)."""
    low, here, high = (1127 * np.log1p(f / 700) for f in (LOWEST, hertz, HIGHEST))
    return float((here - low) / (high - low))


def picture(mel: NDArray[np.float32], trace: Trace, seconds: float, start: float) -> Figure:
    """A panel for the log-Mel (T, M), and one for each stage of pruning with what was dropped dimmed."""
    steps, rows = trace.grid
    frames = min(mel.shape[0], round(seconds * 100))  # the rest is padding
    shown = -(-frames * steps // mel.shape[0])  # patches in time that hold sound
    quiet, loud = np.percentile(mel[:frames], [2, 99.5])
    norm = Normalize(quiet, loud, clip=True)
    stages = [np.ones(trace.grid, dtype=bool), *trace.stages]
    figure = Figure(figsize=(9.6, 4.2), dpi=125, layout="constrained")
    figure.patch.set_alpha(0)
    for axes, held in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, stages, strict=True):
        opacity = np.where(held, 1.0, DIMMED)
        opacity = opacity.repeat(mel.shape[0] // steps, axis=0).repeat(mel.shape[1] // rows, axis=1)  # (T, M)
        axes.imshow(
            norm(mel[:frames]).T,
            alpha=opacity[:frames].T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-0.15,
            vmax=1.0,
            extent=(start, start + frames / 100, 0.0, 1.0),
            interpolation="nearest",
        )
        _title(axes, int(held[:shown].sum()), shown * rows)
        _axes(axes)
    return figure


def _title(axes: Axes, left: int, whole: int) -> None:
    text = f"{whole} patches" if left == whole else f"{left} patches left ({left / whole:.0%})"
    axes.set_title(text, color=INK, fontsize=10, loc="left")


def _axes(axes: Axes) -> None:
    axes.patch.set_alpha(0)
    axes.set_yticks([mel_of(hertz) for hertz in TICKS], [f"{hertz:,}" for hertz in TICKS])
    axes.tick_params(colors=INK, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(INK)
    if axes.get_subplotspec().is_last_row():  # type: ignore[union-attr]
        axes.set_xlabel("seconds", color=INK, fontsize=9)
    if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        axes.set_ylabel("Hz", color=INK, fontsize=9)


def main() -> None:
    """Read the command line, run the encoder once, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="A PNG or SVG file.")
    parser.add_argument("--start", type=float, default=0.0, help="Where the window begins, in seconds.")
    parser.add_argument("--keep-rate", type=float, default=None, help="Default: the model's own.")
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    model = sonopsis.load(options.model, keep_rate=options.keep_rate)
    first = round(options.start * SAMPLE_RATE)
    samples = load_audio(options.recording)[first : first + round(model.window * SAMPLE_RATE)]
    mel = mel_input(samples, model.folder.mel)  # (1, T, M)
    trace = Trace.of(model.encode(mel))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    picture(mel[0], trace, len(samples) / SAMPLE_RATE, options.start).savefig(options.output)
    if options.output.suffix == ".png":  # a palette: a third of the bytes
        with Image.open(options.output) as image:
            small = image.quantize(COLOURS, Image.Quantize.FASTOCTREE)
        small.save(options.output, optimize=True)
    print(options.output)


if __name__ == "__main__":
    main()
