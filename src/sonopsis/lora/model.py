"""Adapters put on a language model, merged, and taken off again."""

from collections.abc import Iterator

from torch import nn

from sonopsis.lora.layers import Adapter, LoRALinear
from sonopsis.lora.targets import LanguageModel, LoRAConfig, adaptable, check_targets, projections, target_rows
from sonopsis.mamba2.model import Mamba2LM


def attach(lm: LanguageModel, config: LoRAConfig | None = None) -> None:
    """Add adapters (by default those of `LoRAConfig()`) to every layer; all other parameters of `lm` are frozen.

    The model computes what it did until they are trained. Raises ValueError for targets that do not exist or overlap,
    and if adapters are attached already.
    """
    config = config or LoRAConfig()
    targets = check_targets(config.targets, lm)
    add_adapters(lm, {target: (config.rank, config.scale_alpha) for target in targets}, config.dropout)


def merge(lm: LanguageModel) -> None:
    """Add the adapters to the weights, so that generation costs what it did without them; undone by `unmerge`."""
    for _, linear in attached_linears(lm):
        linear.merge()


def unmerge(lm: LanguageModel) -> None:
    """Restore the weights from before `merge`, bit for bit."""
    for _, linear in attached_linears(lm):
        linear.unmerge()


def detach(lm: LanguageModel) -> None:
    """Take the adapters away; weights stay as they are, with merged adapters in them, and are trainable again."""
    for name, linear in attached_linears(lm):
        plain = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta").train(linear.training)
        plain.weight, plain.bias = linear.weight, linear.bias
        adaptable(lm).set_submodule(name, plain)
    lm.requires_grad_(True)


def add_adapters(lm: LanguageModel, targets: dict[str, tuple[int, float]], dropout: float) -> None:
    """Adapters of each target's rank and alpha in every layer, in a model that has none; the rest is frozen."""
    if next(adapted_linears(lm), None) is not None:
        raise ValueError("this model has adapters already; merge and detach them before adding others")
    lm.requires_grad_(False)
    rows = target_rows(lm.config) if isinstance(lm, Mamba2LM) else {}
    for name, linear in projections(lm).items():
        for target, (rank, alpha) in targets.items():
            module, _, part = target.partition(".")
            if name.rpartition(".")[2] != module:
                continue
            if not isinstance(linear, LoRALinear):
                linear = LoRALinear(linear)
                adaptable(lm).set_submodule(name, linear)
            whole = (0, linear.out_features)
            adapter = Adapter(linear.weight, rows.get(target, whole), rank, alpha, dropout).train(linear.training)
            linear.adapters[part or "whole"] = adapter


def has_unmerged(lm: LanguageModel) -> bool:
    """Whether adapters change what `lm` computes without being part of its weights."""
    return any(linear.unmerged is None for _, linear in adapted_linears(lm))


def adapted_linears(lm: LanguageModel) -> Iterator[tuple[str, LoRALinear]]:
    """The projections that carry adapters, with their names in the module `adaptable`."""
    for name, module in adaptable(lm).named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


def attached_linears(lm: LanguageModel) -> list[tuple[str, LoRALinear]]:
    """The same as a list; raises ValueError when there is none."""
    if not (linears := list(adapted_linears(lm))):
        raise ValueError("this model has no adapters; add some with sonopsis.lora.attach or load")
    return linears
