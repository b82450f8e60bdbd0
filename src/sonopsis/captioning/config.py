"""What a connector and a language model are, as data. No torch: engines without it read this too."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sonopsis.causal.config import CausalConfig
from sonopsis.encoder.config import EncoderConfig
from sonopsis.files import read_fields
from sonopsis.mamba2.config import Mamba2Config

LMConfig = Mamba2Config | CausalConfig  # of the language models that a captioner can have

Layout = Literal["concat", "time_major", "frequency_major"]
LAYOUTS: tuple[str, ...] = ("concat", "time_major", "frequency_major")
Fill = Literal["omit", "zeros", "mean", "last"]
FILLS: tuple[str, ...] = ("omit", "zeros", "mean", "last")


@dataclass(frozen=True)
class SecondEncoder:
    """Another encoder that hears the same log-Mel, each value of it times `scale`, plus `shift`.

    Nothing of it is pruned or trained.
    """

    encoder: EncoderConfig
    scale: float = 1.0
    shift: float = 0.0

    def width(self, frames: int) -> int:
        """What it adds to a time step: its frequency rows side by side, for inputs of up to so many Mel frames."""
        return self.encoder.grid(frames)[1] * self.encoder.width

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SecondEncoder":
        """Read JSON fields; raises ValueError on an unknown or missing one."""
        found = read_fields(cls, fields, "second encoder")
        return replace(found, encoder=EncoderConfig.from_dict(fields["encoder"]))


@dataclass(frozen=True)
class ConnectorConfig:
    """What turns tokens of width D into prefix vectors of width E."""

    encoder_width: int  # D
    width: int  # E
    frequency_rows: int  # f, rows of the patch grid
    layout: Layout = "concat"
    summary: bool = True  # CLS, or without one the mean over tokens, goes last, next to the text, as one more vector
    labels: int = 0  # labels scored in each vector, whose embeddings the language model reads; 0: the vectors alone
    reduction: int = 1  # neighbouring vectors averaged into one, after labels are scored (concat only)
    pool: int = 1  # neighbouring time steps of the encoder averaged before they become a vector (concat only)
    blocks: tuple[int, ...] = ()  # encoder blocks, from 0, that are read too, beside what leaves the last (concat only)
    pool_frequency: int = 1  # neighbouring frequency rows averaged too, as `pool` does time steps (concat only)
    fill: Fill | None = None  # what stands in the cells of dropped patches; None: what is usual for the layout
    scan: int = 0  # layers of Mamba-2 that read the tokens forwards and backwards before the MLP
    queries: int = 0  # learned queries that attend to the vectors, one vector for each; 0: the vectors themselves
    expand: int = 1  # vectors made of each one
    second: int = 0  # width of what a second encoder adds to each time step; 0: there is none (concat only)

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"connector layout {self.layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
        for name, size in (("reduction", self.reduction), ("pool", self.pool)):
            if size < 1 or (size > 1 and self.layout != "concat"):
                raise ValueError(f"{name} {size} does not fit layout {self.layout}; only concat has time steps")
        self._check_kinds()
        object.__setattr__(self, "blocks", tuple(self.blocks))  # JSON has lists
        if sorted(set(self.blocks)) != list(self.blocks) or any(block < 0 for block in self.blocks):
            raise ValueError(f"blocks {list(self.blocks)} must be numbers of encoder blocks from 0, ascending")
        if self.blocks and self.layout != "concat":
            raise ValueError(f"blocks do not fit layout {self.layout}; only concat reads several encoder blocks")
        if self.second and self.layout != "concat":
            raise ValueError(f"a second encoder does not fit layout {self.layout}; only concat has time steps")

    def _check_kinds(self) -> None:
        rows = self.pool_frequency
        if not 1 <= rows <= self.frequency_rows or (rows > 1 and self.layout != "concat"):
            raise ValueError(
                f"pool_frequency {rows} does not fit {self.frequency_rows} frequency rows in layout {self.layout}; it "
                "is at least 1, at most their number, and more than 1 in concat alone"
            )
        if self.fill is not None and self.fill not in FILLS:
            raise ValueError(f"fill {self.fill!r} is unknown; choose one of {', '.join(FILLS)}")
        if self.fill == "omit" and self.layout == "concat":
            raise ValueError("fill omit does not fit layout concat, which reads every cell; use zeros, mean or last")
        for name, value, least in (("scan", self.scan, 0), ("queries", self.queries, 0), ("expand", self.expand, 1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if self.queries and self.expand > 1:
            raise ValueError("queries say how many vectors there are; leave out expand")
        if (self.queries or self.expand > 1) and (self.labels or self.reduction > 1):
            raise ValueError(
                "queries and expand make vectors that stand for no time step; set labels to 0 and reduction to 1"
            )

    @property
    def fills(self) -> Fill:
        """What stands in the cells of dropped patches."""
        return self.fill or ("last" if self.layout == "concat" else "omit")

    @property
    def rows(self) -> int:
        """Frequency rows side by side in one vector."""
        return -(-self.frequency_rows // self.pool_frequency) if self.layout == "concat" else 1

    @property
    def inputs(self) -> int:
        """Width of what each vector is made of, before `further`."""
        return self.encoder_width * self.rows

    @property
    def further(self) -> int:
        """Width that `blocks`, as much each, and a second encoder add."""
        return len(self.blocks) * self.inputs + self.second

    def steps(self, time: int) -> int:
        """Vectors, and times at which labels are scored, of so many time steps of the encoder (concat only)."""
        return -(-time // self.pool)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ConnectorConfig":
        """The inverse of `to_dict`; raises ValueError on an unknown or missing field."""
        return read_fields(cls, fields, "connector")


def read_lm_config(fields: dict[str, Any]) -> LMConfig:
    """The inverse of `to_dict` for whichever kind of language model; raises ValueError on an unknown field."""
    return CausalConfig.from_dict(fields) if "transformers" in fields else Mamba2Config.from_dict(fields)
