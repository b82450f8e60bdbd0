"""What an encoder is: every way in which the supported families differ, as data."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sonopsis.files import read_fields

FAMILIES = ("sonopsis", "ast", "audiomae", "eat", "whisper")
CHOICES: dict[str, tuple[str, ...]] = {
    "family": FAMILIES,
    "stem": ("patch", "conv", "conv1d"),
    "norm": ("pre", "post"),
    "position": ("learned", "sincos", "sinusoid"),
    "pooling": ("cls", "cls_dist", "mean", "attention", "layers"),
    "score": ("cls", "attention"),
}


@dataclass(frozen=True)
class EncoderConfig:
    """A ViT over log-Mel patches; `patch` and `stride` are (time frames, Mel bins).

    Raises ValueError when two fields contradict each other.
    """

    family: Literal["sonopsis", "ast", "audiomae", "eat", "whisper"]
    width: int  # D
    depth: int
    heads: int  # H
    mlp_ratio: float = 4.0
    mels: int = 128  # M
    frames: int = 1024  # T the position table is made for, the most the encoder reads
    patch: tuple[int, int] = (16, 16)
    stride: tuple[int, int] = (16, 16)
    stem: Literal["patch", "conv", "conv1d"] = "patch"  # conv1d: Whisper's, over time with the Mel bins as channels
    prefix_tokens: int = 1  # P: CLS, or CLS and distillation
    norm: Literal["pre", "post"] = "pre"
    norm_eps: float = 1e-6
    head_norm_eps: float = 1e-6
    position: Literal["learned", "sincos", "sinusoid"] = "sincos"  # sinusoid: of time alone, as in Whisper
    # attention: a mean with learned weights; layers: beside it mean and maximum of the patches after each block
    pooling: Literal["cls", "cls_dist", "mean", "attention", "layers"] = "cls"
    token_norm: bool = False  # with mean pooling: tokens pass a LayerNorm before their mean, as in Whisper
    head_norm: bool = True  # the head begins with a LayerNorm
    layer_weights: bool = False  # tokens are a weighted sum of what enters the first block and leaves each one
    score: Literal["cls", "attention"] = "cls"  # the family's own pruning score
    drop_path: float = 0.0  # stochastic depth of the last block; earlier blocks grow to it linearly

    def __post_init__(self) -> None:
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise ValueError(f"encoder {field} {getattr(self, field)!r} is unknown; choose one of {choices}")
        if self.width % self.heads:
            raise ValueError(f"encoder width {self.width} must be a multiple of heads {self.heads}")
        if self.stem == "conv1d" and (self.patch != (2, self.mels) or self.stride != self.patch):
            raise ValueError(
                f"stem 'conv1d' makes tokens of 2 frames and all {self.mels} Mel bins; got {self.patch}, {self.stride}"
            )
        if self.position == "sinusoid" and (self.stem != "conv1d" or self.width % 2):
            raise ValueError("position 'sinusoid' is for stem 'conv1d' and an even width")
        if self.token_norm and self.pooling != "mean":
            raise ValueError(f"token_norm is for pooling 'mean'; with {self.pooling!r} tokens are normed anyway")
        if self.layer_weights and self.reads_prefix:
            raise ValueError(f"layer_weights are for a pooling that reads patches, not {self.pooling!r}")
        if self.position == "sincos" and self.width % 4:
            raise ValueError(f"a sin-cos position table needs a width that is a multiple of 4, not {self.width}")
        needed = {"cls": 1, "cls_dist": 2}.get(self.pooling, 0)
        if self.score == "cls":
            needed = max(needed, 1)
        if self.prefix_tokens < needed:
            raise ValueError(
                f"pooling {self.pooling!r} with score {self.score!r} needs prefix_tokens >= {needed}, "
                f"not {self.prefix_tokens}"
            )
        if any(stride > patch for stride, patch in zip(self.stride, self.patch, strict=True)):
            raise ValueError(f"stride {self.stride} larger than patch {self.patch} would skip input; lower the stride")
        if self.stem == "conv" and (self.patch != self.stride or any(size & (size - 1) for size in self.patch)):
            raise ValueError(f"stem 'conv' needs patch == stride, both powers of two; got {self.patch}, {self.stride}")
        if self.patch[1] > self.mels or (self.patch[1] == self.stride[1] and self.mels % self.patch[1]):
            raise ValueError(f"patches of {self.patch[1]} Mel bins do not tile {self.mels}; choose a divisor")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path must be in [0, 1), not {self.drop_path}")
        self.grid(self.frames)

    def grid(self, frames: int) -> tuple[int, int]:
        """Rows of the patch grid (time, frequency) for `frames` Mel frames; raises ValueError if they do not fit."""
        (patch_t, patch_f), (stride_t, stride_f) = self.patch, self.stride
        whole = patch_t != stride_t or frames % stride_t == 0  # overlapping patches ignore a remainder, as AST does
        if not (patch_t <= frames <= self.frames and whole):
            steps = f"multiples of {stride_t} frames" if patch_t == stride_t else "any number of frames"
            raise ValueError(
                f"{frames} Mel frames do not fit this encoder: it reads {steps} from {patch_t} up to {self.frames}; "
                "pad or cut the log-Mel (sonopsis.mel.MelConfig does)"
            )
        return (frames - patch_t) // stride_t + 1, (self.mels - patch_f) // stride_f + 1

    @property
    def final_norm(self) -> bool:
        """Whether tokens pass a LayerNorm after the last block.

        Post-norm blocks already end in one; with mean pooling the norm comes after the mean, in the head (MAE), unless
        `token_norm` asks for it before.
        """
        return self.norm == "pre" and (self.pooling != "mean" or self.token_norm)

    @property
    def reads_prefix(self) -> bool:
        """Whether the head reads tokens that were there from the start, not what is made of all tokens at the end."""
        return self.pooling in ("cls", "cls_dist")

    @property
    def mean_alone(self) -> bool:
        """Whether the head reads nothing but the mean over patches as the last block leaves them."""
        plain = not self.final_norm and not self.layer_weights
        return self.pooling == "mean" and self.norm == "pre" and plain

    @property
    def has_summary(self) -> bool:
        """Whether `Encoded.prefix` begins with one vector for the whole clip."""
        return self.prefix_tokens > 0 or self.pools_by_attention

    @property
    def pools_by_attention(self) -> bool:
        """Whether one vector is made of all tokens with learned weights."""
        return self.pooling in ("attention", "layers")

    @property
    def pooled_width(self) -> int:
        """The size of the vector that a head reads."""
        return self.width * (1 + 2 * self.depth) if self.pooling == "layers" else self.width

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "EncoderConfig":
        """The inverse of `to_dict`; raises ValueError on an unknown or missing field."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return read_fields(cls, values, "encoder")


_AST = EncoderConfig(
    family="ast",
    width=768,
    depth=12,
    heads=12,
    prefix_tokens=2,
    head_norm_eps=1e-5,
    position="learned",
    pooling="cls_dist",
)


def whisper_config(width: int, depth: int, heads: int, mels: int = 80, frames: int = 3000) -> EncoderConfig:
    """The encoder of OpenAI's Whisper: 50 tokens a second, each of all Mel bins, with a head for our own labels."""
    return EncoderConfig(
        family="whisper",
        width=width,
        depth=depth,
        heads=heads,
        mels=mels,
        frames=frames,
        patch=(2, mels),
        stride=(2, mels),
        stem="conv1d",
        prefix_tokens=0,
        norm_eps=1e-5,
        head_norm_eps=1e-5,
        position="sinusoid",
        pooling="mean",
        token_norm=True,
        score="attention",
    )


PRESETS: dict[str, EncoderConfig] = {
    "ast": _AST,
    "ast_stride10": replace(_AST, stride=(10, 10)),
    # AudioMAE's sin-cos table is transposed relative to its tokens, so only the stored table reproduces it: "learned".
    "audiomae": EncoderConfig(
        family="audiomae",
        width=768,
        depth=12,
        heads=12,
        position="learned",
        pooling="mean",
        score="attention",
        drop_path=0.1,
    ),
    "eat": EncoderConfig(family="eat", width=768, depth=12, heads=12, norm="post", head_norm_eps=1e-5),
    "small": EncoderConfig(
        family="sonopsis", width=192, depth=8, heads=3, patch=(16, 32), stride=(16, 32), stem="conv"
    ),
    "whisper-tiny": whisper_config(384, 4, 6),
    "whisper-base": whisper_config(512, 6, 8),
    "whisper-small": whisper_config(768, 12, 12),
    "whisper-medium": whisper_config(1024, 24, 16),
    "whisper-large-v2": whisper_config(1280, 32, 20),
    "whisper-large-v3": whisper_config(1280, 32, 20, mels=128),
}
