"""Make a model's scores probabilities, and choose its thresholds and which captions it says, on validation data.

python scripts/calibrate.py FOLDER MANIFEST      # writes into FOLDER/config.json

- Slope and offset of the scores minimise the log-loss over all labels of the validation clips.
- Each label gets the threshold with the best F1, at the calibrated scores (metrics/calibration.py).
- Of a captioner whose labels are in the built-in vocabulary, `belief` is the one with the highest event F1 on composed
  validation scenes among those with which at most `MOST_ABSENT` of the captions name an absent sound (if there is none:
  the one with the fewest such captions). The confidence of sentences is made a probability on these scenes. The
  threshold of the tag template beside which `sonopsis eval` puts captions is the one with its highest event F1.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import sonopsis
from sonopsis.calibration import Calibration, belief
from sonopsis.data.clips import ClipBank
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.folder import ModelConfig, write_description
from sonopsis.metrics.calibration import platt
from sonopsis.metrics.evaluate import choose_threshold, choose_thresholds, tag_scores
from sonopsis.metrics.events import event_f1, hallucination_rate
from sonopsis.model import Model, Request
from sonopsis.scenes.compose import compose
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.scenes.words import parser
from sonopsis.speaker import UNCLEAR_CAPTION

SCENES = 120
BELIEFS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3)
GROUNDING = 0.25  # of answers: share of a label's threshold below which it is taken for absent (docs/log.md)
MOST_ABSENT = 0.44  # half of what the first model had on test scenes


def main(folder: Path, manifest: Path, scenes: int = SCENES) -> ModelConfig:
    """Choose, write and return the model's configuration; it holds from then on."""
    loaded = sonopsis.load(folder)
    plain = replace(loaded.folder.config, calibration=None, thresholds={})
    rows = read(manifest, "validation")
    folders = [manifest.parent, default_root()]
    targets, scores, _ = tag_scores(_with(loaded, plain), rows, folders)
    # No clip says whether a sound is there that only the teacher knows, so these labels tell nothing about scores.
    own = [place for place, label in enumerate(plain.labels) if label not in plain.distilled_labels]
    inside = np.clip(scores[:, own], 1e-6, 1 - 1e-6)
    slope, offset = platt(targets[:, own].ravel(), np.log(inside / (1 - inside)).ravel())
    config = replace(plain, calibration=Calibration(slope, offset))
    config = replace(config, thresholds=choose_thresholds(_with(loaded, config), rows, folders))
    if config.lm is not None and set(config.labels) - set(config.distilled_labels) <= set(LEAVES):
        bank = ClipBank(rows, manifest.parent)
        config = _believed(loaded, config, list(compose(bank.rows, seed=4, count=scenes, split="validation")), bank)
        known = list(compose(bank.rows, seed=1, count=2 * scenes, split="validation"))
        threshold = choose_threshold(_with(loaded, config), known, bank.read)
        config = replace(config, training={**config.training, "tag_threshold": threshold})
    write_description(folder, config, loaded.folder.mel)
    return config


def _believed(loaded: Model, config: ModelConfig, scenes: list[Scene], bank: ClipBank) -> ModelConfig:
    """The configuration with `belief` and `grounding`, and the numbers of the confidence where captions are drawn."""
    calibration = replace(config.calibration or Calibration(), grounding=GROUNDING)
    plain = replace(calibration, belief=0.0, sentence_slope=1.0, sentence_offset=0.0)
    model, named = _with(loaded, replace(config, calibration=plain)), parser(config.labels)
    everything = Request(captions=True, top_k=len(config.labels), threshold=0.0)
    found = [model.describe_samples(render(scene, bank.read), everything) for scene in scenes]
    beliefs = [belief(named(window.caption or ""), dict(window.labels or ())) for window in found]
    texts = {
        least: [(w.caption or "") if b >= least else UNCLEAR_CAPTION for w, b in zip(found, beliefs, strict=True)]
        for least in BELIEFS
    }
    absent = {least: hallucination_rate(scenes, said) for least, said in texts.items()}
    for least, said in texts.items():
        print(f"belief {least:g}: event F1 {event_f1(scenes, said):.3f}, absent sounds {absent[least]:.3f}")
    limit = max(MOST_ABSENT, min(absent.values()))
    best = max((least for least in BELIEFS if absent[least] <= limit), key=lambda least: event_f1(scenes, texts[least]))
    calibration = replace(calibration, belief=best)
    known = [(s, w) for s, w, b in zip(scenes, found, beliefs, strict=True) if w.confidence and b >= best]
    if known:
        true = [1 - hallucination_rate([scene], [window.caption or ""]) for scene, window in known]
        stated = np.clip([window.confidence or 0.0 for _, window in known], 1e-6, 1 - 1e-6)
        slope, offset = platt(true, np.log(stated / (1 - stated)))
        calibration = replace(calibration, sentence_slope=slope, sentence_offset=offset)
    return replace(config, calibration=calibration)


def _with(model: Model, config: ModelConfig) -> Model:
    return Model(replace(model.folder, config=config), model.engine)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER MANIFEST")
    print(main(Path(sys.argv[1]), Path(sys.argv[2])).calibration)
