"""What the shipped model says of examples/, window by window, on every processor: tests/golden/examples.json.

`python tests/test_examples.py` writes that file anew, when the model has changed.

`scripts/same_output.py COMMIT` is the stricter check, byte for byte, for one machine.
"""

import json
from pathlib import Path
from typing import Any

import pytest

import sonopsis
from sonopsis.model import Request

ROOT = Path(__file__).parent.parent
GOLDEN: list[dict[str, Any]] = json.loads((ROOT / "tests" / "golden" / "examples.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-3  # of a score; processors differ by some 1e-6


@pytest.mark.parametrize("expected", GOLDEN, ids=lambda entry: Path(entry["path"]).stem)
def test_the_shipped_model_says_of_an_example_what_it_said_before(expected: dict[str, Any]) -> None:
    model = sonopsis.load(engine="onnx")
    found = model.describe(str(ROOT / expected["path"]), Request(captions=True)).to_dict()
    assert found["duration"] == pytest.approx(expected["duration"])
    for ours, theirs in zip(found["windows"], expected["windows"], strict=True):
        assert ours["caption"] == theirs["caption"]
        assert ours["status"] == theirs["status"]
        assert ours.get("score") == pytest.approx(theirs.get("score"), abs=TOLERANCE)
        assert [entry["label"] for entry in ours["labels"]] == [entry["label"] for entry in theirs["labels"]]
        assert [entry["score"] for entry in ours["labels"]] == pytest.approx(
            [entry["score"] for entry in theirs["labels"]], abs=TOLERANCE
        )


def write() -> None:
    """Write what the model says now of all recordings of examples/."""
    model = sonopsis.load(engine="onnx")
    found = []
    for path in sorted((ROOT / "examples").iterdir()):
        result = model.describe(str(path), Request(captions=True)).to_dict()
        found.append(result | {"path": str(path.relative_to(ROOT))})
    (ROOT / "tests" / "golden" / "examples.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
