"""The scripts behind one table of docs/results-pruning.md, one after the other on a tiny model."""

import json
from pathlib import Path

import pruning_figures
import pruning_importance
import pruning_random
import pruning_results
import pruning_study
import pruning_times
import pytest

from sonopsis.data.manifest import read
from sonopsis.study.passes import Passes


def test_a_table_from_predictions_to_its_rows(
    tiny_model: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, work = tmp_path / "results", tmp_path / "work"
    rows = read(root / "manifest.jsonl", None)
    monkeypatch.setenv("SONOPSIS_DATA", str(root))
    monkeypatch.setattr(pruning_study, "fit_heads", lambda *_: [tiny_model])
    monkeypatch.setattr(pruning_study, "folds", lambda _: [rows])
    for script in (pruning_study, pruning_random, pruning_times, pruning_importance):
        monkeypatch.setattr(script, "RESULTS", results)

    pruning_study.main(["default", "general", str(work), "short", "5"])
    pruning_study.main(["default", "general", str(work), "short"])  # goes on after these five clips
    table = json.loads((results / "tradeoff-default-general.json").read_text())
    tested = sorted(row.path for row in rows if row.split == "test" and set(row.labels) & set(table["labels"]))
    assert sorted(path for path, _, _ in table["clips"]) == tested and table["of"] == len(tested)
    rates = [v["keep_rate"] for v in table["variants"] if v["arm"] == "topk"]
    assert rates == list(pruning_study.RATES)
    costs = {(v["arm"], v["keep_rate"]): v["macs"][1] for v in table["variants"]}
    assert costs["unpruned", 1.0] > costs["topk", 0.7] > costs["topk", 0.5]
    assert costs["random", 0.5] == pytest.approx(costs["topk", 0.5], rel=0.05)

    pruning_random.main(["default", "general", str(work)])
    again = json.loads((results / "random-default-general.json").read_text())
    assert {v["arm"] for v in again["variants"]} == {"random", "random columns"}
    for variant in again["variants"]:
        assert [len(drawn) for drawn in variant["top"]] == [pruning_random.DRAWS] * len(tested)
    model, clips = pruning_study.open_task("default", "general", work)
    random = pruning_study.variants_of(table)[-1]
    mels = clips.mels(model, clips.clips[0])
    first, other, same = (Passes(model).clip(clips.clips[0], mels, [random], range(6), draw) for draw in (1, 2, 1))
    assert first == same != other, "draws differ from each other, and repeat"

    pruning_times.main(["default", "general", str(work), "2"])
    times = json.loads((results / "times-default-general.json").read_text())
    assert [(v["arm"], v["keep_rate"]) for v in times["variants"]] == list(costs)
    assert min(v["ms"] for v in times["variants"]) > 0

    measured = pruning_figures.Results(table, "general", times, again)
    lines = pruning_results.tradeoff(measured).splitlines()[2:]
    assert len(lines) == 1 + len(rates) and lines[0].startswith("| 1 | 100 % | 100 % | 1.00 |")
    assert "" not in [cell.strip() for cell in lines[rates.index(0.5) + 1].strip("|").split("|")]

    pruning_importance.main(["default", "general", str(work), "6"])
    seen = json.loads((results / "importance-default-general.json").read_text())
    assert len(seen["clips"]) == 6 and set(seen["seen"]) == {source for _, source, _ in seen["clips"]}
    assert all(len(top) == 6 for top in seen["ablations"].values())
