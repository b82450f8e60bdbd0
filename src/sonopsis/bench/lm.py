"""The variants of `sonopsis bench lm`: reading a prompt, and one decoding step, by ours and by its peers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sonopsis.bench.report import SHORT
from sonopsis.bench.timing import Variant
from sonopsis.installed import installed
from sonopsis.mamba2.config import Mamba2Config

SHAPES = {"130m": Mamba2Config(768, 24, 50288), "370m": Mamba2Config(1024, 48, 50288)}
WIDTHS = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0}  # bytes of a weight
TOKENS = 8  # appended in one timed call; times are for one of them
AGREEMENT = 1e-3  # of the largest logit, in float32


@dataclass(frozen=True)
class Work:
    """One piece of work, whose variants are measured in one run."""

    kind: str  # prefill or decode
    batch: int
    length: int

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"prefill {self.length}" if self.kind == "prefill" else f"decode batch {self.batch}"


def write_random(config: Mamba2Config, folder: Path, seed: int = 0) -> Path:
    """A language model with random weights, and its graphs."""
    import torch

    from sonopsis.graphs.write import write_lm_graphs
    from sonopsis.mamba2 import Mamba2LM

    torch.manual_seed(seed)
    Mamba2LM(config).save(folder)
    write_lm_graphs(config, folder / "model.safetensors")
    return folder


def bandwidth() -> float:
    """Bytes a second that this machine reads from memory with all cores, by summing 1 GiB."""
    import torch

    buffer = torch.ones(1 << 28)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        buffer.sum()
        times.append(time.perf_counter() - begun)
    return buffer.nbytes / median(times)


def step_bytes(config: Mamba2Config, batch: int, precision: str) -> float:
    """Bytes a decoding step must move: projections and head once at their width, the float32 state read and written."""
    inputs = 2 * config.inner + 2 * config.groups * config.state + config.heads
    layer = config.width * (inputs + config.inner)
    weights = config.depth * layer + config.vocab_size * config.width
    state = config.inner * config.state + (config.conv - 1) * config.conv_channels
    return weights * WIDTHS[precision] + 2 * 4.0 * batch * config.depth * state


def works(lengths: Sequence[int], batches: Sequence[int]) -> list[Work]:
    """What is measured: prompts of these lengths read, and tokens appended to so many sequences."""
    return [Work("prefill", 1, length) for length in lengths] + [Work("decode", batch, 1) for batch in batches]


def variants(model: Path, work: Work, precisions: Sequence[str], peers: bool, threads: int) -> list[Variant]:
    """Everything that does one piece of work; with `peers` transformers in float32 comes first."""
    found = []

    def add(name: str, engine: str, precision: str, run: Callable[..., Callable[[], object]], *arguments: Any) -> None:
        found.append(variant(name, engine, precision, model, work, run, *arguments))

    for precision in ("float32", "bfloat16") if peers else ():
        if precision in precisions or precision == "float32":
            add(f"transformers {SHORT[precision]}", "transformers", precision, run_transformers, precision)
    kernels = "numba" if installed("numba") else "torch"
    for precision in precisions:
        add(f"sonopsis {SHORT[precision]}", "torch", precision, run_ours, precision, kernels)
    if "float32" in precisions:
        add("sonopsis fp32 without numba", "plain torch", "float32", run_ours, "float32", "torch")
        for engine in ("onnx", "openvino"):
            add(f"sonopsis {engine} fp32", engine, "float32", run_exported, engine, threads)
    return found


def variant(
    name: str,
    engine: str,
    precision: str,
    model: Path,
    work: Work,
    run: Callable[..., Callable[[], object]],
    *arguments: Any,
) -> Variant:
    """One way to do a piece of work: `run(model, kind, batch, length, *arguments)` returns the function that is timed.

    A decoding step is called TOKENS times in one timed call, and times are for one step.
    """
    prepare = partial(run, str(model), work.kind, work.batch, work.length, *arguments)
    units = 1 if work.kind == "prefill" else TOKENS
    extra = {"work": work.name, "batch": work.batch, "length": work.length, "method": engine}
    call = partial(_repeated, prepare, units)
    return Variant(f"{name}, {work.name}", engine, precision, None, call, extra, units=units)


def _repeated(prepare: Callable[[], Callable[[], object]], times: int) -> Callable[[], object]:
    """A call that does so many of what `prepare` returns: nobody decodes one token alone, with cold caches."""
    call = prepare()

    def calls() -> object:
        for _ in range(times - 1):
            call()
        return call()

    return calls


def run_exported(model: str, kind: str, batch: int, length: int, engine: str, threads: int) -> Callable[[], object]:
    """The exported graphs, with their state, on onnxruntime or OpenVINO."""
    import torch

    from sonopsis.engines.exported import ExportedStepper
    from sonopsis.engines.runners import open_runner
    from sonopsis.graphs.names import PREFILL, STEP
    from sonopsis.mamba2 import Mamba2LM

    lm = Mamba2LM.load(model)
    config = lm.config
    prefill, step = (open_runner(engine, Path(model) / name, "float32", threads) for name in (PREFILL, STEP))
    decoder = ExportedStepper(config, prefill, step)
    ids = _ids(config, batch, length)
    embeds = lm.embed(torch.from_numpy(ids)).detach().numpy()
    del lm  # its weights are in the graphs
    decoder.prefill(embeds[:, :1])
    call = partial(decoder.prefill, embeds) if kind == "prefill" else partial(decoder.step, ids[:, 0])
    call()
    return call


def run_ours(model: str, kind: str, batch: int, length: int, precision: Any, kernels: Any) -> Callable[[], object]:
    """A prepared language model, with compiled kernels or without."""
    import torch

    from sonopsis.mamba2 import Mamba2LM

    lm = Mamba2LM.load(model).prepare(precision, kernels)
    ids = torch.from_numpy(_ids(lm.config, batch, length))
    if kind == "prefill":
        return _warm(lambda: lm.prefill(ids, cache=lm.new_cache(batch)))
    decoder = lm.decoder(lm.new_cache(batch))
    return _warm(lambda: decoder.advance(ids[:, 0]))


def run_transformers(model: str, kind: str, batch: int, length: int, precision: str) -> Callable[[], object]:
    """transformers' Mamba2ForCausalLM; raises ValueError if its float32 logits are not ours."""
    import torch

    from sonopsis.mamba2 import Mamba2LM

    ours = Mamba2LM.load(model).eval()
    theirs = transformers_lm(ours)
    ids = torch.from_numpy(_ids(ours.config, batch, length))
    with torch.inference_mode():
        probe = ids[:1, :64]
        expected, found = ours(probe), theirs(probe, use_cache=False).logits
    if (found - expected).abs().max() > AGREEMENT * expected.abs().max():
        raise ValueError("transformers computes other logits from these weights; nothing to compare")
    theirs = theirs.to(getattr(torch, precision))
    if kind == "prefill":
        return _warm(lambda: theirs(ids, use_cache=True, logits_to_keep=1).logits)
    with torch.inference_mode():
        cache = theirs(ids, use_cache=True).cache_params
    return _warm(lambda: theirs(ids[:, :1], cache_params=cache, use_cache=True).logits)


def transformers_lm(lm: Any) -> Any:
    """transformers' model with the weights of ours; raises ValueError without the package."""
    try:
        from transformers import Mamba2Config as Theirs
        from transformers import Mamba2ForCausalLM
    except ImportError as error:
        raise ValueError('peers need transformers: pip install "sonopsis[hf]"') from error
    c = lm.config
    sizes: dict[str, Any] = {
        "hidden_size": c.width, "num_hidden_layers": c.depth, "vocab_size": c.vocab_size, "state_size": c.state,
        "head_dim": c.head_dim, "num_heads": c.heads, "n_groups": c.groups, "expand": c.expand,
        "conv_kernel": c.conv, "layer_norm_epsilon": c.norm_eps, "tie_word_embeddings": c.tie_embeddings,
    }  # fmt: skip
    theirs = Mamba2ForCausalLM(Theirs(**sizes))
    state = {name.replace("backbone.embedding.", "backbone.embeddings."): t for name, t in lm.state_dict().items()}
    if c.tie_embeddings:
        state["lm_head.weight"] = state["backbone.embeddings.weight"]
    theirs.load_state_dict(state)
    return theirs.eval()


def _ids(config: Mamba2Config, batch: int, length: int) -> Any:
    return np.random.default_rng(0).integers(0, config.vocab_size, (batch, length))


def _warm(call: Callable[[], object]) -> Callable[[], object]:
    """The call without gradients, made once: kernels are then compiled and weights in memory."""
    run = partial(_without_gradients, call)
    run()
    return run


def _without_gradients(call: Callable[[], object]) -> object:
    import torch

    with torch.inference_mode():
        return call()


def find_lm(model: str, scratch: Path) -> Path:
    """A shape with random weights, written below `scratch`; the language model of `default` or of a model folder."""
    if model in SHAPES:
        return write_random(SHAPES[model], scratch / model)
    import sonopsis
    from sonopsis.graphs.write import write_lm_graphs

    captioner = sonopsis.load(model, engine="torch")
    if not captioner.engine.captions:
        raise ValueError(f"{captioner.name} has no language model; choose {', '.join(SHAPES)} or a model that captions")
    lm = captioner.module.lm
    if not isinstance(lm.config, Mamba2Config):
        raise ValueError(f"{captioner.name} has no Mamba-2 to measure; choose {', '.join(SHAPES)} or a model with one")
    lm.save(scratch / "lm")
    write_lm_graphs(lm.config, scratch / "lm" / "model.safetensors")
    return scratch / "lm"


def add_comparisons(rows: Sequence[dict[str, Any]], config: Mamba2Config, read: float) -> None:
    """Add columns to the rows of one piece of work: tokens per second, and for decoding the ratio to the floor.

    The floor is the time that a machine needs which reads `read` bytes a second for the bytes of a step.
    """
    for row in rows:
        if row["work"].startswith("decode"):
            floor = 1000 * step_bytes(config, row["batch"], row["precision"]) / read
            row["floor_ms"], row["over_floor"] = floor, row["median_ms"] / floor
        row["tokens_per_s"] = 1000 * row["batch"] * row["length"] / row["median_ms"]
