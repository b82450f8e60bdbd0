"""The list of a run's recordings grows with their number, and no faster."""

from pathlib import Path, PurePath

from pytest import MonkeyPatch

from listing import list_all, make, measure
from sonopsis.cli import inputs


def test_every_file_is_listed_and_each_needs_little_memory(tmp_path: Path) -> None:
    make(tmp_path, 250)
    assert list_all(tmp_path) == 250
    _, each = measure(2_000)
    assert 500 < each < 5_000


def test_equal_names_are_numbered_without_trying_every_number(monkeypatch: MonkeyPatch) -> None:
    tried = 0
    plain = inputs._Sameness.__call__

    def counted(self: inputs._Sameness, place: PurePath | str) -> str:
        nonlocal tried
        tried += 1
        return plain(self, place)

    monkeypatch.setattr(inputs._Sameness, "__call__", counted)
    found = [inputs.Input(f"{number}/audio.wav", PurePath("audio.wav")) for number in range(1_000)]
    assert len(set(inputs.targets(found).values())) == 1_000
    assert tried < 10 * len(found)
