"""Pictures of a report as SVG and PNG text for one HTML file."""

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the fonts of the reader
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
# Colours of Okabe and Ito, which readers who do not see red or green can tell apart.
COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#7f7f7f")
MARKERS = "osD^vPX*"


@contextmanager
def drawing(name: str, width: float, height: float, columns: int = 1) -> Iterator[tuple[Figure, list[Axes], list[str]]]:
    """A figure of so many inches and its axes; when the block ends its SVG text is put into the list.

    `name` must be different for every figure of a page: identifiers begin with it.
    """
    out: list[str] = []
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
        yield figure, list(axes), out
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    out.append(inline(stream.getvalue(), name))


def inline(svg: str, name: str) -> str:
    """An SVG file as an element of a page: without its head, as wide as the page allows, identifiers made unique."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)


def curves(
    name: str, arms: Mapping[str, Sequence[Mapping[str, Any]]], figure: str, label: str, band: str | None = None
) -> str:
    """Points of a figure lost against executed MACs saved, one line for each arm; `band` is the arm whose 95 % interval
    is shaded."""
    with drawing(name, 7.2, 4.2) as (_, (axes,), out):
        for number, (arm, rows) in enumerate(arms.items()):
            rows = sorted(rows, key=lambda row: -row["executed_share"])
            saved = [0.0, *(100 * (1 - row["executed_share"]) for row in rows)]
            change = [0.0, *(100 * row[f"{figure}_minus_unpruned"] for row in rows)]
            baseline = arm.startswith("random")
            axes.plot(
                saved,
                change,
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                linestyle=":" if baseline else "-",
                linewidth=2.2 if arm == band else 1.4,
                markersize=4.5,
                label=arm,
            )
            bounds = [row[f"{figure}_minus_unpruned_interval"] for row in rows]
            if arm == band and all(bounds):
                low, high = (100 * np.array([bound[side] for bound in bounds]) for side in (0, 1))
                axes.fill_between(saved, [0.0, *low], [0.0, *high], color=COLOURS[number], alpha=0.12, linewidth=0)
        axes.axhline(0, color="#999999", linewidth=0.8)
        axes.set_xlabel("executed MACs saved (%)")
        axes.set_ylabel(label)
        axes.legend(loc="lower left", ncols=2, fontsize=9)
    return out[0]


def lines(name: str, series: Mapping[str, Sequence[float | None]], x: Sequence[str], labels: tuple[str, str]) -> str:
    """One line for each series over the places `x`; `labels` are those of the axes. None leaves a gap."""
    with drawing(name, 7.2, 3.2) as (_, (axes,), out):
        for number, (label, values) in enumerate(series.items()):
            heights = [np.nan if value is None else value for value in values]
            style: dict[str, Any] = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 4.5}
            axes.plot(range(len(heights)), heights, label=label, **style)
        axes.set_xticks(range(len(x)), x)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(fontsize=9, ncols=2)
    return out[0]


def effect(
    name: str, places: Sequence[tuple[Any, Sequence[float]]], labels: tuple[str, str], *, log: bool = False
) -> str:
    """The values at each place of an axis, names or numbers, and a line through their means."""
    numeric = all(isinstance(place, int | float) for place, _ in places)
    with drawing(name, 7.2, 3.0) as (_, (axes,), out):
        x = [place if numeric else number for number, (place, _) in enumerate(places)]
        for place, (_, values) in zip(x, places, strict=True):
            axes.plot([place] * len(values), values, "o", color=COLOURS[5], alpha=0.5, markersize=4.5)
        means = [(place, float(np.mean(values))) for place, (_, values) in zip(x, places, strict=True) if values]
        axes.plot([place for place, _ in means], [mean for _, mean in means], "-", color=COLOURS[0], linewidth=1.4)
        if log:
            axes.set_xscale("log")
        elif not numeric:
            axes.set_xticks(x, [str(place) for place, _ in places])
            axes.margins(x=0.1)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
    return out[0]


def heat_maps(name: str, maps: Mapping[str, Sequence[int]], bounds: Sequence[Sequence[float]]) -> str:
    """How often patches have which mean (across) and variation (up), as log(1 + share of the most frequent, in %)."""
    with drawing(name, 7.2, 3.2, columns=len(maps)) as (_, panels, out):
        for axes, (title, counts) in zip(panels, maps.items(), strict=True):
            side = round(len(counts) ** 0.5)
            grid = np.asarray(counts, dtype=float).reshape(side, side).T
            extent = (bounds[0][0], bounds[0][1], bounds[1][0], bounds[1][1])
            shown = np.log1p(100 * grid / max(grid.max(), 1))
            axes.imshow(shown, origin="lower", aspect="auto", extent=extent, cmap="viridis", interpolation="nearest")
            axes.grid(False)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("mean (intensity)")
            axes.set_ylabel("standard deviation (variation)")
    return out[0]


def png(image: NDArray[np.uint8]) -> str:
    """An image (rows, columns, 3) as the address of an <img>, its bytes inside."""
    stream = io.BytesIO()
    imsave(stream, image, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
