"""The captioning stage on clips that people described: AudioCaps, Clotho and their like, not on scenes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from sonopsis.asking import asked
from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import Clip, ClipBank
from sonopsis.folder import describe, write_description
from sonopsis.mel import MelConfig, mel_input
from sonopsis.metrics.captioning import bleu, cider_d, rouge_l
from sonopsis.pruning import Pruning
from sonopsis.training.batches import Batch, stack, stream
from sonopsis.training.building import build_captioner
from sonopsis.training.captioning import LONGEST_CAPTION, Captioning, check_kept
from sonopsis.training.clip_features import clip_features_folder, hear_clips, heard_clips
from sonopsis.training.config import TrainConfig
from sonopsis.training.described_clips import DescribedClips, to_learn, with_captions
from sonopsis.training.optimizer import freeze
from sonopsis.training.rates import validation_pruning
from sonopsis.training.start import Start, check_labels, choose_labels

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
        check_kept(self.module, "data.hearings", config.data.hearings)
        self.fixed = freeze(self.module.tagger.encoder, config.encoder)
        if config.tag_weight == 0 and self.module.tagger.head is not None:
            self.module.tagger.head.requires_grad_(False)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Clips, each with one of its captions or questions; every epoch goes through all of them in another order.

        With `data.hearings` they are what the encoder has heard before the first step."""
        config = self.config
        source = DescribedClips(self.train, self.clips, self.labels, self.start.mel, config, self.tokenizer)
        if config.data.hearings is None:
            return stream(source.batch, first, last, config.data.workers)
        files = hear_clips(self.module, source, clip_features_folder(self.module, source, config), config)
        return map(heard_clips(files, source, config).batch, range(first, last))

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
    """Greedy captions of the beginnings of clips, as far as the model hears at once; in their order.

    Clips of like duration share a batch.
    """
    captioner.eval()
    device = next(captioner.parameters()).device
    order = sorted(range(len(clips)), key=lambda i: clips[i].end - clips[i].start)
    captions = [""] * len(clips)
    for first in range(0, len(order), batch_size):
        some = order[first : first + batch_size]
        mels = stack([mel_input(bank.part(clips[i]), mel)[0] for i in some], mel).to(device)
        found = captioner.lm.generate(
            embeds=captioner.prompt(captioner.connector(captioner.encode(mels, pruning))),
            max_new_tokens=LONGEST_CAPTION,
            stop_ids=(captioner.end_of_text,),
        )
        for i, (hypothesis, *_) in zip(some, found, strict=True):
            captions[i] = tokenizer.decode(list(hypothesis.ids)).strip()
    return captions
