"""Log-Mel -> tokens and tags: one ViT for AST, AudioMAE, EAT, Whisper and our own models.

What describes an encoder loads without torch; what needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonopsis.encoder.config import PRESETS, EncoderConfig
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.trace import Trace
from sonopsis.installed import needed_by

if TYPE_CHECKING:
    from sonopsis.encoder.tagger import Head, Tagger
    from sonopsis.encoder.vit import Encoder

__all__ = ["PRESETS", "Encoded", "Encoder", "EncoderConfig", "Head", "Tagger", "Trace"]

_TORCH = {
    "Encoder": "sonopsis.encoder.vit",
    "Head": "sonopsis.encoder.tagger",
    "Tagger": "sonopsis.encoder.tagger",
}


def __getattr__(name: str) -> Any:
    if name in _TORCH:
        with needed_by(f"sonopsis.encoder.{name}"):
            return getattr(import_module(_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
