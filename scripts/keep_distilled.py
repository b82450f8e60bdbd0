"""Of the labels that a tagger learned from the teacher alone, keep those in which both agree on held-out sources.

python scripts/keep_distilled.py FOLDER MANIFEST     # the validation recordings of the manifest

A label stays if the teacher hears it in at least 5 recordings (score at least 0.3) and the average precision with which
the tagger finds these is at least 0.4. The others leave the head of the model.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import sonopsis
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import read
from sonopsis.encoder.tagger import Tagger
from sonopsis.mel import mel_input
from sonopsis.metrics.tagging import average_precision
from sonopsis.model import Model
from sonopsis.modules import save
from sonopsis.training.teacher import Teacher

HEARD, RECORDINGS, AGREEMENT = 0.3, 5, 0.4


def agreement(heard: NDArray[np.floating], found: NDArray[np.floating]) -> float:
    """The average precision with which scores (C,) find the clips whose teacher's scores (C,) are at least HEARD; NaN
    where there are fewer than RECORDINGS such clips."""
    positive = heard >= HEARD
    return average_precision(positive, found) if positive.sum() >= RECORDINGS else float("nan")


def main(folder: Path, manifest: Path) -> dict[str, float]:
    """Remove the labels of little agreement from a folder; returns the agreement of all its distilled labels."""
    model = sonopsis.load(folder, engine="torch")
    teacher = Teacher()
    wanted = model.folder.config.distilled_labels
    theirs = [teacher.names.index(name) for name in wanted]
    ours = [model.labels.index(name) for name in wanted]
    bank = ClipBank(read(manifest, "validation"), manifest.parent)
    heard, found = [], []
    for row in bank.rows:
        samples = bank.read(row.path)[: round(model.window * 16_000)]
        heard.append(teacher.scores(samples)[theirs])
        found.append(model.logits(mel_input(samples, model.folder.mel))[0, ours])
    columns = zip(wanted, np.transpose(heard), np.transpose(found), strict=True)
    scores = {name: agreement(their, our) for name, their, our in columns}
    keep(model, folder, [name for name in model.labels if name not in scores or scores[name] >= AGREEMENT])
    return scores


def keep(model: Model, folder: Path, labels: list[str]) -> None:
    """Write the folder again with these labels of its head alone."""
    module = model.module
    assert isinstance(module, Tagger) and module.head is not None
    rows = torch.tensor([model.labels.index(name) for name in labels])
    linear = torch.nn.Linear(module.head.linear.in_features, len(labels))
    with torch.no_grad():
        linear.weight.copy_(module.head.linear.weight[rows])
        linear.bias.copy_(module.head.linear.bias[rows])
    module.head.linear = linear
    config = model.folder.config
    distilled = [name for name in config.distilled_labels if name in labels]
    save(module, folder, replace(config, labels=labels, distilled_labels=distilled), model.folder.mel)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER MANIFEST")
    found = main(Path(sys.argv[1]), Path(sys.argv[2]))
    for label, value in sorted(found.items(), key=lambda item: -np.nan_to_num(item[1])):
        print(f"{value:.3f}  {label}{'' if value >= AGREEMENT else '  (left out)'}")
