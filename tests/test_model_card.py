"""The blocks of the model card that say how well each label is known and how far scores can be trusted."""

import json
import runpy
from pathlib import Path

import sonopsis
from sonopsis.metrics.evaluate import evaluate

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "model_card.py"))


def test_answers_stand_beside_one_answer_for_all() -> None:
    found = {"questions": 4, "accuracy": 0.75, "interval": [0.5, 1.0], "majority": 0.5}
    assert cells(SCRIPT["answers"]({"all": found, "presence": found})) == [
        [kind, "4", "0.750 (0.500-1.000)", "0.500"] for kind in ("all", "presence")
    ]


def cells(table: str) -> list[list[str]]:
    """The rows below the head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_label_has_its_clips_and_figures(root: Path, tiny_model: Path) -> None:
    figures = evaluate(sonopsis.load(tiny_model), root / "manifest.jsonl", root=root)["tagging"]
    figures = json.loads(json.dumps(figures))
    rows = cells(SCRIPT["classes"](figures, root / "manifest.jsonl"))
    assert sorted(row[0] for row in rows) == ["Alarm", "Bird", "Dog", "Speech", "Water"]
    assert all(row[1:3] == ["3", "3"] for row in rows)
    assert [float(row[3]) for row in rows] == [
        round(found["average_precision"], 2) for found in figures["average_precision"].values()
    ]
    text = SCRIPT["reliability"](figures)
    assert sum(int(row[1]) for row in cells(text)) == 15
    assert f"{figures['f1']['macro']:.3f}" in text
