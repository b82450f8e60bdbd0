"""The options that `tag` and `caption` share."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

EXECUTORS = ("local", "ray")


def _share(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter("must be over 0 and at most 1")
    return value


def _seconds(least: float) -> Callable[[float | None], float | None]:
    def check(value: float | None) -> float | None:
        if value is not None and not (math.isfinite(value) and value >= least):
            raise typer.BadParameter(f"must be at least {least:g} seconds")
        return value

    return check


def _executor(value: str) -> str:
    if value not in EXECUTORS:
        raise typer.BadParameter(f"{value!r} is unknown; choose from {', '.join(EXECUTORS)}")
    return value


Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files, folders (they are searched for recordings), patterns such as *.wav, or - for standard input."
    ),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        "--files-from",
        metavar="LIST",
        help="A text file with more recordings and folders, one on each line; - reads it from standard input.",
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="Show at most this many labels for each window.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        show_default="the model's own, or none",
        help="Show only labels with at least this score; 0 shows every label.",
    ),
]
KeepRate = Annotated[
    float | None,
    typer.Option(
        callback=_share,
        metavar="RATE",
        show_default="the model's own",
        help="Share of the patches that each pruning block keeps. 1 prunes nothing; a lower rate is faster.",
    ),
]
Macs = Annotated[
    float | None,
    typer.Option(
        callback=_share,
        metavar="SHARE",
        show_default="no budget",
        help="Choose the highest keep rate at which the encoder needs at most this share of its multiply-accumulates.",
    ),
]
Latency = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="MS",
        show_default="no budget",
        help="Choose the highest keep rate with which a window takes at most this many milliseconds on this machine.",
    ),
]
WindowLength = Annotated[
    float | None,
    typer.Option(
        "--window",
        callback=_seconds(0.1),
        metavar="S",
        show_default="the model's input length",
        help="Length of a window in seconds.",
    ),
]
Hop = Annotated[
    float | None,
    typer.Option(
        callback=_seconds(0.01),
        metavar="S",
        show_default="the window",
        help="Seconds from the start of one window to the start of the next.",
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        show_default="text",
        help="text, json, jsonl, csv, tsv, srt, vtt, audacity, raven, parquet or npz (embeddings). "
        "With --output it may be given several times.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        file_okay=False,
        help="Folder to write to: one file for each recording and format.",
    ),
]
OneFile = Annotated[
    bool,
    typer.Option(
        "--combined", help="With --output, write one file for each format, with all recordings: results.csv and so on."
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="With --output, go on where an earlier run with the same settings stopped. Recordings that it finished "
        "are not described again, unless they have changed.",
    ),
]
Events = Annotated[
    bool,
    typer.Option(
        "--events",
        help="Join windows into events: a row for each label from where it begins to where it ends.",
    ),
]
Scenes = Annotated[
    bool,
    typer.Option(
        "--scenes",
        help="Join windows into scenes: a row with one caption for each stretch of time in which the tags stay the "
        "same, and a summary of the recording.",
    ),
]
Clock = Annotated[
    bool,
    typer.Option(
        "--clock",
        help="Add the date and time of each row, from what AudioMoth, Song Meter or GUANO software wrote into the file "
        "or its name.",
    ),
]
Errors = Annotated[
    Path | None,
    typer.Option(
        "--errors",
        metavar="FILE",
        dir_okay=False,
        help="Also write a table (CSV) of the recordings that failed, and why.",
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        help="The bundled model (default), a model folder, a checkpoint of AST, AudioMAE, EAT or Whisper, or a hub id "
        "(owner/name or owner/name@revision).",
    ),
]
Engine = Annotated[
    str, typer.Option(help="The program that computes: auto, torch, onnx or openvino (see docs/engines.md).")
]
Precision = Annotated[
    str | None,
    typer.Option(
        show_default="float32",
        help="Numbers to compute with: float32, bfloat16, float16, int8, or auto (the fastest on this machine). "
        "See docs/engines.md.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, show_default="one per core", help="Number of cores to use. Several recordings are described at once."
    ),
]
Executor = Annotated[
    str,
    typer.Option(
        callback=_executor,
        metavar="local|ray",
        help="Where recordings are described: on this machine, or on a Ray cluster (pip install 'sonopsis[scale]').",
    ),
]
Beams = Annotated[
    int,
    typer.Option(
        min=1,
        help="Beam width; 1 is the model's default decoding.",
    ),
]
Kernels = Annotated[
    bool,
    typer.Option(
        "--kernels",
        help="With the engine torch, write captions with compiled code. This is faster for more than about 200 "
        "windows; compiling takes half a minute the first time.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say which engine and precision compute, and why.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no summary. Errors are still shown.")]
