"""sonopsis: what is in a recording, in labels and in sentences.

    load()          a model: the bundled one, a folder, a checkpoint, or a hub id
    prune()         make a Hugging Face AST or ViT drop patches, in place
    restore()       undo prune(), exactly
    __version__     of this package

Importing the package imports nothing heavy; what a name needs is imported when it is first asked for. `load` works
without torch for exported models, the bundled one among them; `prune` and `restore` need it.
"""

from typing import TYPE_CHECKING, Any

from sonopsis.installed import needed_by

if TYPE_CHECKING:
    from sonopsis.model import load
    from sonopsis.pruning.huggingface import prune, restore

__version__ = "0.1.0"
__all__ = ["__version__", "load", "prune", "restore"]


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for (PEP 562)."""
    if name == "load":
        from sonopsis.model import load

        return load
    if name in ("prune", "restore"):
        with needed_by(f"sonopsis.{name}"):
            from sonopsis.pruning import huggingface

        return getattr(huggingface, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
