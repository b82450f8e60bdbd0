"""The task "instruments" of docs/results-pruning.md: notes of the General MIDI instruments in two sound fonts.

Labels are the ten families of the first 80 programs, from pianos to pipes. TinySoundFont plays every program of both
fonts (`make instruments` installs it; it needs no sound card). Each font teaches in one fold and is the test in the
other; two programs of each family of the font that teaches are for validation. Programs that both fonts play from
the same recording are left out. (Csound's font was tried too: it has three of four recordings of TimGM6mb.)
"""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.data.catalogue import DataError, Source, get_source
from sonopsis.data.containers import read_ar, read_tar
from sonopsis.data.fetch import default_root, fetch_sources
from sonopsis.data.manifest import Row
from sonopsis.data.splits import Split

FLUID, TIM = "fluidr3mono-gm-soundfont", "timgm6mb-soundfont"
FONTS = {  # each is the test font of one fold
    FLUID: get_source(FLUID),
    TIM: Source(
        package=TIM,
        version="1.3-5",
        sha256="034abdfb296d9353433513dad5dbdcab46425ee6008fc02fe7039b46e75edc54",
        size=5426644,
        licence="GPL-2+",
        split="test",
        profile="full",
        reader="soundfont",
        base="usr/share/sounds/sf2",
        pool="pool/main/t/timgm6mb-soundfont/timgm6mb-soundfont_1.3-5_all.deb",
        container="*.sf2",
    ),
}
FAMILIES = (  # of eight programs each, in the order of General MIDI
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
)
IN_A_FAMILY = 8
PROGRAMS = len(FAMILIES) * IN_A_FAMILY
NOTES = range(36, 85, 3)  # MIDI numbers, from C2 to C6
COMPARED = (48, 60, 72)  # notes that tell whether two fonts play the same recording
SAME = 0.9  # correlation of their first BEGINNING seconds
BEGINNING = 0.75
VALIDATED = (2, 5)  # of the eight programs of a family
VELOCITY = 100  # of 127
HELD, WHOLE = 1.5, 2.0  # seconds from a note's start to its release, and of the clip
SILENT = 1e-3  # root mean square of a clip without a sound


def instruments() -> list[Row]:
    """One row for each font, program and note that sounds; what was not rendered before is rendered into the data root.

    Raises DataError when a font cannot be fetched, and ImportError without TinySoundFont.
    """
    root, found = default_root(), []
    folders = {font: root / "instruments" / font for font in FONTS}
    for font, folder in folders.items():
        if not folder.is_dir():
            render(font, root, folder)
    shared = {
        program for program in range(PROGRAMS) if alike(*(folder / f"{program:02}" for folder in folders.values()))
    }
    for font, folder in folders.items():
        for path in sorted(folder.glob("*/*.flac")):
            if (name := path.parent.name) in shared:
                continue
            program = int(name)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            source, label = f"{font} {program}", FAMILIES[program // IN_A_FAMILY]
            place, licence = str(path.relative_to(root)), FONTS[font].licence
            found.append(Row(place, 0.0, WHOLE, (label,), (), source, font, licence, "train", digest))
    return found


def split_of(source: str, fold: int) -> Split:
    """The split of a font's program in a fold."""
    font, program = source.split()
    if list(FONTS).index(font) == fold:
        return "test"
    return "validation" if int(program) % IN_A_FAMILY in VALIDATED else "train"


def alike(one: Path, other: Path) -> bool:
    """Whether the notes of a program in two fonts, in these folders, come from the same recording."""
    for note in COMPARED:
        paths = one / f"{note}.flac", other / f"{note}.flac"
        if all(path.is_file() for path in paths):
            both = [soundfile.read(path, frames=round(BEGINNING * SAMPLE_RATE))[0] for path in paths]
            spectra = [np.fft.rfft(samples / np.linalg.norm(samples), 2 * len(samples)) for samples in both]
            if np.abs(np.fft.irfft(spectra[0] * spectra[1].conj())).max() > SAME:
                return True
    return False


def render(font: str, root: Path, folder: Path) -> None:
    """Write a FLAC file for each note of each program that sounds, PROGRAM/NOTE.flac; all of a font or none."""
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
    number = synth.sfload(font_file(font, root))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / font
        made.mkdir()
        for program in range(PROGRAMS):
            try:
                synth.program_select(0, number, 0, program)
            except RuntimeError:  # the font lacks it
                continue
            own = made / f"{program:02}"
            own.mkdir()
            for note in NOTES:
                samples = played(synth, note)
                if np.sqrt(np.mean(samples**2)) > SILENT:
                    soundfile.write(own / f"{note}.flac", samples, SAMPLE_RATE)
        made.rename(folder)


def played(synth: Any, note: int) -> NDArray[np.float32]:
    """One note at half of full scale at most, mono, WHOLE seconds; then the synthesizer is silent again."""
    synth.noteon(0, note, VELOCITY)
    held = np.frombuffer(synth.generate(round(HELD * SAMPLE_RATE)), np.float32).copy()
    synth.noteoff(0, note)
    rest = np.frombuffer(synth.generate(round((WHOLE - HELD) * SAMPLE_RATE)), np.float32)
    both = np.concatenate([held, rest]).reshape(-1, 2).mean(axis=1)
    synth.sounds_off(0)
    synth.generate(SAMPLE_RATE // 10)  # what still fades
    loudest = np.abs(both).max()
    return np.asarray(both * (0.5 / loudest) if loudest > 0.5 else both, dtype=np.float32)


def font_file(font: str, root: Path) -> bytes:
    """The sound font of a package, which is fetched first where it is not there."""
    source = FONTS[font]
    (fetched,) = fetch_sources([source], root)
    if fetched.error is not None:
        raise DataError(fetched.error)
    archive = root / "downloads" / source.filename
    if not archive.is_file():
        raise DataError(f"{archive} is missing; delete {root / 'audio' / font}, so that the package is fetched again")
    with archive.open("rb") as file:
        for member, stream in read_ar(file):
            if member.startswith("data.tar"):
                for name, content in read_tar(stream, member):
                    if name.endswith((".sf2", ".sf3")):
                        return content.read()
    raise DataError(f"{font}: the package has no sound font; its layout differs from what is expected here")
