"""Published layouts of weights <-> ours: AST, AudioMAE, EAT, Whisper, Mamba-2; only tensors are unpickled."""

from sonopsis.checkpoints.checkpoint import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
