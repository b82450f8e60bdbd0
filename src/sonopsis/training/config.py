"""What a training run can be told: every key of its YAML file, with its unit and its default.

configfile.py reads and writes the file; docs/training.md explains the keys to users.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from sonopsis.captioning.config import Fill, Layout
from sonopsis.pruning.config import ReducerName, ScoreName

Stage = Literal["masked", "tagging", "verbalising", "captioning"]


@dataclass(frozen=True)
class DataConfig:
    """Which clips are heard and how they are changed before they are."""

    root: str | None = None  # folder that the paths of the manifest start from; null: $SONOPSIS_DATA or the default
    manifest: str | None = None  # null: manifest.jsonl in `root`
    folder: str | None = None  # a folder of recordings with a folder per label, in place of a manifest
    cache: str | None = None  # where decoded clips are kept; null: cache/ in `root`, with `folder` in the output
    seconds: float = 2.56  # length of a tagging example, at most what the model hears at once
    shortest: float | None = None  # of a tagging example; each batch draws its length from here to `seconds`
    workers: int = 1  # processes that compose batches
    speed: float = 0.2  # clips are played up to this share faster or slower
    reverb: float = 0.25  # share of clips heard in a synthetic room
    equaliser_db: float = 6.0  # a random smooth gain curve over frequency, up to this in either direction
    band_limit: float = 0.25  # share of examples cut above a random frequency, as old recordings are
    time_masks: int = 2  # SpecAugment: masks of up to `time_mask_frames` frames
    time_mask_frames: int = 24
    frequency_masks: int = 2  # SpecAugment: masks of up to `frequency_mask_bins` Mel bins
    frequency_mask_bins: int = 16
    device: float = 0.0  # share of examples heard through a device with a random response (channel.py)
    codec: float = 0.0  # share of examples of low quality: a lower rate, 8 bits, few frequencies
    quieter_db: float = 0.0  # examples are made quieter by up to this
    filter_db: float = 0.0  # FilterAugment: random gains of random bands, up to this in either direction
    mixstyle: float = 0.0  # Freq-MixStyle: share of examples that take up the style of another one
    mixing: float = 0.4  # share of examples with two clips, whose labels are both the target
    ratio_mixing: float = 0.0  # share of examples with two clips at a random ratio of loudness, which is the target
    scenes: int | None = None  # a frozen encoder hears so many scenes once, for all steps; null: each step's are new
    hearings: int | None = None  # of described clips: a frozen encoder hears each so many times, for all steps
    feature_noise: float = 0.0  # with these: noise on what was heard, as a share of each channel's deviation
    feature_drop: float = 0.0  # with these: share of time steps that are not heard
    captions: Literal["scenes", "manifest"] = "scenes"  # those of composed scenes, or those of the manifest's clips
    questions: float = 0.0  # share of scenes that come with a question and its answer in place of a caption
    label_power: float = 0.0  # labels are drawn by this power of their number of clips; 0: evenly, 1: as clips are

    def __post_init__(self) -> None:
        for name in (
            "reverb",
            "band_limit",
            "device",
            "codec",
            "mixstyle",
            "mixing",
            "ratio_mixing",
            "feature_drop",
            "questions",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1, not {getattr(self, name)}")
        for name in ("equaliser_db", "quieter_db", "filter_db", "feature_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
        if self.shortest is not None and not 0 < self.shortest <= self.seconds:
            raise ValueError(f"shortest must be over 0 and at most `seconds`, {self.seconds:g}, not {self.shortest}")
        for name in ("scenes", "hearings"):
            if (count := getattr(self, name)) is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}")
        if not 0 <= self.speed < 1:
            raise ValueError(f"speed must be at least 0 and under 1, not {self.speed}")


@dataclass(frozen=True)
class EncoderTraining:
    """How much of the encoder is trained, and how fast."""

    train: Literal["all", "frozen"] | int = "all"  # a number: the blocks from this one on (counted from 0)
    learning_rate: float | None = None  # null: the run's; 0: the same as `train: frozen`
    layer_decay: float = 1.0  # the learning rate of each block is that of the next one times this
    drop_path: float | None = None  # stochastic depth of the last block; null: as in the model
    width: int | None = None  # this and the following only for a preset, whose own sizes they replace
    depth: int | None = None
    heads: int | None = None
    stem: Literal["patch", "conv"] | None = None
    pooling: Literal["mean", "attention", "layers"] | None = None  # null: as in the model, which may be CLS
    window: float | None = None  # seconds that the model hears at once; null: as it does

    def __post_init__(self) -> None:
        if isinstance(self.train, int) and self.train < 0:
            raise ValueError(f"train must be all, frozen or the number of a block, not {self.train}")
        if self.learning_rate is not None and self.learning_rate < 0:
            raise ValueError(f"learning_rate must not be negative: {self.learning_rate}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be over 0 and at most 1, not {self.layer_decay}")

    @property
    def frozen(self) -> bool:
        """Whether nothing of the encoder changes."""
        return self.train == "frozen" or self.learning_rate == 0


@dataclass(frozen=True)
class FrontEndSettings:
    """What of the model's front end (log-Mel) is set anew; its mean and deviation belong to a data set."""

    mean: float | None = None  # null: the model's
    std: float | None = None
    padding: Literal["zero", "clip_min"] | None = None


@dataclass(frozen=True)
class TeacherSettings:
    """YAMNet hears every tagging example too, and what it hears is a second target (training/teacher.py)."""

    folder: str | None = None  # null: where `make pretrained` puts it
    weight: float = 1.0  # of this loss beside that of the labels
    unlabelled: float = 0.0  # share of examples of recordings without labels, which have this target alone
    labels: list[str] = field(default_factory=list)  # its classes that the saved model has too, after its own labels

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative: {self.weight}")
        if not 0 <= self.unlabelled < 1:
            raise ValueError(f"unlabelled is a share, at least 0 and under 1, not {self.unlabelled}")


@dataclass(frozen=True)
class MaskedSettings:
    """AudioMAE's pretraining (arXiv 2207.06405): most patches are hidden, and a decoder predicts them."""

    ratio: float = 0.8  # share of patches that are hidden
    masking: Literal["unstructured", "time_frequency"] = "unstructured"  # single patches, or whole columns and rows
    decoder_width: int = 128
    decoder_depth: int = 4
    decoder_heads: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"ratio is a share, over 0 and under 1, not {self.ratio}")
        for name in ("decoder_width", "decoder_depth", "decoder_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class ConnectorSettings:
    """The connector of a captioner; its widths follow from encoder and language model."""

    layout: Layout = "concat"
    summary: bool = True  # CLS, or without one the mean over tokens, goes last as one more vector
    labels: int | None = None  # labels scored in each vector; null: all labels of the run; 0: none
    pool: int = 1  # neighbouring time steps of the encoder averaged before they become a vector (layout concat only)
    reduction: int = 1  # neighbouring vectors averaged into one, after labels are scored (layout concat only)
    blocks: tuple[int, ...] = ()  # encoder blocks, from 0, that are read too beside the last (layout concat only)
    pool_frequency: int = 1  # neighbouring frequency rows averaged too (layout concat only)
    fill: Fill | None = None  # what stands in the cells of dropped patches; null: last in concat, omit in the others
    scan: int = 0  # layers of Mamba-2 that read the tokens forwards and backwards before the MLP
    queries: int = 0  # learned queries, each of which reads one vector of the prefix; 0: none
    expand: int = 1  # vectors made of each time step or token


@dataclass(frozen=True)
class LanguageModelSizes:
    """A language model to be trained from scratch, with a tokenizer of its own."""

    architecture: str = "mamba2"  # ours, or a causal language model of transformers, such as llama
    width: int = 192
    depth: int = 4
    state: int = 64  # this and the following three of a Mamba-2
    head_dim: int = 64
    expand: int = 2
    groups: int = 1
    heads: int | None = None  # this and the next not of a Mamba-2; null: one for each 64 of the width
    fields: dict[str, Any] = field(default_factory=dict)  # further ones of the architecture's own configuration
    vocabulary: int = 1024  # the most tokens of its tokenizer, a byte-level BPE of training captions

    def __post_init__(self) -> None:
        ours = ("state", "head_dim", "expand", "groups")
        if self.architecture == "mamba2":
            wrong = [name for name in ("heads", "fields") if getattr(self, name)]
        else:
            wrong = [name for name in ours if getattr(self, name) != getattr(type(self), name)]
        if wrong:
            raise ValueError(
                f"{wrong[0]} is no size of architecture {self.architecture}; a Mamba-2 has {', '.join(ours)}, an "
                "architecture of transformers heads and fields"
            )
        for name in ("width", "depth", "heads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


@dataclass(frozen=True)
class LoRASettings:
    """Adapters on a frozen language model (arXiv 2509.15680); saved beside the model, and merged into it."""

    rank: int = 8  # 0: no adapters, the language model stays as it is
    alpha: float | None = None  # null: twice the rank
    dropout: float = 0.0
    targets: list[str] | None = None  # names of projections; null: all, without the one that makes logits


@dataclass(frozen=True)
class PruningConfig:
    """Keep rates seen in training (arXiv 2504.01690), at the default pruning blocks of the encoder.

    "random" draws a rate anew at each step, between a lower bound that shrinks from 1 to `keep_rate` and 1, so that one
    model serves all rates. "cosine" is the paper's recipe: the rate itself shrinks to `keep_rate` and stays there.
    """

    schedule: Literal["random", "cosine", "none"] = "random"
    keep_rate: float = 0.5  # the lower bound (random) or the rate (cosine) once shrinking has ended
    shrink_start: float = 0.1  # shares of the run
    shrink_end: float = 0.4
    model_keep_rate: float | None = (
        None  # of validation and of the saved model; null: `keep_rate`, or 1 without pruning
    )
    score: ScoreName | None = None  # what decides which patches stay; null: the encoder's own score
    reduce: ReducerName = "topk"  # what becomes of the others

    def __post_init__(self) -> None:
        for name, rate in (("keep_rate", self.keep_rate), ("model_keep_rate", self.model_keep_rate)):
            if rate is not None and not 0 < rate <= 1:
                raise ValueError(f"{name} must be over 0 and at most 1, not {rate}")
        if not 0 <= self.shrink_start <= self.shrink_end <= 1:
            raise ValueError(
                f"shrink_start and shrink_end are shares of the run, 0 <= start <= end <= 1, not {self.shrink_start} "
                f"and {self.shrink_end}"
            )

    @property
    def used_rate(self) -> float:
        """The keep rate that validation and the saved model use."""
        if self.model_keep_rate is not None:
            return self.model_keep_rate
        return 1.0 if self.schedule == "none" else self.keep_rate


@dataclass(frozen=True)
class TrainConfig:
    """One stage of training: what, from what, for how long."""

    stage: Stage
    output: str
    model: str = "small"  # a preset (from scratch), a model folder, or whatever `sonopsis.load` reads
    labels: Literal["manifest", "inherit"] | list[str] = "manifest"
    encoder: EncoderTraining = field(default_factory=EncoderTraining)
    front_end: FrontEndSettings = field(default_factory=FrontEndSettings)
    connector: ConnectorSettings | None = None  # null: that of a model that captions, or the defaults
    language_model: str | LanguageModelSizes | None = None  # a folder, or sizes; null: as for `connector`
    second_encoder: str | None = None  # a model, whose encoder is read too; null: that of `model`, if any
    lora: LoRASettings | None = None  # null: the whole language model is trained
    steps: int = 1000
    batch_size: int = 32
    micro_batch: int | None = None  # examples computed at once; their gradients make one step; null: `batch_size`
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    ema: float = 0.998  # decay of the averaged weights that are validated and saved
    tag_weight: float = 1.0  # of the loss of the head's tags beside the caption loss; 0: the head stays as it is
    timing_weight: float = 1.0  # of the losses of labels that the connector scores, in time and of the whole clip
    keep: Literal["last", "best"] = "last"  # whose weights the saved model has: of the last step or best validation
    label_smoothing: float = 0.0
    precision: Literal["auto", "no", "bf16"] = "auto"  # auto: training/precision.py
    seed: int = 0
    log_every: int = 50
    save_every: int = 500
    checkpoints: int = 1  # so many of the last ones are kept
    validate_every: int = 500
    teacher: TeacherSettings | None = None  # of the tagging stage; null: none
    masked: MaskedSettings = field(default_factory=MaskedSettings)  # of the masked stage
    data: DataConfig = field(default_factory=DataConfig)
    pruning: PruningConfig = field(default_factory=PruningConfig)

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "micro_batch",
            "log_every",
            "save_every",
            "checkpoints",
            "validate_every",
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.data.captions == "manifest" and (self.stage != "captioning" or self.data.scenes is not None):
            raise ValueError(
                "data.captions: those of the manifest are for stage captioning, without data.scenes; leave one out"
            )
        if self.data.hearings is not None and not (self.data.captions == "manifest" and self.encoder.frozen):
            raise ValueError(
                "data.hearings: only what a frozen encoder hears of clips with captions can be kept for all steps; use "
                "data.captions: manifest with encoder.train: frozen, or leave the key out"
            )
        if self.data.scenes is not None and not (self.stage == "captioning" and self.encoder.frozen):
            raise ValueError(
                "data.scenes: only what a frozen encoder hears can be kept for all steps; use stage captioning with "
                "encoder.train: frozen, or leave the key out"
            )
