"""Pretrain the Mamba-2 that the arms base-* of the captioning study start from: on English text and told scenes.

    python scripts/captioning_base.py WORK

WORK is the folder of scripts/captioning_study.py; the model is written to WORK/base/model, what is known of it to
results/captioning/base.json. The same command carries on after an interruption. The text is what WordNet says of its
words, definitions and examples (a package of Debian, whose apt must be there), and captions of composed training
scenes, which are read here and not heard. Needs the recordings of `sonopsis data fetch --profile full` and `sonopsis
data manifest`, which scenes are composed of.
"""

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn import functional

from sonopsis.data.clips import ClipBank
from sonopsis.data.download import is_verified
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.data.splits import Split
from sonopsis.files import TOKENIZER
from sonopsis.mamba2 import Mamba2Config, Mamba2LM
from sonopsis.scenes.compose import compose
from sonopsis.training.optimizer import schedule
from sonopsis.training.tokens import end_of_text, train_tokenizer

FACTS = Path(__file__).parent.parent / "results" / "captioning" / "base.json"
WORDNET = ("wordnet-base", "1:3.0-37")  # Debian's package and its version, in this file of so many bytes
SIZE, SHA256 = 6467132, "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
TOLD: dict[Split, int] = {"train": 24_000, "validation": 500}  # scenes, of which one caption each is read
WIDTH, DEPTH, STATE, VOCABULARY = 384, 4, 64, 4096
LENGTH, BATCH, STEPS, WARMUP = 128, 16, 1400, 50
RATE, DECAY = 2e-3, 0.1
SAVE_EVERY = 50
HELD_OUT = 50  # one of so many definitions is for validation


def wordnet(folder: Path) -> Path:
    """The folder of WordNet's data files, below a folder that may have it."""
    package, version = WORDNET
    file = folder / f"{package}_{version.replace(':', '%3a')}_all.deb"
    if not is_verified(file, SIZE, SHA256):
        subprocess.run(["apt-get", "download", f"{package}={version}"], cwd=folder, check=True)
        if not is_verified(file, SIZE, SHA256):
            sys.exit(f"{file} is not the file that is pinned here")
    subprocess.run(["dpkg-deb", "--extract", file, folder / package], check=True)
    return folder / package / "usr" / "share" / "wordnet"


def definitions(folder: Path) -> list[str]:
    """What WordNet says of each sense of a word: its words, what they mean, and examples."""
    found = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            facts, _, gloss = line.partition(" | ")
            fields = facts.split()
            words = [fields[4 + 2 * number].partition("(")[0] for number in range(int(fields[3], 16))]
            found.append(f"{', '.join(words).replace('_', ' ')}: {gloss.strip()}")
    return found


def told(split: Split) -> list[str]:
    """A caption of each of many composed scenes."""
    root = default_root()
    rows = ClipBank(read(root / "manifest.jsonl", split), root).rows
    rng = random.Random(f"told/{split}")
    return [rng.choice(scene.captions) for scene in compose(rows, seed=11, count=TOLD[split], split=split)]


def stream_of(texts: Sequence[str], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Token ids (L,) of all texts, each after an end of text."""
    end = end_of_text(tokenizer)
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return np.array([token for one in encoded for token in (end, *one.ids)], dtype=np.int64)


def examples(ids: NDArray[np.int64], first: int) -> Iterator[torch.Tensor]:
    """Batches (BATCH, LENGTH + 1) from step `first` on: places that are drawn anew in each pass over the text."""
    count = (len(ids) - 1) // LENGTH
    order, passes = np.empty(0, np.int64), 0
    for step in range(STEPS):
        while len(order) < BATCH:
            order = np.concatenate([order, np.random.default_rng((0, passes)).permutation(count)])
            passes += 1
        places, order = order[:BATCH] * LENGTH, order[BATCH:]
        if step >= first:
            yield torch.from_numpy(np.stack([ids[place : place + LENGTH + 1] for place in places]))


def next_token_loss(lm: Mamba2LM, rows: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each token (B, L + 1) after the first, given those before it."""
    return functional.cross_entropy(lm(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


@torch.inference_mode()
def perplexity(lm: Mamba2LM, ids: NDArray[np.int64]) -> float:
    """Of a text that was not trained on, ids (L,), in pieces of LENGTH tokens."""
    pieces = torch.from_numpy(ids[: (len(ids) - 1) // LENGTH * LENGTH].reshape(-1, LENGTH))
    losses = [next_token_loss(lm, rows).item() for rows in pieces.split(64)]
    return math.exp(float(np.mean(losses)))


def main(arguments: list[str]) -> None:
    """Train, or carry on, and write the model."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    folder = Path(arguments[0]) / "base"
    folder.mkdir(parents=True, exist_ok=True)
    glosses, scenes = definitions(wordnet(folder)), told("train")
    held, kept = glosses[::HELD_OUT], [text for place, text in enumerate(glosses) if place % HELD_OUT]
    texts = kept + scenes
    random.Random(0).shuffle(texts)
    tokenizer = train_tokenizer(texts, VOCABULARY)
    ids = stream_of(texts, tokenizer)
    torch.manual_seed(0)
    lm = Mamba2LM(Mamba2Config(WIDTH, DEPTH, VOCABULARY, state=STATE)).train()
    groups = [
        {"params": [p for p in lm.parameters() if p.ndim >= 2], "weight_decay": DECAY},
        {"params": [p for p in lm.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
    state, first, spent = folder / "state.pt", 0, 0.0
    if state.is_file():
        saved: dict[str, Any] = torch.load(state)
        lm.load_state_dict(saved["lm"])
        optimizer.load_state_dict(saved["optimizer"])
        first, spent = saved["step"], saved["seconds"]
    began = time.perf_counter() - spent
    for step, rows in enumerate(examples(ids, first), first):
        for group in optimizer.param_groups:
            group["lr"] = RATE * schedule(step, STEPS, WARMUP)
        loss = next_token_loss(lm, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 10 == 0:
            print(f"step {step + 1} of {STEPS}: {loss.item():.3f}, {time.perf_counter() - began:.0f} s", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == STEPS:
            found = {"lm": lm.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(found | {"seconds": time.perf_counter() - began}, state.with_suffix(".part"))
            state.with_suffix(".part").replace(state)
    lm.eval()
    lm.save(folder / "model")
    tokenizer.save(str(folder / "model" / TOKENIZER))
    facts = {
        "parameters": sum(p.numel() for p in lm.parameters()),
        "texts": {"definitions": len(kept), "captions": len(scenes), "tokens": len(ids)},
        "tokens_read": STEPS * BATCH * LENGTH,
        "perplexity": {
            "definitions": round(perplexity(lm, stream_of(held, tokenizer)), 2),
            "captions": round(perplexity(lm, stream_of(told("validation"), tokenizer)), 2),
        },
        "seconds": round(time.perf_counter() - began),
    }
    FACTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
