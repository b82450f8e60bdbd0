"""The language model beside llama.cpp (through llama-cpp-python), on the same weights.

    python benchmarks/llama.py --peers

It measures what `sonopsis bench lm` measures, and llama.cpp in the same run. The column "× llama.cpp" is the time of
llama.cpp with weights of the same width, divided by the time of the row. Install benchmarks/requirements.txt first.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from sonopsis.bench.lm import Work, variant
from sonopsis.bench.lm import variants as without_llama
from sonopsis.bench.timing import Variant
from sonopsis.cli.console import fail
from sonopsis.cli.measuring import (
    Batches,
    Json,
    LanguageModel,
    Lengths,
    Markdown,
    Peers,
    Precisions,
    Rounds,
    Threads,
    finish,
    measured_lm,
)
from sonopsis.installed import installed

KINDS = {"float32": "F32", "bfloat16": "BF16", "int8": "Q8_0"}  # our precision -> its type of weights
CONTEXT = 4096  # positions for each sequence
COLUMNS = {"tokens_per_s": "tokens/s", "over_llama": "× llama.cpp", "over_floor": "× floor"}


def variants(model: Path, work: Work, precisions: Sequence[str], peers: bool, threads: int) -> list[Variant]:
    """Everything that does one piece of work: with `peers` transformers, then llama.cpp, then ours."""
    found = without_llama(model, work, precisions, peers, threads)
    first = next((n for n, one in enumerate(found) if one.engine != "transformers"), len(found))
    return [*found[:first], *_llama_variants(model, work, precisions, threads), *found[first:]]


def _llama_variants(model: Path, work: Work, precisions: Sequence[str], threads: int) -> Iterator[Variant]:
    for precision, kind in KINDS.items():
        # llama-cpp-python 0.3.36 ends with a segmentation fault when 8-bit weights meet a batch or a prompt.
        if precision in precisions and (precision != "int8" or work == Work("decode", 1, 1)):
            yield variant(f"llama.cpp {kind}", "llama.cpp", precision, model, work, run_llama, precision, threads)


def add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """Add to the rows of one piece of work the column `over_llama`, where llama.cpp ran at the row's precision."""
    theirs = {row["precision"]: row["median_ms"] for row in rows if row["engine"] == "llama.cpp"}
    for row in rows:
        if row["precision"] in theirs:
            row["over_llama"] = theirs[row["precision"]] / row["median_ms"]


def write_gguf(lm: Any, file: Path, kind: str) -> None:
    """Write a Mamba2LM as a file for llama.cpp, its matrices as `kind`, one of the values of KINDS."""
    import gguf

    config, quantised = lm.config, getattr(gguf.GGMLQuantizationType, kind)
    writer = gguf.GGUFWriter(str(file), "mamba2")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config.depth)
    writer.add_ssm_conv_kernel(config.conv)
    writer.add_ssm_inner_size(config.inner)
    writer.add_ssm_state_size(config.state)
    writer.add_ssm_time_step_rank(config.heads)
    writer.add_ssm_group_count(config.groups)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)

    def put(name: str, tensor: Any, matrix: bool = False) -> None:
        values = tensor.detach().float().contiguous().numpy()
        if matrix and kind != "F32":
            writer.add_tensor(name, gguf.quants.quantize(values, quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(name, values)

    put("token_embd.weight", lm.backbone.embedding.weight, matrix=True)
    put("output_norm.weight", lm.backbone.norm_f.weight)
    if not config.tie_embeddings:
        put("output.weight", lm.lm_head.weight, matrix=True)
    for number, layer in enumerate(lm.backbone.layers):
        mixer, block = layer.mixer, f"blk.{number}"
        put(f"{block}.attn_norm.weight", layer.norm.weight)
        put(f"{block}.ssm_in.weight", mixer.in_proj.weight, matrix=True)
        put(f"{block}.ssm_out.weight", mixer.out_proj.weight, matrix=True)
        put(f"{block}.ssm_conv1d.weight", mixer.conv1d.weight[:, 0])
        put(f"{block}.ssm_conv1d.bias", mixer.conv1d.bias)
        put(f"{block}.ssm_dt.bias", mixer.dt_bias)
        put(f"{block}.ssm_a", -mixer.A_log.exp()[:, None])
        put(f"{block}.ssm_d", mixer.D[:, None])
        put(f"{block}.ssm_norm.weight", mixer.norm.weight.view(config.groups, -1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def run_llama(model: str, kind: str, batch: int, length: int, precision: str, threads: int) -> Callable[[], object]:
    """llama.cpp reading a prompt of `length` tokens, or appending a token to each of `batch` sequences."""
    import llama_cpp as lib

    from sonopsis.mamba2 import Mamba2LM

    file = Path(model) / f"{KINDS[precision]}.gguf"
    if not file.exists():
        write_gguf(Mamba2LM.load(model), file, KINDS[precision])
    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    sizes = lib.llama_model_default_params()
    sizes.use_mmap = False
    loaded = lib.llama_model_load_from_file(str(file).encode(), sizes)
    options = lib.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = CONTEXT * batch, CONTEXT, 512
    options.n_threads = options.n_threads_batch = threads
    options.n_seq_max = batch
    context = lib.llama_init_from_model(loaded, options)
    tokens = lib.llama_batch_init(CONTEXT, 0, batch)
    position = 0

    def fill(token: int, place: int, sequence: int, at: int, last: bool) -> None:
        tokens.token[at], tokens.pos[at], tokens.n_seq_id[at] = token, place, 1
        tokens.seq_id[at][0], tokens.logits[at] = sequence, int(last)

    def decode(count: int) -> None:
        tokens.n_tokens = count
        if lib.llama_decode(context, tokens) != 0:
            raise ValueError("llama.cpp could not run this batch")
        lib.llama_synchronize(context)

    def prefill() -> object:
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        for place in range(length):
            fill(place, place, 0, place, place == length - 1)
        decode(length)
        return silent  # kept alive: the library calls it

    def step() -> object:
        nonlocal position
        for sequence in range(batch):
            fill(0, position, sequence, sequence, True)
        decode(batch)
        position += 1
        return silent

    call = prefill if kind == "prefill" else step
    call()
    return call


def main(
    model: LanguageModel = "130m",
    peers: Peers = False,
    lengths: Lengths = None,
    batches: Batches = None,
    precisions: Precisions = None,
    threads: Threads = None,
    rounds: Rounds = 5,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time the language model beside llama.cpp: reading prompts and appending tokens; each piece of work is one run."""
    if not (installed("llama_cpp") and installed("gguf")):
        fail("llama.cpp is not installed: pip install -r benchmarks/requirements.txt -c constraints.txt")
    found = measured_lm(variants, model, lengths, batches, precisions, peers, rounds, threads)
    for report in found:
        add_ratios(report.rows)
    finish(found, as_json, as_markdown, COLUMNS)


if __name__ == "__main__":
    import llama  # by name, so that the processes of the variants find its functions

    typer.run(llama.main)
