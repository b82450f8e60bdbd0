"""A GGUF file becomes a folder that transformers reads, with the weights and the tokens that it held."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sonopsis.causal.source import load, sized
from sonopsis.training.tokens import end_of_text, read_tokenizer, train_tokenizer

gguf = pytest.importorskip("gguf")
pytest.importorskip("transformers")
NAMES = {  # of llama.cpp: of transformers
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
HEADS = {"attn_q": 2, "attn_k": 1}


def turned(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries and keys in the order of llama.cpp, which rotates neighbours and not halves."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


@pytest.mark.slow
def test_weights_and_tokens_stay(tmp_path: Path) -> None:
    from convert_gguf import convert

    tokenizer = train_tokenizer(["a dog barks", "rain falls on a roof", "a dog barks while it rains"], 280)
    tokens = tokenizer.get_vocab_size()
    torch.manual_seed(0)
    lm = sized("llama", 64, 2, 2, tokens, 0, {"num_key_value_heads": 1, "intermediate_size": 96})
    file = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(32)
    writer.add_vocab_size(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([tokenizer.id_to_token(number) for number in range(tokens)])
    writer.add_token_types([3] + [1] * (tokens - 1))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    state = lm.model.state_dict()
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", state["model.norm.weight"].numpy())
    for layer in range(2):
        for ours, theirs in NAMES.items():
            weight = state[f"model.layers.{layer}.{theirs}.weight"]
            weight = turned(weight, HEADS[ours]) if ours in HEADS else weight
            writer.add_tensor(f"blk.{layer}.{ours}.weight", weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    folder = tmp_path / "folder"
    convert(file, folder)
    assert sorted(one.name for one in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    found, read = load(folder).eval(), read_tokenizer(folder)
    prompt = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(found.logits(prompt, 7), lm.eval().logits(prompt, 7), rtol=0, atol=1e-3)
    assert end_of_text(read) == 0 and read.get_vocab_size() == tokens
    text = " a dog barks while rain falls"
    assert read.encode(text, add_special_tokens=False).ids == tokenizer.encode(text[1:], add_special_tokens=False).ids
