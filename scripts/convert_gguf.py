"""A language model in llama.cpp's file format (GGUF) as a folder that transformers and `language_model` read.

    python scripts/convert_gguf.py FILE FOLDER

Weights that are stored in few bits are written out as float16 numbers. Needs transformers and gguf
(`sonopsis[dev,hf]`).
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from sonopsis.causal.config import ORIGIN
from sonopsis.installed import require

WRITTEN = ("tokenizer.json", "config.json", "model.safetensors")  # the last one says that the others are there


def convert(file: Path, folder: Path) -> None:
    """Write config.json, model.safetensors and tokenizer.json of a GGUF file; each appears when it is whole."""
    require("gguf", "reading GGUF files")
    folder.mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer: Tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).backend_tokenizer
    fields = json.loads(model.config.to_json_string(use_diff=True))
    for name in (*ORIGIN, "_model_name_or_path", "quantization_config"):
        fields.pop(name, None)
    head = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    state = {name: tensor.to(torch.float16).clone() for name, tensor in model.state_dict().items() if name not in head}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".converting-") as scratch:
        made = Path(scratch)
        tokenizer.save(str(made / "tokenizer.json"))
        (made / "config.json").write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
        save_file(state, made / "model.safetensors", {"format": "pt"})
        for name in WRITTEN:
            (made / name).replace(folder / name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
