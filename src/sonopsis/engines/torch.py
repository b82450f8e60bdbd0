"""The torch engine: the modules as they were trained, on a CPU or a GPU."""

import threading
from collections.abc import Sequence
from typing import Any

import torch

from sonopsis.captioning.captioner import Captioner
from sonopsis.decoding.search import Hypothesis
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.packed import pack
from sonopsis.encoder.tagger import Tagger
from sonopsis.engines.base import Floats, Wording
from sonopsis.lora import has_unmerged
from sonopsis.mamba2.model import Mamba2LM
from sonopsis.pruning.config import Pruning

# Clips after which captions are written by compiled kernels: a few would not pay for the second that loading them
# takes, and the half minute of compiling them, once on a machine.
KERNELS_AFTER = 200


class TorchEngine:
    """A module of torch as an engine."""

    name = "torch"

    def __init__(self, module: Tagger | Captioner) -> None:
        self.module = module
        self.captions = isinstance(module, Captioner)
        self.tagger = module.tagger if isinstance(module, Captioner) else module
        self.config = self.tagger.encoder.config
        self._captioned = 0
        self._prepared: tuple[object, Mamba2LM] | None = None  # of which weights, and the kernels' copy of them
        self._preparing = threading.Lock()  # recordings are captioned side by side
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
        lm = self._prepare(self.module.lm) if self._captioned > KERNELS_AFTER else self.module.lm
        encoded = self.module.encode(self._tensor(mel), pruning)
        logits = self.tagger.logits(encoded).float().cpu().numpy()
        if wording.samples:
            drawn = self.module.draw(encoded, max_new_tokens=wording.max_new_tokens, samples=wording.samples, lm=lm)
            return logits, drawn
        best = self.module.generate(encoded, max_new_tokens=wording.max_new_tokens, beams=wording.beams, lm=lm)
        return logits, [[hypothesis] for hypothesis in best]

    def use_threads(self, threads: int) -> None:
        """Compute each call with so many threads (of the whole process)."""
        torch.set_num_threads(threads)

    def _tensor(self, mel: Any) -> torch.Tensor:
        parameter = next(self.module.parameters())
        return torch.as_tensor(mel).to(device=parameter.device, dtype=parameter.dtype)

    def _prepare(self, lm: Mamba2LM) -> Mamba2LM:
        """A copy of the language model for compiled kernels, where they compute what it does; itself elsewhere.

        The module stays as it is, to be trained, moved or saved; once its weights have changed, they are copied again.
        """
        weight = lm.lm_head.weight
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or has_unmerged(lm):
            return lm
        with self._preparing:
            state = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in lm.parameters()]
            if self._prepared is None or self._prepared[0] != state:
                self._prepared = (state, lm.prepare())
            return self._prepared[1]
