"""A captioner against the sentences that people wrote about clips: the figures of AudioCaps, Clotho and their like."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE, AudioError
from sonopsis.data.manifest import Row
from sonopsis.metrics.captioning import bleu_counts, bleu_of, cider_d, rouge_l
from sonopsis.metrics.embedding import Embed, classify, similarity
from sonopsis.metrics.external import score_elsewhere
from sonopsis.model import Model, Request

Floats = NDArray[np.float64]
Read = Callable[[Row], NDArray[np.float32]]  # row -> samples (S,) at 16 kHz
RESAMPLES = 1000


def describe_clips(model: Model, rows: Sequence[Row], read: Read) -> tuple[list[Row], list[str], int]:
    """The rows that can be read, the model's sentence for each, and how many cannot be read.

    Of a clip longer than the model's window, the sentence is that of the window whose words are the most probable.
    ValueError when no clip can be read.
    """
    heard, captions, unread = [], [], 0
    for row in rows:
        try:
            samples = read(row)
        except AudioError:
            unread += 1
            continue
        heard.append(row)
        captions.append(_sentence(model, samples))
    if not heard:
        raise ValueError("no clip could be read; check the paths of the manifest")
    return heard, captions, unread


def score_described(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    embed: Embed | None = None,
    elsewhere: bool = False,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Figures of one caption for each clip against its references: bleu_1 ... bleu_4, rouge_l and similarity are 0-1,
    cider_d is 0-10; "intervals" has 95 % bootstrap intervals over clips.

    `similarity` is there with an embedder: the mean cosine between caption and references. With `elsewhere`, METEOR,
    SPICE, SPIDEr and FENSE are added, or a line that says what they need.
    """
    counts = np.array(bleu_counts(captions, references), dtype=np.float64)  # (C, 10)
    each = {"cider_d": np.array(cider_d(captions, references)), "rouge_l": np.array(rouge_l(captions, references))}
    if embed is not None:
        each["similarity"] = similarity(captions, references, embed)
    # RandomState: the one NumPy generator whose stream is promised never to change.
    draws = np.random.RandomState(0).randint(0, len(counts), size=(resamples, len(counts)))
    drawn = np.array([bleu_of(sums) for sums in (counts[draw].sum(axis=0).tolist() for draw in draws)])
    intervals = {f"bleu_{n + 1}": _interval(column) for n, column in enumerate(drawn.T)}
    intervals |= {name: _interval(values[draws].mean(axis=1)) for name, values in each.items()}
    whole = bleu_of(counts.sum(axis=0).tolist())
    figures: dict[str, Any] = {
        "clips": len(counts),
        **{f"bleu_{n}": score for n, score in enumerate(whole, 1)},
        **{name: float(values.mean()) for name, values in each.items()},
        "intervals": intervals,
    }
    if elsewhere:
        figures |= score_elsewhere(captions, references, figures["cider_d"])
    return figures


def evaluate_described(
    model: Model, rows: Sequence[Row], read: Read, *, embed: Embed | None = None, elsewhere: bool = False
) -> dict[str, Any]:
    """`score_described` of a model's captions of clips, beside two baselines: the most frequent caption that it was
    trained on, if its folder says so, and a caption of another clip.

    ValueError when no clip can be read.
    """
    heard, captions, unread = describe_clips(model, [row for row in rows if row.captions], read)
    references = [row.captions for row in heard]
    found: dict[str, Any] = {
        "unread": unread,
        "model": score_described(captions, references, embed=embed, elsewhere=elsewhere),
    }
    if frequent := model.folder.config.training.get("most_frequent_caption"):
        found["most_frequent_caption"] = score_described([frequent] * len(heard), references, embed=embed)
    if len(heard) > 1:
        rng = random.Random(0)
        others = [rng.choice([other for other in heard if other is not row]).captions[0] for row in heard]
        found["caption_of_another_clip"] = score_described(others, references, embed=embed)
    return found


def evaluate_through_captions(model: Model, rows: Sequence[Row], read: Read, embed: Embed) -> dict[str, Any]:
    """How well the labels of clips can be told from the model's captions of them (`embedding.classify`), among all
    labels of these clips. ValueError when no clip can be read."""
    heard, captions, unread = describe_clips(model, [row for row in rows if row.labels], read)
    labels = sorted({label for row in heard for label in row.labels})
    return classify(captions, [row.labels for row in heard], labels, embed) | {"unread": unread}


def _sentence(model: Model, samples: NDArray[np.float32]) -> str:
    """The caption of a clip's samples (S,): of its windows, the one with the best score."""
    size = round(model.window * SAMPLE_RATE)
    starts = range(0, max(1, len(samples) - SAMPLE_RATE // 10), size)
    windows = [model.describe_samples(samples[start : start + size], Request(captions=True)) for start in starts]
    best = max(windows, key=lambda window: -np.inf if window.score is None else window.score)
    return best.caption or ""


def _interval(drawn: Floats) -> list[float]:
    return [float(bound) for bound in np.percentile(drawn, [2.5, 97.5])]
