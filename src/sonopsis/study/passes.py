"""Running a model on clips under variants, clip by clip."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sonopsis.audio import AudioError
from sonopsis.encoder.tagger import Tagger
from sonopsis.model import Model
from sonopsis.pruning.config import Pruning
from sonopsis.study.clips import Clip, Clips, groups_of
from sonopsis.study.predictions import Lines, Table, packed
from sonopsis.study.variants import Costs, Variant

Mel = NDArray[np.float32]
Progress = Callable[[int, int], object]  # clips done, clips


class Passes:
    """The tagger of a model, run window by window so that memory does not grow with the number of clips."""

    def __init__(self, model: Model) -> None:
        """Raises ModelError for an engine without torch modules, and ValueError for a model without labels."""
        module = model.module
        self.model = model
        self.tagger: Tagger = module if isinstance(module, Tagger) else module.tagger
        if self.tagger.head is None:
            raise ValueError(f"{model.name} has no classifier, so that there is no accuracy to study")
        self.config = self.tagger.encoder.config
        self.costs = Costs(self.config, len(model.labels))

    def fingerprint(self) -> str:
        """A hash of all that decides what the model says: the tagger's weights and settings, front end, calibration."""
        config = self.model.folder.config
        said = asdict(self.model.folder.mel), config.encoder.to_dict(), config.labels, config.calibration
        digest = hashlib.sha256(json.dumps(said, default=str).encode())
        for name, tensor in sorted(self.tagger.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def run(self, mel: Mel, pruning: Pruning | None) -> tuple[NDArray[np.float32], list[int]]:
        """One window (1, T, M) -> logits (labels,), and the patches that survived each pruning block."""
        tensor = torch.as_tensor(mel).to(next(self.tagger.parameters()))
        encoded = self.tagger.encoder(tensor, pruning, pooled_only=True)
        counts = [int((stage >= 0).sum()) for stage in encoded.stages]
        return self.tagger.logits(encoded)[0].float().cpu().numpy(), counts

    def clip(
        self, clip: Clip, mels: Sequence[Mel], variants: Iterable[Variant], present: Sequence[int], draw: int = 0
    ) -> dict[str, Any]:
        """The line of a clip in the file of predictions: scores are means over its windows, as in `sonopsis eval`.

        Scores are those of the labels in `present`, the best label that of all. Random patches differ between clips,
        and between draws.
        """
        said = {}
        seed = zlib.crc32(clip.name.encode(), draw)
        for variant in variants:
            pruning = variant.pruning(self.config.depth, seed)
            logits, reference, executed = [], 0.0, 0.0
            for mel in mels:
                row, counts = self.run(mel, pruning)
                macs = self.costs.of(variant, mel.shape[1], counts)
                logits.append(row)
                reference, executed = reference + macs.reference, executed + macs.executed
            scores = self.model.probabilities(np.stack(logits)).mean(axis=0, dtype=np.float64)
            said[variant.name] = {
                "top": int(scores.argmax()),
                "macs": [round(reference, 6), round(executed, 6)],
                "scores": packed(scores[list(present)]),
            }
        return {**about(clip), "windows": len(mels), "variants": said}


def about(clip: Clip) -> dict[str, Any]:
    """What a line says of its clip."""
    return {
        "clip": clip.name,
        "source": clip.row.source,
        "family": clip.row.family,
        "labels": list(clip.labels),
    }


def each_clip(
    model: Model,
    clips: Clips,
    lines: Lines,
    make: Callable[[Clip, list[Mel]], dict[str, Any]],
    progress: Progress = lambda done, total: None,
) -> None:
    """Write the line that `make` says of each clip that has none yet; a clip that cannot be read gets its error."""
    total = len(clips.clips)
    for number, clip in enumerate(clips.clips):
        if clip.name not in lines.done:
            try:
                mels = clips.mels(model, clip)
            except AudioError as error:
                lines.append({**about(clip), "error": str(error)})
            else:
                lines.append(make(clip, mels))
            lines.done.add(clip.name)
        progress(number + 1, total)


def sample_windows(model: Model, clips: Clips, count: int) -> list[Mel]:
    """The first windows (1, T, M) of `count` clips evenly spread over the study, of those that can be read."""
    found = []
    places = np.unique(np.linspace(0, len(clips.clips) - 1, count).astype(int))
    for place in places:
        try:
            found.append(clips.mels(model, clips.clips[place])[0])
        except AudioError:
            continue
    if not found:
        raise ValueError("none of the first clips that were tried could be read; check the paths of the manifest")
    return found


def heading(study: str, model: Model, clips: Clips, table: Table) -> dict[str, Any]:
    """What a report says first, as JSON values: which study of which model, on what."""
    level, groups = groups_of(table.clips)
    return {
        "study": study,
        "model": model.name,
        "encoder": model.engine.config.to_dict(),
        "split": clips.split,
        "clips": len(table.clips),
        "unread": table.unread,
        "left_out": clips.left_out,
        "labels": [model.labels[label] for label in clips.present],
        "groups": {"level": level, "count": len(set(groups))},
    }
