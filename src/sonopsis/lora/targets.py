"""Which projections of a language model an adapter can change, or which rows of them, and what a user asks for."""

from dataclasses import dataclass

from torch import nn

from sonopsis.causal.model import CausalLM
from sonopsis.mamba2.config import Mamba2Config
from sonopsis.mamba2.model import Mamba2LM

LanguageModel = Mamba2LM | CausalLM  # what a captioner can have, and adapters can change


@dataclass(frozen=True)
class LoRAConfig:
    """What `attach` adds: rank, alpha (None: twice the rank, as in the paper), dropout before the adapters, targets.

    A target is the last name of projections in a model, the same in each layer. Those of a Mamba-2 are "in_proj",
    "out_proj", and parts of the first: "in_proj.z", ".x", ".B", ".C", ".dt". None: all whole projections, without the
    head that makes logits.
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"a LoRA rank must be at least 1, not {self.rank}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"LoRA dropout must lie in [0, 1), not {self.dropout}")

    @property
    def scale_alpha(self) -> float:
        """Alpha with its default filled in."""
        return 2.0 * self.rank if self.alpha is None else float(self.alpha)


def adaptable(lm: LanguageModel) -> nn.Module:
    """The module below which projections have the names of published checkpoints, which are those of PEFT's files."""
    module: nn.Module = lm.model if isinstance(lm, CausalLM) else lm
    return module


def projections(lm: LanguageModel) -> dict[str, nn.Linear]:
    """Every projection that adapters can change, by its name in the module `adaptable`."""
    found = adaptable(lm).named_modules()
    return {name: one for name, one in found if isinstance(one, nn.Linear) and one is not lm.lm_head}


def target_rows(config: Mamba2Config) -> dict[str, tuple[int, int]]:
    """Every target that exists in a Mamba-2 and the rows of its projection's weight that it adapts."""
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


def known_targets(lm: LanguageModel) -> list[str]:
    """The targets of a model, in the order of its modules, a Mamba-2's parts among them."""
    if isinstance(lm, Mamba2LM):
        return list(target_rows(lm.config))
    return list(dict.fromkeys(name.rpartition(".")[2] for name in projections(lm)))


def check_targets(targets: tuple[str, ...] | None, lm: LanguageModel) -> tuple[str, ...]:
    """The targets as they are, None as all; raises ValueError where they do not exist or overlap."""
    known = known_targets(lm)
    if targets is None:
        targets = tuple(target for target in known if "." not in target)
    if unknown := [target for target in targets if target not in known] or not targets:
        raise ValueError(f"LoRA targets {unknown if targets else []} match nothing; choose from {known}")
    if len(set(targets)) < len(targets) or ("in_proj" in targets and any("." in target for target in targets)):
        raise ValueError(f"LoRA targets {list(targets)} overlap; name either in_proj or its parts, and each only once")
    return targets


def target_name(name: str, part: str) -> str:
    """The target of a part of the projection that has this dotted name in a model."""
    module = name.rpartition(".")[2]
    return module if part == "whole" else f"{module}.{part}"
