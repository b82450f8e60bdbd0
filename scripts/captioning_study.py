"""Train one arm of the captioning study with one seed, or all of them, and keep what each says of the test scenes.

    python scripts/captioning_study.py keep-0.5 1 WORK         # one run -> results/captioning/keep-0.5-1.json
    python scripts/captioning_study.py concat,full 0,1 WORK    # two arms with seed 0, then with seed 1
    python scripts/captioning_study.py all 0,1,2 WORK          # every arm with every seed

Arms are in scripts/captioning_arms.py. Before the first run of a family of arms, validation scenes choose its learning
rate (chosen.json). WORK is a folder for what the encoder heard and for unfinished runs: the same
command carries on there. A run whose file is in results/captioning/ is not trained again. Needs the recordings of
`sonopsis data fetch --profile full` and `sonopsis data manifest`, `make smollm2` for the arms smollm2-*, `make
pretrained` for ear-*, and scripts/captioning_base.py for base-*.
"""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from captioning_arms import ARMS, CHOICE, ROOT, Arm, Family, start_folder
from captioning_heard import Heard, Steps, alike, hear, hear_steps
from torch import Tensor, nn

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.connector import Connector
from sonopsis.cost import encoder_macs
from sonopsis.data.clips import ClipBank
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.data.splits import Split
from sonopsis.folder import describe
from sonopsis.metrics.events import score_captions
from sonopsis.scenes.benchmark import load_benchmark
from sonopsis.scenes.compose import compose
from sonopsis.scenes.scene import Scene
from sonopsis.training.batches import Batch, sounding_labels
from sonopsis.training.building import merged
from sonopsis.training.captioning import FIGURES, LONGEST_CAPTION, Captioning
from sonopsis.training.config import TrainConfig
from sonopsis.training.loop import fit
from sonopsis.training.losses import caption_loss, connector_losses
from sonopsis.training.start import open_start
from sonopsis.training.tokens import encode_captions

RESULTS = ROOT / "results" / "captioning"
CHOSEN = RESULTS / "chosen.json"
SCENES: dict[Split, int] = {"train": 800, "validation": 120, "test": 240}
RATES = (1.0, 0.7, 0.5, 0.4)
CHOOSING = 100  # the seed of runs that choose


class Study:
    """What all runs share: recordings, scenes, and what the encoder heard of them."""

    def __init__(self, work: Path) -> None:
        self.work, self.start = work, start_folder(work)
        root = default_root()
        test = load_benchmark()[: SCENES["test"]]
        needed = {piece.path for scene in test for piece in scene.pieces}
        rows = {split: read(root / "manifest.jsonl", split) for split in SCENES}
        rows["test"] = [row for row in rows["test"] if row.path in needed]
        known = set(describe(self.start).config.labels)
        self.banks = {split: ClipBank(rows[split], root) for split in SCENES}
        for bank in self.banks.values():  # the start knows most of today's labels
            bank.rows = [row for row in bank.rows if known.issuperset(row.labels)]
        self.scenes: dict[Split, list[Scene]] = {
            split: list(compose(self.banks[split].rows, seed=7, count=SCENES[split], split=split))
            for split in ("train", "validation")
        } | {"test": test}
        self._heard: dict[tuple[Split, float], Heard] = {}
        self._steps: dict[tuple[Split, str], Steps] = {}

    def heard(self, split: Split, rate: float) -> Heard:
        """What the encoder of the start made of a split's scenes."""
        if (split, rate) not in self._heard:
            start = open_start(ARMS["concat"].config(self.start, self.work, 0.0, 0))
            assert start.captioner is not None
            folder = self.work / "heard" / split
            found = hear(start.captioner, self.scenes[split], self.banks[split], start.mel, RATES, folder)
            self._heard |= {(split, one): heard for one, heard in found.items()}
        return self._heard[split, rate]

    def steps(self, split: Split, run: "Run") -> Steps:
        """What the encoders of another ear made of a split's scenes, the same for all seeds."""
        key = (split, repr(run.arm))
        if key not in self._steps:
            self._steps[key] = hear_steps(run.module, self.scenes[split], self.banks[split], run.start.mel)
        return self._steps[key]

    def connector(self) -> Connector:
        """The connector of the start, whose labels the language model understands."""
        start = open_start(ARMS["concat"].config(self.start, self.work, 0.0, 0)).captioner
        assert start is not None
        return start.connector


class Run(Captioning):
    """One arm with one seed; `sonopsis.training.loop.Task`. A batch has the numbers of its scenes in place of sound."""

    def __init__(self, study: Study, arm: Arm, config: TrainConfig) -> None:
        set_seed(config.seed)
        super().__init__(config, open_start(config), study.banks["train"], study.banks["validation"])
        self.study, self.arm = study, arm
        if arm.fresh:
            self.module.connector = Connector(self.module.connector.config)
            if arm.keeps_words:
                own = ("norm.", "mlp.") if arm.ear is None else ("norm.", "mlp.", "summary.")  # as wide as the encoder
                known = study.connector().state_dict()
                kept = {name: value for name, value in known.items() if not name.startswith(own)}
                self.module.connector.load_state_dict(kept, strict=False)
        self.alike = [np.array(scenes) for scenes in alike(self.heard("train").lengths)]

    def heard(self, split: Split) -> Heard | Steps:
        """What the encoder made of a split's scenes."""
        if self.arm.ear is not None:
            return self.study.steps(split, self)
        return self.study.heard(split, self.arm.keep_rate)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Scenes of one length in each batch; a remainder waits for another epoch."""
        epoch, start, order = 0, 0, self._ordered(0)
        for step in range(first, last):
            while step >= start + len(order):
                epoch, start = epoch + 1, start + len(order)
                order = self._ordered(epoch)
            numbers = order[step - start]
            rng = np.random.default_rng((self.config.seed, step, 2))
            told = [self.study.scenes["train"][number].captions for number in numbers]
            ids = encode_captions(self.tokenizer, [captions[rng.integers(len(captions))] for captions in told])
            scenes = [self.study.scenes["train"][number] for number in numbers]
            frames = self.heard("train").lengths[numbers[0]]
            sounding = sounding_labels(scenes, self.labels, frames, self.start.encoder, self.arm.pool)
            yield Batch(torch.tensor(numbers), sounding.amax(dim=1), ids, ids, sounding)

    def _ordered(self, epoch: int) -> list[list[int]]:
        rng, size = np.random.default_rng((self.config.seed, epoch, 1)), self.config.batch_size
        batches = []
        for scenes in self.alike:
            order = rng.permutation(scenes)
            batches += order[: len(order) // size * size].reshape(-1, size).tolist()
        if not batches:
            raise ValueError(f"no {size} scenes have the same length; compose more scenes")
        return [batches[place] for place in rng.permutation(len(batches))]

    def read(self, module: Captioner, split: Split, scenes: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """What the language model reads of scenes of one length, (B, L, E), and the logits of the labels in it."""
        heard = self.heard(split)
        if isinstance(heard, Steps):
            return module.connector.read_steps(*heard.get(scenes))
        if self.arm.encoder == "frozen":
            encoded = heard.encoded(scenes, filled=self.arm.layout == "concat")
        else:
            encoded = module.encode(heard.get(scenes, "mel"))
        return module.connector.read(encoded)

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Next-word cross-entropy of the caption, and the weighted losses of labels along the prefix."""
        assert isinstance(module, Captioner) and batch.ids is not None and batch.targets is not None
        prefix, recognised = self.read(module, "train", batch.mel.tolist())
        caption = caption_loss(module.words(prefix, batch.ids), batch.targets, 0.0)
        if recognised is None:
            return caption, {"caption": caption.item()}
        whole, timing = connector_losses(recognised, batch.labels, batch.sounding, module.connector.config)
        return caption + self.config.timing_weight * (whole + timing), {"caption": caption.item()}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Nothing while it trains: validation comes at its end."""
        return {}

    def export(self, module: nn.Module, folder: Path) -> None:
        """No model is kept, only what it said."""

    @torch.inference_mode()
    def captions(self, module: Captioner, split: Split) -> tuple[list[str], list[int]]:
        """A greedy caption of each scene, and how many vectors its language model read."""
        said, lengths = [""] * SCENES[split], [0] * SCENES[split]
        for group in self.heard(split).groups:
            prefix, _ = self.read(module, split, group)
            found = module.lm.generate(
                embeds=module.prompt(prefix), max_new_tokens=LONGEST_CAPTION, stop_ids=(module.end_of_text,)
            )
            for scene, (best, *_) in zip(group, found, strict=True):
                said[scene] = self.tokenizer.decode(list(best.ids)).strip()
                lengths[scene] = prefix.shape[1]
        return said, lengths


def train(study: Study, name: str, seed: int, rate: float, *, test: bool) -> dict[str, Any]:
    """Train one run and say what came of it; the test scenes are captioned only with `test`."""
    arm, began = ARMS[name], time.perf_counter()
    output = study.work / "runs" / f"{name}-{seed}-{rate:g}"
    run = Run(study, arm, arm.config(study.start, output, rate, seed))
    fit(run, run.config)
    trained, parts = [p for p in run.module.parameters() if p.requires_grad], (run.module.connector, run.module.lm)
    facts = {
        "arm": name,
        "seed": seed,
        "configuration": asdict(arm) | {"learning_rate": rate, "batch_size": run.config.batch_size},
        "scenes": SCENES,
        "trained": sum(p.numel() for p in trained),
        "parts": [sum(p.numel() for p in part.parameters()) for part in parts],  # the connector, the language model
        "seconds": round(time.perf_counter() - began, 1),
        "language_model_trained": sum(p.numel() for p in run.module.lm.parameters() if p.requires_grad),
    }
    module = merged(run.module).eval()
    if test:
        frames = run.heard("test").lengths
        captions, lengths = run.captions(module, "test")
        macs = {"macs": encoder_cost(run, frames), "unpruned_macs": encoder_cost(run, frames, pruned=False)}
        facts |= macs | {"prefix": round(float(np.mean(lengths)), 2), "captions": captions}
    else:
        said, _ = run.captions(module, "validation")
        scores = score_captions(study.scenes["validation"], said, resamples=1)
        facts["validation"] = {figure: round(scores[figure], 4) for figure in FIGURES}
    shutil.rmtree(output)
    return facts


def encoder_cost(run: Run, frames: Sequence[int], *, pruned: bool = True) -> float:
    """Executed multiply-accumulates of the encoder, G, the mean over scenes of so many Mel frames.

    A captioner reads all tokens, where a tagger reads CLS. Where dropped cells are filled with their last states, these
    are computed too: all that the paper's count has.
    """
    rate, filled = run.arm.keep_rate if pruned else 1.0, run.arm.layout == "concat"
    encoders = [(run.module.tagger.encoder.config, rate)]
    if (second := run.module.second_config) is not None:
        encoders.append((second.encoder, 1.0))
    total = 0.0
    for config, share in encoders:
        all_read = replace(config, pooling="mean", token_norm=True)
        costs = [encoder_macs(all_read, each, share) for each in frames]
        total += float(np.mean([cost.reference if filled else cost.executed for cost in costs]))
    return round(total, 4)


def chosen_rate(study: Study, family: Family) -> float:
    """The learning rate of a family of arms: that with the highest CIDEr-D on validation scenes."""
    if family not in chosen():
        name, rates = CHOICE[family]
        tried = {rate: train(study, name, CHOOSING, rate, test=False)["validation"] for rate in rates}
        best = max(tried, key=lambda rate: tried[rate]["cider_d"])
        said = {"rate": best, "tried": {f"{rate:g}": figures for rate, figures in tried.items()}}
        _write(CHOSEN, chosen() | {family: said})  # which another process may have extended meanwhile
    rate: float = chosen()[family]["rate"]
    return rate


def chosen() -> dict[str, Any]:
    """What validation scenes chose so far, by family."""
    found: dict[str, Any] = json.loads(CHOSEN.read_text(encoding="utf-8")) if CHOSEN.is_file() else {}
    return found


def _write(file: Path, facts: dict[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".part")
    scratch.write_text(json.dumps(facts, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    scratch.replace(file)


def main(arguments: list[str]) -> None:
    """Make one file of results, or all that are missing."""
    if len(arguments) != 3:
        sys.exit(__doc__)
    names = list(ARMS) if arguments[0] == "all" else arguments[0].split(",")
    if unknown := sorted(set(names) - set(ARMS)):
        sys.exit(f"there is no arm {unknown[0]}; there are {', '.join(ARMS)}")
    wanted = [(name, int(seed)) for seed in arguments[1].split(",") for name in names]
    study = Study(Path(arguments[2]))
    for name, seed in wanted:
        file = RESULTS / f"{name}-{seed}.json"
        if not file.is_file():
            facts = train(study, name, seed, chosen_rate(study, ARMS[name].family), test=True)
            _write(file, facts)
            print(name, seed, facts["seconds"], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
