"""OpenAQA and ReasonAQA: questions, answers, captions, and wrong lines."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import soundfile

from sonopsis.data.catalogue import DataError
from sonopsis.data.manifest import Question, read, write
from sonopsis.data.published.layouts import build_rows, find_items


# The fields and the form of the ids are those of YuanGongND/ltu and soham97/mellow; the texts are ours.
def openaqa(question: str, clip: str, answer: str, task: str, extra: str = "") -> dict[str, str]:
    return {
        "instruction": question, "input": extra, "audio_id": clip, "dataset": "as_strong_train", "task": task,
        "output": answer,
    }  # fmt: skip


def reasonaqa(question: str, answer: str, first: str, caption: str, kind: str, second: str = "") -> dict[str, str]:
    return {
        "taskname": "audiocaps", "filepath1": first, "filepath2": second, "caption1": caption,
        "caption2": "Water runs" if second else "", "input": question, "answer": answer, "subtype": kind,
    }  # fmt: skip


CLIP = "/data/sls/audioset/dave_version/audio/LZq4Neh-oWU.flac"
DOG, TAP = "AudioCapsLarger/test/Y6BJ455B1aAs.wav", "AudioCapsLarger/test/YZsf2YvJfCKw.wav"
REASON = [
    reasonaqa("is there a dog?", "yes", DOG, "A dog barks", "CLE.json"),
    reasonaqa("explain the difference in few words", "one is wet", DOG, "A dog barks", "ACD-1.json", TAP),
    reasonaqa("what barks? a) a dog b) a cat", "a) a dog", DOG, "A dog barks", "AudioCaps.json"),
]


def lay_out(root: Path, lists: dict[str, Any], *clips: str) -> Path:
    for name, content in lists.items():
        (root / name).write_text(json.dumps(content, indent=1))
    for clip in clips:
        (root / clip).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / clip, [0.1] * 100, 16_000)
    return root


def test_the_questions_of_a_clip_of_openaqa_are_put_together(tmp_path: Path) -> None:
    entries = [
        openaqa("What is the significance of crying?", CLIP, "Somebody is sad.", "open-ended question"),
        openaqa("Which sounds are there?", "/elsewhere/gone.flac", "None.", "closed-ended question"),
        openaqa("Who speaks?", CLIP, "A child.", "open-ended question", "I am so sad..."),
    ]
    lay_out(tmp_path, {"all_toy.json": entries}, "audio/LZq4Neh-oWU.flac")
    found = build_rows(find_items("openaqa", tmp_path), "openaqa", tmp_path, 0.0)
    (row,) = found.rows
    assert row.questions == (
        Question("What is the significance of crying?", "Somebody is sad.", "open-ended question"),
        Question("Who speaks?\nI am so sad...", "A child.", "open-ended question"),
    )
    assert (row.family, row.split, row.captions, row.labels, found.missing) == ("LZq4Neh-oWU", "train", (), (), 1)


def test_reasonaqa_has_captions_and_questions_of_single_clips(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay_out(tmp_path, {"train.json": REASON, "test.json": []}, DOG, TAP)
    with caplog.at_level(logging.WARNING):
        rows = {row.path: row for row in build_rows(find_items("reasonaqa", tmp_path), "reasonaqa", tmp_path, 0.0).rows}
    assert "1 questions compare two clips" in caplog.text
    assert rows[DOG].captions == ("A dog barks",) and rows[TAP].captions == ("Water runs",)
    assert [question.kind for question in rows[DOG].questions] == ["CLE.json", "AudioCaps.json"]
    assert rows[TAP].questions == ()


def test_questions_are_read_back_from_the_manifest(tmp_path: Path) -> None:
    lay_out(tmp_path, {"val.json": REASON}, DOG, TAP)
    found = build_rows(find_items("reasonaqa", tmp_path), "reasonaqa", tmp_path)
    write(found.rows, tmp_path / "manifest.jsonl")
    assert read(tmp_path / "manifest.jsonl", "validation") == found.rows
    assert found.rows[0].questions[0] == Question("is there a dog?", "yes", "CLE.json")


@pytest.mark.parametrize(
    ("layout", "entry", "says"),
    [
        (
            "openaqa",
            {"instruction": "Why?"},
            r"train\.json, line 2: expected the texts .*; input is none",
        ),
        ("openaqa", openaqa("", CLIP, "Yes.", ""), r"line 2: there is no question"),
        ("openaqa", openaqa("Why?", CLIP, " ", ""), r"line 2: there is no answer"),
        ("openaqa", ["Why?"], r"line 2: expected the texts"),
        ("reasonaqa", {**REASON[0], "answer": None}, r"line 2: .*; answer is none"),
    ],
)
def test_a_wrong_entry_names_its_line(layout: str, entry: Any, says: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"train.json": [entry]}, "LZq4Neh-oWU.wav")
    with pytest.raises(DataError, match=says):
        find_items(layout, tmp_path)
