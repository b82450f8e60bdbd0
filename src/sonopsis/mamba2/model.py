"""The Mamba-2 language model: embedding, layers, final norm, head; and how it generates."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from sonopsis.decoding.options import DecodingOptions
from sonopsis.decoding.search import Floats, Hypothesis, Ids, OnToken, decode
from sonopsis.mamba2.block import Layer, RMSNorm
from sonopsis.mamba2.cache import Cache
from sonopsis.mamba2.config import PREFILL_SEGMENT, Mamba2Config
from sonopsis.mamba2.ssd import widen

if TYPE_CHECKING:
    from sonopsis.mamba2.prepared import PreparedLM

EMBEDDING_STD = 0.02

Padding = Literal["right", "left"]


class Backbone(nn.Module):
    """Embedding, layers and final norm, under the names of the published checkpoints."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm_f = RMSNorm(config.width, config.norm_eps)


class Mamba2LM(nn.Module):
    """A Mamba-2 language model (arXiv 2405.21060), initialised for training from scratch.

    It reads token ids (B, L) int64 or embeddings (B, L, E), so that other encoders can write its prompt. Parameters
    are named as in the state-spaces checkpoints; `state_dict` leaves out a tied `lm_head.weight`, and
    `load_state_dict` takes it or leaves it, and takes the plural `embeddings` of Hugging Face.
    """

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self._tie()
        self.register_state_dict_post_hook(_drop_tied_head)
        self.register_load_state_dict_pre_hook(_rename)
        self.register_load_state_dict_post_hook(lambda module, _: module._tie())

    def _tie(self) -> None:
        if self.config.tie_embeddings:
            self.lm_head.weight = self.backbone.embedding.weight

    @classmethod
    def load(cls, folder: str | Path, dtype: torch.dtype = torch.float32) -> "Mamba2LM":
        """A model from a folder in the layout of state-spaces, of Hugging Face, or of `save`.

        Projections and embedding are held in `dtype`, the small parameters in float32. Raises ValueError (missing
        files, hybrids with attention, weights that do not fit), saying what is wrong.
        """
        from sonopsis.checkpoints.mamba2 import load

        return load(folder, dtype)

    def save(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, creating the folder."""
        from sonopsis.checkpoints.mamba2 import save

        save(self, folder)

    def new_cache(self, batch: int = 1) -> Cache:
        """The state before the first position, on the model's device."""
        return Cache.new(self.config, batch, self.backbone.embedding.weight.device)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (...) int64 -> embeddings (..., E)."""
        return self.backbone.embedding(ids)

    def hidden(self, embeds: Tensor, cache: Cache | None = None, lengths: Tensor | None = None) -> Tensor:
        """Embeddings (B, L, E) -> what the head reads, (B, L, E); for `cache` and `lengths` see `forward`."""
        _check(embeds, cache, lengths)
        if cache is not None:
            cache.check(self.config)
        x = self._through_layers(widen(embeds), cache, lengths)
        return self.backbone.norm_f(x).to(self.lm_head.weight.dtype)

    def logits(self, embeds: Tensor, last: int) -> Tensor:
        """Embeddings (B, L, E) -> logits (B, last, V) of what follows each of the last positions."""
        logits: Tensor = self.lm_head(self.hidden(embeds)[:, -last:])
        return logits

    def _through_layers(self, x: Tensor, cache: Cache | None, lengths: Tensor | None) -> Tensor:
        """The residual (B, L, E) before and after all layers."""
        for index, layer in enumerate(self.backbone.layers):
            x = layer(x, cache.layer(index) if cache is not None else None, lengths)
        return x

    def forward(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Cache | None = None,
        lengths: Tensor | None = None,
        padding: Padding = "right",
        last_only: bool = False,
    ) -> Tensor:
        """Next-token logits (B, L, V) of `ids` (B, L) or `embeds` (B, L, E); (B, V), the last ones, with `last_only`.

        `cache` continues earlier positions and is updated in place, so a sequence may be read in pieces; no gradient
        flows into it. `lengths` (B,) int64 makes a batch of different lengths: each row's first `lengths` positions
        (with `padding="left"` its last ones) count and the rest is padding (finite values, any ids), which touches
        neither the cache nor the logits of the others. Raises ValueError when shapes do not agree.
        """
        hidden = self.hidden(_left_aligned(self._embeds(ids, embeds), lengths, padding), cache, lengths)
        if last_only:
            hidden = hidden[:, -1] if lengths is None else _last(hidden, lengths)
        elif padding == "left" and lengths is not None:
            hidden = _rolled(hidden, hidden.shape[1] - lengths)
        return self.lm_head(hidden)

    @torch.no_grad()
    def prefill(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Cache,
        lengths: Tensor | None = None,
        padding: Padding = "right",
    ) -> Tensor:
        """Read a prompt into `cache` and return the logits (B, V) after each row's last position, without gradients.

        The same numbers as `forward(..., last_only=True)`, in memory that does not grow with the prompt.
        """
        embeds = _left_aligned(self._embeds(ids, embeds), lengths, padding)
        _check(embeds, cache, lengths)
        if lengths is not None:
            _check_ends(lengths)
        last = torch.zeros_like(embeds[:, 0], dtype=self.lm_head.weight.dtype)
        for start in range(0, embeds.shape[1], PREFILL_SEGMENT):
            piece = embeds[:, start : start + PREFILL_SEGMENT]
            if lengths is None:
                last = self.hidden(piece, cache)[:, -1]
                continue
            left = (lengths - start).clamp(0, piece.shape[1])
            hidden = _last(self.hidden(piece, cache, left), left.clamp(min=1))
            last = torch.where((left > 0).unsqueeze(1), hidden, last)
        return self.lm_head(last)

    @torch.no_grad()
    def step(self, ids: Tensor, cache: Cache) -> Tensor:
        """Append one token to each row, ids (B,) int64: logits (B, V) of what follows; no gradients."""
        return self.decoder(cache).advance(ids)

    def decoder(self, cache: Cache) -> "Decoder":
        """What continues `cache`, in place."""
        return Decoder(self, cache)

    def prepare(
        self,
        precision: Literal["float32", "bfloat16", "float16", "int8"] = "float32",
        kernels: Literal["auto", "torch", "numba"] = "auto",
    ) -> "PreparedLM":
        """A copy for generation alone, decoding by compiled kernels where numba is installed (`"auto"`, on a CPU).

        `precision` is that of the projections, the embedding and the head; everything else stays float32. With
        `"bfloat16"` and `"int8"` prompts are read in bfloat16 where the processor has instructions for it. The copy
        takes a second and 1 to 4 bytes for each weight; compiling takes half a minute, once on a machine. Raises
        ValueError for unknown names, for adapters that are not merged, and for `kernels="numba"` where there are none.
        """
        from sonopsis.mamba2.prepared import PreparedLM

        return PreparedLM(self, precision, kernels)

    def generate(
        self,
        ids: Tensor | Sequence[Sequence[int]] | None = None,
        *,
        embeds: Tensor | None = None,
        lengths: Tensor | None = None,
        padding: Padding = "right",
        cache: Cache | None = None,
        on_token: OnToken | None = None,
        **options: Any,
    ) -> list[list[Hypothesis]]:
        """Continue prompts: lists of ids, or `ids` (B, L) or `embeds` (B, L, E), padded if `lengths` (B,) is given.

        `options` are the fields of `sonopsis.decoding.DecodingOptions`, such as `max_new_tokens=20, beams=4`. Returns
        for each prompt its hypotheses, best first: one by default (greedy), up to `beams`, or `sampling.samples`; ids
        hold new tokens only, without the stop. Padding rows of the vocabulary are never generated. `cache` holds what
        precedes the prompts and is left as it is; for `on_token` see `sonopsis.decoding.decode`. Raises ValueError for
        prompts that are empty or hold ids outside of the vocabulary, and TypeError for an unknown option.
        """
        with torch.inference_mode():
            if ids is not None and not isinstance(ids, Tensor):
                if lengths is not None or padding != "right":
                    raise ValueError("prompts given as lists have their own lengths; leave out `lengths` and `padding`")
                ids, lengths = _padded(ids, self.backbone.embedding.weight.device)
            if ids is not None:
                self._check_ids(ids)
            prompt = _left_aligned(self._embeds(ids, embeds), lengths, padding)
            decoder = self.decoder(self.new_cache(prompt.shape[0]) if cache is None else cache.fork())
            chosen = DecodingOptions(**options)
            chosen = replace(chosen, forbid_ids={*chosen.forbid_ids, *self.config.padding_ids})
            return decode(decoder, (prompt, lengths), chosen, on_token)

    def _check_ids(self, ids: Tensor) -> None:
        if ids.ndim != 2 or 0 in ids.shape or ids.is_floating_point():
            raise ValueError(
                f"prompts are token ids (batch, length) with at least one of each, not {tuple(ids.shape)} {ids.dtype}"
            )
        if ids.min() < 0 or ids.max() >= self.config.vocab_size:
            raise ValueError(
                f"token ids must lie in 0..{self.config.vocab_size - 1}, got {int(ids.min())}..{int(ids.max())}; "
                "use this model's own tokenizer"
            )

    def _embeds(self, ids: Tensor | None, embeds: Tensor | None) -> Tensor:
        if (ids is None) == (embeds is None):
            raise ValueError("give token ids or embeds, exactly one of them")
        return embeds if ids is None else self.embed(ids)  # type: ignore[return-value]  # one of them is there


class Decoder:
    """A model with a cache as the `Stepper` that `search` drives; it holds copies of the small parameters."""

    def __init__(self, model: Mamba2LM, cache: Cache) -> None:
        self.model = model
        self.cache = cache
        self._layers = [(layer, layer.mixer.step_weights()) for layer in cast(Iterable[Layer], model.backbone.layers)]

    def advance(self, ids: Tensor) -> Tensor:
        """Append ids (B,) int64 to the sequences; logits (B, V) of what follows."""
        x = widen(self.model.embed(ids))  # (B, E)
        for index, (layer, weights) in enumerate(self._layers):
            x = layer.step(x, self.cache.layer(index), weights)
        return self.model.lm_head(self.model.backbone.norm_f(x).to(self.model.lm_head.weight.dtype))

    def prefill(self, prompts: tuple[Tensor, Tensor | None]) -> Floats:
        """Read embeddings (B, L, E) with their lengths (B,) or None; logits (B, V)."""
        embeds, lengths = prompts
        return _numpy(self.model.prefill(embeds=embeds, cache=self.cache, lengths=lengths))

    def step(self, ids: Ids) -> Floats:
        """`advance` for NumPy."""
        return _numpy(self.advance(torch.from_numpy(ids).to(self.cache.ssm.device)))

    def reorder(self, rows: Ids) -> None:
        """Keep the sequences `rows` in that order."""
        self.cache.reorder(torch.from_numpy(rows))

    def fork(self) -> "Decoder":
        """An independent decoder that has read the same."""
        other = copy.copy(self)
        other.cache = self.cache.fork()
        return other


def _numpy(logits: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return logits.float().cpu().numpy()


def _padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Lists of ids -> ids (B, L) with zeros behind the shorter ones, and their lengths (B,)."""
    if any(isinstance(prompt, int) for prompt in prompts):
        raise ValueError("prompts are lists of token ids, one list for each prompt; put a single prompt into [...]")
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("every prompt needs at least one token, and there must be a prompt")
    rows = [torch.as_tensor(prompt, dtype=torch.int64, device=device) for prompt in prompts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows], device=device)


def _last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Row b's position lengths[b] - 1 of (B, L, E) -> (B, E)."""
    _check_ends(lengths)
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), lengths - 1]


def _left_aligned(embeds: Tensor, lengths: Tensor | None, padding: Padding) -> Tensor:
    """(B, L, E) with the padding of each row behind what counts."""
    if padding not in ("right", "left"):
        raise ValueError(f"padding is on the 'right' or on the 'left', not {padding!r}")
    if padding == "right" or lengths is None:
        return embeds
    _check(embeds, None, lengths)
    return _rolled(embeds, lengths - embeds.shape[1])


def _rolled(x: Tensor, steps: Tensor) -> Tensor:
    """Each row of (B, L, E) moved to the right by its number of steps (B,), round the end."""
    length = x.shape[1]
    places = (torch.arange(length, device=x.device) - steps.unsqueeze(1)) % length  # (B, L)
    return x.gather(1, places.unsqueeze(-1).expand_as(x))


def _check_ends(lengths: Tensor) -> None:
    if lengths.min() < 1:
        raise ValueError(f"lengths must be at least 1 where the last logits are asked for, got {lengths.tolist()}")


def _check(embeds: Tensor, cache: Cache | None, lengths: Tensor | None) -> None:
    if embeds.ndim != 3 or 0 in embeds.shape:
        raise ValueError(
            "a Mamba-2 model reads (batch, length, width) with at least one position and one sequence, "
            f"not {tuple(embeds.shape)}"
        )
    if cache is not None and cache.batch != embeds.shape[0]:
        raise ValueError(f"the cache holds {cache.batch} sequences, the input has {embeds.shape[0]}; use Cache.reorder")
    if lengths is not None and (
        lengths.shape != embeds.shape[:1] or lengths.min() < 0 or lengths.max() > embeds.shape[1]
    ):
        raise ValueError(f"lengths must be one number in 0..{embeds.shape[1]} per row, got {lengths.tolist()}")


def _drop_tied_head(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    assert isinstance(module, Mamba2LM)
    if module.config.tie_embeddings:
        state.pop(prefix + "lm_head.weight", None)


def _rename(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, Mamba2LM)
    singular, plural = prefix + "backbone.embedding.weight", prefix + "backbone.embeddings.weight"
    if plural in state and singular not in state:
        state[singular] = state.pop(plural)
    if module.config.tie_embeddings and singular in state:
        state.setdefault(prefix + "lm_head.weight", state[singular])
