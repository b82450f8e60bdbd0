"""Published layouts of weights <-> ours: AST, AudioMAE, EAT, Whisper, Mamba-2; only tensors are unpickled."""

from sonopsis.installed import needed_by

with needed_by("reading a published checkpoint"):
    from sonopsis.checkpoints.checkpoint import Checkpoint, crop_positions, read_checkpoint

__all__ = ["Checkpoint", "crop_positions", "read_checkpoint"]
