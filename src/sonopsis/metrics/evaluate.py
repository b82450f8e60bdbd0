"""`sonopsis eval MODEL MANIFEST`: the figures of a model card, beside the baselines they must be read against.

A manifest of clips gives tagging figures. Captioning figures come from scenes: those of a scene file, or, when a clip
manifest holds all its recordings, the frozen benchmark of the package. Otherwise they come from the clips that have
captions (`sonopsis.metrics.described`).
"""

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE, AudioError, load_audio
from sonopsis.data.clips import CLIP_REACH
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import Row, read
from sonopsis.data.splits import Split
from sonopsis.mel import mel_input
from sonopsis.metrics.answers import ask_scenes, score_answers
from sonopsis.metrics.calibration import best_thresholds, f1_at, reliability
from sonopsis.metrics.described import evaluate_described, evaluate_through_captions
from sonopsis.metrics.embedding import Embed
from sonopsis.metrics.events import RESAMPLES, event_f1, score_captions
from sonopsis.metrics.tagging import accuracy, average_precision, balanced_accuracy, mean_average_precision
from sonopsis.model import Model, Request
from sonopsis.ontology import current
from sonopsis.scenes.benchmark import load_benchmark, missing_clips
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene, read_scenes
from sonopsis.scenes.vocabulary import LEAVES

Floats = NDArray[np.float64]
MOST_TAGS = 4  # the most events a scene has
TAG_THRESHOLD = 0.2  # of the baseline made of tags, for models whose training chose none on validation scenes


def evaluate(
    model: Model,
    manifest: str | Path,
    *,
    split: Split | None = "test",
    root: Path | None = None,
    embed: Embed | None = None,
    elsewhere: bool = False,
) -> dict[str, Any]:
    """All figures of a model on a manifest's rows of one split (None: all rows), or on a file of scenes.

    Paths are looked up beside the manifest, then under the data root. With `embed`, captions are also compared with
    references and labels by their meaning; with `elsewhere`, other programs score them too
    (`sonopsis.metrics.external`). Raises ValueError when nothing can be evaluated.
    """
    path = Path(manifest)
    folders = [path.parent, root or default_root()]
    if ".jsonl.gz" in path.name:
        return {"model": model.name, "captions": evaluate_captions(model, read_scenes(path), folders)}
    rows = read(path, split)
    figures: dict[str, Any] = {"model": model.name}
    described = model.tokenizer is not None and any(row.captions for row in rows)
    if not described or any(current(label) in model.labels for row in rows for label in row.labels):
        targets, scores, unread = tag_scores(model, rows, folders)
        tagging = tag_figures(model.labels, targets, scores) | {"unread": unread} | calibration(model, targets, scores)
        figures["tagging"] = tagging
    benchmark = load_benchmark()
    missing = missing_clips(benchmark, rows)

    def read_row(row: Row) -> NDArray[np.float32]:
        return read_samples(folders, row.path, row.start, row.end)

    if embed is not None and model.tokenizer is not None and any(row.labels for row in rows):
        figures["through_captions"] = evaluate_through_captions(model, rows, read_row, embed)
    if model.tokenizer is None:
        figures["captions"] = "this model only tags"
    elif missing and described:
        figures["captions"] = evaluate_described(model, rows, read_row, embed=embed, elsewhere=elsewhere)
    elif missing:
        figures["captions"] = f"not evaluated: {len(missing)} recordings of the scene benchmark are not in {path.name}"
    else:
        figures["captions"] = evaluate_captions(model, benchmark, folders)
        if model.folder.config.answers:
            figures["answers"] = score_answers(ask_scenes(model, benchmark, _clips(folders)))
    return figures


def evaluate_tags(model: Model, rows: Sequence[Row], folders: Sequence[Path]) -> dict[str, Any]:
    """`tag_figures` of a model on clips, and how many could not be read ("unread")."""
    targets, scores, unread = tag_scores(model, rows, folders)
    return tag_figures(model.labels, targets, scores) | {"unread": unread}


def choose_thresholds(model: Model, rows: Sequence[Row], folders: Sequence[Path]) -> dict[str, float]:
    """The threshold of each label with the best F1 on (validation) clips; see `calibration.best_thresholds`."""
    targets, scores, _ = tag_scores(model, rows, folders)
    return dict(zip(model.labels, best_thresholds(targets, scores), strict=True))


def tag_scores(model: Model, rows: Sequence[Row], folders: Sequence[Path]) -> tuple[Floats, Floats, int]:
    """Targets (C, labels) of 0 and 1 and scores (C, labels) of the C clips that can be read and have a label that the
    model knows, and how many cannot be read.

    Older names of labels are understood, in the rows and in the model. ValueError when no clip is left.
    """
    number = {current(label): i for i, label in enumerate(model.labels)}
    numbers = [[number[name] for label in row.labels if (name := current(label)) in number] for row in rows]
    known = [(row, found) for row, found in zip(rows, numbers, strict=True) if found]
    targets = np.zeros((len(known), len(model.labels)))
    scores = np.full_like(targets, np.nan)
    for i, (row, found) in enumerate(known):
        targets[i, found] = 1.0
        try:
            scores[i] = _clip_scores(model, read_samples(folders, row.path, row.start, row.end))
        except AudioError:
            continue
    heard = ~np.isnan(scores).any(axis=1)
    if not heard.any():
        raise ValueError("no clip of the manifest could be read with a label the model knows; check paths and labels")
    return targets[heard], scores[heard], int((~heard).sum())


def tag_figures(labels: Sequence[str], targets: Floats, scores: Floats) -> dict[str, Any]:
    """mAP, accuracy and balanced accuracy over clips, with 95 % intervals from resampling the clips of each label.

    Accuracy counts clips of one label whose highest score is that label; it is None where no clip has one label.
    """
    single = targets.sum(axis=1) == 1
    first = targets.argmax(axis=1)
    truth, guess = first[single], scores[single].argmax(axis=1)
    return {
        "clips": len(targets),
        "labels": int(targets.any(axis=0).sum()),
        "map": mean_average_precision(targets, scores),
        "map_interval": _interval(lambda chosen: mean_average_precision(targets[chosen], scores[chosen]), first),
        "single_label_clips": int(single.sum()),
        "accuracy": accuracy(truth, guess) if len(truth) else None,
        "balanced_accuracy": balanced_accuracy(truth, guess) if len(truth) else None,
        "balanced_accuracy_interval": (
            _interval(lambda c: balanced_accuracy(truth[c], guess[c]), truth) if len(truth) else None
        ),
        "recall": {
            labels[i]: {"clips": int((truth == i).sum()), "recall": float((guess[truth == i] == i).mean())}
            for i in np.unique(truth)
        },
    }


def calibration(model: Model, targets: Floats, scores: Floats) -> dict[str, Any]:
    """Average precision of each label, F1 at the model's thresholds (0.5 where it has none), and reliability curves: of
    all scores, and of each clip's best label. Labels without clips are left out."""
    present = np.flatnonzero(targets.any(axis=0))
    targets, scores = targets[:, present], scores[:, present]
    labels = [model.labels[i] for i in present]
    thresholds = [model.folder.config.thresholds.get(label, 0.5) for label in labels]
    best = scores.argmax(axis=1)
    clips = np.arange(len(scores))
    return {
        "average_precision": {
            label: {"clips": int(target.sum()), "average_precision": average_precision(target, score)}
            for label, target, score in zip(labels, targets.T, scores.T, strict=True)
        },
        "f1": f1_at(targets, scores, thresholds),
        "reliability": reliability(targets.ravel(), scores.ravel()),
        "reliability_of_the_best_label": reliability(targets[clips, best], scores[clips, best]),
    }


def evaluate_captions(model: Model, scenes: Sequence[Scene], folders: Sequence[Path]) -> dict[str, Any]:
    """Scores of the model's captions of scenes and of three baselines: the most frequent training caption, the caption
    of another scene, where there is one, and sentences made of the same encoder's tags (but for those that no recording
    taught)."""
    captions, tags = [], []
    read_clip = _clips(folders)
    for scene in scenes:
        samples = render(scene, read_clip)
        window = model.describe_samples(samples, Request(captions=True, top_k=len(model.labels), threshold=0.0))
        captions.append(window.caption or "")
        tags.append({pair.label: pair.score for pair in window.labels or [] if not pair.distilled})
    frequent = model.folder.config.training.get("most_frequent_caption", "")
    threshold = model.folder.config.training.get("tag_threshold", TAG_THRESHOLD)
    rng = random.Random(0)
    others: dict[str, Any] = {}
    if len(scenes) > 1:
        drawn = [rng.choice([other for other in scenes if other is not scene]) for scene in scenes]
        others = {"random_scene_caption": score_captions(scenes, [other.captions[0] for other in drawn])}
    return {
        "scenes": len(scenes),
        "model": score_captions(scenes, captions),
        "most_frequent_caption": score_captions(scenes, [frequent] * len(scenes)),
        **others,
        "tag_template": score_captions(scenes, [tag_sentence(scores, threshold) for scores in tags]),
        "tag_threshold": threshold,
    }


def _clips(folders: Sequence[Path]) -> Callable[[str], NDArray[np.float32]]:
    """What reads the clips of scenes, each of them once."""
    return cache(lambda path: read_samples(folders, path, 0.0, CLIP_REACH))


def tag_sentence(scores: dict[str, float], threshold: float) -> str:
    """The baseline caption of tags: the best, and up to three more that reach the threshold, joined by "and"."""
    ranked = sorted(scores, key=lambda label: -scores[label])
    named = [label for i, label in enumerate(ranked[:MOST_TAGS]) if i == 0 or scores[label] >= threshold]
    return " and ".join(LEAVES[label].nouns[0] if label in LEAVES else label for label in named)


def choose_threshold(model: Model, scenes: Sequence[Scene], read_clip: Callable[[str], Any]) -> float:
    """The tag threshold at which `tag_sentence` has the highest event F1 on validation scenes."""
    tags = []
    for scene in scenes:
        window = model.describe_samples(render(scene, read_clip), Request(top_k=len(model.labels), threshold=0.0))
        tags.append({pair.label: pair.score for pair in window.labels or [] if not pair.distilled})

    def score(threshold: float) -> float:
        return event_f1(scenes, [tag_sentence(scores, threshold) for scores in tags])

    return max((round(0.02 * step, 2) for step in range(1, 45)), key=score)


def clip_mels(model: Model, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """A clip's first 30 s in windows of the model's length, each as normalised log-Mel (1, T, M)."""
    size = round(model.window * SAMPLE_RATE)
    starts = range(0, max(1, min(len(samples), round(CLIP_REACH * SAMPLE_RATE)) - SAMPLE_RATE // 10), size)
    return [mel_input(samples[start : start + size], model.folder.mel) for start in starts]


def read_samples(folders: Sequence[Path], path: str, start: float, end: float | None) -> NDArray[np.float32]:
    """Samples (S,) at 16 kHz of a part of a file (in seconds), which is looked up in each folder in turn.

    Raises AudioError when it cannot be read.
    """
    file = next((folder / path for folder in folders if (folder / path).is_file()), folders[-1] / path)
    return load_audio(file, seconds=end)[round(start * SAMPLE_RATE) :]


def _clip_scores(model: Model, samples: NDArray[np.float32]) -> Floats:
    """Tag probabilities (labels,) of a clip's first 30 s, averaged over windows."""
    logits = [model.logits(mel)[0] for mel in clip_mels(model, samples)]
    return model.probabilities(np.stack(logits)).mean(axis=0, dtype=np.float64)


def _interval(figure: Callable[[NDArray[np.int64]], float], labels: NDArray[np.int64]) -> list[float]:
    """A 95 % bootstrap interval of a figure over clips, given the label of each.

    Clips are drawn anew within each label: a label with two clips would otherwise be missing from many draws, and a
    mean over the labels that are left is not the figure.
    """
    generator = np.random.RandomState(0)  # the one NumPy generator whose stream is promised never to change
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    drawn = [
        figure(np.concatenate([group[generator.randint(0, len(group), len(group))] for group in groups]))
        for _ in range(RESAMPLES)
    ]
    return [float(bound) for bound in np.percentile(drawn, [2.5, 97.5])]
