"""Log-Mel -> tokens: one ViT for AST, AudioMAE, EAT and the models of this package."""

from sonopsis.encoder.checkpoint import Checkpoint, read_checkpoint
from sonopsis.encoder.config import PRESETS, EncoderConfig
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.head import Head
from sonopsis.encoder.vit import Encoder

__all__ = ["PRESETS", "Checkpoint", "Encoded", "Encoder", "EncoderConfig", "Head", "read_checkpoint"]
