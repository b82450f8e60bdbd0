"""Which parameters of a module are low-rank adapters of `sonopsis.lora`, told by their names alone."""

from torch import nn


def adapter_names(module: nn.Module, *, unmerged_only: bool = False) -> list[str]:
    """The names of all adapter parameters in a module, sorted; with `unmerged_only` those that no weight contains.

    An adapted projection keeps its adapters below `adapters`, and while they are merged the buffer `unmerged` holds its
    weight without them.
    """
    merged = {name.removesuffix(".unmerged") for name, _ in module.named_buffers() if name.endswith(".unmerged")}
    names = sorted(name for name, _ in module.named_parameters() if ".lora_" in name)
    return [name for name in names if not unmerged_only or name.partition(".adapters.")[0] not in merged]
