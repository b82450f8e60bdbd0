"""The container readers against archives built here, whole, cut short and with bytes changed."""

import errno
import io
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError
from sonopsis.data.containers import read_ar, read_cat, read_rcc, read_tar, read_zip

FILES = {"one.wav": b"RIFF....one", "folder/two.ogg": bytes(range(256)) * 9, "folder/deep/empty.txt": b""}


def make_ar(members: dict[str, bytes]) -> bytes:
    out = bytearray(b"!<arch>\n")
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return bytes(out)


def make_tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        hard = tarfile.TarInfo("hard.wav")
        hard.type, hard.linkname = tarfile.LNKTYPE, "one.wav"
        archive.addfile(hard)
    return stream.getvalue()


def make_zip(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        link = zipfile.ZipInfo("link.wav")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return stream.getvalue()


def make_rcc(files: dict[str, bytes], version: int = 3, packing: str = "none") -> bytes:
    """Qt's layout, written from its description: breadth-first nodes, so children are consecutive."""
    flag = {"none": 0, "zlib": 1, "zstd": 4}[packing]
    root: dict = {}
    for path, content in files.items():
        *folders, name = path.split("/")
        here = root
        for folder in folders:
            here = here.setdefault(folder, {})
        here[name] = content
    names, payload, nodes = bytearray(), bytearray(), []
    queue: list[tuple[str, dict | bytes]] = [("", root)]
    free = 1
    for name, item in queue:  # grows while it is walked
        at = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        if isinstance(item, dict):
            nodes.append(struct.pack(">IHII", at, 2, len(item), free))
            free += len(item)
            queue += item.items()
        else:
            nodes.append(struct.pack(">IHHHI", at, flag, 0, 1, len(payload)))
            if packing == "zlib":
                item = struct.pack(">I", len(item)) + zlib.compress(item)
            elif packing == "zstd":
                item = zstandard.ZstdCompressor().compress(item)
            payload += struct.pack(">I", len(item)) + item
    tree = b"".join(node + bytes(8 if version > 1 else 0) for node in nodes)
    start = 24 if version == 3 else 20
    header = struct.pack(">4sIIII", b"qres", version, start, start + len(tree), start + len(tree) + len(payload))
    return header + bytes(start - 20) + tree + bytes(payload) + bytes(names)


def make_cat(sounds: list[tuple[str, bytes]]) -> bytes:
    table, body = b"", b""
    for title, riff in sounds:
        name = title.encode() + b"\0"
        table += struct.pack("<II", (8 * len(sounds) + len(body)) | 0x80000000, len(riff))
        body += bytes([len(name)]) + name + riff
    return table + body


def contents(pairs: Iterator) -> dict[str, bytes]:
    return {name: content if isinstance(content, bytes) else content.read() for name, content in pairs}


def test_ar_members_are_read_in_turn():
    members = {"debian-binary": b"2.0\n", "control.tar.gz": b"odd", "data.tar.xz": b"x" * 1000}
    assert contents(read_ar(io.BytesIO(make_ar(members)))) == members


def test_ar_size_beyond_the_file():
    with pytest.raises(DataError, match="cut short"):
        contents(read_ar(io.BytesIO(make_ar({"data.tar.xz": b"x" * 1000})[:-10])))


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_tar_gives_regular_files_only(suffix):
    data = make_tar(FILES)
    match suffix:
        case ".gz":
            data = zlib.compress(data, wbits=31)
        case ".xz":
            data = lzma.compress(data)
        case ".zst":
            data = zstandard.ZstdCompressor().compress(data)
    assert contents(read_tar(io.BytesIO(data), "data.tar" + suffix)) == FILES


def test_tar_of_unknown_compression():
    with pytest.raises(DataError, match=r"unknown compression '\.lz'"):
        contents(read_tar(io.BytesIO(b""), "data.tar.lz"))


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_a_compressed_tar_that_ends_early_is_noticed(suffix):
    """Cut at every place near the end, where all members have been read but the compressed stream is not over."""
    tar = make_tar(FILES)
    data = lzma.compress(tar) if suffix == "xz" else zlib.compress(tar, wbits=31)
    for cut in range(1, 9):
        with pytest.raises(DataError):
            contents(read_tar(io.BytesIO(data[:-cut]), f"data.tar.{suffix}"))


def test_zip_gives_regular_files_only():
    assert contents(read_zip(io.BytesIO(make_zip(FILES)))) == FILES


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("packing", ["none", "zlib", "zstd"])
def test_rcc(version, packing):
    files = {**FILES, "größe/ü.wav": b"\1" * 5000}
    assert contents(read_rcc(make_rcc(files, version, packing))) == files


def test_rcc_with_a_loop_is_refused():
    """The only folder is its own child: a naive walk would never end."""
    nodes = struct.pack(">IHII", 0, 2, 1, 1) + bytes(8) + struct.pack(">IHII", 0, 2, 1, 1) + bytes(8)
    header = struct.pack(">4sIIII", b"qres", 2, 20, 20 + len(nodes), 20 + len(nodes))
    with pytest.raises(DataError, match="loop"):
        contents(read_rcc(header + nodes + struct.pack(">HI", 1, 0) + "a".encode("utf-16-be")))


def test_rcc_entry_that_grows_beyond_its_stated_length():
    data = bytearray(make_rcc({"a.wav": b"\0" * 100_000}, packing="zlib"))
    at = data.index(struct.pack(">I", 100_000))
    data[at : at + 4] = struct.pack(">I", 10)
    with pytest.raises(DataError, match="does not have the length"):
        contents(read_rcc(bytes(data)))


def test_cat():
    sounds = [('"Wind". By A.', b"RIFF1234WAVE"), ("", b"RIFF" + bytes(500))]
    assert list(read_cat(make_cat(sounds))) == sounds


def test_cat_with_something_else_inside():
    with pytest.raises(DataError, match=r"sound 0 \('Wind'\) is not a RIFF file"):
        list(read_cat(make_cat([("Wind", b"OggS")])))


def make_bytes(pieces: list[tuple[int, bytes]], whole: bytes) -> bytes:
    """A container with some bytes changed: (offset, new bytes), a negative offset counts from the end."""
    changed = bytearray(whole)
    for offset, piece in pieces:
        offset %= len(whole)
        changed[offset : offset + len(piece)] = piece
    return bytes(changed)


def on_disk(read: Callable[[io.BufferedRandom], Iterator]) -> Callable[[bytes], Iterator]:
    """A reader from a real file: places that cannot be are other errors there than in memory."""

    def run(data: bytes) -> Iterator:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            yield from read(file)

    return run


READERS: dict[str, tuple[bytes, Callable[[bytes], Iterator]]] = {
    "ar": (make_ar({"data.tar": b"x" * 98}), lambda data: read_ar(io.BytesIO(data))),
    "tar.xz": (lzma.compress(make_tar(FILES)), lambda data: read_tar(io.BytesIO(data), "data.tar.xz")),
    "tar.gz": (zlib.compress(make_tar(FILES), wbits=31), lambda data: read_tar(io.BytesIO(data), "data.tar.gz")),
    "tar.zst": (
        zstandard.ZstdCompressor().compress(make_tar(FILES)),
        lambda data: read_tar(io.BytesIO(data), "data.tar.zst"),
    ),
    "tar": (make_tar(FILES), lambda data: read_tar(io.BytesIO(data), "data.tar")),
    "zip": (make_zip(FILES), lambda data: read_zip(io.BytesIO(data))),
    "zip on disk": (make_zip(FILES), on_disk(read_zip)),
    "rcc": (make_rcc(FILES), read_rcc),
    "rcc zlib": (make_rcc(FILES, packing="zlib"), read_rcc),
    "rcc zstd": (make_rcc(FILES, packing="zstd"), read_rcc),
    "cat": (make_cat([("one", b"RIFF1234"), ("two", b"RIFF5678")]), read_cat),
}


@pytest.mark.parametrize("kind", ["ar", "tar.gz", "tar.xz", "zip", "zip on disk", "rcc", "rcc zlib", "rcc zstd", "cat"])
@settings(max_examples=60)
@given(st.data())
def test_a_container_cut_short_is_a_data_error(kind, data):
    whole, read = READERS[kind]
    cut = data.draw(st.integers(9 if kind == "ar" else 0, len(whole) - 1))  # an ar header alone is an empty archive
    with pytest.raises(DataError):
        contents(read(whole[:cut]))


@pytest.mark.parametrize("kind", sorted(READERS))
@settings(max_examples=100)
@given(st.data())
def test_changed_bytes_are_read_or_refused_but_never_crash(kind, data):
    """Without a context of ours around the reader: it and the streams it gives raise DataError by themselves."""
    whole, read = READERS[kind]
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at, piece = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.binary(min_size=1, max_size=8))
        changed[at : at + len(piece)] = piece
    try:
        contents(read(bytes(changed)))
    except DataError as error:
        assert str(error) and "\n" not in str(error)


# What random changes have found, by hand: the kind of damage, the container, its reader, words of the error.

ONE = make_zip({"a.wav": b"RIFF"})
DIRECTORY = ONE.index(b"PK\x01\x02")  # the central directory's only own entry; "link.wav" follows


def zip_of(name: str, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, bytes(1_000))
    return stream.getvalue()


def tar_of(header: dict[str, object], body: bytes = b"", pax: dict[str, str] | None = None) -> bytes:
    """A tar with one member whose header has these fields."""
    info = tarfile.TarInfo("a.wav")
    for field, value in header.items():
        setattr(info, field, value)
    if pax:
        info.pax_headers = pax
    head = info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)
    return head + body + bytes(-len(body) % 512) + bytes(1024)


def sparse_tar(size: int) -> bytes:
    """A tar in GNU's old sparse format whose one member has no data and, unpacked, `size` zeros."""
    head = bytearray(tar_of({"type": tarfile.GNUTYPE_SPARSE})[:512])
    head[483:495] = b"%011o\0" % size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(1024)


DAMAGED = {
    "zip: a member without a name (IndexError of zipfile)": (
        make_bytes([(DIRECTORY + 28, b"\0\0\0\0\5\0")], ONE),  # what was its name is its comment
        "zip",
        "without a name",
    ),
    "zip: a member before the file's beginning (OSError of a real file)": (
        make_bytes([(-6, struct.pack("<I", DIRECTORY + 10))], ONE),
        "zip on disk",
        "Invalid argument",
    ),
    "zip: bzip2, which grows without limit": (zip_of("a.wav", zipfile.ZIP_BZIP2), "zip", "compressed by method 12"),
    "zip: lzma, likewise": (zip_of("a.wav", zipfile.ZIP_LZMA), "zip", "compressed by method 14"),
    "zip: encrypted": (make_bytes([(6, b"\1"), (DIRECTORY + 8, b"\1")], ONE), "zip", "damaged"),
    "tar: a sparse file of eight gigabytes, which would be written as zeros": (
        sparse_tar(1 << 33),
        "tar",
        "sparse one",
    ),
    "tar: a sparse map that ends before it is over": (
        tar_of({}, b"9\n", {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"})[:-1024],
        "tar",
        "damaged",
    ),
    "tar: a long name of one gigabyte": (
        tar_of({"type": tarfile.GNUTYPE_LONGNAME, "size": 1 << 30}, b"name"),
        "tar",
        "extension of",
    ),
    "tar: a member without a name": (tar_of({"name": ""}), "tar", "without a name"),
    "rcc: a file without a name": (make_rcc({"": b"x"}), "rcc", "no name"),
    "rcc: a folder of more nodes than there are": (
        make_bytes([(24 + 6, struct.pack(">I", 1_000_000))], make_rcc(FILES)),
        "rcc",
        "folders larger",
    ),
    "rcc: zstandard of an unstated length": (
        make_bytes(
            [(24 + 22 + 4, struct.pack(">H", 4))],  # the flags of the only file
            make_rcc({"a.wav": zstandard.ZstdCompressor(write_content_size=False).compress(b"abc")}),
        ),
        "rcc",
        "unknown length",
    ),
    "ar: a size with a sign": (make_ar({"a": b"xy"}).replace(b"2         `", b"-2        `"), "ar", "damaged ar"),
    "cat: a table larger than the file": (struct.pack("<II", 1 << 20, 8), "cat", "table of sounds"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_that_was_found_once_is_a_data_error(kind):
    data, reader, words = DAMAGED[kind]
    with pytest.raises(DataError, match=words):
        contents(READERS[reader][1](data))


def test_an_error_of_the_disk_is_not_called_damage():
    """Fetching the package again would not help."""

    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        contents(read_tar(Failing(make_tar(FILES)), "data.tar"))


def test_a_folder_in_every_folder_is_refused_at_once():
    """Each of 4,000 folders claims all nodes as its own: a walk would take 16 million steps."""
    count = 4_000
    nodes = b"".join(struct.pack(">IHII", 0, 2, count - 1, 1) for _ in range(count))
    header = struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(nodes), 20 + len(nodes))
    steps = 0
    with pytest.raises(DataError, match="folders larger"):
        for _ in read_rcc(header + nodes + struct.pack(">HI", 1, 0) + "a".encode("utf-16-be")):
            steps += 1
    assert steps == 0
