"""The torch engine: the modules as they were trained, on a CPU or a GPU."""

from collections.abc import Sequence
from typing import Any

import torch

from sonopsis.captioner import Captioner
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.packed import pack
from sonopsis.engines.base import Floats, Wording
from sonopsis.mamba2.prepared import PreparedLM
from sonopsis.mamba2.search import Hypothesis
from sonopsis.pruning.config import Pruning
from sonopsis.tagger import Tagger

# Clips after which captions are written by compiled kernels. To load them takes a second, and to compile them half a
# minute, once on a machine; they save 0.1 s on a clip.
KERNELS_FROM = 200


class TorchEngine:
    """A module of torch as an engine."""

    name = "torch"

    def __init__(self, module: Tagger | Captioner) -> None:
        self.module = module
        self.captions = isinstance(module, Captioner)
        self.tagger = module.tagger if isinstance(module, Captioner) else module
        self.config = self.tagger.encoder.config
        self._captioned = 0
        pack(self.tagger.encoder)

    @torch.inference_mode()
    def logits(self, mel: Any, pruning: Pruning | None) -> Floats:
        """Normalised log-Mel (B, T, 128) -> tag logits (B, labels)."""
        return self.tagger(self._tensor(mel), pruning).float().cpu().numpy()

    @torch.inference_mode()
    def encode(self, mel: Any, pruning: Pruning | None) -> Encoded[Any]:
        """Normalised log-Mel (B, T, 128) -> surviving tokens with their grid positions, as NumPy."""
        return self.tagger.encode(self._tensor(mel), pruning).numpy()

    @torch.inference_mode()
    def caption(
        self, mel: Any, pruning: Pruning | None, wording: Wording
    ) -> tuple[Floats, Sequence[Sequence[Hypothesis]]]:
        """Normalised log-Mel (B, T, 128) -> tag logits (B, labels) and each clip's captions, best first."""
        assert isinstance(self.module, Captioner)
        self._captioned += len(mel)
        if self._captioned > KERNELS_FROM:
            _use_kernels(self.module)
        encoded = self.module.encode(self._tensor(mel), pruning)
        logits = self.tagger.logits(encoded).float().cpu().numpy()
        if wording.samples:
            drawn = self.module.draw(encoded, max_new_tokens=wording.max_new_tokens, samples=wording.samples)
            return logits, drawn
        best = self.module.generate(encoded, max_new_tokens=wording.max_new_tokens, beams=wording.beams)
        return logits, [[hypothesis] for hypothesis in best]

    def use_threads(self, threads: int) -> None:
        """Compute each call with so many threads (of the whole process)."""
        torch.set_num_threads(threads)

    def _tensor(self, mel: Any) -> torch.Tensor:
        parameter = next(self.module.parameters())
        return torch.as_tensor(mel).to(device=parameter.device, dtype=parameter.dtype)


def _use_kernels(captioner: Captioner) -> None:
    """Have the captions written by compiled kernels, where they compute what the module does."""
    weight = captioner.lm.lm_head.weight
    if not isinstance(captioner.lm, PreparedLM) and weight.device.type == "cpu" and weight.dtype == torch.float32:
        captioner.lm = captioner.lm.prepare()
