"""Modules for weights that come from a file: made without drawing the initial ones, which takes seconds."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules made here keep whatever their memory held where an initialiser would have filled it.

    The meta device would do as well, but its initialisers import torch's compiler, two seconds the first time.
    """
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    before = {name: getattr(nn.init, name) for name in names}
    try:
        for name in names:
            setattr(nn.init, name, lambda tensor, *arguments, **options: tensor)
        yield
    finally:
        for name, function in before.items():
            setattr(nn.init, name, function)
