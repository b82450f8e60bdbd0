"""Low-rank adapters (arXiv 2106.09685) on the projections of a language model, in PEFT's file format.

PEFT itself refuses `out_proj` of Mamba-2, because fused kernels read that weight past the module; our mixer calls its
projections as modules, so both can be adapted, and so can one part of `in_proj`, which makes [z | x | B | C | dt].

    attach(lm, LoRAConfig(rank=8)); train; save(lm, folder)            load(lm, folder); merge(lm)
"""

from sonopsis.installed import needed_by

with needed_by("sonopsis.lora"):
    from sonopsis.lora.files import load, save
    from sonopsis.lora.layers import Adapter, LoRALinear
    from sonopsis.lora.model import attach, detach, has_unmerged, merge, unmerge
    from sonopsis.lora.reach import Coverage, coverage
    from sonopsis.lora.targets import LoRAConfig, target_rows

__all__ = [
    "Adapter",
    "Coverage",
    "LoRAConfig",
    "LoRALinear",
    "attach",
    "coverage",
    "detach",
    "has_unmerged",
    "load",
    "merge",
    "save",
    "target_rows",
    "unmerge",
]
