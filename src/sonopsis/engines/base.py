"""What every engine does: log-Mel in, logits, tokens and captions out, all of it NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sonopsis.decoding.search import Hypothesis
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.encoded import Encoded
from sonopsis.pruning.config import Pruning

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Wording:
    """How captions are generated."""

    max_new_tokens: int
    beams: int = 1
    samples: int = 0  # captions to draw at random instead, the same at each call


class Engine(Protocol):
    """A model ready to compute."""

    name: str  # torch, onnx or openvino
    config: EncoderConfig
    captions: bool  # whether it has a language model

    def logits(self, mel: Any, pruning: Pruning | None) -> Floats:
        """Normalised log-Mel (B, T, 128) -> tag logits (B, labels)."""

    def encode(self, mel: Any, pruning: Pruning | None) -> Encoded[Any]:
        """Normalised log-Mel (B, T, 128) -> surviving tokens with their grid positions, as NumPy."""

    def caption(
        self, mel: Any, pruning: Pruning | None, wording: Wording
    ) -> tuple[Floats, Sequence[Sequence[Hypothesis]]]:
        """Normalised log-Mel (B, T, 128) -> tag logits (B, labels) and each clip's captions, best first."""

    def use_threads(self, threads: int) -> None:
        """Compute each call with so many threads, so that several may run side by side."""
