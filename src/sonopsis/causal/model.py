"""A causal language model of transformers as the captioner's language model: prompt, steps, copies of what was read."""

import copy
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from sonopsis.causal.config import CausalConfig
from sonopsis.decoding.options import DecodingOptions
from sonopsis.decoding.search import Floats, Hypothesis, Ids, OnToken, decode
from sonopsis.installed import require

CACHES = ("past_key_values", "cache_params")  # the names by which models of transformers take what they have read


class CausalLM(nn.Module):
    """A causal language model of transformers; without `model`, one of this configuration with newly drawn weights.

    Its parameters have the names of transformers below `model.`; `state_dict` has tied weights once. Raises ValueError
    for a model that transformers does not have, or that cannot remember what it has read, and MissingPackageError
    without transformers.
    """

    def __init__(self, config: CausalConfig, model: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.model: Any = make(config) if model is None else model
        taken = signature(self.model.forward).parameters
        found = [name for name in CACHES if name in taken]
        if not found:
            raise ValueError(
                f"{config.architecture}: transformers has no cache for models of this kind, with which words are "
                "decoded one after the other; choose another, such as llama or gpt_neox"
            )
        self._cache_name = found[0]
        self._tied = _tied(self)
        self.register_state_dict_post_hook(_drop_tied)
        self.register_load_state_dict_pre_hook(_add_tied)
        self.register_load_state_dict_post_hook(lambda module, _: module._tie())

    @property
    def lm_head(self) -> nn.Module:
        """What makes logits of the last hidden states."""
        head: nn.Module = self.model.get_output_embeddings()
        return head

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.model.parameters()).device

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (...) int64 -> embeddings (..., E)."""
        embeddings: Tensor = self.model.get_input_embeddings()(ids)
        return embeddings

    def logits(self, embeds: Tensor, last: int) -> Tensor:
        """Embeddings (B, L, E) -> logits (B, last, V) of what follows each of the last positions."""
        return self.read(embeds, None, last)

    def read(self, embeds: Tensor, cache: Any, last: int = 1) -> Tensor:
        """The same behind what a cache of `new_cache` has read, to which the embeddings are added.

        Raises ValueError for more positions than the model has.
        """
        options = {"use_cache": False} if cache is None else {"use_cache": True, self._cache_name: cache}
        self._check_length(embeds.shape[1], cache)
        logits: Tensor = self.model(inputs_embeds=embeds, logits_to_keep=last, **options).logits
        return logits

    def new_cache(self, batch: int = 1) -> Any:
        """A cache that has read nothing; it takes the number of sequences from the first that it reads."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def decoder(self, cache: Any) -> "CausalDecoder":
        """What continues `cache`, in place."""
        return CausalDecoder(self, cache)

    def generate(self, *, embeds: Tensor, on_token: OnToken | None = None, **options: Any) -> list[list[Hypothesis]]:
        """Continue prompts `embeds` (B, L, E); `options` are the fields of `sonopsis.decoding.DecodingOptions`.

        Returns for each prompt its hypotheses, best first. Padding rows of the vocabulary are never generated. Raises
        ValueError for more positions than the model has, and TypeError for an unknown option.
        """
        with torch.inference_mode():
            chosen = DecodingOptions(**options)
            chosen = replace(chosen, forbid_ids={*chosen.forbid_ids, *self.config.padding_ids})
            return decode(self.decoder(self.new_cache(len(embeds))), (embeds, None), chosen, on_token)

    def _check_length(self, length: int, cache: Any) -> None:
        most = getattr(self.model.config, "max_position_embeddings", None)
        if most is not None and (length := length + (0 if cache is None else cache.get_seq_length())) > most:
            raise ValueError(
                f"the language model ({self.config.architecture}) reads at most {most} positions, not {length}; make "
                "the prefix shorter with connector.pool, or choose a model with more positions"
            )

    def _tie(self) -> None:
        for name, other in self._tied.items():
            module, _, own = name.rpartition(".")
            setattr(self.get_submodule(module), own, self.get_parameter(other))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CausalLM":
        """Move or convert it, but keep computed tables, such as the frequencies of rotary positions, in float32: what
        transformers does when it reads a model in low precision."""
        tables = [
            (module, name, tensor)
            for module in self.modules()
            for name, tensor in module.named_buffers(recurse=False)
            if name in module._non_persistent_buffers_set and tensor.is_floating_point()
        ]
        super()._apply(fn, recurse)
        for module, name, tensor in tables:
            module._buffers[name] = tensor.to(module.get_buffer(name).device)
        return self


class CausalDecoder:
    """A model with a cache as the `ForkingStepper` that `sonopsis.decoding` drives."""

    def __init__(self, model: CausalLM, cache: Any) -> None:
        self.model, self.cache = model, cache

    def prefill(self, prompts: tuple[Tensor, Tensor | None]) -> Floats:
        """Read embeddings (B, L, E), all of one length (lengths: None); logits (B, V)."""
        embeds, lengths = prompts
        if lengths is not None:
            raise ValueError("a language model of transformers reads prompts of one length; read them one by one")
        return self._last(embeds)

    def step(self, ids: Ids) -> Floats:
        """Append one token to each sequence, ids (B,) int64; logits (B, V) of what follows."""
        return self._last(self.model.embed(torch.from_numpy(ids).to(self.model.device).unsqueeze(1)))

    def reorder(self, rows: Ids) -> None:
        """Keep the sequences `rows` in that order."""
        self.cache.reorder_cache(torch.from_numpy(rows).to(self.model.device))

    def fork(self) -> "CausalDecoder":
        """An independent decoder that has read the same."""
        return CausalDecoder(self.model, copy.deepcopy(self.cache))

    @torch.no_grad()
    def _last(self, embeds: Tensor) -> Floats:
        logits = self.model.read(embeds, self.cache)[:, -1]  # (B, V)
        found: Floats = logits.float().cpu().numpy()
        return found


def make(config: CausalConfig) -> Any:
    """A model of transformers with newly drawn weights; raises ValueError where transformers has none like it."""
    require("transformers", "a language model of transformers")
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = dict(config.transformers)
    try:
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(fields.pop("model_type"), **fields))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"transformers cannot make a {config.architecture} language model: {reason}") from error


def _tied(lm: CausalLM) -> dict[str, str]:
    """The names of parameters that are the same as an earlier one, with the earlier one's name."""
    first: dict[nn.Parameter, str] = {}
    tied = {}
    for name, parameter in lm.named_parameters(remove_duplicate=False):
        if first.setdefault(parameter, name) != name:
            tied[name] = first[parameter]
    return tied


def _drop_tied(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    assert isinstance(module, CausalLM)
    for name in module._tied:
        state.pop(prefix + name, None)


def _add_tied(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, CausalLM)
    for name, other in module._tied.items():
        if prefix + other in state:
            state.setdefault(prefix + name, state[prefix + other])
