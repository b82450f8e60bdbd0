"""Results as JSON: the keys that outside programs rely on."""

import json
import pickle
from typing import Any

import numpy as np

from sonopsis.results import FileResult, LabelScore, WindowResult


def test_a_tagged_and_captioned_window() -> None:
    window = WindowResult(0.0, 10.0, [("Dog", 0.5), LabelScore("my dog", 0.25, distilled=True)], "a dog barks", -0.25)
    result = FileResult("a.wav", 12.5, "default", [window])
    assert result.to_dict() == {
        "path": "a.wav",
        "duration": 12.5,
        "model": "default",
        "windows": [
            {
                "start": 0.0,
                "end": 10.0,
                "status": "heard",
                "labels": [
                    {"label": "Dog", "score": 0.5, "id": "/m/0bt9lr", "parents": ["Animal", "Domestic animals, pets"]},
                    {"label": "my dog", "score": 0.25, "id": None, "parents": [], "distilled": True},
                ],
                "caption": "a dog barks",
                "score": -0.25,
            }
        ],
    }


def test_what_was_not_asked_is_left_out_but_labels_are_always_a_list() -> None:
    assert WindowResult(0.0, 1.0).to_dict() == {"start": 0.0, "end": 1.0, "status": "heard", "labels": []}


def test_a_failed_file_carries_its_error() -> None:
    found = FileResult("b.wav", 0.0, "default", error="b.wav: no such file").to_dict()
    assert list(found) == ["path", "duration", "model", "error", "windows"]
    assert found["error"] == "b.wav: no such file"
    assert found["windows"] == []


def test_numbers_are_valid_json() -> None:
    half: Any = np.float32(0.5)  # JSON knows no such type
    window = WindowResult(half, np.float64(1.0), [("dog", float("nan"))], "", float("-inf"))
    text = json.dumps(FileResult("a.wav", half, "default", [window]).to_dict(), allow_nan=False)
    found = json.loads(text)["windows"][0]
    assert (found["start"], found["labels"][0]["score"], found["score"]) == (0.5, None, None)


def test_a_label_is_a_pair_that_knows_its_place() -> None:
    pair = LabelScore("Dog", 0.5, distilled=True)
    label, score = pair
    assert pair == ("Dog", 0.5) == (label, score) and dict([pair]) == {"Dog": 0.5}
    assert (pair.id, pair.parents) == ("/m/0bt9lr", ("Animal", "Domestic animals, pets"))
    copy = pickle.loads(pickle.dumps(pair))
    assert (copy, copy.distilled) == (pair, True)
    assert (LabelScore("my dog", 0.5).id, LabelScore("my dog", 0.5).distilled) == (None, False)


def test_an_unclear_window_has_a_guess_and_no_label() -> None:
    window = WindowResult(0.0, 1.0, [], "An unclear sound.", None, None, "unclear", LabelScore("Dog", 0.25))
    found = window.to_dict()
    assert (found["status"], found["labels"], found["caption"]) == ("unclear", [], "An unclear sound.")
    assert found["guess"] == LabelScore("Dog", 0.25).to_dict() and found.keys().isdisjoint({"score", "confidence"})
