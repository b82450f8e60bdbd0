"""A data root of synthesised clips: six labels that differ in pitch, three families each, in all three groups."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

LABELS = {"dog": 300.0, "cow": 150.0, "bird": 2500.0, "water": 0.0, "horn": 600.0, "speech": 1000.0}
RATE = 16_000


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root, with manifest.jsonl."""
    folder = tmp_path_factory.mktemp("data")
    rows: list[dict[str, Any]] = []
    for split in ("train", "validation", "test"):
        for i, (label, pitch) in enumerate(LABELS.items()):
            for take in range(3):
                rng = np.random.default_rng([len(rows), i])
                seconds = 0.8 + 0.3 * take
                time = np.arange(int(seconds * RATE)) / RATE
                wave = np.sin(2 * np.pi * pitch * (1 + 0.03 * take) * time) if pitch else rng.standard_normal(len(time))
                path = f"audio/{split}/{label}-{take}.wav"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / path, 0.2 * wave + 0.001 * rng.standard_normal(len(time)), RATE)
                rows.append(
                    {"path": path, "start": 0.0, "end": seconds, "labels": [label], "captions": [], "source": split}
                    | {"family": f"{split}:{label}{take}", "licence": "CC0", "split": split}
                    | {"sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest()}
                )
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
