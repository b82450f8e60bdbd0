"""Check the JSON of `sonopsis caption` on standard input: every recording named has windows with labels and a caption.

sonopsis caption examples/* --format json | python scripts/check_demo.py examples/*
"""

import json
import sys
from typing import Any


def problems(results: list[dict[str, Any]], expected: list[str]) -> list[str]:
    """What is missing from the results, a line each."""
    found = [f"{path}: no result" for path in expected if path not in {result["path"] for result in results}]
    for result in results:
        path = result["path"]
        if "error" in result:
            found.append(f"{path}: {result['error']}")
            continue
        if not result["windows"]:
            found.append(f"{path}: no windows")
        for window in result["windows"]:
            times = f"{path}: {window['start']:g}-{window['end']:g} s"
            if not 0 <= window["start"] < window["end"] <= result["duration"] + 0.01:
                found.append(f"{times}: outside the {result['duration']} s of the recording")
            scores = [label["score"] for label in window["labels"]]
            if not (scores or window["status"] == "unclear") or not all(
                score is not None and 0 <= score <= 1 for score in scores
            ):
                found.append(f"{times}: no labels, or scores outside [0, 1]")
            if not window.get("caption"):
                found.append(f"{times}: no caption")
    return found


def main(expected: list[str]) -> int:
    """Print every problem; the exit status is 1 if there is one."""
    results = json.load(sys.stdin)
    found = problems(results, expected)
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    print(f"{len(results)} recordings, {sum(len(result['windows']) for result in results)} windows described")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
