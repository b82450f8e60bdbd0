"""What a causal language model of transformers is, as data. No torch: engines without it read this too."""

from dataclasses import asdict, dataclass
from typing import Any

from sonopsis.files import read_fields

# Of a configuration of transformers, what says where a model came from and not what it computes.
ORIGIN = ("_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True)
class CausalConfig:
    """A causal language model of transformers: its own configuration, and what a captioner needs to know of it.

    `transformers` has the fields of the model's configuration there, `model_type` among them. Ids from `token_count` on
    are padding rows of the embedding, which are never generated (None: every row is a token).
    """

    width: int  # E
    vocab_size: int  # V
    transformers: dict[str, Any]
    token_count: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "vocab_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"a language model's {name} must be at least 1, not {getattr(self, name)}")
        if not isinstance(self.transformers, dict) or not isinstance(self.transformers.get("model_type"), str):
            raise ValueError("`transformers` must hold the fields of a configuration of transformers, with model_type")
        if self.token_count is not None and not 1 <= self.token_count <= self.vocab_size:
            raise ValueError(f"token_count {self.token_count} must lie in 1..vocab_size ({self.vocab_size})")
        kept = {name: value for name, value in self.transformers.items() if name not in ORIGIN}
        object.__setattr__(self, "transformers", kept)

    @property
    def architecture(self) -> str:
        """The name by which transformers knows this kind of model, such as "llama"."""
        return str(self.transformers["model_type"])

    @property
    def padding_ids(self) -> range:
        """Rows of the embedding that are no tokens and must never be generated."""
        return range(self.token_count or self.vocab_size, self.vocab_size)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CausalConfig":
        """The inverse of `to_dict`; raises ValueError on an unknown or missing field."""
        return read_fields(cls, values, "language model")
