"""A study's figures as one HTML file that needs no network, with a JSON file of all numbers beside it."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import jinja2

from sonopsis.study import plots
from sonopsis.study.rank import FIGURES
from sonopsis.study.tradeoff import cheapest
from sonopsis.study.variants import UNPRUNED

MINUS = "\N{MINUS SIGN}"


def write(report: dict[str, Any], page: Path, pictures: dict[str, Any]) -> None:
    """Write the HTML file of a report of any study, and its numbers to the same name with the suffix .json."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_suffix(".json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    environment.filters.update(percent=percent, points=points, interval=interval, signed=signed)
    template = environment.get_template(f"{report['study']}.html")
    whisper = report.get("encoder", {}).get("family") == "whisper"
    text = template.render(report=report, whisper=whisper, **pictures)
    page.write_text(text, encoding="utf-8")


def write_tradeoff(report: dict[str, Any], page: Path) -> None:
    """The page of `sonopsis study pruning`."""
    arms: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in report["rows"]:
        if row["arm"] != UNPRUNED:
            arms[row["arm"]].append({**row, "ratio": report["speed"]["ratio"][f"{row['arm']}@{row['keep_rate']:g}"]})
    curves = {
        figure: plots.curves(f"curve-{figure}", arms, figure, f"{label}, points", band="topk")
        for figure, label in (("accuracy", "accuracy"), ("map", "mAP"))
    }
    best = cheapest(report["rows"], "topk")
    names = {row["arm"] + "@" + format(row["keep_rate"], "g"): row for row in report["rows"]}
    random = None if best is None else names.get(f"random@{best['keep_rate']:g}")
    base = next(row for row in report["rows"] if row["arm"] == UNPRUNED)
    write(report, page, {"arms": dict(arms), "curves": curves, "best": best, "random": random, "base": base})


def write_importance(report: dict[str, Any], overlays: list[dict[str, Any]], page: Path) -> None:
    """The page of `sonopsis study importance`."""
    kendall, clusters = report["kendall"], report["clusters"]
    blocks = [str(number) for number in range(len(kendall["mean"]))]
    words = {"mean": "intensity", "std": "variation"}
    correlation = {
        f"{words[statistic]}, {label}": [block[key] for block in kendall[statistic]]
        for statistic in words
        for key, label in (("tau_b", "tau-b"), ("paper", "as in the paper"))
    }
    stages = ["input", *(f"after block {block}" for block in report["blocks"])]
    retained = {
        statistic: {
            f"C{number + 1} (around {signed(centre)})": [stage[number] for stage in report["retained"][statistic]]
            for number, centre in enumerate(clusters["centres"][statistic])
        }
        for statistic in words
    }
    attention = {kind: [block[kind] for block in report["attention"]] for kind in ("kept", "dropped")}
    pictures = {
        "correlation": plots.lines("kendall", correlation, blocks, ("block", "rank correlation")),
        "retained": {
            words[statistic]: plots.lines(f"retained-{statistic}", found, stages, ("stage", "share that is left"))
            for statistic, found in retained.items()
        },
        "attention": plots.lines("attention", attention, blocks, ("block", "times the uniform share")),
        "maps": plots.heat_maps("maps", report["maps"], [clusters["mean_range"], clusters["std_range"]]),
    }
    found = {(row["ablation"], row["against"]): row for row in report["ablations"]}
    contrast = found["drop low mean", "drop high mean"]
    write(report, page, {"pictures": pictures, "overlays": overlays, "stages": stages, "contrast": contrast})


def write_tokens(report: dict[str, Any], page: Path) -> None:
    """The page of `sonopsis study tokens`."""
    rows = {f"{row['model']}, keep {row['keep_rate']:g}": row for row in report["rows"]}
    longest = max((row["layers"] for row in report["rows"]), key=len)
    layers = [name.removeprefix("into ") for name in longest]
    for row in report["rows"]:
        row["most"] = [min(count, row["width"]) for count in row["tokens"]]

    def drawn(figure: str, label: str, *, share: bool = False) -> str:
        series = {
            name: [
                None if value is None else value / (most if share else 1)
                for value, most in zip(row[figure], row["most"], strict=True)
            ]
            for name, row in rows.items()
        }
        # The last layer of a shallower encoder stands where it is, and not below that of a deeper one.
        padded = {name: values + [None] * (len(layers) - len(values)) for name, values in series.items()}
        return plots.lines(f"{figure}-{share}".replace(".", "-"), padded, layers, ("layer", label))

    figures = [
        ("Effective rank", drawn("rank_0.95", "directions"), "Directions that hold 95 % of the energy of a clip."),
        ("Effective rank, as a share", drawn("rank_0.95", "share", share=True), "The same, divided by the most that "
         "there could be: the number of tokens or the width, whichever is smaller."),
        ("Effective rank by entropy", drawn("rank_entropy", "directions"), "It needs no share of the energy."),
        ("Effective rank without the mean", drawn("rank_0.95_centred", "directions"), "Of the tokens less their mean."),
        ("Likeness", drawn("cosine", "mean cosine"), "The mean cosine of all pairs of tokens of a clip: 1 if all point "
         "the same way, 0 if they have nothing in common."),
    ]  # fmt: skip
    write(report, page, {"figures": figures, "columns": FIGURES})


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, without the sign."""
    return f"{100 * share:.{digits}f}"


def signed(number: float, digits: int = 2) -> str:
    """A number with its sign."""
    return f"{number:+.{digits}f}".replace("-", MINUS)


def points(difference: float) -> str:
    """A difference of shares in points, with its sign."""
    return signed(100 * difference, 1)


def interval(bounds: list[float] | None, digits: int = 1) -> str:
    """A 95 % interval of shares, in percent or points."""
    if bounds is None:
        return "not known"
    return f"{100 * bounds[0]:.{digits}f} to {100 * bounds[1]:.{digits}f}".replace("-", MINUS)
