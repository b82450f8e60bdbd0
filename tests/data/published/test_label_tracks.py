"""Label tracks of Audacity and selection tables of Raven become manifests, those that we write too."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import Row
from sonopsis.data.published.label_tracks import audacity_events, label_of, raven_events
from sonopsis.data.published.layouts import Import, build_rows, find_items
from sonopsis.results import FileResult, WindowResult
from sonopsis.writers import write

HEADER = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def record(path: Path, seconds: float = 10.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * 16_000)), 16_000)


def imported(layout: str, root: Path) -> Import:
    return build_rows(find_items(layout, root), layout, root, 0.0)


def said(rows: list[Row]) -> list[tuple[str, float, float, tuple[str, ...]]]:
    return [(row.path, row.start, row.end, row.labels) for row in rows]


names = st.sampled_from(["Dog", "Walk, footsteps", "my own label", "märz"])
spans = st.tuples(st.integers(0, 9_000_000), st.integers(1, 5_000_000), names)


@pytest.mark.parametrize("layout", ["audacity", "raven"])
@given(drawn=st.lists(st.lists(spans, max_size=4), min_size=1, max_size=3))
@settings(max_examples=30)
def test_what_is_written_is_read_back(
    layout: str, drawn: list[list[tuple[int, int, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tracks") / "all.txt"
    results = []
    for number, found in enumerate(drawn):
        windows = [WindowResult(at / 1e6, (at + long) / 1e6, [(label, 0.5)]) for at, long, label in sorted(found)]
        results.append(FileResult(f"a/{number}.wav", 0.0 if layout == "audacity" else 20.0, "m", windows))
    with path.open("w", encoding="utf-8") as stream:
        write(results, layout, stream)
    expected = [
        (result.path if layout == "raven" else str(path), window.start, window.end, window.labels[0].label)
        for result in results
        for window in result.windows
        if window.labels
    ]
    read = audacity_events if layout == "audacity" else raven_events
    events = [(event.file, event.start, event.end, event.label) for event in read(path)]
    if layout == "raven":
        expected = list(dict.fromkeys(expected))  # selections of several views are one
    assert [event[::3] for event in events] == [event[::3] for event in expected]
    assert np.allclose([event[1:3] for event in events], [event[1:3] for event in expected], rtol=0, atol=2e-6)


def test_labels_of_audacity_become_parts_of_recordings(tmp_path: Path) -> None:
    record(tmp_path / "a" / "street.wav")
    record(tmp_path / "b" / "street.wav")
    record(tmp_path / "b" / "rain.flac")
    (tmp_path / "a" / "street.txt").write_text(
        "0.0\t4.0\tdog\n\\\t100.0\t2000.0\n1.0\t5.0\t/m/06mb1\n"
        "4.5\t5.0\t a  drip \n7.0\t7.0\ta moment\n9\t12\tDog\n8\t9\t\n"
    )
    (tmp_path / "b" / "rain.labels.txt").write_text("\ufeff0.5\t1.5\tRAIN\r\n", encoding="utf-8")
    (tmp_path / "readme.txt").write_text("no label track\n")
    found = imported("audacity", tmp_path)
    assert said(found.rows) == [
        ("a/street.wav", 0.0, 4.0, ("Dog", "Rain")),
        ("a/street.wav", 1.0, 5.0, ("Rain", "Dog")),
        ("a/street.wav", 4.5, 5.0, ("a drip", "Rain")),
        ("a/street.wav", 9.0, 10.0, ("Dog",)),
        ("b/rain.flac", 0.5, 1.5, ("Rain",)),
    ]
    assert (found.missing, found.unreadable) == (0, 1)  # a moment has no sound
    assert {row.family for row in found.rows} == {"street", "rain"}


def test_selections_of_raven_are_in_the_file_they_name(tmp_path: Path) -> None:
    for name in ("one.wav", "two.wav"):
        record(tmp_path / name)
    (tmp_path / "two.Table.1.selections.txt").write_text(
        f"{HEADER}\tSpecies\n1\tWaveform 1\t1\t1.0\t2.0\t\t\twren\n1\tSpectrogram 1\t1\t1.0\t2.0\t0\t8000\twren\n"
    )
    (tmp_path / "all.selections.txt").write_text(
        f"{HEADER}\tBegin Path\tFile Offset (s)\tAnnotation\n"
        "1\tSpectrogram 1\t1\t11.5\t13.0\t0\t8000\tC:\\field\\two.wav\t1,5\tbird\n"
        "2\tSpectrogram 1\t1\t3.0\t4.0\t0\t8000\tfield/one.wav\t3.0\tDog\n"
        "3\tSpectrogram 1\t1\t30\t31\t0\t8000\tfield/three.wav\t1.0\tDog\n"
    )
    found = imported("raven", tmp_path)
    assert said(found.rows) == [
        ("one.wav", 3.0, 4.0, ("Dog",)),
        ("two.wav", 1.0, 2.0, ("wren", "Bird")),
        ("two.wav", 1.5, 3.0, ("Bird",)),
    ]
    assert found.missing == 1


def test_parts_of_one_recording_are_clips_of_their_own(tmp_path: Path) -> None:
    record(tmp_path / "day.wav", 60.0)
    (tmp_path / "day.txt").write_text("1\t3\tDog\n50\t52.5\tRain\n")
    bank = ClipBank(imported("audacity", tmp_path).rows, tmp_path)
    assert [(clip.labels, clip.active) for clip in bank.rows] == [
        (("Dog",), ((1.0, 3.0),)),
        (("Rain",), ((50.0, 52.5),)),
    ]
    assert len(bank.read("day.wav")) >= 52.5 * 16_000
    assert [len(bank.part(clip)) for clip in bank.rows] == [2 * 16_000, 2.5 * 16_000]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("dog", "Dog"),
        ("  WALK,  footsteps", "Walk, footsteps"),
        ("/m/0bt9lr", "Dog"),
        ("Turdus merula", "Turdus merula"),
    ],
)
def test_labels_have_the_names_of_the_ontology_where_they_can(text: str, label: str) -> None:
    assert label_of(text) == label


@pytest.mark.parametrize(
    ("layout", "name", "text", "says"),
    [
        ("audacity", "a.txt", "0\t1\tDog\nDog\t1\n", "a.txt, line 2: could not convert"),
        ("audacity", "a.txt", "2\t1\tDog\n", "line 1: a label begins"),
        ("raven", "a.selections.txt", "Selection\tView\n", "line 1: the column 'Begin Time"),
        ("raven", "a.selections.txt", f"{HEADER}\tNotes\n", "line 1: no column has labels"),
    ],
)
def test_what_is_wrong_names_its_line(layout: str, name: str, text: str, says: str, tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=says):
        imported(layout, tmp_path)
