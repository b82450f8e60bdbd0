"""The rival of our models: what YAMNet hears, in the sentence of tags that `sonopsis eval` has as a baseline.

    python scripts/yamnet_rival.py MANIFEST                    # validation: the scenes that training looks at
    python scripts/yamnet_rival.py MANIFEST --split test       # the frozen benchmark
    python scripts/yamnet_rival.py MANIFEST --model FOLDER     # beside a model of ours, on the same clips and scenes
    python scripts/yamnet_rival.py MANIFEST --choose           # the best threshold on other validation scenes

`make pretrained` fetches YAMNet. Each of its 521 classes counts as the nearest label of ours above it in the ontology,
or as the table `COUNTS_AS` says; a label has the highest probability of its classes. It cannot name the other labels:
clips that have none of its labels are left out of the figures of tags (for a model, too). Scenes are all kept.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sonopsis
from sonopsis.audio import SAMPLE_RATE
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import Row, read
from sonopsis.data.splits import Split
from sonopsis.metrics.evaluate import MOST_TAGS, evaluate_captions, tag_figures, tag_scores, tag_sentence
from sonopsis.metrics.events import event_f1, score_captions
from sonopsis.model import Model
from sonopsis.ontology import current, parents_of
from sonopsis.scenes.benchmark import load_benchmark, missing_clips
from sonopsis.scenes.compose import compose
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.training.captioning import VALIDATION_SCENES
from sonopsis.training.teacher import Teacher

Scores = NDArray[np.floating]
THRESHOLD = 0.08  # of a label in a sentence; what --choose printed
CHOSEN_ON, MEASURED_ON = 2, 1  # seeds of validation scenes: those of a model's tag threshold, those of its training log

# Classes (with those below them) that our recordings and sentences call otherwise than the ontology does. None: too
# general to be called by any label of ours.
COUNTS_AS: dict[str, str | None] = {
    "Screaming": "Shout",
    "Grunt": "Shout",
    "Clapping": "Applause",
    "Cheering": "Crowd",
    "Chatter": "Crowd",
    "Hubbub, speech noise, speech babble": "Crowd",
    "Run": "Walk, footsteps",
    "Canidae, dogs, wolves": "Dog",
    "Goat": "Sheep",
    "Fowl": "Bird",
    "Roaring cats (lions, tigers)": "Roar",
    "Musical instrument": None,
    "Plucked string instrument": "Guitar",
    "Bass guitar": "Bass (instrument role)",
    "Double bass": "Bass (instrument role)",
    "Cowbell": "Hand percussion",
    "Tabla": "Hand percussion",
    "Tambourine": "Hand percussion",
    "Wood block": "Hand percussion",
    "Rattle (instrument)": "Hand percussion",
    "Timpani": "Orchestral instrument",
    "Orchestra": "Orchestral instrument",
    "Brass instrument": "Orchestral instrument",
    "Bowed string instrument": "Orchestral instrument",
    "Wind instrument, woodwind instrument": "Orchestral instrument",
    "Harp": "Orchestral instrument",
    "Beep, bleep": "Notification",
    "Ding": "Notification",
    "Ping": "Notification",
    "Engine": "Vehicle",
    "Thunderstorm": "Thunder",
    "Rustling leaves": "Rustle",
    "Liquid": "Water",
    "Water tap, faucet": "Water",
}


def label_of(name: str) -> str | None:
    """The label of ours that a class of AudioSet counts as; None when no label is at or above it."""
    for above in (name, *reversed(parents_of(name))):
        if above in COUNTS_AS:
            return COUNTS_AS[above]
        if above in LEAVES:
            return above
    return None


def classes_of(names: Sequence[str]) -> dict[str, list[int]]:
    """Of the labels that a tagger with these classes can name: the numbers of its classes, in the order of LEAVES."""
    found = [label_of(name) for name in names]
    return {label: [i for i, own in enumerate(found) if own == label] for label in LEAVES if label in found}


def label_scores(scores: Scores, classes: Mapping[str, Sequence[int]]) -> Scores:
    """Probabilities of classes (..., 521) -> of labels (..., labels), each the highest of its classes."""
    return np.stack([scores[..., numbers].max(axis=-1) for numbers in classes.values()], axis=-1)


def sentence(patches: Scores, labels: Sequence[str], threshold: float, *, timed: bool = False) -> str:
    """Probabilities (n, labels) over time -> the sentence that `tag_sentence` makes of their means.

    `timed` has the same sounds in the order of their highest probabilities in time, in place of the highest mean first.
    """
    means = patches.mean(axis=0)  # (labels,)
    if not timed:
        return tag_sentence(dict(zip(labels, means, strict=True)), threshold)
    best = np.argsort(-means, kind="stable")[:MOST_TAGS]
    named = [i for place, i in enumerate(best) if place == 0 or means[i] >= threshold]
    return tag_sentence({labels[i]: -float(patches[:, i].argmax()) for i in named}, -np.inf)


def best_threshold(scenes: Sequence[Scene], heard: Sequence[Scores], labels: Sequence[str]) -> float:
    """The threshold at which sentences have the highest event F1, as `choose_threshold` finds it for our models."""
    steps = [round(0.02 * step, 2) for step in range(1, 45)]
    return max(steps, key=lambda value: event_f1(scenes, [sentence(patches, labels, value) for patches in heard]))


def hear(teacher: Teacher, scenes: Sequence[Scene], bank: ClipBank) -> list[Scores]:
    """Probabilities (n, labels) of each scene over time."""
    classes = classes_of(teacher.names)
    return [label_scores(teacher.patches(render(scene, bank.read)), classes) for scene in scenes]


def caption_figures(scenes: Sequence[Scene], heard: Sequence[Scores], labels: Sequence[str]) -> dict[str, Any]:
    """What `sonopsis eval` says of captions, for sentences in both orders."""
    return {
        "scenes": len(scenes),
        "tag_threshold": THRESHOLD,
        "yamnet": score_captions(scenes, [sentence(patches, labels, THRESHOLD) for patches in heard]),
        "yamnet_in_order_of_time": score_captions(
            scenes, [sentence(patches, labels, THRESHOLD, timed=True) for patches in heard]
        ),
    }


def clip_scores(
    teacher: Teacher, bank: ClipBank, rows: Sequence[Row], labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Targets of 0 and 1 and scores, (C, labels) both, of C clips: the mean over the patches of a clip."""
    classes = {label: numbers for label, numbers in classes_of(teacher.names).items() if label in labels}
    targets, scores = np.zeros((len(rows), len(labels))), np.zeros((len(rows), len(labels)))
    for i, row in enumerate(rows):
        targets[i] = [label in map(current, row.labels) for label in labels]
        samples = bank.read(row.path)[round(row.start * SAMPLE_RATE) : round(row.end * SAMPLE_RATE)]
        scores[i] = label_scores(teacher.patches(samples), classes).mean(axis=0)
    return targets, scores


def model_figures(model: Model, rows: Sequence[Row], labels: Sequence[str], scenes: Sequence[Scene], root: Path) -> Any:
    """The same figures of a model of ours: of tags among these labels alone, and of captions if it makes any."""
    targets, scores, _ = tag_scores(model, rows, [root])
    columns = [list(map(current, model.labels)).index(label) for label in labels]
    figures = {"tagging": tag_figures(labels, targets[:, columns], scores[:, columns])}
    return figures if model.tokenizer is None else figures | {"captions": evaluate_captions(model, scenes, [root])}


def main(manifest: Path, split: Split, choose: bool, folder: str | None) -> dict[str, Any]:
    """The figures of YAMNet and of a model, or the best threshold."""
    root, teacher = manifest.parent, Teacher()
    rows = read(manifest, split)
    bank = ClipBank(rows, root)
    labels = list(classes_of(teacher.names))
    if choose:
        scenes = list(compose(bank.rows, seed=CHOSEN_ON, count=VALIDATION_SCENES, split="validation"))
        return {"tag_threshold": best_threshold(scenes, hear(teacher, scenes, bank), labels)}
    if split == "test":
        scenes = load_benchmark()
        if missing := missing_clips(scenes, rows):
            raise ValueError(f"{len(missing)} recordings of the scene benchmark are not in {manifest}; fetch them")
    else:
        scenes = list(compose(bank.rows, seed=MEASURED_ON, count=VALIDATION_SCENES, split="validation"))
    model = None if folder is None else sonopsis.load(folder)
    named = labels if model is None else [label for label in labels if label in map(current, model.labels)]
    clips = [row for row in bank.rows if set(map(current, row.labels)) & set(named)]
    figures = {
        "labels_that_yamnet_cannot_name": [label for label in LEAVES if label not in labels],
        "tagging": tag_figures(named, *clip_scores(teacher, bank, clips, named)),
        "captions": caption_figures(scenes, hear(teacher, scenes, bank), labels),
    }
    return figures if model is None else figures | {model.name: model_figures(model, clips, named, scenes, root)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the tags of YAMNet, and sentences made of them.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--model", help="measure this model on the same clips and scenes, too")
    parser.add_argument("--choose", action="store_true", help="print the best threshold on validation scenes instead")
    given = parser.parse_args()
    if given.choose and (given.split != "validation" or given.model):
        parser.error("the threshold is chosen on validation scenes, without a model")
    print(json.dumps(main(given.manifest, given.split, given.choose, given.model), indent=1))
