"""Scenes that the encoder of the captioning study hears once: kept in files that all arms and seeds share.

Scenes whose log-Mels have the same length after padding are heard together, and every batch of an arm is of one length.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.connector import fill_grid
from sonopsis.data.clips import ClipBank
from sonopsis.encoder.encoded import Encoded
from sonopsis.mel import FRAME_RATE, MelConfig, mel_input
from sonopsis.pruning import uniform
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene
from sonopsis.training.batches import LENGTH_STEP, stack

TOGETHER = 16  # scenes in a file, at most


@dataclass(frozen=True)
class Heard:
    """What the encoder made of scenes at one keep rate."""

    lengths: list[int]  # of each scene: padded Mel frames
    groups: list[list[int]]  # scenes of each file
    files: list[dict[str, Tensor]]
    places: dict[int, tuple[int, int]]  # scene -> file and row
    rows: int  # frequency rows of the grid

    def get(self, scenes: Sequence[int], name: str) -> Tensor:
        """A tensor of scenes of one length, (B, ...) float32, or int64 for "index"."""
        found = torch.stack([self.files[file][name][row] for file, row in (self.places[scene] for scene in scenes)])
        return found.long() if name == "index" else found.float()

    def encoded(self, scenes: Sequence[int], *, filled: bool) -> Encoded[Tensor]:
        """Tokens of scenes of one length: the survivors, or all cells with the last state of those dropped."""
        tokens = self.get(scenes, "filled" if filled else "tokens")  # (B, K, D)
        count, time = tokens.shape[1], self.files[self.places[scenes[0]][0]]["filled"].shape[1] // self.rows
        index = torch.arange(count).expand(len(tokens), -1) if filled else self.get(scenes, "index")
        whole = torch.ones(len(tokens), count)
        return Encoded(tokens, index, whole.bool(), whole, self.get(scenes, "prefix"), (time, self.rows), [])


def frames_of(scene: Scene, mel: MelConfig) -> int:
    """Mel frames of a scene after padding."""
    return min(-(-round(scene.duration * FRAME_RATE) // LENGTH_STEP) * LENGTH_STEP, mel.frames)


def grouped(lengths: Sequence[int]) -> list[list[int]]:
    """Scenes of one length, as many together as a file has."""
    groups: list[list[int]] = []
    for scene in sorted(range(len(lengths)), key=lambda scene: lengths[scene]):
        if not groups or len(groups[-1]) == TOGETHER or lengths[groups[-1][0]] != lengths[scene]:
            groups.append([])
        groups[-1].append(scene)
    return groups


@dataclass(frozen=True)
class Steps:
    """What another ear made of scenes, as the connector of the layout concat reads it."""

    lengths: list[int]  # of each scene: padded Mel frames
    groups: list[list[int]]  # scenes of one length
    steps: list[Tensor]  # of each scene (t, inputs + further) float16
    summaries: list[Tensor]  # of each scene (D,) float16

    def get(self, scenes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Time steps (B, t, inputs + further) and one vector (B, D) of scenes of one length."""
        steps, summaries = ([found[scene] for scene in scenes] for found in (self.steps, self.summaries))
        return torch.stack(steps).float(), torch.stack(summaries).float()


@torch.inference_mode()
def hear_steps(captioner: Captioner, scenes: Sequence[Scene], bank: ClipBank, mel: MelConfig) -> Steps:
    """What the encoders of a captioner, which are not trained, make of scenes."""
    captioner.eval()
    lengths = [frames_of(scene, mel) for scene in scenes]
    groups = grouped(lengths)
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for group in groups:
        mels = stack([mel_input(render(scenes[scene], bank.read), mel)[0] for scene in group], mel, LENGTH_STEP)
        heard = captioner.hear(mels[:, : lengths[group[0]]])  # Whisper's frames may end one step later
        found |= dict(zip(group, zip(heard.steps.half(), heard.summary.half(), strict=True), strict=True))
    pairs = [found[scene] for scene in range(len(scenes))]
    return Steps(lengths, groups, [steps for steps, _ in pairs], [summary for _, summary in pairs])


def alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The scenes of each length."""
    for length in np.unique(lengths):
        yield np.flatnonzero(np.array(lengths) == length).tolist()


@torch.inference_mode()
def hear(
    captioner: Captioner, scenes: Sequence[Scene], bank: ClipBank, mel: MelConfig, rates: Sequence[float], folder: Path
) -> dict[float, Heard]:
    """What the encoder makes of scenes at each keep rate; files that are missing are written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder, found = captioner.tagger.eval(), {}
    lengths = [frames_of(scene, mel) for scene in scenes]
    groups = grouped(lengths)
    for number, group in enumerate(groups):
        missing = [rate for rate in rates if not _file(folder, number, rate).is_file()]
        if missing:
            mels = stack([mel_input(render(scenes[scene], bank.read), mel)[0] for scene in group], mel, LENGTH_STEP)
            assert mels.shape[1] == lengths[group[0]]
        for rate in missing:
            encoded = encoder.encode(mels, uniform(encoder.encoder.config.depth, rate), collect_dropped=True)
            tensors = {"filled": fill_grid(encoded).half(), "tokens": encoded.tokens.half()}
            tensors |= {
                "prefix": encoded.prefix.half(),
                "index": encoded.index.int(),
                **({"mel": mels.half()} if rate == 1 else {}),
            }
            scratch = _file(folder, number, rate).with_suffix(f".{os.getpid()}.part")
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, scratch)
            scratch.replace(_file(folder, number, rate))
    places = {scene: (file, row) for file, group in enumerate(groups) for row, scene in enumerate(group)}
    rows = encoder.encoder.config.grid(mel.frames)[1]
    for rate in rates:
        files = [load_file(_file(folder, number, rate)) for number in range(len(groups))]
        found[rate] = Heard(lengths, groups, files, places, rows)
    return found


def _file(folder: Path, number: int, rate: float) -> Path:
    return folder / f"{number:04}-{rate:g}.safetensors"
