"""The arms of the captioning study: what each changes in one captioner, and where all of them start.

The start is an earlier default model of this repository: an encoder of 4 by 64 patches for 10 s (width 192, 8 blocks),
which was trained at random keep rates, and a Mamba-2 (width 192, 4 blocks) that had learned to describe scenes.
Arms with another ear put other encoders in front of the same language model.
"""

import shutil
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.config import Layout
from sonopsis.folder import describe
from sonopsis.mamba2 import Mamba2LM
from sonopsis.modules import build
from sonopsis.training.config import (
    ConnectorSettings,
    EncoderTraining,
    LanguageModelSizes,
    LoRASettings,
    PruningConfig,
    TrainConfig,
)

ROOT = Path(__file__).parent.parent
COMMIT = "cac2350"  # whose default model all arms start from
FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json")
STEPS, BATCH = 120, 8
FROM_SCRATCH = 1000  # steps of language models with drawn weights: after 120 they repeat one sentence
# Each has its learning rate.
Family = Literal["trained", "fresh", "full", "scratch", "transformer", "pretrained", "ear", "base", "base-full"]


@dataclass(frozen=True)
class PlainConnector:
    """A connector of vectors alone, which allows more kinds than one that scores labels."""

    scan: int = 0
    queries: int = 0
    expand: int = 1
    pool_frequency: int = 1


@dataclass(frozen=True)
class Arm:
    """One captioner; the defaults are the base that others are compared with."""

    keep_rate: float = 1.0  # of the encoder, at its default blocks
    layout: Layout = "concat"
    pool: int = 1
    reduction: int = 1
    fresh: bool = True  # the connector's first part is new: only how it scores labels, and what it says of them, is not
    rank: int | None = 8  # of the adapters; 0: the language model stays as it is, None: all of it is trained
    sizes: LanguageModelSizes | None = None  # of a language model from scratch, with a connector that is all new
    folder: str | None = None  # of a pretrained language model, with a connector that is all new
    base: bool = False  # the same with the language model that scripts/captioning_base.py pretrains
    encoder: Literal["all", "frozen"] | int = "frozen"
    steps: int = STEPS
    ear: str | None = None  # the model whose encoder is heard, WORK is the study's folder; None: that of the start
    blocks: tuple[int, ...] = ()  # of this ear, that the connector reads too
    second: str | None = None  # a model whose encoder is heard beside this ear
    plain: PlainConnector | None = None  # a connector without labels, and what it has in their place

    @property
    def family(self) -> Family:
        """Arms of one family share a learning rate."""
        if self.base:
            return "base-full" if self.rank is None else "base"
        if self.folder is not None:
            return "pretrained"
        if self.ear is not None:
            return "ear"
        if self.sizes is not None:
            return "scratch" if self.sizes.architecture == "mamba2" else "transformer"
        if self.rank is None:
            return "full"
        return "fresh" if self.fresh else "trained"

    @property
    def keeps_words(self) -> bool:
        """Whether the language model is that of the start, so that its connector's labels mean the same to it."""
        return self.sizes is None and self.folder is None and not self.base

    def config(self, start: Path, output: Path, rate: float, seed: int) -> TrainConfig:
        """The training run of this arm."""
        own = self.ear is None  # whether the encoder is that of the start
        words = str(start.with_name("base") / "model") if self.base else self.folder or self.sizes
        return TrainConfig(
            stage="captioning",
            output=str(output),
            model=self.ear.replace("WORK", str(start.parent)) if self.ear else str(start),
            labels="inherit" if own else describe(start).config.labels,
            connector=ConnectorSettings(
                self.layout,
                labels=None if self.plain is None else 0,
                pool=self.pool,
                reduction=self.reduction,
                blocks=self.blocks,
                **({} if self.plain is None else asdict(self.plain)),
            ),
            language_model=words if own else str(words_folder(start)),
            second_encoder=self.second,
            lora=None if self.rank is None else LoRASettings(rank=self.rank, dropout=0.05),
            encoder=EncoderTraining(train=self.encoder, learning_rate=rate / 10),
            steps=self.steps,
            batch_size=BATCH,
            learning_rate=rate,
            warmup_steps=20,
            ema=0.0,
            tag_weight=0.0,
            timing_weight=0.3,
            precision="no",
            seed=seed,
            save_every=40,
            validate_every=self.steps,
            pruning=PruningConfig(schedule="none"),
        )


def from_scratch(width: int, depth: int) -> Arm:
    """A language model whose weights are drawn, with a tokenizer of the training captions."""
    sizes = LanguageModelSizes(width=width, depth=depth, state=64, vocabulary=1024)
    return Arm(rank=None, sizes=sizes, steps=FROM_SCRATCH)


def transformer(width: int, depth: int, mlp: int) -> Arm:
    """A Llama in its place, with heads of width 64 and an MLP of width `mlp`."""
    sizes = LanguageModelSizes("llama", width, depth, fields={"intermediate_size": mlp}, vocabulary=1024)
    return Arm(rank=None, sizes=sizes, steps=FROM_SCRATCH)


SMOLLM2 = Arm(folder="pretrained/smollm2")  # 135 M parameters; `make smollm2` fetches it
BASE_LM = Arm(base=True, steps=400)  # from the 5 M parameters that scripts/captioning_base.py pretrains on text
TRAINED = Arm(fresh=False, reduction=2, steps=60)  # the connector as it was trained, which needs fewer steps
SHORT = replace(TRAINED, steps=40)  # arms that train the encoder too cost ten times as much for each step

PLAIN = Arm(plain=PlainConnector())
TINY, BASE = "pretrained/whisper-tiny.en", "pretrained/whisper-base"  # `make pretrained` fetches them
EAR = Arm(ear=TINY, pool=12)  # 4 time steps a second; the start's encoder has 6
MASKED = Arm(ear="WORK/masked/model")  # of the start's grid; docs/results-captioning.md has the command that trains it

# In the order in which they are trained, for one seed after the other.
ARMS: dict[str, Arm] = {
    "keep-1.0": TRAINED,
    "keep-0.5": replace(TRAINED, keep_rate=0.5),
    "keep-0.7": replace(TRAINED, keep_rate=0.7),
    "keep-0.4": replace(TRAINED, keep_rate=0.4),
    "concat": Arm(),
    "pruned-frequency-0.5": Arm(keep_rate=0.5, layout="frequency_major"),
    "lora-0": Arm(rank=0),
    "full": Arm(rank=None),
    "lora-32": Arm(rank=32),
    "frequency-major": Arm(layout="frequency_major"),
    "reduction-8": replace(TRAINED, reduction=8),
    "reduction-4": replace(TRAINED, reduction=4),
    "reduction-1": replace(TRAINED, reduction=1),
    "pruned-frequency-0.7": Arm(keep_rate=0.7, layout="frequency_major"),
    "lora-2": Arm(rank=2),
    "pool-2": Arm(pool=2),
    "time-major": Arm(layout="time_major"),
    "scratch-96": from_scratch(96, 2),
    "scratch-192": from_scratch(192, 4),
    "scratch-288": from_scratch(288, 4),
    "llama-192": transformer(192, 3, 320),  # of the size of scratch-192
    "llama-256": transformer(256, 4, 704),  # three times that
    "smollm2-8": SMOLLM2,
    "smollm2-32": replace(SMOLLM2, rank=32),
    "short-frozen": SHORT,
    "short-from-6": replace(SHORT, encoder=6),
    "short-joint": replace(SHORT, encoder="all"),
    "plain": PLAIN,
    "plain-scan": replace(PLAIN, plain=PlainConnector(scan=1)),
    "plain-rows": replace(PLAIN, plain=PlainConnector(pool_frequency=4)),
    "plain-resampler": replace(PLAIN, plain=PlainConnector(queries=20)),
    "plain-expand-2": replace(PLAIN, plain=PlainConnector(expand=2)),
    "plain-expand-8": replace(PLAIN, plain=PlainConnector(expand=8)),
    "ear-tiny": EAR,
    "ear-base": replace(EAR, ear=BASE),
    "ear-default": replace(EAR, ear="default"),  # Whisper tiny.en, trained to tag
    "ear-tiny-blocks": replace(EAR, blocks=(0, 1, 2)),
    "ear-default-blocks": replace(EAR, ear="default", blocks=(0, 1, 2)),
    "ear-tiny-base": replace(EAR, second=BASE),
    "ear-masked": MASKED,
    "ear-masked-blocks": replace(MASKED, blocks=(1, 3, 5)),
    "base-8": BASE_LM,
    "base-0": replace(BASE_LM, rank=0),
    "base-2": replace(BASE_LM, rank=2),
    "base-32": replace(BASE_LM, rank=32),
    "base-128": replace(BASE_LM, rank=128),
    "base-full": replace(BASE_LM, rank=None),
    "scratch-384": replace(from_scratch(384, 4), steps=400),  # of the size of base-full, and trained as long
}
# On which of its arms a family's learning rate is chosen, and among which.
CHOICE: dict[Family, tuple[str, tuple[float, ...]]] = {
    "trained": ("keep-1.0", (3e-4, 1e-3)),
    "fresh": ("concat", (1e-3, 3e-3)),
    "full": ("full", (3e-4, 1e-3)),
    "scratch": ("scratch-192", (1e-3, 3e-3, 1e-2)),
    "transformer": ("llama-192", (1e-4, 3e-4, 1e-3, 3e-3)),
    "pretrained": ("smollm2-8", (3e-4, 1e-3)),
    "ear": ("ear-tiny", (1e-3, 3e-3)),
    "base": ("base-8", (1e-3, 3e-3)),
    "base-full": ("base-full", (3e-4, 1e-3)),
}


def start_folder(work: Path) -> Path:
    """The model that all arms start from, taken from the history of this repository."""
    folder = work / "start"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if not (folder / name).is_file():
            place = f"{COMMIT}:src/sonopsis/pretrained/default/{name}"
            found = subprocess.run(["git", "show", place], cwd=ROOT, check=True, capture_output=True).stdout
            (folder / name).write_bytes(found)
    return folder


def words_folder(start: Path) -> Path:
    """The language model of the start alone, for arms with another ear."""
    folder = start.with_name("words")
    if not (folder / "tokenizer.json").is_file():
        captioner = build(describe(start))
        assert isinstance(captioner, Captioner) and isinstance(captioner.lm, Mamba2LM)
        captioner.lm.save(folder)
        shutil.copyfile(start / "tokenizer.json", folder / "tokenizer.json")
    return folder
