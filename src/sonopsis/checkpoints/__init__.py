"""Published layouts of weights <-> ours: AST, AudioMAE, EAT and Mamba-2; nothing but tensors is ever unpickled."""

from sonopsis.checkpoints.checkpoint import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
