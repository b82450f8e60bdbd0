"""Endless, resumable batches: step number in, composed audio as log-Mel with its targets out.

Every batch is a function of (seed, step) alone, so a resumed run continues with the batches it would have seen, however
many worker processes compose them.
"""

import math
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sonopsis.audio import SAMPLE_RATE
from sonopsis.captioning.connector import Heard
from sonopsis.data.clips import Clip, ClipBank
from sonopsis.data.splits import Split
from sonopsis.encoder.config import EncoderConfig
from sonopsis.mel import FRAME_RATE, MelConfig, mel_input
from sonopsis.scenes.compose import compose
from sonopsis.scenes.questions import ask
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Event, Facts, Scene
from sonopsis.training.augment import augment_clip, augment_mel, colour_mel, mask_mel
from sonopsis.training.channel import change_recording
from sonopsis.training.config import DataConfig
from sonopsis.training.loudness import heard_level_db, quieter_gain
from sonopsis.training.spectra import mix_styles
from sonopsis.training.teacher import Teacher
from sonopsis.training.tokens import encode_answers

# Lengths of batches come in steps: a matrix product of a new shape is compiled first, which takes longer than padding.
LENGTH_STEP = 64  # Mel frames
LENGTH_DRAWN = 0.32  # seconds
TOGETHER = 8  # batches whose examples are drawn together and sorted by length, so that little is padded


@dataclass(frozen=True)
class Batch:
    """One step's examples."""

    mel: Tensor  # (B, T, M) normalised float32
    labels: Tensor  # (B, labels) from 0 to 1; NaN in examples of recordings that nobody labelled
    ids: Tensor | None = None  # (B, W) caption tokens, end of text after the last word, then PADDING
    targets: Tensor | None = None  # (B, W) those of `ids` that are to be learned; a question before them is PADDING
    sounding: Tensor | None = None  # (B, t, labels) 0 or 1: which labels sound in each time step of the connector
    heard: Tensor | None = None  # (B, 521) what the teacher hears, probabilities
    features: Heard | None = None  # what a frozen encoder made of the examples, in place of `mel`, which is empty then
    visible: Tensor | None = None  # (B, K) int64: grid cells that masked pretraining shows, in time-major order

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        ids, targets, sounding, heard, visible = (
            None if one is None else one.to(device)
            for one in (self.ids, self.targets, self.sounding, self.heard, self.visible)
        )
        features = None if self.features is None else self.features.to(device)
        return Batch(self.mel.to(device), self.labels.to(device), ids, targets, sounding, heard, features, visible)


class Mixtures:
    """Short mixtures of one or two clips, for tagging: `batch(step)`."""

    def __init__(
        self,
        bank: ClipBank,
        labels: list[str],
        mel: MelConfig,
        data: DataConfig,
        size: int,
        seed: int,
        teacher: Teacher | None = None,
        unlabelled: tuple[float, ClipBank] | None = None,
    ) -> None:
        self.bank, self.labels, self.mel, self.data, self.size, self.seed = bank, labels, mel, data, size, seed
        self.teacher = teacher
        self.unlabelled = unlabelled  # the share of examples that are of these recordings
        self.by_label: dict[str, dict[str, list[Clip]]] = {}
        for row in bank.rows:
            for label in row.labels:
                families = self.by_label.setdefault(label, {})
                families.setdefault(f"{row.source}/{row.family}", []).append(row)
        clips = np.array([sum(map(len, self.by_label[label].values())) for label in sorted(self.by_label)], np.float64)
        weights = clips**data.label_power
        self._chances = weights / weights.sum()  # of each label, sorted

    def batch(self, step: int) -> Batch:
        """The examples of one step: labels drawn evenly, then a family, then a clip, so that no session dominates."""
        rng = np.random.default_rng((self.seed, step))
        seconds = self._seconds(rng)
        mels = np.empty((self.size, example_frames(seconds, self.mel), self.mel.mels), np.float32)
        targets = np.zeros((self.size, len(self.labels)), np.float32)
        heard = []
        for i in range(self.size):
            if self.unlabelled is not None and rng.random() < self.unlabelled[0]:
                samples = self._without_labels(rng, self.unlabelled[1], seconds)
                targets[i] = np.nan
            else:
                samples = self._mixture(rng, targets[i], seconds)
            if self.teacher is not None:  # it hears the sounds themselves, the student what a recorder makes of them
                heard.append(self.teacher.scores(samples))
            samples = np.clip(change_recording(samples, self.data, rng), -1, 1)
            mel = mel_input(samples, self.mel)[0]
            colour_mel(mel, self.data, self.mel.std, rng)
            mels[i] = mel[: mels.shape[1]]
        if self.data.mixstyle:
            mix_styles(mels, self.data.mixstyle, rng)
        for mel in mels:
            mask_mel(mel, self.data, rng)
        found = torch.from_numpy(np.stack(heard)) if heard else None
        return Batch(torch.from_numpy(mels), torch.from_numpy(targets), heard=found)

    def _seconds(self, rng: np.random.Generator) -> float:
        """The length of a batch's examples; where it is drawn, each doubling of it is as likely as the next."""
        longest = min(self.data.seconds, self.mel.frames / FRAME_RATE)
        if self.data.shortest is None:
            return longest
        drawn = self.data.shortest * (longest / self.data.shortest) ** rng.random()
        return max(LENGTH_DRAWN, round(drawn / LENGTH_DRAWN) * LENGTH_DRAWN)

    def _mixture(self, rng: np.random.Generator, target: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
        length = round(seconds * SAMPLE_RATE) + 240  # 240: the frames of the last 10 ms need a whole window
        mixed = (rng.standard_normal(length) * 10 ** (rng.uniform(-75, -45) / 20)).astype(np.float32)
        events = 1 if rng.random() < 1 - self.data.mixing else 2
        share = None  # of the second sound in what is heard
        if self.data.ratio_mixing and rng.random() < self.data.ratio_mixing:
            events, share = 2, rng.uniform(0.02, 0.5)
        louder_db, begin, end = 0.0, 0, 0  # of the first sound
        for event in range(events):
            families = self.by_label[self._label(rng)]
            clips = families[sorted(families)[rng.integers(len(families))]]
            row = clips[rng.integers(len(clips))]
            piece = augment_clip(excerpt(self.bank.read(row.path), row.active, length, rng), self.data, rng)[:length]
            level = np.sqrt(np.mean(piece**2)) + 1e-5
            gain = 10 ** ((rng.uniform(-30, -14) if event == 0 else rng.uniform(-34, -16)) / 20) / level
            earliest, latest, heard = 0, length - len(piece), 1.0
            if event == 1 and share is not None:
                gain, heard = quieter_gain(louder_db, heard_level_db(piece), share)
                earliest, latest = _overlapping(begin, end, len(piece), length)
            start = int(rng.integers(earliest, latest + 1))
            piece = piece * np.float32(min(gain, 0.99 / (np.abs(piece).max() + 1e-6)))
            mixed[start : start + len(piece)] += piece
            if event == 0 and share is not None:
                louder_db, begin, end = heard_level_db(piece), start, start + len(piece)
            for name in row.labels:
                place = self.labels.index(name)
                target[place] = max(target[place], heard)
        return mixed

    def _without_labels(self, rng: np.random.Generator, bank: ClipBank, seconds: float) -> NDArray[np.float32]:
        """An excerpt of a recording that nobody labelled, at a level as of a mixture."""
        row = bank.rows[rng.integers(len(bank.rows))]
        length = round(seconds * SAMPLE_RATE) + 240
        piece = augment_clip(excerpt(bank.read(row.path), row.active, length, rng), self.data, rng)[:length]
        return np.pad(levelled(piece, rng), (0, length - len(piece)))

    def _label(self, rng: np.random.Generator) -> str:
        """A label, drawn evenly or by a power of its number of clips."""
        return sorted(self.by_label)[rng.choice(len(self._chances), p=self._chances)]


class Scenes:
    """Composed scenes with their captions: `batch(step)`."""

    GROUP = 4  # steps whose scenes are drawn together and sorted by duration, so that little is padded

    def __init__(
        self,
        bank: ClipBank,
        labels: list[str],
        mel: MelConfig,
        data: DataConfig,
        size: int,
        seed: int,
        tokenizer: Tokenizer,
        *,
        encoder: EncoderConfig,
        pool: int = 1,
        split: Split = "train",
    ) -> None:
        self.bank, self.labels, self.mel, self.data, self.size, self.seed = bank, labels, mel, data, size, seed
        self.tokenizer, self.encoder, self.pool, self.split = tokenizer, encoder, pool, split
        self._step = 1 if mel.multiple is None else math.lcm(LENGTH_STEP, mel.multiple)
        self._drawn: tuple[int, list[Scene]] | None = None  # the group last drawn, and its number

    def batch(self, step: int) -> Batch:
        """The scenes of one step, rendered from changed clips, with one of each scene's captions."""
        rng = np.random.default_rng((self.seed, step))
        scenes = self.of_step(step)
        mels = []
        for scene in scenes:
            samples = self._render(scene, rng)
            samples *= np.float32(10 ** (rng.uniform(-12, 3) / 20))
            mel = mel_input(np.clip(change_recording(samples, self.data, rng), -1, 1), self.mel)[0]
            augment_mel(mel, self.data, self.mel.std, rng)
            mels.append(mel)
        return self._with_targets(scenes, stack(mels, self.mel, self._step), rng)

    def facts(self, step: int) -> Batch:
        """The same without rendering: Mel frames are zeros, only their number is right."""
        scenes = self.of_step(step)
        frames = self.mel.frames
        if self.mel.multiple is not None:
            longest = round(max(scene.duration for scene in scenes) * FRAME_RATE)
            frames = min(frames, -(-longest // self._step) * self._step)
        silence = torch.zeros(()).expand(len(scenes), frames, self.mel.mels)  # takes no memory
        return self._with_targets(scenes, silence, np.random.default_rng((self.seed, step)))

    def _with_targets(self, scenes: list[Scene], mel: Tensor, rng: np.random.Generator) -> Batch:
        targets = np.zeros((len(scenes), len(self.labels)), np.float32)
        for target, scene in zip(targets, scenes, strict=True):
            target[[self.labels.index(name) for name in scene.labels]] = 1.0
        said = [something_true(scene.captions, scene.facts, self.data.questions, rng) for scene in scenes]
        sounding = sounding_labels(scenes, self.labels, mel.shape[1], self.encoder, self.pool)
        return Batch(mel, torch.from_numpy(targets), *encode_answers(self.tokenizer, said), sounding)

    def _render(self, scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
        """The scene (S,) with every clip changed; an event keeps its span, so the facts stay true."""
        factors = {piece.path: 1.0 + rng.uniform(-self.data.speed, self.data.speed) for piece in scene.pieces}

        def moved(piece: Event) -> Event:
            start = piece.start / factors[piece.path]
            return replace(piece, start=start, end=start + piece.end - piece.start)

        def read(path: str) -> NDArray[np.float32]:
            return augment_clip(self.bank.read(path), self.data, rng, factors[path])

        bed = moved(scene.bed) if scene.bed else None
        return render(replace(scene, events=tuple(moved(event) for event in scene.events), bed=bed), read)

    def of_step(self, step: int) -> list[Scene]:
        """The scenes of one step."""
        number, place = divmod(step, self.GROUP)
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = number, self._group(number)
        return self._drawn[1][place * self.size :][: self.size]

    def _group(self, number: int) -> list[Scene]:
        seed = self.seed * 1_000_003 + number
        scenes = list(compose(self.bank.rows, seed=seed, count=self.size * self.GROUP, split=self.split))
        scenes.sort(key=lambda scene: scene.duration)
        batches = [scenes[i : i + self.size] for i in range(0, len(scenes), self.size)]
        random.Random(seed).shuffle(batches)
        return [scene for batch in batches for scene in batch]


def something_true(
    captions: Sequence[str], facts: Facts, questions: float, rng: np.random.Generator
) -> tuple[str, str]:
    """What a scene comes with: an empty question and one of its captions, or, in this share, a question and its
    answer."""
    if questions and rng.random() < questions:
        return ask(facts, random.Random(int(rng.integers(2**32))))[1:]
    return "", captions[int(rng.integers(len(captions)))]


def excerpt(
    samples: NDArray[np.float32], active: Sequence[tuple[float, float]], length: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """At most `length` samples of a clip, beginning in one of its active stretches (seconds)."""
    first = round(active[0][0] * SAMPLE_RATE)
    last = min(round(active[-1][1] * SAMPLE_RATE), len(samples))  # stretches are rounded to 10 ms, perhaps up
    if last - first > length:
        start, end = active[int(rng.integers(len(active)))]
        first = min(round(rng.uniform(start, end) * SAMPLE_RATE), last - length)
    return samples[first : min(first + length, last)]


def example_frames(seconds: float, mel: MelConfig) -> int:
    """Mel frames of every example of so many seconds: what the front end makes of its samples."""
    if mel.multiple is None:
        return mel.frames
    return min(mel.frames, -(-round(seconds * FRAME_RATE) // mel.multiple) * mel.multiple)


def levelled(piece: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Samples (S,) at a random level, as of a sound in a mixture, without clipping."""
    gain = 10 ** (rng.uniform(-34, -14) / 20) / (np.sqrt(np.mean(piece**2)) + 1e-5)
    return piece * np.float32(min(gain, 0.99 / (np.abs(piece).max() + 1e-6)))


def stack(mels: list[NDArray[np.float32]], mel: MelConfig, multiple: int = 1) -> Tensor:
    """Normalised log-Mels of several lengths -> (B, T, M), padded as the front end pads.

    T is a multiple of `multiple`, or the model's input length where that is less.
    """
    longest = max(len(one) for one in mels)
    frames = max(longest, min(-(-longest // multiple) * multiple, mel.frames))
    zero = -mel.mean / (2 * mel.std)
    padded = [
        np.pad(one, ((0, frames - len(one)), (0, 0)), constant_values=one.min() if mel.padding == "clip_min" else zero)
        for one in mels
    ]
    return torch.from_numpy(np.stack(padded))


def by_length(lengths: NDArray[Any], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Examples of these lengths (in any unit) in the order of an epoch, by their numbers (batches, size).

    The order is random, but those of a batch have like lengths. A remainder that fills no batch is left out.
    """
    count = len(lengths) // size
    order = rng.permutation(len(lengths))[: count * size]
    for first in range(0, len(order), TOGETHER * size):
        group = order[first : first + TOGETHER * size]
        group[:] = group[np.argsort(lengths[group], kind="stable")]
    return order.reshape(count, size)[rng.permutation(count)]


def sounding_labels(
    scenes: Sequence[Scene], labels: list[str], frames: int, encoder: EncoderConfig, pool: int = 1
) -> Tensor:
    """Which labels sound, by the scenes' facts, in each time step that the encoder makes of so many Mel frames, or in
    each `pool` of its time steps: (B, t, labels)."""
    time, _ = encoder.grid(frames)
    rate = FRAME_RATE / encoder.stride[0] / pool  # time steps per second
    active = np.zeros((len(scenes), -(-time // pool), len(labels)), np.float32)
    for steps, scene in zip(active, scenes, strict=True):
        for event in scene.events:
            last = event.onset + event.end - event.start
            steps[int(event.onset * rate) : math.ceil(last * rate), labels.index(event.label)] = 1.0
        if scene.bed:
            steps[: math.ceil(scene.duration * rate), labels.index(scene.bed.label)] = 1.0
    return torch.from_numpy(active)


def stream(batch: Callable[[int], Batch], first: int, last: int, workers: int) -> Iterator[Batch]:
    """`batch(first)` ... `batch(last - 1)`, in order, composed by `workers` processes (0: in this one)."""
    loader = DataLoader(
        _Steps(batch, first, last),
        batch_size=None,
        num_workers=workers,
        # A fork would inherit the locks of compute libraries' threads, which do not survive it.
        multiprocessing_context="forkserver" if workers else None,
        prefetch_factor=8 if workers else None,
        worker_init_fn=_leave_interrupts,
        generator=torch.Generator(),  # its own: a resumed run would draw once more from the one that drops blocks
    )
    with _handler_put_back():
        yield from loader


@contextmanager
def _handler_put_back() -> Iterator[None]:
    """Put back the handler of SIGCHLD, which torch's loader replaces when it starts processes, and never restores.

    It runs whenever a later child process ends. Where a compute library has set a signal stack that is too small for
    the processor's registers, the system then ends this process with a segmentation fault.
    """
    number = getattr(signal, "SIGCHLD", None)  # Windows has none
    before = None if number is None else signal.getsignal(number)
    try:
        yield
    finally:
        if number is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, before or signal.SIG_DFL)


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the one that trains finishes its step first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Steps(IterableDataset[Batch]):
    def __init__(self, batch: Callable[[int], Batch], first: int, last: int) -> None:
        self.batch, self.first, self.last = batch, first, last

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        offset, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for step in range(self.first + offset, self.last, stride):
            yield self.batch(step)


def _overlapping(begin: int, end: int, length: int, whole: int) -> tuple[int, int]:
    """The earliest and latest start of a sound that has half its length or more beside one from `begin` to `end`,
    as far as both lie in a `whole`; all in samples."""
    earliest = min(max(0, begin - length // 2), whole - length)
    return earliest, max(earliest, min(end - length // 2, whole - length))
