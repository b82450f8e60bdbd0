"""What a model is, as data: sizes, cost at each keep rate, labels, training."""

from math import prod
from typing import Any

from safetensors import safe_open

from sonopsis.cost import encoder_macs
from sonopsis.model import Model
from sonopsis.ontology import id_of, parents_of

KEEP_RATES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
PARTS = {
    "encoder": "tagger.encoder.",
    "head": "tagger.head.",
    "second encoder": "second.",
    "connector": "connector.",
    "lm": "lm.",
}


def describe_model(model: Model) -> dict[str, Any]:
    """The facts `info` tells: `macs_g` are G multiply-accumulates of tagging one clip of the model's input length.

    `reference` counts as arXiv 2504.01690 does, `executed` what is really computed. `classes` has each label's
    id and parents in the AudioSet ontology.
    """
    config, frames = model.engine.config, model.folder.mel.frames
    macs = {}
    for rate in KEEP_RATES:
        count = encoder_macs(config, frames, rate, len(model.labels))
        macs[str(rate)] = {"reference": round(count.reference, 6), "executed": round(count.executed, 6)}
    sizes = _sizes(model)
    whole = sizes if model.engine.captions else {f"tagger.{name}": size for name, size in sizes.items()}
    parts = {part: sum(n for name, n in whole.items() if name.startswith(start)) for part, start in PARTS.items()}
    return {
        "name": model.name,
        "family": config.family,
        "parameters": sum(sizes.values()),
        "parts": {part: size for part, size in parts.items() if size},
        "file_mb": round(model.folder.weights.stat().st_size / 1e6, 2),
        "window": model.window,
        "keep_rate": model.keep_rate,
        "macs_g": macs,
        "labels": list(model.labels),
        "classes": [_class(label, label in model.folder.config.distilled_labels) for label in model.labels],
        "training": model.folder.config.training,
    }


def _class(label: str, distilled: bool) -> dict[str, Any]:
    return {"label": label, "id": id_of(label), "parents": list(parents_of(label)), "distilled": distilled}


def _sizes(model: Model) -> dict[str, int]:
    """How many numbers each parameter has; an exported model's file has parameters alone."""
    if model.engine.name == "torch":
        return {name: parameter.numel() for name, parameter in model.module.named_parameters()}
    with safe_open(model.folder.weights, "np") as file:
        return {name: prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
