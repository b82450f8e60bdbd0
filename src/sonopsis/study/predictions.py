"""What every variant says about every clip, in a file that an interrupted study continues.

The file is JSON Lines: a header that says of what, then a line for each clip. A line is written at once, so a killed
study loses no more than the clip it was working on.
"""

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 60.0  # log-odds are cut here


class Lines:
    """A header and one line for each clip that is done."""

    def __init__(self, path: Path, identity: dict[str, Any], settings: Callable[[], dict[str, Any]]) -> None:
        """Continues the file, or starts it with `identity` and the `settings` that are worked out then, as its header.

        A study that goes on keeps the settings it began with. Raises ValueError when the file is of another identity.
        """
        self.path = path
        if path.exists() and path.stat().st_size:
            self.header = self._continued(identity)
        else:
            self.header = json.loads(json.dumps({**identity, **settings()}))  # as it will be read again
            path.parent.mkdir(parents=True, exist_ok=True)
            self.append(self.header)
        self.done = {line["clip"] for line in self}

    def append(self, line: dict[str, Any]) -> None:
        """Write a line through to the disk."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines of clips, one after the other, without holding them."""
        with self.path.open(encoding="utf-8") as stream:
            next(stream)
            for line in stream:
                yield json.loads(line)

    def _continued(self, identity: dict[str, Any]) -> dict[str, Any]:
        with self.path.open("rb+") as stream:
            content = stream.read()
            whole = content.rfind(b"\n") + 1
            stream.truncate(whole)  # a line that was cut off
        try:
            found = json.loads(content[:whole].split(b"\n", 1)[0])
            differs = [key for key in identity if found[key] != identity[key]]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self.path} holds no predictions of a study; move it away or give another -o") from None
        if differs:
            raise ValueError(
                f"{self.path} is of a study with other {', '.join(differs)}; move it away or give another -o"
            )
        return dict(found)


def packed(scores: NDArray[np.floating]) -> str:
    """Probabilities as log-odds in float16, little-endian, in base64: numpy.frombuffer(base64.b64decode(x), "<f2")."""
    p = np.asarray(scores, dtype=np.float64)
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(p) - np.log1p(-p), -LARGEST, LARGEST)
    return base64.b64encode(odds.astype("<f2").tobytes()).decode()


def unpacked(text: str) -> NDArray[np.float16]:
    """The log-odds (labels,) float16 of `packed`."""
    return np.frombuffer(base64.b64decode(text), "<f2")


class Table:
    """The predictions of all clips by variant, on disk, so that memory holds those of one variant."""

    def __init__(self, lines: Lines, variants: Sequence[str], labels: Sequence[int]) -> None:
        """`labels` are those the scores are of, as numbers among the model's."""
        heard = [
            {key: line[key] for key in ("clip", "source", "family", "labels")} for line in lines if "error" not in line
        ]
        self.clips: list[dict[str, Any]] = heard
        self.unread = sum("error" in line for line in lines)
        if not heard:
            raise ValueError("no clip could be read; check the paths of the manifest")
        place = {label: i for i, label in enumerate(labels)}
        self.targets = np.zeros((len(heard), len(labels)), dtype=bool)  # (C, L)
        for i, clip in enumerate(heard):
            self.targets[i, [place[label] for label in clip["labels"]]] = True
        self.top = {name: np.empty(len(heard), dtype=np.int64) for name in variants}
        self.reference = {name: np.empty(len(heard)) for name in variants}  # G of a clip, NaN where not counted
        self.executed = {name: np.empty(len(heard)) for name in variants}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the table
        shape = (len(variants), len(heard), len(labels))
        self._scores: NDArray[Any] = np.memmap(self._file, dtype="<f2", mode="w+", shape=shape)
        self._number = {name: i for i, name in enumerate(variants)}
        for i, line in enumerate(line for line in lines if "error" not in line):
            for name in variants:
                said = line["variants"][name]
                self.top[name][i] = said["top"]
                self.reference[name][i], self.executed[name][i] = said.get("macs", (np.nan, np.nan))
                self._scores[self._number[name], i] = unpacked(said["scores"])

    def scores(self, variant: str) -> NDArray[np.float32]:
        """Log-odds (C, L) of a variant."""
        return np.asarray(self._scores[self._number[variant]], dtype=np.float32)

    def right(self, variant: str) -> NDArray[np.bool_]:
        """Whether the best label of each clip (C,) is one of its own."""
        return np.array([top in clip["labels"] for top, clip in zip(self.top[variant], self.clips, strict=True)])
