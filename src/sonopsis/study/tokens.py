"""`sonopsis study tokens`: the rank of the tokens of each layer, and how alike they are, of one model or of two."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonopsis.encoder.tagger import Tagger
from sonopsis.model import Model
from sonopsis.pruning.config import Pruning, uniform
from sonopsis.pruning.survivors import Survivors
from sonopsis.study.bootstrap import draws, interval, means
from sonopsis.study.clips import Clip, Clips, groups_of
from sonopsis.study.passes import Mel, Progress, about, each_clip
from sonopsis.study.predictions import Lines
from sonopsis.study.rank import FIGURES, figures

WHOLE = 1.0  # the keep rate of every study, beside the model's own


def study(
    models: Sequence[Model],
    clips: Clips,
    predictions: Path,
    *,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """The figures of `sonopsis study tokens` as JSON values; docs/study.md says what they mean.

    Every model hears the same clips. `predictions` is the file that a rerun continues; of a clip it keeps
    a few numbers for each layer, so that memory does not grow with clips. Raises ValueError when it belongs to another
    study.
    """
    names = _names(models)
    arms = {name: [WHOLE, *({model.keep_rate} - {WHOLE})] for name, model in zip(names, models, strict=True)}
    identity = {
        "study": "tokens",
        "weights": [fingerprint(model) for model in models],
        "clips": clips.digest,
        "rates": list(arms.values()),
    }
    lines = Lines(predictions, identity, lambda: {})

    def make(clip: Clip, mels: list[Mel]) -> dict[str, Any]:
        said = {}
        for name, model in zip(names, models, strict=True):
            windows = mels if model is models[0] else clips.mels(model, clip)
            for rate in arms[name]:
                said[f"{name}@{rate:g}"] = clip_figures(_tagger(model), windows, rate)
        return {**about(clip), "windows": len(mels), "variants": said}

    each_clip(models[0], clips, lines, make, progress)
    heard = [{key: line[key] for key in ("clip", "source", "family")} for line in lines if "error" not in line]
    if not heard:
        raise ValueError("no clip could be read; check the paths of the manifest")
    level, groups = groups_of(heard)
    rows = [
        _row(lines, model, name, rate, groups) for name, model in zip(names, models, strict=True) for rate in arms[name]
    ]
    return {
        "study": "tokens",
        "encoder": models[0].engine.config.to_dict(),
        "models": names,
        "split": clips.split,
        "clips": len(heard),
        "unread": sum("error" in line for line in lines),
        "left_out": clips.left_out,
        "labels": [models[0].labels[label] for label in clips.present],
        "groups": {"level": level, "count": len(set(groups))},
        "notes": clips.notes,
        "rows": rows,
    }


def clip_figures(tagger: Tagger, mels: Sequence[Mel], rate: float) -> dict[str, list[float | None]]:
    """For each figure, its value at each layer, a mean over the windows; "tokens" counts them. None: there is none."""
    pruning = uniform(tagger.encoder.config.depth, rate)
    windows = [window_figures(tagger, mel, pruning) for mel in mels]
    found: dict[str, list[float | None]] = {}
    for name in ("tokens", *FIGURES):
        values = np.array([[layer[name] for layer in window] for window in windows])  # (windows, layers)
        known = np.isfinite(values)
        sums, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
        found[name] = [round(float(s / n), 5) if n else None for s, n in zip(sums, counts, strict=True)]
    return found


@torch.inference_mode()
def window_figures(tagger: Tagger, mel: Mel, pruning: Pruning | None) -> list[dict[str, float]]:
    """The figures of what enters each block of one window (1, T, M), and of what leaves the last, after its norm.

    Patch tokens alone count, without prefix tokens, padding and fused tokens.
    """
    encoder, prefix = tagger.encoder, tagger.encoder.config.prefix_tokens
    layers: list[dict[str, float]] = []

    def add(tokens: Tensor, index: Tensor) -> None:
        real = tokens[0][index[0] >= 0]  # (K, D)
        layers.append({"tokens": float(len(real)), **figures(real)})

    def watch(number: int, x: Tensor, left: Survivors, bias: Tensor | None) -> None:
        add(x[:, prefix:], left.index)

    encoded = encoder(torch.as_tensor(mel).to(next(encoder.parameters())), pruning, watch=watch)
    add(encoded.tokens, encoded.index)
    return layers


def fingerprint(model: Model) -> str:
    """A hash of the encoder's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(_tagger(model).encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _row(lines: Lines, model: Model, name: str, rate: float, groups: Sequence[str]) -> dict[str, Any]:
    """The means over clips of one model at one keep rate, with 95 % intervals over groups, for each layer."""
    config = model.engine.config
    values: dict[str, list[list[float | None]]] = {figure: [] for figure in ("tokens", *FIGURES)}
    for line in lines:
        if "error" not in line:
            for figure, clip in line["variants"][f"{name}@{rate:g}"].items():
                values[figure].append(clip)
    weights = draws(groups)
    layers = [f"into {block}" for block in range(config.depth)] + ["out"]
    found: dict[str, Any] = {}
    for figure, clips in values.items():
        table = np.array(clips, dtype=np.float64)  # (clips, layers)
        found[figure] = [float(np.nanmean(column)) if np.isfinite(column).any() else None for column in table.T]
        if figure != "tokens":
            found[f"{figure}_interval"] = [
                interval(means(column, weights)) if np.isfinite(column).all() else None for column in table.T
            ]
    return {"model": name, "keep_rate": rate, "width": config.width, "layers": layers, **found}


def _tagger(model: Model) -> Tagger:
    module = model.module
    return module if isinstance(module, Tagger) else module.tagger


def _names(models: Sequence[Model]) -> list[str]:
    """The models' names, numbered where two are the same."""
    names = [model.name for model in models]
    return [name if names.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(names)]
