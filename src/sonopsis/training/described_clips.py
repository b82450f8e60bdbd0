"""Clips that people described, as batches: changed as in training, each with one of its captions or questions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from sonopsis.asking import LONGEST_QUESTION, asked
from sonopsis.audio import SAMPLE_RATE
from sonopsis.data.clips import Clip, ClipBank
from sonopsis.data.manifest import Question
from sonopsis.mel import FRAME_RATE, MelConfig, mel_input
from sonopsis.training.augment import augment_clip, augment_mel
from sonopsis.training.batches import LENGTH_STEP, Batch, by_length, stack
from sonopsis.training.channel import change_recording
from sonopsis.training.config import TrainConfig
from sonopsis.training.tokens import encode_answers


class DescribedClips:
    """Clips with captions or questions, as batches: `batch(step)`, a function of seed and step alone.

    Clips of a batch are of similar length, because the model hears the silence that a short one is padded with.
    """

    def __init__(
        self,
        bank: ClipBank,
        clips: Sequence[Clip],
        labels: list[str],
        mel: MelConfig,
        config: TrainConfig,
        tokenizer: Tokenizer,
    ) -> None:
        self.bank, self.clips, self.labels, self.mel, self.tokenizer = bank, clips, labels, mel, tokenizer
        self.data, self.seed, self.size = config.data, config.seed, min(config.batch_size, len(clips))
        self._step = LENGTH_STEP if mel.multiple is not None else 1
        self._by_length = sorted(clips, key=lambda clip: clip.end - clip.start)
        self._lengths = np.array([clip.end - clip.start for clip in clips])

    def batch(self, step: int) -> Batch:
        """The clips of one step, changed as `data` says, with one of each clip's captions or questions."""
        rng = np.random.default_rng((self.seed, step))
        epoch, place = divmod(step, len(self.clips) // self.size)
        order = by_length(self._lengths, self.size, np.random.default_rng((self.seed, epoch, 1)))
        clips = [self.clips[i] for i in order[place]]
        said = [something_said(clip.captions, clip.questions, self.data.questions, rng) for clip in clips]
        return self._heard(clips, rng, *encode_answers(self.tokenizer, said))

    def hearings(self, number: int, size: int) -> list[Clip]:
        """The clips that are heard together as file `number`: all in order of length, then all again, and so on."""
        return [self._by_length[i % len(self.clips)] for i in range(number * size, (number + 1) * size)]

    def to_hear(self, number: int, size: int) -> Batch:
        """Those clips, changed as `data` says, without words."""
        return self._heard(self.hearings(number, size), np.random.default_rng((self.seed, number, 2)))

    def _heard(
        self, clips: Sequence[Clip], rng: np.random.Generator, ids: Tensor | None = None, learned: Tensor | None = None
    ) -> Batch:
        mels = []
        for clip in clips:
            samples = augment_clip(self._excerpt(clip, rng), self.data, rng)
            mel = mel_input(np.clip(change_recording(samples, self.data, rng), -1, 1), self.mel)[0]
            augment_mel(mel, self.data, self.mel.std, rng)
            mels.append(mel)
        targets = np.full((len(clips), len(self.labels)), np.nan, np.float32)
        for target, clip in zip(targets, clips, strict=True):
            if clip.labels:
                target[:] = 0.0
                target[[self.labels.index(name) for name in clip.labels]] = 1.0
        return Batch(stack(mels, self.mel, self._step), torch.from_numpy(targets), ids, learned)

    def _excerpt(self, clip: Clip, rng: np.random.Generator) -> NDArray[np.float32]:
        """What the model can hear at once of a clip (S,), from a random moment where the clip is longer."""
        samples = self.bank.part(clip)
        longest = round(self.mel.frames / FRAME_RATE * SAMPLE_RATE)
        first = int(rng.integers(max(1, len(samples) - longest + 1)))
        return samples[first : first + longest]


def something_said(
    captions: Sequence[str], questions: Sequence[Question], share: float, rng: np.random.Generator
) -> tuple[str, str]:
    """An empty question and one of a clip's captions, or, in this share, one of its questions and the answer; of a clip
    that has only one of both, that."""
    if questions and (not captions or rng.random() < share):
        question = questions[int(rng.integers(len(questions)))]
        return asked(question.text), question.answer
    return "", captions[int(rng.integers(len(captions)))]


def to_learn(bank: ClipBank, questions: bool) -> list[Clip]:
    """The clips of a bank with captions, or with questions that a model can be asked, which stay if they are wanted."""
    found = []
    for clip in bank.rows:
        short = tuple(one for one in clip.questions if len(one.text) <= LONGEST_QUESTION) if questions else ()
        if clip.captions or short:
            found.append(replace(clip, questions=short))
    return found


def with_captions(bank: ClipBank) -> list[Clip]:
    """The clips of a bank that have captions."""
    return [clip for clip in bank.rows if clip.captions]
