"""The captioning stage: encoder, connector and language model learn to describe scenes; the head goes on tagging."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from sonopsis import lora
from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import ClipBank
from sonopsis.files import TOKENIZER
from sonopsis.folder import ModelConfig
from sonopsis.mel import FRAME_RATE, MelConfig, mel_input
from sonopsis.metrics.events import score_captions
from sonopsis.modules import save
from sonopsis.pruning import Pruning
from sonopsis.scenes.compose import LONGEST_SCENE, compose
from sonopsis.scenes.questions import Question
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene
from sonopsis.training.asking import answer, question_accuracy, question_of, training_texts
from sonopsis.training.batches import LENGTH_STEP, Batch, Scenes, stack, stream
from sonopsis.training.building import build_captioner, merged
from sonopsis.training.config import TrainConfig
from sonopsis.training.heard import IN_A_FILE
from sonopsis.training.losses import caption_loss, connector_losses, tag_loss
from sonopsis.training.optimizer import freeze
from sonopsis.training.rates import training_pruning, validation_pruning
from sonopsis.training.scene_features import features_folder, hear_scenes, heard_scenes
from sonopsis.training.start import Start, check_labels, choose_labels

VALIDATION_SCENES = 240
LONGEST_CAPTION = 48  # tokens
CAPTION_SAMPLES = 24  # what a consensus is made of
FIGURES = ("event_f1_leaf", "event_f1_broad", "order_accuracy", "cider_d")
ADAPTER = "adapter"  # folder beside the model's, with the adapters alone


class Captioning:
    """The captioning stage; `sonopsis.training.loop.Task`."""

    criterion = FIGURES[0]

    def __init__(self, config: TrainConfig, start: Start, train: ClipBank, validation: ClipBank) -> None:
        if start.mel.frames < LONGEST_SCENE * FRAME_RATE:
            raise ValueError(
                f"model: {start.name} hears {start.mel.frames / FRAME_RATE:g} s at once, and scenes last up to "
                f"{LONGEST_SCENE:g} s; captioning needs a model with a longer input"
            )
        start = replace(start, mel=for_scenes(start.mel))
        self.config, self.start, self.train, self.validation = config, start, train, validation
        self.labels = choose_labels(config, start, train.rows)
        check_labels(self.labels, validation.rows)
        next(compose(validation.rows, seed=1, count=1, split="validation"))  # now, and not at the first validation
        self.module, self.tokenizer = build_captioner(
            config, start, self.labels, lambda: training_texts(train, config.data.questions > 0)
        )
        check_kept(self.module, "data.scenes", config.data.scenes)
        self.fixed = freeze(self.module.tagger.encoder, config.encoder)
        if config.tag_weight == 0 and self.module.tagger.head is not None:
            self.module.tagger.head.requires_grad_(False)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Scenes composed of training clips, or, with `data.scenes`, those that the encoder has heard before the first
        step."""
        config = self.config
        if config.data.scenes is None:
            return stream(self.scenes(config.batch_size).batch, first, last, config.data.workers)
        source = self.scenes(IN_A_FILE)
        files = hear_scenes(self.module, source, features_folder(self.module, source, config), config)
        heard = heard_scenes(files, config.batch_size, config.seed, self.tokenizer, config.data)
        return map(heard.batch, range(first, last))

    def scenes(self, size: int) -> Scenes:
        """The training scenes of this run, so many in a batch."""
        config, start = self.config, self.start
        return Scenes(
            self.train,
            self.labels,
            start.mel,
            config.data,
            size,
            config.seed,
            self.tokenizer,
            encoder=start.encoder,
            pool=self.module.connector.config.pool,
        )

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Next-word cross-entropy of the caption, and the weighted losses of tags and of labels along the prefix.

        The figures of the latter are those of the whole clip and of its time steps.
        """
        assert batch.ids is not None and batch.targets is not None
        config = self.config
        if batch.features is not None:
            words, tags, recognised = module(batch.features, batch.ids)
        else:
            pruning = training_pruning(self.start.encoder.depth, config.pruning, progress)
            words, tags, recognised = module(batch.mel, batch.ids, pruning)
        caption = caption_loss(words, batch.targets, config.label_smoothing)
        tagging = tag_loss(tags, batch.labels)
        loss = caption + config.tag_weight * tagging
        figures = {"caption": caption.item(), "tagging": tagging.item()}
        if recognised is not None:
            whole, timing = connector_losses(recognised, batch.labels, batch.sounding, self.module.connector.config)
            loss = loss + config.timing_weight * (whole + timing)
            figures |= {"whole": whole.item(), "timing": timing.item()}
        return loss, figures

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Event F1, order accuracy and CIDEr-D of greedy captions of validation scenes, pruned like the saved model."""
        assert isinstance(module, Captioner)
        scenes = list(compose(self.validation.rows, seed=1, count=VALIDATION_SCENES, split="validation"))
        pruning = validation_pruning(self.start.encoder.depth, self.config.pruning)
        captions, answers = caption_scenes(
            module, self.tokenizer, scenes, self.validation, self.start.mel, pruning, questions=self.questions(scenes)
        )
        return self.figures(scenes, captions, answers)

    def questions(self, scenes: Sequence[Scene]) -> list[Question]:
        """One of each validation scene, or none where no questions are learned."""
        return [question_of(scene) for scene in scenes] if self.config.data.questions else []

    def figures(self, scenes: Sequence[Scene], captions: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
        """Scores of captions, and the share of right answers where questions were asked."""
        scores = score_captions(scenes, captions)
        figures = {name: scores[name] for name in FIGURES}
        questions = self.questions(scenes)
        return figures | {"question_accuracy": question_accuracy(questions, answers)} if questions else figures

    def export(self, module: nn.Module, folder: Path) -> None:
        """A model folder that tags and captions; adapters are merged, and saved beside it in PEFT's format."""
        assert isinstance(module, Captioner)
        if self.config.lora is not None and self.config.lora.rank:
            base = self.config.language_model if isinstance(self.config.language_model, str) else None
            lora.save(module.lm, folder.parent / ADAPTER, base)
        module = merged(module)
        config = ModelConfig(
            labels=self.labels,
            encoder=module.tagger.encoder.config,
            connector=module.connector.config,
            lm=module.lm.config,
            second=module.second_config,
            keep_rate=self.config.pruning.used_rate,
            max_caption_tokens=LONGEST_CAPTION,
            caption_samples=CAPTION_SAMPLES,
            end_of_text=module.end_of_text,
            answers=self.config.data.questions > 0,
            distilled_labels=[name for name in self.start.distilled_labels if name in self.labels],
        )
        save(module, folder, config, self.start.mel)
        self.tokenizer.save(str(folder / TOKENIZER))


def check_kept(captioner: Captioner, key: str, count: int | None) -> None:
    """Raise ValueError where what the encoder hears is to be kept, and the connector reads what is not."""
    if count is not None and (layout := captioner.connector.config.layout) != "concat":
        raise ValueError(f"{key}: what the encoder heard is kept for layout concat, not {layout}")


def for_scenes(mel: MelConfig) -> MelConfig:
    """A captioner's front end: it hears no more at once than a scene may last, beyond which captions are not learned.

    One whose encoder needs inputs of one length is left as it is.
    """
    if mel.multiple is None:
        return mel
    step = math.lcm(LENGTH_STEP, mel.multiple)
    return replace(mel, frames=min(mel.frames, math.ceil(LONGEST_SCENE * FRAME_RATE / step) * step))


@torch.inference_mode()
def caption_scenes(
    captioner: Captioner,
    tokenizer: Tokenizer,
    scenes: Sequence[Scene],
    bank: ClipBank,
    mel: MelConfig,
    pruning: Pruning | None,
    *,
    questions: Sequence[Question] = (),
    batch_size: int = 16,
) -> tuple[list[str], list[str]]:
    """Greedy captions of scenes, in their order, and greedy answers to a question about each, if there are any.

    Scenes of like duration share a batch.
    """
    captioner.eval()
    device = next(captioner.parameters()).device
    order = sorted(range(len(scenes)), key=lambda i: scenes[i].duration)
    captions, answers = [""] * len(scenes), [""] * len(questions)
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        mels = stack([mel_input(render(scenes[i], bank.read), mel)[0] for i in chosen], mel).to(device)
        prefix = captioner.connector(captioner.encode(mels, pruning))
        found = captioner.lm.generate(
            embeds=captioner.prompt(prefix),
            max_new_tokens=LONGEST_CAPTION,
            stop_ids=(captioner.end_of_text,),
        )
        for row, (i, (hypothesis, *_)) in enumerate(zip(chosen, found, strict=True)):
            captions[i] = tokenizer.decode(list(hypothesis.ids)).strip()
            if questions:
                answers[i] = answer(captioner, tokenizer, prefix[row : row + 1], questions[i].text)
    return captions, answers
