"""Stage 2: encoder, connector and a Mamba-2 from scratch learn to describe scenes, while the head goes on tagging."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.connector import ConnectorConfig
from sonopsis.data.clips import ClipBank
from sonopsis.files import TOKENIZER
from sonopsis.folder import ModelConfig
from sonopsis.mamba2 import Mamba2Config
from sonopsis.mel import MelConfig, mel_input
from sonopsis.metrics.events import score_captions
from sonopsis.model import load
from sonopsis.modules import save
from sonopsis.pruning import uniform
from sonopsis.scenes.compose import compose
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.training.batches import PADDING, Batch, Scenes, stack, stream
from sonopsis.training.config import TrainConfig
from sonopsis.training.tagging import MEL, encoder_config, random_pruning, tag_loss

VALIDATION_SCENES = 240
LONGEST_CAPTION = 48  # tokens
CAPTION_SAMPLES = 24  # what a consensus is made of
LM: dict[str, Any] = {"width": 192, "depth": 4, "state": 64}  # unless the run says otherwise


class Captioning:
    """The captioning stage; `sonopsis.training.loop.Task`."""

    def __init__(self, config: TrainConfig, train: ClipBank, validation: ClipBank) -> None:
        self.config, self.train, self.validation = config, train, validation
        self.labels = list(LEAVES)
        self.tokenizer = train_tokenizer(train, config.vocabulary)
        encoder = encoder_config(config)
        _, bands = encoder.grid(MEL.frames)
        lm = Mamba2Config.from_dict({**LM, "vocab_size": self.tokenizer.get_vocab_size(), **config.lm})
        sizes = {"encoder_width": encoder.width, "width": lm.width, "frequency_rows": bands, "labels": len(self.labels)}
        connector = ConnectorConfig.from_dict({**sizes, **config.connector})
        if connector.layout != "concat":
            raise ValueError(f"captioners are trained with time steps as prefix: layout concat, not {connector.layout}")
        captioner = Captioner(encoder, len(self.labels), connector, lm)
        if config.init is not None:
            trained = load(config.init, engine="torch").module
            if isinstance(trained, Captioner):
                adopt(captioner, trained)
            else:
                captioner.tagger.load_state_dict(trained.state_dict())
        self.module = captioner

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Scenes composed of training clips."""
        config = self.config
        source = Scenes(self.train, self.labels, MEL, config.data, config.batch_size, config.seed, self.tokenizer)
        return stream(source.batch, first, last, config.data.workers)

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Next-word cross-entropy of the caption, and the weighted losses of tags and of labels along the prefix."""
        pruning = random_pruning(self.module.tagger.encoder.config.depth, self.config.pruning, progress)
        words, tags, recognised = module(batch.mel, batch.ids, pruning)
        caption = caption_loss(words, batch, self.config.label_smoothing)
        steps, whole = recognised[:, :-1].flatten(0, 1), recognised[:, -1]  # the summary knows of all, as the tags do
        tagging = tag_loss(tags, batch.labels) + tag_loss(whole, batch.labels)
        timing = tag_loss(steps, batch.sounding.flatten(0, 1))  # type: ignore[union-attr]
        loss = caption + self.config.tag_weight * tagging + self.config.timing_weight * timing
        return loss, {"caption": caption.item(), "tagging": tagging.item(), "timing": timing.item()}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Event F1, order accuracy and CIDEr-D of greedy captions of validation scenes, at keep rate 0.7."""
        assert isinstance(module, Captioner)
        scenes = list(compose(self.validation.rows, seed=1, count=VALIDATION_SCENES, split="validation"))
        captions = caption_scenes(module, self.tokenizer, scenes, self.validation, MEL, keep_rate=0.7)
        scores = score_captions(scenes, captions)
        return {name: scores[name] for name in ("event_f1_leaf", "event_f1_broad", "order_accuracy", "cider_d")}

    def export(self, module: nn.Module, folder: Path) -> None:
        """A model folder that tags and captions."""
        assert isinstance(module, Captioner)
        config = ModelConfig(
            labels=self.labels,
            encoder=asdict(module.tagger.encoder.config),
            connector=module.connector.config.to_dict(),
            lm=module.lm.config.to_dict(),
            keep_rate=0.7,
            max_caption_tokens=LONGEST_CAPTION,
            caption_samples=CAPTION_SAMPLES,
        )
        save(module, folder, config, MEL)
        self.tokenizer.save(str(folder / TOKENIZER))


def adopt(captioner: Captioner, trained: Captioner) -> None:
    """Start from a trained captioner's weights; its connector may lack what this one has.

    Raises ValueError when anything else does not fit.
    """
    missing, unexpected = captioner.load_state_dict(trained.state_dict(), strict=False)
    strange = [*unexpected, *(name for name in missing if not name.startswith("connector."))]
    if strange:
        raise ValueError(f"the model in `init` has other parts than this run: {', '.join(strange[:5])}")


def caption_loss(words: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of the next word; logits (B, W, V)."""
    assert batch.ids is not None
    return functional.cross_entropy(
        words.float().flatten(0, 1), batch.ids.flatten(), ignore_index=PADDING, label_smoothing=label_smoothing
    )


def train_tokenizer(bank: ClipBank, vocabulary: int) -> Tokenizer:
    """A byte-level BPE of training captions; id 0 is the end of text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_captions(bank), trainer)
    return tokenizer


def training_captions(bank: ClipBank) -> Iterator[str]:
    """All captions of 4,000 composed training scenes."""
    for scene in compose(bank.rows, seed=0, count=4000, split="train"):
        yield from scene.captions


@torch.inference_mode()
def caption_scenes(
    captioner: Captioner,
    tokenizer: Tokenizer,
    scenes: Sequence[Scene],
    bank: ClipBank,
    mel: MelConfig,
    *,
    keep_rate: float | None,
    batch_size: int = 16,
    beams: int = 1,
) -> list[str]:
    """Captions of scenes, in their order; scenes of like duration share a batch."""
    captioner.eval()
    pruning = uniform(captioner.tagger.encoder.config.depth, keep_rate)
    order = sorted(range(len(scenes)), key=lambda i: scenes[i].duration)
    captions = [""] * len(scenes)
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        mels = [mel_input(render(scenes[i], bank.read), mel)[0] for i in chosen]
        prefix = captioner.connector(captioner.encode(stack(mels), pruning))
        found = captioner.lm.generate(
            embeds=captioner.prompt(prefix),
            max_new_tokens=LONGEST_CAPTION,
            beams=beams,
            stop_ids=(captioner.end_of_text,),
        )
        for i, (hypothesis, *_) in zip(chosen, found, strict=True):
            captions[i] = tokenizer.decode(list(hypothesis.ids)).strip()
    return captions
