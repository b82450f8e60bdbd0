"""Write the tables of docs/results-pruning.md from the predictions in results/pruning/, which are in the repository.

    python scripts/pruning_results.py

What stands between `<!-- tables -->` and `<!-- end -->` is replaced. A test holds that the page is what this makes of
the predictions. scripts/pruning_study.py and scripts/pruning_importance.py make these.
"""

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

import pruning_patches
import pruning_trained
from pruning_figures import MODELS, NAMES, POINT, TASKS, TRAINED_HERE, Points, Results, counts, log_mel, read

PAGE = Path(__file__).parent.parent / "docs" / "results-pruning.md"
SAVINGS = (0.25, 0.40)  # of executed MACs, which the headlines ask for
AHEAD = 10.0  # points by which a model must beat log-Mel statistics for a headline to count
SHOWN = 0.5  # the rate at which reducers are compared with TopK, whose saving is nearest to 40 %


def tradeoff(results: Results) -> str:
    """The table of TopK at every rate; differences are in points, and paired."""
    lines = [
        "| keep rate of TopK | executed MACs | reference MACs | times as fast | accuracy (95 %) "
        "| change, points (95 %) | against random, points (95 %) |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key in [("unpruned", 1.0), *(("topk", rate) for rate in results.rates)]:
        reference, executed = (f"{100 * share:.0f} %" for share in results.macs[key])
        accuracy = Points.share(results.hits[key], results.weights).plain()
        change, random = (
            "" if key[0] == "unpruned" or found is None else found.signed()
            for found in (results.against(key), results.against(key, ("random", key[1])))
        )
        cells = f"{key[1]:g}", executed, reference, results.faster(key), accuracy, change, random
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def reducers(results: Results) -> str:
    """The table of all ways to prune: the change at each cost, and the difference to TopK at one of them."""
    rates = results.rates
    head = [f"at {rate:g}" for rate in rates]
    lines = [
        f"| change, points | {' | '.join(head)} | against TopK at {SHOWN:g} (95 %) | times as fast there |",
        f"| --- |{' ---: |' * (len(rates) + 2)}",
    ]
    for arm in NAMES:
        changes = [results.against((arm, rate)) for rate in rates]
        if not any(changes):
            continue
        cells = ["" if change is None else f"{change.value:+.1f}" for change in changes]
        other = None if arm == "topk" else results.against((arm, SHOWN), ("topk", SHOWN))
        cells += ["" if other is None else other.signed(), results.faster((arm, SHOWN))]
        lines.append(f"| {NAMES[arm]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(change: Points, ahead: Points | None, random: Points | None) -> str:
    """What a headline comes to by its rules: a loss of at most 1 point, and whether it counts."""
    if change.value < POINT:
        return "not reached"
    reached = "reached" if change.low >= POINT else f"reached, but a loss of {-change.low:.1f} cannot be excluded"
    reasons = []
    if ahead is None:
        reasons.append("log-Mel statistics were not measured")
    elif ahead.value < AHEAD:
        reasons.append(f"the model is not {AHEAD:g} points better than log-Mel statistics")
    if random is None:
        reasons.append("random patches were not measured")
    elif random.low <= 0:
        reasons.append("random patches at this cost cannot be told from TopK")
    return f"{reached}; **it counts**" if not reasons else f"{reached}; it does not count: {' and '.join(reasons)}"


def headlines(measured: Mapping[str, Results], trained: Mapping[str, Results]) -> str:
    """The table of headlines: at most 1 point lost for 25 and for 40 % of the executed MACs, and for 40 % by encoders
    that were trained for it."""
    lines = [
        "| model, task | saving asked for | TopK at | saves | change, points (95 %) | above log-Mel, points (95 %) "
        "| above random, points (95 %) | verdict |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, results in (*measured.items(), *trained.items()):
        said = read(f"baseline-{results.task}")
        ahead = None if said is None else log_mel(results, said)[1]
        for share in SAVINGS if name in measured else SAVINGS[1:]:
            rate = results.saving(share)
            if rate is None:
                continue
            key = "topk", rate
            change, random = results.against(key), results.against(key, ("random", rate))
            assert change is not None, "TopK was measured at its own rates"
            cells = [name, f"{100 * share:.0f} %", f"{rate:g}"]
            cells += [f"{100 * (1 - results.macs[key][1]):.0f} %", change.signed()]
            cells += ["" if found is None else found.signed() for found in (ahead, random)]
            lines.append(f"| {' | '.join(cells)} | {verdict(change, ahead, random)} |")
    return "\n".join(lines)


def choices(measured: Mapping[str, Results]) -> str:
    """How far TopK goes for at most 1 point: by the interval of its loss, and by the loss alone."""
    lines = [
        "| model, task | a loss of over 1 point is excluded down to | no such loss was seen down to |",
        "| --- | ---: | ---: |",
    ]
    for name, results in measured.items():
        changes = [(rate, results.against(("topk", rate))) for rate in results.rates]  # from the highest rate down
        cells = [name]
        for bound in ("low", "value"):
            far = list(takewhile(lambda pair: getattr(pair[1], bound) >= POINT, changes))  # noqa: B023 - used at once
            saved = "" if not far else f" (saves {100 * (1 - results.macs['topk', far[-1][0]][1]):.0f} %)"
            cells.append(f"{far[-1][0]:g}{saved}" if far else "no rate")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def baseline(results: Results, said: dict[str, str]) -> str:
    """One line: the accuracy of log-Mel statistics with a logistic regression, and what the model adds."""
    theirs, ahead, count = log_mel(results, said)
    return (
        f"Mean, deviation and maximum of each log-Mel bin with a logistic regression: {theirs.plain()} on "
        f"{count} of these clips. The difference of the unpruned model is {ahead.signed()} points."
    )


def tables() -> str:
    """The headlines, a part for each model and task, what the patches are, and commands for what is missing."""
    measured: dict[str, Results] = {}
    missing = []
    for task in TASKS:
        if read(f"baseline-{task}") is None:
            missing.append(f"pruning_study.py baseline {task}")
        for model in MODELS:
            if model in TRAINED_HERE and task != "general":
                continue
            found = read(f"tradeoff-{model}-{task}")
            if found is None:
                missing.append(f"pruning_study.py {model} {task} WORK")
            else:
                times, redrawn = read(f"times-{model}-{task}"), read(f"random-{model}-{task}")
                if times is None:
                    missing.append(f"pruning_times.py {model} {task} WORK")
                if redrawn is None:
                    missing.append(f"pruning_random.py {model} {task} WORK")
                measured[f"{MODELS[model]}, {TASKS[task]}"] = Results(found, task, times, redrawn)
            if read(f"importance-{model}-{task}") is None:
                missing.append(f"pruning_importance.py {model} {task} WORK")
    studies = pruning_trained.measured()
    trained = {study.name: study.trained for study in studies}
    parents = {study.parent_name: study.parent for study in studies}
    missing.extend(pruning_trained.missing())
    parts = [
        f"## How far to prune\n\n{choices(measured | parents | trained)}",
        f"## The headlines\n\n{headlines(measured | parents, trained)}",
    ]
    for name, results in measured.items():
        parts.append(f"{title(name)}\n\n{about(results)}\n\n{tradeoff(results)}\n\n{reducers(results)}")
    for study in studies:
        parts.append(f"{title(study.name)}\n\n{about(study.trained)} {pruning_trained.part(study)}")
    parts.extend(pruning_patches.parts())
    if missing:
        commands = "\n".join(f"    python scripts/{command}" for command in missing)
        parts.append(f"## Not measured yet\n\nThese commands make what is missing here:\n\n{commands}")
    return "\n\n".join(parts)


def title(name: str) -> str:
    """The heading of the part of a model and task."""
    return f"## {name[0].upper()}{name[1:]}"


def about(results: Results) -> str:
    """What the test clips are, what log-Mel statistics say of them, and on what times were measured."""
    said, parts = read(f"baseline-{results.task}"), [counts(results.found)]
    if said is not None:
        parts.append(baseline(results, said))
    if results.times is not None:
        machine, length = results.times["machine"], results.times["frames"] / 100
        parts.append(f"Times are of a clip of {length:.1f} s on {machine['cores']} cores of {machine['cpu']}.")
    if results.redrawn is not None:
        parts.append(f"Random patches were drawn {results.redrawn['draws'] + 1} times for each clip.")
    return " ".join(parts)


def filled(page: str) -> str:
    """The page with its tables made anew."""
    begin, end = "<!-- tables -->", "<!-- end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{tables()}\n\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
