"""Draw how the time of a token and the cache grow with the context, from the JSON of `benchmarks/growth.py`.

    python benchmarks/growth.py --peers --rounds 15 --json > growth.json
    python benchmarks/growth_plot.py growth.json -o docs/growth.svg

The same figures give the same file. It needs matplotlib (benchmarks/requirements.txt).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters as text, which can be read and searched
    "svg.hashsalt": "growth",  # names inside the file are then the same every time
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "lines.marker": "o",
    "lines.markersize": 4,
}
COLOURS = ("#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers too
PANELS = {"median_ms": "ms a token (median, p10 to p90)", "cache_mib": "MiB of cache"}


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Write an SVG: time above, cache below, both over the context, one line for each model; all axes logarithmic."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    contexts = sorted({row["context"] for row in rows})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 6), layout="constrained")
        axes: list[Axes] = list(figure.subplots(len(PANELS), 1, sharex=True))
        for panel, (key, label) in zip(axes, PANELS.items(), strict=True):
            for number, model in enumerate(models):
                own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["context"])
                at, colour = [row["context"] for row in own], COLOURS[number % len(COLOURS)]
                panel.plot(at, [row[key] for row in own], color=colour, label=model)
                if key == "median_ms":
                    low, high = ([row[end] for row in own] for end in ("p10_ms", "p90_ms"))
                    panel.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
            panel.set(xscale="log", yscale="log", ylabel=label)
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes[0].legend(frameon=False)
        axes[-1].set_xlabel("context, tokens")
        axes[-1].xaxis.set_major_locator(FixedLocator(contexts))
        axes[-1].xaxis.set_minor_locator(NullLocator())
        axes[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Read the figures named on the command line and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path, help="what `benchmarks/growth.py --json` printed")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/growth.svg"))
    arguments = parser.parse_args()
    draw(json.loads(arguments.figures.read_text(encoding="utf-8"))["rows"], arguments.output)


if __name__ == "__main__":
    main()
