"""Give a tagger a second head, which reads all blocks of its frozen encoder, and join both into one.

python scripts/fit_head.py FOLDER MANIFEST OUT     # a tagger's folder -> another folder

The second head is a logistic regression of each label on mean and maximum of the tokens after each block, and on what
the first head reads, over the training clips as they are and composed training scenes. Labels have equal weight. The
joint head is a weighted mean of both on one scale; the share of the second one is that with the highest sum of mAP and
balanced accuracy on validation clips and mAP on composed validation scenes. Labels without training clips, which only
a teacher knows, keep their first head.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import sonopsis
from sonopsis.audio import SAMPLE_RATE
from sonopsis.data.activity import Samples
from sonopsis.data.clips import Clip, ClipBank
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.data.splits import Split
from sonopsis.encoder.pooling import LayerStatistics
from sonopsis.encoder.tagger import Head, Tagger
from sonopsis.mel import FRAME_RATE, MelConfig, mel_input
from sonopsis.metrics.tagging import balanced_accuracy, mean_average_precision
from sonopsis.modules import save
from sonopsis.pruning import uniform
from sonopsis.scenes.compose import compose
from sonopsis.scenes.render import render

SHORTEST = 0.05  # seconds; of less, a token says nothing
LONGEST = 5.0  # seconds heard of a training clip
MOST = 300  # training clips of each label, so that speech and drums take no hours
SCENES, HELD_OUT = 1200, 240  # composed scenes of training and of validation
RATES = (1.0, 0.8, 0.7, 0.5)  # keep rates at which training clips and scenes are heard in turn
DECAY = 5e-3  # of the squares of the weights, of inputs with a deviation of 1
ITERATIONS = 200
SEEDS = {"train": 7, "validation": 1}  # of the scenes
SHARES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8)  # of the second head in the joint one


def main(folder: Path, manifest: Path, out: Path) -> float:
    """Write the folder with the joint head; returns the share of the second one."""
    model = sonopsis.load(folder, engine="torch")
    config = model.folder.config
    tagger = Tagger(replace(config.encoder, pooling="layers"), len(config.labels)).eval()
    first = model.module
    assert isinstance(first, Tagger) and first.head is not None and tagger.head is not None
    assert tagger.encoder.statistics is not None
    tagger.encoder.load_state_dict(first.encoder.state_dict(), strict=False)
    banks = {split: ClipBank(read(manifest, split), default_root()) for split in ("train", "validation")}
    taught = {name for row in banks["train"].rows for name in row.labels}
    labels = [name for name in config.labels if name in taught]
    ear, rate = Ear(tagger, model.folder.mel, labels), model.keep_rate
    train = [*ear.clips(banks["train"]), *ear.scenes(banks["train"], "train", SCENES)]
    clips = list(ear.clips(banks["validation"], most=None, rate=rate))
    scenes = list(ear.scenes(banks["validation"], "validation", HELD_OUT, rate=rate))
    own = [config.labels.index(name) for name in labels]
    share = fit(tagger, first.head, own, together(train), together(clips), together(scenes))
    save(tagger, out, replace(config, encoder=tagger.encoder.config, thresholds={}, calibration=None), model.folder.mel)
    return share


Examples = tuple[Tensor, Tensor]  # what heads read (C, pooled_width), before it is on one scale, and labels (C, labels)


class Ear:
    """What heads read of sounds, and the labels of these."""

    def __init__(self, tagger: Tagger, mel: MelConfig, labels: Sequence[str]) -> None:
        self.tagger, self.mel, self.labels = tagger, mel, labels

    def clips(self, bank: ClipBank, *, most: int | None = MOST, rate: float | None = None) -> Iterator[Examples]:
        """Clips one by one: of training clips `most` of each label, at most LONGEST seconds of each."""
        taken: dict[str, int] = {}
        for number, clip in enumerate(sorted(bank.rows, key=lambda clip: (clip.sha256, clip.start))):
            samples = _samples(bank, clip, self.mel.frames / FRAME_RATE if most is None else LONGEST)
            name = clip.labels[0] if clip.labels else ""
            taken[name] = taken.get(name, 0) + 1
            known = set(clip.labels) & set(self.labels)
            if known and len(samples) >= SHORTEST * SAMPLE_RATE and (most is None or taken[name] <= most):
                yield self._heard(samples, known, number, rate)

    def scenes(self, bank: ClipBank, split: Split, count: int, *, rate: float | None = None) -> Iterator[Examples]:
        """So many composed scenes of a split."""
        for number, scene in enumerate(compose(bank.rows, seed=SEEDS[split], count=count, split=split)):
            yield self._heard(render(scene, bank.read), set(scene.labels) & set(self.labels), number, rate)

    @torch.inference_mode()
    def _heard(self, samples: Samples, labels: set[str], number: int, rate: float | None) -> Examples:
        target = torch.zeros(1, len(self.labels))
        target[0, [self.labels.index(name) for name in labels]] = 1.0
        encoder = self.tagger.encoder
        pruning = uniform(encoder.config.depth, RATES[number % len(RATES)] if rate is None else rate)
        return encoder.pool(encoder(torch.from_numpy(mel_input(samples, self.mel)), pruning)), target


def together(examples: Sequence[Examples]) -> Examples:
    """Examples as one."""
    pooled, targets = zip(*examples, strict=True)
    return torch.cat(pooled), torch.cat(targets)


def fit(tagger: Tagger, first: Head, own: Sequence[int], train: Examples, clips: Examples, scenes: Examples) -> float:
    """Give the tagger, whose statistics have no scale yet, the joint head, whose rows `own` are those of the examples'
    labels; returns the share of the second head that is best on clips and scenes of validation."""
    assert tagger.encoder.statistics is not None and tagger.head is not None
    tagger.encoder.statistics.fit(train[0][:, first.width :])
    inputs, rows = Inputs(first, tagger.encoder.statistics), torch.tensor(own)
    print(f"{len(train[0])} training examples", flush=True)
    second = regression(inputs.of(train[0]), train[1])
    of_clips, of_scenes = inputs.of(clips[0]), inputs.of(scenes[0])
    heads = {s: joined(first.linear, second, rows, torch.cat([of_clips, of_scenes]), s) for s in SHARES}
    figures = {}
    for share, head in heads.items():
        precision, right = quality(clips[1], head(of_clips)[:, rows])
        among = quality(scenes[1], head(of_scenes)[:, rows])[0]
        figures[share] = precision + right + among
        print(
            f"share {share:g} of the second head: mAP {precision:.3f}, balanced accuracy {right:.3f}, "
            f"mAP of scenes {among:.3f}",
            flush=True,
        )
    best = max(figures, key=lambda share: figures[share])
    tagger.head.norm.load_state_dict(first.norm.state_dict())
    tagger.head.linear.load_state_dict(heads[best].state_dict())
    return best


def regression(inputs: Tensor, targets: Tensor, decay: float = DECAY) -> tuple[Tensor, Tensor]:
    """Weights (labels, W) and biases (labels,) of a logistic regression of targets (C, labels) on inputs (C, W)."""
    count = targets.sum(dim=0).clamp(min=1)
    balance = (targets / count).sum(dim=1, keepdim=True)  # each label weighs the same
    balance = balance / balance.mean()
    scale = inputs.std(dim=0).clamp(min=1e-6)
    inputs = inputs / scale
    weight = torch.zeros(targets.shape[1], inputs.shape[1], requires_grad=True)
    bias = torch.full((targets.shape[1],), -3.0, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        each = functional.binary_cross_entropy_with_logits(inputs @ weight.T + bias, targets, reduction="none")
        value = (balance * each).sum(dim=1).mean() + decay * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach() / scale, bias.detach()


class Inputs:
    """What the joint head reads: the normed vector of the first head, then the statistics of the blocks."""

    def __init__(self, first: Head, statistics: LayerStatistics) -> None:
        self.norm, self.width, self.statistics = first.norm, first.width, statistics

    def of(self, pooled: Tensor) -> Tensor:
        """Of pooled vectors whose statistics are on no scale yet (C, pooled_width)."""
        with torch.no_grad():
            parts = self.norm(pooled[:, : self.width]), self.statistics([pooled[:, self.width :]])
        return torch.cat(parts, dim=1)


@torch.no_grad()
def joined(first: nn.Linear, second: tuple[Tensor, Tensor], own: Tensor, seen: Tensor, share: float) -> nn.Linear:
    """One head: the mean of both with `share` of the second one, each on the scale that its logits of the inputs `seen`
    (C, W) have, on that of the first. Rows that are not in `own` are the first head's."""
    head = nn.Linear(seen.shape[1], first.out_features)
    head.weight.zero_()
    head.weight[:, : first.in_features] = first.weight
    head.bias.copy_(first.bias)
    mine = head(seen)[:, own]
    theirs = seen @ second[0].T + second[1]
    ratio = mine.std() / theirs.std()
    head.weight[own] = (1 - share) * head.weight[own] + share * ratio * second[0]
    head.bias[own] = (1 - share) * head.bias[own] + share * (ratio * (second[1] - theirs.mean()) + mine.mean())
    return head


def quality(targets: Tensor, logits: Tensor) -> tuple[float, float]:
    """mAP, and balanced accuracy of the clips of one label."""
    single = targets.sum(dim=1) == 1
    right = balanced_accuracy(targets[single].argmax(1).numpy(), logits[single].argmax(1).detach().numpy())
    return mean_average_precision(targets.numpy(), logits.detach().numpy()), right


def _samples(bank: ClipBank, clip: Clip, seconds: float) -> Samples:
    end = min(clip.end, clip.start + seconds)
    return bank.read(clip.path)[round(clip.start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} FOLDER MANIFEST OUT")
    main(*map(Path, sys.argv[1:]))
