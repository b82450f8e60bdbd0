"""Make a model's scores probabilities, and choose its thresholds and what its captions may name, on validation data.

python scripts/calibrate.py FOLDER MANIFEST      # writes into FOLDER/config.json

- Slope and offset of the scores minimise the log-loss over all labels of the validation clips.
- Each label gets the threshold with the best F1, at the calibrated scores (metrics/calibration.py).
- Of a captioner whose labels are in the built-in vocabulary, `grounding` is the share with the highest event F1 on
  composed validation scenes among those with which at most `MOST_ABSENT` of the captions name an absent sound (if there
  is none: the share with the fewest such captions). The confidence of sentences is made a probability on these scenes.
  The threshold of the tag template beside which `sonopsis eval` puts captions is the one with its highest event F1.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import sonopsis
from sonopsis.calibration import Calibration
from sonopsis.data.clips import ClipBank
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.folder import ModelConfig, write_description
from sonopsis.metrics.calibration import platt
from sonopsis.metrics.evaluate import choose_threshold, choose_thresholds, tag_scores
from sonopsis.metrics.events import event_f1, hallucination_rate
from sonopsis.model import Model
from sonopsis.results import Caption
from sonopsis.scenes.compose import compose
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene
from sonopsis.scenes.vocabulary import LEAVES

SCENES = 120
GROUNDINGS = (0.0, 0.25, 0.5, 0.75, 1.0)
OF_FACTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of a language model that is told the labels which reach their share
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
        config = _grounded(loaded, config, list(compose(bank.rows, seed=4, count=scenes, split="validation")), bank)
        known = list(compose(bank.rows, seed=1, count=2 * scenes, split="validation"))
        threshold = choose_threshold(_with(loaded, config), known, bank.read)
        config = replace(config, training={**config.training, "tag_threshold": threshold})
    write_description(folder, config, loaded.folder.mel)
    return config


def _grounded(loaded: Model, config: ModelConfig, scenes: list[Scene], bank: ClipBank) -> ModelConfig:
    """The configuration with `grounding`, and the numbers of the confidence where captions are drawn."""
    calibration = config.calibration or Calibration()
    found: dict[float, list[Caption]] = {}
    shares = OF_FACTS if config.facts else GROUNDINGS
    for share in shares:
        chosen = replace(calibration, grounding=share, sentence_slope=1.0, sentence_offset=0.0)
        model = _with(loaded, replace(config, calibration=chosen))
        found[share] = [model.caption(render(scene, bank.read), sample_rate=16_000)[0] for scene in scenes]
    texts = {share: [caption.text for caption in captions] for share, captions in found.items()}
    absent = {share: hallucination_rate(scenes, said) for share, said in texts.items()}
    for share, said in texts.items():
        print(f"grounding {share:g}: event F1 {event_f1(scenes, said):.3f}, absent sounds {absent[share]:.3f}")
    limit = max(MOST_ABSENT, min(absent.values()))
    best = max((share for share in shares if absent[share] <= limit), key=lambda share: event_f1(scenes, texts[share]))
    calibration = replace(calibration, grounding=best)
    known = [(scene, caption) for scene, caption in zip(scenes, found[best], strict=True) if caption.confidence]
    if known:
        true = [1 - hallucination_rate([scene], [caption.text]) for scene, caption in known]
        stated = np.clip([caption.confidence or 0.0 for _, caption in known], 1e-6, 1 - 1e-6)
        slope, offset = platt(true, np.log(stated / (1 - stated)))
        calibration = replace(calibration, sentence_slope=slope, sentence_offset=offset)
    return replace(config, calibration=calibration)


def _with(model: Model, config: ModelConfig) -> Model:
    return Model(replace(model.folder, config=config), model.engine)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER MANIFEST")
    print(main(Path(sys.argv[1]), Path(sys.argv[2])).calibration)
