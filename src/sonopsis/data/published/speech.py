"""Speech Commands v2 (35 words) and VoxCeleb1 (who speaks)."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.item import Item
from sonopsis.data.published.lists import read_text_lines
from sonopsis.data.splits import Split

NOISE = "_background_noise_"  # minutes of noise to mix in: no word
COMMAND = re.compile(r"([^/\s]+)/([^/\s]+)\.wav")
UTTERANCE = re.compile(r"([123])\s+((id\d+)/([^/\s]+)/[^/\s]+)\.wav")
VOXCELEB_SPLITS: dict[str, Split] = {"1": "train", "2": "validation", "3": "test"}


def read_speech_commands(folder: ClipFolder) -> Iterator[Item]:
    """All words: those of the two lists for validation and test, the others for training; a source is a speaker."""
    lists: dict[Split, Path] = {
        "validation": folder.list_named("validation_list.txt"),
        "test": folder.list_named("testing_list.txt"),
    }
    listed: set[tuple[str, str]] = set()

    def read(line: str, split: Split) -> Item:
        found = COMMAND.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"expected WORD/NAME.wav, found {line.strip()!r}")
        listed.add((found[1], found[2]))
        return Item(folder.find(line.strip(), 2), (found[1],), split, _speaker(found[2]))

    for split, path in lists.items():
        yield from read_text_lines(path, partial(read, split=split))
    home = lists["test"].parent
    for file in folder.audio:
        word = file.parent.name
        if file.parent.parent == home and word != NOISE and (word, file.stem) not in listed:
            yield Item(file, (word,), "train", _speaker(file.stem))


def read_voxceleb1(folder: ClipFolder) -> Iterator[Item]:
    """Entries of iden_split.txt, the division of VoxCeleb1 for identification; a source is a video of a speaker."""

    def read(line: str) -> Item:
        found = UTTERANCE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"expected 1, 2 or 3 and idNUMBER/VIDEO/NAME.wav, found {line.strip()!r}")
        split, path, speaker, video = found.groups()
        return Item(folder.find(path, 3), (speaker,), VOXCELEB_SPLITS[split], f"{speaker}/{video}")

    yield from read_text_lines(folder.list_named("iden_split.txt"), read)


def _speaker(name: str) -> str:
    return name.split("_nohash_")[0]
