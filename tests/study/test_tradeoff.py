"""The trade-off on tiny recordings: figures of `sonopsis eval`, and a study that was interrupted."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import sonopsis
from sonopsis.metrics.evaluate import evaluate
from sonopsis.model import Model
from sonopsis.study.clips import Clips, find_clips
from sonopsis.study.passes import Passes
from sonopsis.study.tradeoff import cheapest, study

RATES = (0.4,)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return sonopsis.load(tiny_model, engine="torch", keep_rate=1.0)


@pytest.fixture(scope="module")
def clips(model: Model, root: Path) -> Clips:
    return find_clips(model, root / "manifest.jsonl")


@pytest.fixture(scope="module")
def report(model: Model, clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return study(model, clips, tmp_path_factory.mktemp("study") / "p.jsonl", rates=RATES, rounds=1)


def test_without_pruning_the_figures_are_those_of_eval(report: dict[str, Any], model: Model, root: Path) -> None:
    figures = evaluate(model, root / "manifest.jsonl", root=root)["tagging"]
    first = report["rows"][0]
    assert first["arm"] == "unpruned" and report["clips"] == figures["clips"] == 15 and report["left_out"] == 3
    assert first["accuracy"] == figures["accuracy"]
    assert first["map"] == pytest.approx(figures["map"], abs=0.02)  # scores are kept in float16
    assert report["groups"] == {"level": "family", "count": 15}


def test_rows_say_what_differs(report: dict[str, Any]) -> None:
    rows = {f"{row['arm']}@{row['keep_rate']}": row for row in report["rows"]}
    base = rows["unpruned@1.0"]
    assert len(rows) == 1 + 8 * len(RATES)
    for name, row in rows.items():
        assert row["executed_gmacs"] <= row["reference_gmacs"] * (1.02 if "merge" in name else 1)
        assert row["executed_share"] == pytest.approx(row["executed_gmacs"] / base["executed_gmacs"])
        low, high = row["accuracy_interval"]
        assert low <= row["accuracy"] <= high and report["speed"]["ratio"][name.replace("@1.0", "")] > 0
    fuse, topk = rows["fuse@0.4"], rows["topk@0.4"]
    assert fuse["accuracy_minus_topk"] == pytest.approx(fuse["accuracy"] - topk["accuracy"])
    assert fuse["map_minus_unpruned"] == pytest.approx(fuse["map"] - base["map"])
    assert "accuracy_minus_topk" not in topk
    for arm in ("fuse", "segment", "random", "adaptive"):
        assert rows[f"{arm}@0.4"]["executed_share"] == pytest.approx(topk["executed_share"], abs=0.04)


def test_a_study_that_was_interrupted_ends_with_the_same_figures(
    report: dict[str, Any], model: Model, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jsonl"

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(model, clips, path, rates=RATES, rounds=1, progress=stop)
    path.write_bytes(path.read_bytes()[:-40])  # killed while it wrote the sixth clip
    computed = []
    make = Passes.clip
    monkeypatch.setattr(Passes, "clip", lambda self, clip, *rest: computed.append(clip) or make(self, clip, *rest))
    again = study(model, clips, path, rates=RATES, rounds=1)
    assert len(computed) == 10
    assert [json.loads(line).get("clip") for line in path.read_text().splitlines()][1:] == [c.name for c in clips.clips]
    assert {**again, "speed": None} == {**report, "speed": None}


def test_the_cheapest_row_loses_at_most_a_point() -> None:
    rows = [
        {"arm": "topk", "executed_share": share, "accuracy_minus_unpruned": change}
        for share, change in ((0.9, 0.0), (0.8, -0.01), (0.7, -0.02))
    ]
    assert cheapest(rows, "topk") == rows[1]
    assert cheapest(rows[2:], "topk") is None


def test_a_model_of_another_front_end_is_another_study(
    model: Model, clips: Clips, tiny_model: Path, tmp_path: Path
) -> None:
    """Its weights are the same; an interrupted study would go on with other log-Mels."""
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    settings = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps(settings | {"mean": settings["mean"] + 1}))
    changed = sonopsis.load(other, engine="torch", keep_rate=1.0)
    assert Passes(sonopsis.load(tiny_model, engine="torch")).fingerprint() == Passes(model).fingerprint()
    assert Passes(changed).fingerprint() != Passes(model).fingerprint()
    study(model, clips, tmp_path / "p.jsonl", rates=RATES, rounds=1)
    with pytest.raises(ValueError, match="of a study with other model"):
        study(changed, clips, tmp_path / "p.jsonl", rates=RATES, rounds=1)
