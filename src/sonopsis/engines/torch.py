"""The torch engine: the modules as they were trained, on a CPU or a GPU."""

import threading
from typing import Any

import torch

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.language_model import LanguageModel
from sonopsis.decoding.search import ForkingStepper
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.onednn import make_fast
from sonopsis.encoder.tagger import Tagger
from sonopsis.engines.base import Floats, Prompt
from sonopsis.lora import has_unmerged
from sonopsis.mamba2.model import Mamba2LM
from sonopsis.pruning.config import Pruning


class TorchEngine:
    """A module of torch as an engine."""

    name = "torch"

    def __init__(self, module: Tagger | Captioner) -> None:
        self.module = module
        self.captions = isinstance(module, Captioner)
        self.tagger = module.tagger if isinstance(module, Captioner) else module
        self.config = self.tagger.encoder.config
        self._prepares = False
        self._prepared: tuple[object, Mamba2LM] | None = None  # of which weights, and the copy that kernels decode
        self._preparing = threading.Lock()  # recordings are captioned side by side
        make_fast(self.tagger.encoder)

    @torch.inference_mode()
    def logits(self, mel: Any, pruning: Pruning | None) -> Floats:
        """Normalised log-Mel (B, T, M) -> tag logits (B, labels)."""
        return self.tagger(self._tensor(mel), pruning).float().cpu().numpy()

    @torch.inference_mode()
    def encode(self, mel: Any, pruning: Pruning | None) -> Encoded[Any]:
        """Normalised log-Mel (B, T, M) -> surviving tokens with their grid positions, as NumPy."""
        return self.tagger.encode(self._tensor(mel), pruning).numpy()

    @torch.inference_mode()
    def prompt(self, mel: Any, pruning: Pruning | None) -> Prompt:
        """Normalised log-Mel (B, T, M) -> tags, what `stepper` reads, and labels in time."""
        assert isinstance(self.module, Captioner)
        encoded = self.module.encode(self._tensor(mel), pruning)
        logits = self.tagger.logits(encoded).float().cpu().numpy()
        prefix, recognised = self.module.connector.read(encoded)
        steps = None if recognised is None else self.module.connector.in_time(recognised).float().cpu().numpy()
        return Prompt(logits, self.module.prompt(prefix), steps)

    def stepper(self) -> ForkingStepper:
        """The language model, or its prepared copy, as a stepper."""
        assert isinstance(self.module, Captioner)
        lm = self.module.lm
        return _TorchStepper(self._copy(lm) if self._prepares and isinstance(lm, Mamba2LM) else lm)

    def prepare(self) -> None:
        """Caption by compiled kernels from now on, where the language model is a Mamba-2 in float32 on a CPU.

        Compiling takes half a minute once on a machine; the machine code is kept on disk. Later changes of the
        weights are followed; adapters that are not merged are left to torch.
        """
        if isinstance(self.module, Captioner) and isinstance(lm := self.module.lm, Mamba2LM):
            weight = lm.lm_head.weight
            if weight.device.type == "cpu" and weight.dtype == torch.float32:
                self._prepares = True
                self._copy(lm)

    def use_threads(self, threads: int) -> int:
        """Compute each call with so many threads (of the whole process)."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        return before

    def _tensor(self, mel: Any) -> torch.Tensor:
        parameter = next(self.module.parameters())
        return torch.as_tensor(mel).to(device=parameter.device, dtype=parameter.dtype)

    def _copy(self, lm: Mamba2LM) -> Mamba2LM:
        """The prepared copy of the language model, made again when its weights have changed."""
        if has_unmerged(lm):
            return lm
        with self._preparing:
            state = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in lm.parameters()]
            if self._prepared is None or self._prepared[0] != state:
                self._prepared = (state, lm.prepare())
            return self._prepared[1]


class _TorchStepper:
    """A language model with a cache of its own, as the `Stepper` that `decode` drives."""

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._decoder: ForkingStepper | None = None

    @torch.inference_mode()
    def prefill(self, prompts: torch.Tensor) -> Floats:
        """Read embeddings (B, L, E) from the start; logits (B, V) of what follows."""
        self._decoder = self._lm.decoder(self._lm.new_cache(prompts.shape[0]))
        return self._decoder.prefill((prompts, None))

    @torch.inference_mode()
    def step(self, ids: Any) -> Floats:
        """Append one token to each sequence, ids (B,); logits (B, V) of what follows."""
        assert self._decoder is not None, "prefill comes first"
        return self._decoder.step(ids)

    @torch.inference_mode()
    def reorder(self, rows: Any) -> None:
        """Keep the sequences `rows` in that order."""
        assert self._decoder is not None, "prefill comes first"
        self._decoder.reorder(rows)

    @torch.inference_mode()
    def fork(self) -> "_TorchStepper":
        """An independent stepper that has read the same."""
        assert self._decoder is not None, "prefill comes first"
        other = _TorchStepper(self._lm)
        other._decoder = self._decoder.fork()
        return other
