"""The sizes of a Mamba-2 language model."""

from dataclasses import asdict, dataclass
from typing import Any

from sonopsis.files import read_fields

# Positions of a prompt that are read at once. It bounds the memory of a long prompt, and sums of decays over many more
# positions lose digits.
PREFILL_SEGMENT = 512


@dataclass(frozen=True)
class Mamba2Config:
    """Sizes of a Mamba-2 language model (arXiv 2405.21060); the letters are those of the paper.

    `vocab_size` counts the rows of the embedding. Checkpoints pad it to a round number: ids from `token_count` on
    are padding rows, which are scored but never generated (None: every row is a token).
    """

    width: int  # E
    depth: int
    vocab_size: int  # V
    state: int = 128  # n
    head_dim: int = 64  # p
    groups: int = 1  # g, heads of one group share B and C
    expand: int = 2
    conv: int = 4  # taps of the causal convolution
    chunk: int = 64  # q, a choice of speed alone: results do not depend on it
    norm_eps: float = 1e-5
    tie_embeddings: bool = True
    token_count: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "depth", "vocab_size", "state", "head_dim", "groups", "expand", "conv", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"Mamba-2 {name} must be at least 1, not {getattr(self, name)}")
        if self.inner % self.head_dim:
            raise ValueError(
                f"width {self.width} times expand {self.expand} must be a multiple of head_dim {self.head_dim}"
            )
        if self.heads % self.groups:
            raise ValueError(f"{self.heads} heads cannot be shared out among {self.groups} groups; choose a divisor")
        if self.token_count is not None and not 1 <= self.token_count <= self.vocab_size:
            raise ValueError(f"token_count {self.token_count} must lie in 1..vocab_size ({self.vocab_size})")

    @property
    def inner(self) -> int:
        """Width inside a block, h * p."""
        return self.expand * self.width

    @property
    def heads(self) -> int:
        """Number of heads, h."""
        return self.inner // self.head_dim

    @property
    def conv_channels(self) -> int:
        """Channels of the convolution, which runs over [x | B | C]."""
        return self.inner + 2 * self.groups * self.state

    @property
    def padding_ids(self) -> range:
        """Rows of the embedding that are no tokens and must never be generated."""
        return range(self.token_count or self.vocab_size, self.vocab_size)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Mamba2Config":
        """The inverse of `to_dict`; raises ValueError on an unknown or missing field."""
        return read_fields(cls, values, "Mamba-2")
