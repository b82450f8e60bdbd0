"""The captioning stage on clips that people described: AudioCaps, Clotho and their like, not on scenes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from sonopsis.asking import LONGEST_QUESTION, asked
from sonopsis.audio import SAMPLE_RATE
from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import Clip, ClipBank
from sonopsis.folder import describe, write_description
from sonopsis.mel import FRAME_RATE, MelConfig, mel_input
from sonopsis.metrics.captioning import bleu, cider_d, rouge_l
from sonopsis.pruning import Pruning
from sonopsis.training.augment import augment_clip, augment_mel
from sonopsis.training.batches import LENGTH_STEP, Batch, stack, stream
from sonopsis.training.building import build_captioner
from sonopsis.training.captioning import LONGEST_CAPTION, Captioning
from sonopsis.training.channel import change_recording
from sonopsis.training.config import TrainConfig
from sonopsis.training.optimizer import freeze
from sonopsis.training.rates import validation_pruning
from sonopsis.training.start import Start, check_labels, choose_labels
from sonopsis.training.tokens import encode_answers

VALIDATION_CLIPS = 240


class Described(Captioning):
    """The captioning stage with `data.captions: manifest`; `sonopsis.training.loop.Task`.

    Labels of clips that have some are learned beside the captions; others have none to learn.
    """

    criterion = "cider_d"

    def __init__(self, config: TrainConfig, start: Start, train: ClipBank, validation: ClipBank) -> None:
        self.config, self.start, self.train, self.validation = config, start, train, validation
        questions = config.data.questions > 0
        self.clips = to_learn(train, questions)
        self.held_out = with_captions(validation)[:VALIDATION_CLIPS]
        if not self.clips:
            raise ValueError(
                "data.captions: no training row of the manifest has captions, or questions with data.questions"
            )
        if config.keep == "best" and not self.held_out:
            raise ValueError("keep: no validation row of the manifest has captions; use `keep: last`, or add some")
        self.labels = choose_labels(config, start, train.rows)
        check_labels(self.labels, validation.rows)
        said = [caption for clip in self.clips for caption in clip.captions]
        if questions:
            said += [text for clip in self.clips for one in clip.questions for text in (asked(one.text), one.answer)]
        self.module, self.tokenizer = build_captioner(config, start, self.labels, lambda: said)
        self.fixed = freeze(self.module.tagger.encoder, config.encoder)
        if config.tag_weight == 0 and self.module.tagger.head is not None:
            self.module.tagger.head.requires_grad_(False)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Clips, each with one of its captions or questions; every epoch goes through all of them in another order."""
        config = self.config
        source = DescribedClips(self.train, self.clips, self.labels, self.start.mel, config, self.tokenizer)
        return stream(source.batch, first, last, config.data.workers)

    def validate(self, module: nn.Module) -> dict[str, float]:
        """CIDEr-D, ROUGE-L and BLEU-4 of greedy captions of validation clips, pruned like the saved model."""
        assert isinstance(module, Captioner)
        if not self.held_out:
            return {}
        pruning = validation_pruning(self.start.encoder.depth, self.config.pruning)
        captions = caption_clips(module, self.tokenizer, self.held_out, self.validation, self.start.mel, pruning)
        references = [clip.captions for clip in self.held_out]
        return {
            "cider_d": float(np.mean(cider_d(captions, references))),
            "rouge_l": float(np.mean(rouge_l(captions, references))),
            "bleu_4": bleu(captions, references)[3],
        }

    def export(self, module: nn.Module, folder: Path) -> None:
        """A model folder that tags and captions, greedily as the paper does (arXiv 2509.15680)."""
        super().export(module, folder)
        written = describe(folder)
        write_description(folder, replace(written.config, caption_samples=0), written.mel)


class DescribedClips:
    """Clips with captions or questions, as batches: `batch(step)`, a function of seed and step alone."""

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

    def batch(self, step: int) -> Batch:
        """The clips of one step, changed as `data` says, with one of each clip's captions or questions."""
        rng = np.random.default_rng((self.seed, step))
        epoch, place = divmod(step, len(self.clips) // self.size)
        order = np.random.default_rng((self.seed, epoch, 1)).permutation(len(self.clips))
        clips = [self.clips[i] for i in order[place * self.size :][: self.size]]
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
        said = [self._said(clip, rng) for clip in clips]
        ids, learned = encode_answers(self.tokenizer, said)
        return Batch(stack(mels, self.mel, self._step), torch.from_numpy(targets), ids, learned)

    def _said(self, clip: Clip, rng: np.random.Generator) -> tuple[str, str]:
        """An empty question and one of a clip's captions, or, in the share `data.questions`, a question and its answer;
        of a clip that has only one of both, that."""
        if clip.questions and (not clip.captions or rng.random() < self.data.questions):
            question = clip.questions[rng.integers(len(clip.questions))]
            return asked(question.text), question.answer
        return "", clip.captions[rng.integers(len(clip.captions))]

    def _excerpt(self, clip: Clip, rng: np.random.Generator) -> NDArray[np.float32]:
        """What the model can hear at once of a clip (S,), from a random moment where the clip is longer."""
        samples = used_part(self.bank, clip)
        longest = round(self.mel.frames / FRAME_RATE * SAMPLE_RATE)
        first = int(rng.integers(max(1, len(samples) - longest + 1)))
        return samples[first : first + longest]


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


def used_part(bank: ClipBank, clip: Clip) -> NDArray[np.float32]:
    """The part of a clip's file that is used, samples (S,)."""
    return bank.read(clip.path)[round(clip.start * SAMPLE_RATE) : max(1, round(clip.end * SAMPLE_RATE))]


def frequent_caption(bank: ClipBank) -> str:
    """The caption that most clips of a bank have, the first of several; empty where none has one."""
    said = Counter(caption for clip in with_captions(bank) for caption in clip.captions)
    return said.most_common(1)[0][0] if said else ""


@torch.inference_mode()
def caption_clips(
    captioner: Captioner,
    tokenizer: Tokenizer,
    clips: Sequence[Clip],
    bank: ClipBank,
    mel: MelConfig,
    pruning: Pruning | None,
    *,
    batch_size: int = 16,
) -> list[str]:
    """Greedy captions of the beginnings of clips, as far as the model hears at once; in their order."""
    captioner.eval()
    captions = []
    for first in range(0, len(clips), batch_size):
        some = clips[first : first + batch_size]
        mels = stack([mel_input(used_part(bank, clip), mel)[0] for clip in some], mel)
        found = captioner.lm.generate(
            embeds=captioner.prompt(captioner.connector(captioner.encode(mels, pruning))),
            max_new_tokens=LONGEST_CAPTION,
            stop_ids=(captioner.end_of_text,),
        )
        captions += [tokenizer.decode(list(hypothesis.ids)).strip() for hypothesis, *_ in found]
    return captions
