"""The verbalising stage: the language model learns to put facts into words, from scenes composed but not heard.

The prefix it will later read is a sequence of label embeddings weighted by scores. Here the scores come from the facts
of a scene, made as uncertain as a recogniser's. Without audio a step takes a fraction of the time, and what is to be
learned is learned from a clean signal.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import ClipBank
from sonopsis.mel import FRAME_RATE
from sonopsis.scenes.compose import compose
from sonopsis.training.asking import answer
from sonopsis.training.batches import LENGTH_STEP, Batch, sounding_labels, stream
from sonopsis.training.captioning import LONGEST_CAPTION, VALIDATION_SCENES, Captioning
from sonopsis.training.config import TrainConfig
from sonopsis.training.losses import caption_loss
from sonopsis.training.start import Start


class Verbalising(Captioning):
    """Captioning without the encoder: connector embeddings and language model; `sonopsis.training.loop.Task`."""

    def __init__(self, config: TrainConfig, start: Start, train: ClipBank, validation: ClipBank) -> None:
        super().__init__(config, start, train, validation)
        connector = self.module.connector.config
        if connector.layout != "concat" or not connector.labels:
            raise ValueError(
                "connector: stage verbalising needs layout concat with labels; train others with stage captioning"
            )

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Facts of scenes of training clips."""
        return stream(self.scenes(self.config.batch_size).facts, first, last, self.config.data.workers)

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Next-word cross-entropy, given uncertain facts."""
        assert batch.ids is not None and batch.targets is not None and batch.sounding is not None
        facts = along_prefix(batch.sounding, batch.labels, summary=self.module.connector.config.summary)
        prefix = said(self.module, uncertain(facts))
        loss = caption_loss(self.module.words(prefix, batch.ids), batch.targets, self.config.label_smoothing)
        return loss, {"caption": loss.item()}

    @torch.inference_mode()
    def validate(self, module: nn.Module) -> dict[str, float]:
        """Scores of greedy captions of the facts of validation scenes: what a perfect encoder would reach."""
        assert isinstance(module, Captioner)
        scenes = list(compose(self.validation.rows, seed=1, count=VALIDATION_SCENES, split="validation"))
        captions, answers, questions = [], [], self.questions(scenes)
        device = next(module.parameters()).device
        for number, scene in enumerate(scenes):
            frames = self.start.mel.frames
            if self.start.mel.multiple is not None:
                frames = min(frames, -(-round(scene.duration * FRAME_RATE) // LENGTH_STEP) * LENGTH_STEP)
            pool = self.module.connector.config.pool
            steps = sounding_labels([scene], self.labels, frames, self.start.encoder, pool)  # (1, t, labels)
            facts = along_prefix(steps, steps.amax(dim=1), summary=module.connector.config.summary).to(device)
            prefix = said(module, facts)
            found = module.lm.generate(
                embeds=module.prompt(prefix),
                max_new_tokens=LONGEST_CAPTION,
                stop_ids=(module.end_of_text,),
            )
            captions.append(self.tokenizer.decode(list(found[0][0].ids)).strip())
            if questions:
                answers.append(answer(module, self.tokenizer, prefix, questions[number].text))
        return self.figures(scenes, captions, answers)


def along_prefix(sounding: Tensor, labels: Tensor, *, summary: bool) -> Tensor:
    """What a perfect connector would recognise: labels of each time step (B, t, labels), then, with a summary, those
    of the scene (B, labels): (B, t + 1, labels)."""
    return torch.cat([sounding, labels.unsqueeze(1)], dim=1) if summary else sounding


def said(captioner: Captioner, scores: Tensor) -> Tensor:
    """The prefix (B, L, E) of label scores along time and of the whole (B, t + 1, labels)."""
    connector = captioner.connector
    return connector.reduced(connector.embed(scores))


def uncertain(facts: Tensor) -> Tensor:
    """Facts (B, L, labels) of 0 and 1 as a recogniser might score them: faint, gappy, with other labels beside them."""
    scenes, length, labels = facts.shape
    rand = partial(torch.rand, device=facts.device)
    true = facts * (0.5 + 0.5 * rand(scenes, 1, labels)) * (0.7 + 0.3 * rand(facts.shape))
    others = facts[:, :, torch.randperm(labels, device=facts.device)]
    false = others * 0.3 * rand(scenes, 1, labels) * (rand(scenes, 1, labels) < 0.5)
    heard = (rand(scenes, length, 1) > 0.05).to(facts.dtype)
    heard[:, -1] = 1.0  # the scores of the whole scene, where there is a summary
    return torch.maximum(true, false) * heard + 0.02 * rand(facts.shape)
