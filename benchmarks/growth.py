"""The time of one more token behind longer and longer contexts, of Mamba-2 and of a Transformer of equal size.

    python benchmarks/growth.py --peers

Ours is Mamba-2, whose cache has the same size after any context. The peer is a Transformer of equal size, whose cache
holds the keys and values of every position: GPT-NeoX of transformers with half as many layers, each of which has about
the parameters of two of Mamba-2. Weights are random and everything is float32. Times do not depend on the values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from sonopsis.bench.lm import TOKENS
from sonopsis.bench.timing import Variant
from sonopsis.cli.console import fail
from sonopsis.cli.measuring import Json, Markdown, Rounds, Threads, finish, measured, this_machine
from sonopsis.installed import installed
from sonopsis.mamba2 import Cache, Mamba2Config, Mamba2LM
from sonopsis.mamba2.model import Decoder
from sonopsis.unfilled import unfilled

CONTEXTS = (64, 512, 2048, 8192, 32768)
HEAD = 64  # numbers in a head of either model
OURS, GROWING, PREALLOCATED = "sonopsis Mamba-2", "transformer, growing cache", "transformer, preallocated cache"
# A growing cache is copied for every token, which after a long context takes longer than the attention. All variants
# are in memory at once, so beyond this the Transformer is measured with the faster cache alone.
GROWING_UP_TO = 2048


@dataclass(frozen=True)
class Shape:
    """The language model, by default mamba2-130m; raises ValueError where no Transformer has its width and depth."""

    width: int = 768
    depth: int = 24
    vocabulary: int = 50288

    def __post_init__(self) -> None:
        if self.width % HEAD or self.depth % 2:
            raise ValueError(
                f"width {self.width} must be a multiple of {HEAD} and depth {self.depth} even, "
                "so that a Transformer of equal size has whole heads and layers"
            )


def variants(shape: Shape, contexts: Sequence[int] = CONTEXTS, peers: bool = False) -> list[Variant]:
    """One more token behind each of `contexts` by ours, and with `peers` by a Transformer with two kinds of cache.

    Extra columns: `model`, `context` (tokens), `cache_mib` (MiB that the cache holds for them) and `parameters_m`
    (millions). Raises ValueError when there are to be peers and transformers is not installed.
    """
    found = []

    def add(model: str, engine: str, context: int, call: partial[Any], cache: int, parameters: int) -> None:
        name = f"{model}, {context} tokens"
        sizes = {"cache_mib": cache / 2**20, "parameters_m": round(parameters / 1e6, 1)}
        extra = {"work": name, "model": model, "context": context, **sizes}
        found.append(Variant(name, engine, "float32", None, call, extra, units=TOKENS))

    contexts = sorted(set(contexts))  # the shortest comes first and is the baseline
    parameters, cache = _size_of_ours(shape)
    for context in contexts:
        add(OURS, "torch", context, partial(sonopsis_call, shape, context), cache, parameters)
    for model in (GROWING, PREALLOCATED) if peers else ():
        parameters = _parameters_of_transformer(shape)
        for context in contexts:
            if model == PREALLOCATED or context <= GROWING_UP_TO:
                call = partial(transformer_call, shape, context, model == PREALLOCATED)
                held = 2 * 4 * context * shape.width * (shape.depth // 2)  # keys and values, float32, every layer
                add(model, "transformers", context, call, held, parameters)
    return found


def sonopsis_call(shape: Shape, context: int) -> Callable[[], Tensor]:
    """Appends TOKENS tokens behind `context` tokens, and each time behind all that came before."""
    return partial(append, read_prompt(shape, context), _ids(shape, TOKENS))


def read_prompt(shape: Shape, context: int) -> Decoder:
    """A prepared model that has read `context` random tokens, compiled where numba is installed."""
    torch.manual_seed(0)
    lm = Mamba2LM(_config(shape)).prepare("float32", "numba" if installed("numba") else "torch")
    cache = lm.new_cache()
    lm.prefill(_ids(shape, context)[None], cache=cache)
    return lm.decoder(cache)


def append(decoder: Decoder, ids: Tensor) -> Tensor:
    """Append ids (L,) one after the other; logits (1, V) after the last."""
    with torch.inference_mode():
        for token in ids.split(1):
            logits = decoder.advance(token)
    return logits


def transformer_call(shape: Shape, context: int, preallocated: bool) -> Callable[[], Tensor]:
    """Appends TOKENS tokens behind `context` tokens, the same context every time."""
    lm = transformer(shape, context)
    return partial(append_and_rewind, lm, fill(lm, context, preallocated), _ids(shape, TOKENS))


def transformer(shape: Shape, context: int) -> Any:
    """A Transformer of equal size, for `context` tokens and TOKENS more; raises ValueError without transformers."""
    try:
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
    except ImportError as error:
        raise ValueError('peers need transformers: pip install "sonopsis[hf]"') from error
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": shape.width, "num_hidden_layers": shape.depth // 2, "num_attention_heads": shape.width // HEAD,
        "intermediate_size": 4 * shape.width, "vocab_size": shape.vocabulary, "tie_word_embeddings": True,
        "max_position_embeddings": context + TOKENS, "attn_implementation": "sdpa",
    }  # fmt: skip
    return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes)).eval()


def fill(lm: Any, context: int, preallocated: bool) -> Any:
    """A cache with random keys and values of `context` positions, as if the Transformer had read them.

    Reading 32,768 tokens would take it minutes. `preallocated` has room for TOKENS more and is written in place;
    otherwise the cache is what transformers uses by default, which is copied for every token.
    """
    from transformers import DynamicCache, StaticCache

    heads, layers = lm.config.num_attention_heads, lm.config.num_hidden_layers
    cache = StaticCache(lm.config, context + TOKENS) if preallocated else DynamicCache(config=lm.config)
    for layer in range(layers):
        cache.update(torch.randn(1, heads, context, HEAD), torch.randn(1, heads, context, HEAD), layer)
    return cache


def append_and_rewind(lm: Any, cache: Any, ids: Tensor) -> Tensor:
    """Append ids (L,) one after the other, then take them out of the cache again; logits (1, 1, V) after the last.

    Taking them out copies nothing: it makes views of a growing cache, and sets the counters of a preallocated one.
    """
    with torch.inference_mode():
        for token in ids.split(1):
            logits: Tensor = lm(token[None], past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        for layer in cache.layers:
            if hasattr(layer, "crop"):
                layer.crop(-len(ids))
            else:
                layer.cumulative_length.sub_(len(ids))
    return logits


def _config(shape: Shape) -> Any:
    return Mamba2Config(shape.width, shape.depth, shape.vocabulary, head_dim=HEAD)


def _size_of_ours(shape: Shape) -> tuple[int, int]:
    """Parameters, and bytes of the cache."""
    config = _config(shape)
    with unfilled():
        lm = Mamba2LM(config)
    return sum(parameter.numel() for parameter in lm.parameters()), Cache.new(config, device="meta").nbytes


def _parameters_of_transformer(shape: Shape) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in transformer(shape, 1).parameters())


def _ids(shape: Shape, length: int) -> Tensor:
    """Random token ids (L,), the same in every process."""
    return torch.randint(shape.vocabulary, (length,), generator=torch.Generator().manual_seed(0))


def main(
    contexts: Annotated[
        list[int] | None,
        typer.Option(
            "--context", min=1, show_default="64, 512, 2048, 8192, 32768", help="Tokens read before; repeatable."
        ),
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Also measure transformers' GPT-NeoX of equal size.")] = False,
    width: Annotated[int, typer.Option(min=64, help="Width of the language models, a multiple of 64.")] = 768,
    depth: Annotated[int, typer.Option(min=2, help="Layers of Mamba-2; the Transformer has half as many.")] = 24,
    threads: Threads = None,
    rounds: Rounds = 10,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time one more token behind longer and longer contexts (random weights); the shortest context is the baseline."""
    try:
        found = variants(Shape(width, depth), contexts or CONTEXTS, peers)
    except ValueError as error:
        fail(str(error))
    columns = {"context": "context", "cache_mib": "cache MiB"}
    finish([measured(this_machine(threads), found, rounds, threads)], as_json, as_markdown, columns)


if __name__ == "__main__":
    import growth  # by name, so that the processes of the variants find its functions

    typer.run(growth.main)
