"""Of the labels that a tagger learned from the teacher alone, keep those in which both agree on held-out sources.

python scripts/keep_distilled.py FOLDER [ROOT]     # ROOT: where `sonopsis data fetch` put the recordings

All recordings of the validation packages are heard, also those that no rule labels, in windows of the model's length. A
label stays if the teacher hears it in at least 5 windows (score at least 0.1) and the average precision with which the
tagger finds these is at least 0.4. The others leave the head of the model, except for labels that captions can name.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import sonopsis
from sonopsis.audio import SUFFIXES, AudioError, iter_windows
from sonopsis.data.activity import Samples
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import package_folders
from sonopsis.data.splits import load_splits
from sonopsis.encoder.tagger import Tagger
from sonopsis.mel import mel_input
from sonopsis.metrics.tagging import average_precision
from sonopsis.model import Model
from sonopsis.modules import save
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.training.teacher import Teacher

HEARD, WINDOWS, AGREEMENT = 0.1, 5, 0.4
APART, MOST = 30.0, 4  # seconds from one window of a long recording to the next, and how many are heard of each
SHORTEST, QUIETEST = 1600, 1e-3  # samples, peak: less than this is no sound to judge by


def agreement(heard: NDArray[np.floating], found: NDArray[np.floating]) -> float:
    """The average precision with which scores (C,) find the windows whose teacher's scores (C,) are at least HEARD; NaN
    where there are fewer than WINDOWS such windows."""
    positive = heard >= HEARD
    return average_precision(positive, found) if positive.sum() >= WINDOWS else float("nan")


def held_out(root: Path, seconds: float) -> Iterator[Samples]:
    """Windows (S,) of all recordings of the validation packages; those that cannot be read are left out."""
    packages = load_splits().validation_packages
    for folder in package_folders(root):
        files = sorted(folder.rglob("*")) if folder.name in packages else []
        for file in files:
            if file.suffix.lower() not in SUFFIXES or not file.is_file():
                continue
            with suppress(AudioError):
                for window in islice(iter_windows(file, window=seconds, hop=max(APART, seconds)), MOST):
                    if len(window.samples) >= SHORTEST and np.abs(window.samples).max() >= QUIETEST:
                        yield window.samples


def main(folder: Path, root: Path) -> dict[str, float]:
    """Remove the labels of little agreement from a folder; returns the agreement of all its distilled labels."""
    model, teacher = sonopsis.load(folder, engine="torch"), Teacher()
    wanted = model.folder.config.distilled_labels
    theirs = [teacher.names.index(name) for name in wanted]
    ours = [model.labels.index(name) for name in wanted]
    heard, found = [], []
    for samples in held_out(root, model.window):
        heard.append(teacher.scores(samples)[theirs])
        found.append(model.logits(mel_input(samples, model.folder.mel))[0, ours])
    columns = zip(wanted, np.transpose(heard), np.transpose(found), strict=True)
    scores = {name: agreement(their, our) for name, their, our in columns}
    out = {name for name, score in scores.items() if not score >= AGREEMENT and name not in LEAVES}
    keep(model, folder, [name for name in model.labels if name not in out])
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
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} FOLDER [ROOT]")
    found = main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else default_root())
    for label, value in sorted(found.items(), key=lambda item: -np.nan_to_num(item[1])):
        print(f"{value:.3f}  {label}{'' if value >= AGREEMENT else '  (left out)'}")
