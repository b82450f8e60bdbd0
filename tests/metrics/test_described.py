"""Captions of clips against what people wrote: figures, intervals, baselines, and the command on a manifest."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sonopsis
from sonopsis.data.manifest import Row, write
from sonopsis.metrics.captioning import bleu, cider_d, rouge_l
from sonopsis.metrics.described import score_described
from sonopsis.metrics.evaluate import evaluate

CAPTIONS = ["a dog barks twice", "rain falls on a roof", "a door closes", "rain on a roof"]
REFERENCES = [["a dog barks", "the dog is barking"], ["rain falls"], ["a door closes slowly"], ["it rains on a roof"]]


def letters(sentences: Sequence[str]) -> np.ndarray:
    """An embedder that counts letters."""
    counts = np.array([[sentence.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for sentence in sentences])
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_figures_are_those_of_the_metrics_and_lie_in_their_intervals() -> None:
    figures = score_described(CAPTIONS, REFERENCES, embed=letters)
    assert [figures[f"bleu_{n}"] for n in range(1, 5)] == pytest.approx(bleu(CAPTIONS, REFERENCES))
    assert figures["cider_d"] == pytest.approx(np.mean(cider_d(CAPTIONS, REFERENCES)))
    assert figures["rouge_l"] == pytest.approx(np.mean(rouge_l(CAPTIONS, REFERENCES)))
    assert set(figures["intervals"]) == {*(f"bleu_{n}" for n in range(1, 5)), "cider_d", "rouge_l", "similarity"}
    assert all(low <= figures[name] <= high for name, (low, high) in figures["intervals"].items())
    same = score_described(CAPTIONS, [[caption] for caption in CAPTIONS], embed=letters)
    assert (same["bleu_3"], same["rouge_l"], same["similarity"]) == pytest.approx((1.0, 1.0, 1.0))
    assert same["intervals"]["rouge_l"] == pytest.approx([1.0, 1.0])


def manifest_of(folder: Path, labels: tuple[str, ...] = ()) -> Path:
    """Three clips with captions, one of which is not there."""
    rows = []
    for number, name in enumerate(("low", "high", "gone")):
        time = np.arange(16_000) / 16_000
        if name != "gone":
            soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * 300 * (1 + number) * time), 16_000)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        captions = (f"a {name} tone", f"{name} humming")
        rows.append(Row(f"{name}.wav", 0.0, 1.0, labels, captions, "tones", name, "", "test", sha256))
    write(rows, folder / "manifest.jsonl")
    return folder / "manifest.jsonl"


def test_a_manifest_of_captions_is_evaluated_without_labels(tiny_model: Path, tmp_path: Path) -> None:
    model = sonopsis.load(tiny_model, engine="torch")
    figures = evaluate(model, manifest_of(tmp_path))
    assert set(figures) == {"model", "captions"}
    found = figures["captions"]
    assert (found["unread"], found["model"]["clips"]) == (1, 2)
    assert found["caption_of_another_clip"]["clips"] == 2
    texts = [model.caption(tmp_path / f"{name}.wav")[0].text for name in ("low", "high")]
    references = [["a low tone", "low humming"], ["a high tone", "high humming"]]
    assert found["model"]["cider_d"] == pytest.approx(np.mean(cider_d(texts, references)))


def test_labels_are_told_through_captions_where_an_embedder_is_given(tiny_model: Path, tmp_path: Path) -> None:
    model = sonopsis.load(tiny_model, engine="torch")
    figures = evaluate(model, manifest_of(tmp_path, ("Dog",)), embed=lambda some: letters([f"{one} x" for one in some]))
    assert figures["tagging"]["clips"] == 2
    assert (figures["through_captions"]["clips"], figures["through_captions"]["accuracy"]) == (2, 1.0)
    assert 0 < figures["captions"]["model"]["similarity"] <= 1
    json.dumps(figures)


def test_captions_that_cannot_be_heard_are_an_error(tiny_model: Path, tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    for clip in tmp_path.glob("*.wav"):
        clip.unlink()
    with pytest.raises(ValueError, match="no clip could be read"):
        evaluate(sonopsis.load(tiny_model, engine="torch"), manifest)
