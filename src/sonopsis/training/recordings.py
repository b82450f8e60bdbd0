"""The clips of a run: those of a manifest, or of a folder with a folder per label."""

import logging
from pathlib import Path

from sonopsis.data.clips import ClipBank
from sonopsis.data.fetch import default_root
from sonopsis.data.folder_per_class import read_folder
from sonopsis.data.manifest import read
from sonopsis.data.unlabelled import FILE as UNLABELLED
from sonopsis.training.config import TrainConfig

log = logging.getLogger(__name__)


def open_unlabelled(config: TrainConfig) -> ClipBank:
    """The training recordings that no rule labels, decoded; raises ValueError when they have not been listed."""
    root = Path(config.data.root) if config.data.root else default_root()
    listed = root / UNLABELLED
    if not listed.is_file():
        raise ValueError(
            f"data.root: {listed}, the recordings without labels, is missing; write it with `sonopsis data manifest`"
        )
    return ClipBank(read(listed, "train"), root, Path(config.data.cache) if config.data.cache else root / "cache")


def open_clips(config: TrainConfig) -> tuple[ClipBank, ClipBank]:
    """Training and validation clips, decoded; raises ValueError when there is no such data, or no clip to train on."""
    data = config.data
    if data.folder is not None:
        found = read_folder(Path(data.folder))
        for line in found.notes:
            log.warning("%s", line)
        root, cache = Path(data.folder), Path(config.output) / "cache"
        train = [row for row in found.rows if row.split == "train"]
        divided = any(row.split == "validation" for row in found.rows)  # then test recordings choose nothing
        held_out = [row for row in found.rows if row.split == ("validation" if divided else "test")]
    else:
        root = Path(data.root) if data.root else default_root()
        manifest = Path(data.manifest) if data.manifest else root / "manifest.jsonl"
        train, held_out, cache = read(manifest, "train"), read(manifest, "validation"), root / "cache"
    cache = Path(data.cache) if data.cache else cache
    if not train:
        raise ValueError(f"{data.folder or manifest}: there are no training rows")
    return ClipBank(train, root, cache), ClipBank(held_out, root, cache)
