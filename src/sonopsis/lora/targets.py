"""Which rows of which projection an adapter can change, and what a user asks for."""

from dataclasses import dataclass

from sonopsis.mamba2.config import Mamba2Config

MODULES = ("in_proj", "out_proj")


@dataclass(frozen=True)
class LoRAConfig:
    """What `attach` adds: rank, alpha (None: twice the rank, as in the paper), dropout before the adapters, targets.

    A target is "in_proj", "out_proj", or one part of the first: "in_proj.z", ".x", ".B", ".C", ".dt".
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = MODULES

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"a LoRA rank must be at least 1, not {self.rank}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"LoRA dropout must lie in [0, 1), not {self.dropout}")

    @property
    def scale_alpha(self) -> float:
        """Alpha with its default filled in."""
        return 2.0 * self.rank if self.alpha is None else float(self.alpha)


def target_rows(config: Mamba2Config) -> dict[str, tuple[int, int]]:
    """Every target that exists and the rows of its projection's weight that it adapts."""
    sizes = {
        "z": config.inner,
        "x": config.inner,
        "B": config.groups * config.state,
        "C": config.groups * config.state,
        "dt": config.heads,
    }
    rows, start = {}, 0
    for part, size in sizes.items():
        rows[f"in_proj.{part}"] = (start, start + size)
        start += size
    return {"in_proj": (0, start), **rows, "out_proj": (0, config.width)}


def check_targets(targets: tuple[str, ...], config: Mamba2Config) -> tuple[str, ...]:
    """The targets as they are; raises ValueError where they do not exist or overlap."""
    known = target_rows(config)
    if unknown := [target for target in targets if target not in known] or not targets:
        raise ValueError(f"LoRA targets {unknown if targets else []} match nothing; choose from {list(known)}")
    if len(set(targets)) < len(targets) or ("in_proj" in targets and any("." in target for target in targets)):
        raise ValueError(f"LoRA targets {list(targets)} overlap; name either in_proj or its parts, and each only once")
    return targets


def target_name(name: str, part: str) -> str:
    """The target of a part of the projection that has this dotted name in a model."""
    module = name.rpartition(".")[2]
    return module if part == "whole" else f"{module}.{part}"
