"""Write measured figures into README, docs/ask.md and the default model's card, between their `<!-- name -->` markers.

sonopsis eval default MANIFEST --json > test.json
sonopsis eval default MANIFEST --split validation --keep-rate 0.5 --json > keep-0.5.json      # and other rates
sonopsis info --json > info.json
python scripts/model_card.py FOLDER MANIFEST     # the folder of these files
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from sonopsis.data.catalogue import list_sources
from sonopsis.ontology import current

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs/ask.md", ROOT / "src/sonopsis/pretrained/default/README.md")


def captions(figures: dict[str, Any]) -> str:
    """The model beside its baselines."""
    rows = {
        "**the model**": "model",
        "tags of the same encoder in a template": "tag_template",
        "caption of another scene": "random_scene_caption",
        "most frequent training caption": "most_frequent_caption",
    }
    return _table(
        [
            "caption",
            "event F1, leaf (95 %)",
            "broad",
            "order accuracy (95 %)",
            "CIDEr-D (95 %)",
            "hallucinated",
            "names nothing",
        ],
        [
            [
                title,
                _with_interval(figures[name], "event_f1_leaf"),
                f"{figures[name]['event_f1_broad']:.3f}",
                _with_interval(figures[name], "order_accuracy"),
                _with_interval(figures[name], "cider_d"),
                f"{figures[name]['hallucination_rate']:.3f}",
                f"{figures[name]['nothing_named']:.3f}",
            ]
            for title, name in rows.items()
        ],
    )


def types(figures: dict[str, Any]) -> str:
    """The model's captions by type of scene."""
    parts = {**figures["by_type"], "any, with a pair of labels that never met in training": figures["novel_pair"]}
    return _table(
        ["scene", "scenes", "event F1, leaf", "order accuracy", "where both are named", "CIDEr-D"],
        [
            [
                name,
                str(part["scenes"]),
                *(_number(part[key]) for key in ("event_f1_leaf", "order_accuracy", "order_named", "cider_d")),
            ]
            for name, part in parts.items()
        ],
    )


def tags(figures: dict[str, Any]) -> str:
    """One sentence about tags."""
    mean, balanced = _span(figures["map_interval"]), _span(figures["balanced_accuracy_interval"])
    return (
        f"mAP {figures['map']:.3f} (95 % {mean}) over {figures['labels']} labels, {figures['clips']} clips; "
        f"balanced accuracy {figures['balanced_accuracy']:.3f} ({balanced}) and accuracy {figures['accuracy']:.3f} "
        f"on the {figures['single_label_clips']} clips of one label."
    )


def classes(figures: dict[str, Any], manifest: Path) -> str:
    """What is known of each label: clips, average precision and, for clips of that label alone, recall."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    trained = Counter(current(label) for row in rows if row["split"] == "train" for label in row["labels"])
    recalls = {label: f"{found['recall']:.2f}" for label, found in figures["recall"].items()}
    return _table(
        ["label", "training clips", "test clips", "average precision", "recall"],
        [
            [
                label,
                str(trained[label]),
                str(found["clips"]),
                f"{found['average_precision']:.2f}",
                recalls.get(label, ""),
            ]
            for label, found in figures["average_precision"].items()
        ],
    )


def reliability(figures: dict[str, Any]) -> str:
    """How often a clip's best label is right, by its score."""
    curve = figures["reliability_of_the_best_label"]
    table = _table(
        ["score of the best label", "clips", "mean score", "right"],
        [
            [f"{row['low']:.1f}-{row['high']:.1f}", str(row["count"]), f"{row['score']:.2f}", f"{row['right']:.2f}"]
            for row in curve["bins"]
        ],
    )
    errors = f"{curve['ece']:.3f}; of the scores of all labels {figures['reliability']['ece']:.3f}"
    f1 = f"{figures['f1']['macro']:.3f} as the mean over labels, {figures['f1']['micro']:.3f} over all clips and labels"
    return f"{table}\n\nExpected calibration error {errors}. F1 at the thresholds: {f1}."


def pruning(folder: Path, info: dict[str, Any]) -> str:
    """Keep rates on validation clips, with their MACs."""
    rows = []
    for path in sorted(folder.glob("keep-*.json"), reverse=True):
        rate, figures = path.stem.removeprefix("keep-"), json.loads(path.read_text())["tagging"]
        macs = info["macs_g"][rate]
        rows.append([rate, *(f"{macs[kind]:.3f}" for kind in ("reference", "executed"))])
        rows[-1] += [f"{figures[name]:.3f}" for name in ("map", "balanced_accuracy")] + [str(figures["clips"])]
    return _table(["keep rate", "G MACs, reference", "executed", "mAP", "balanced accuracy", "clips"], rows)


def answers(figures: dict[str, Any]) -> str:
    """Right answers by kind of question, beside those of always giving one answer."""
    rows = [
        [
            kind,
            str(found["questions"]),
            f"{found['accuracy']:.3f} ({_span(found['interval'])})",
            f"{found['majority']:.3f}",
        ]
        for kind, found in figures.items()
    ]
    return _table(["kind", "questions", "right (95 %)", "one answer"], rows)


def packages(manifest: Path) -> str:
    """The packages of the training clips, with versions and licences."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    counts = Counter(row["source"] for row in rows if row["split"] == "train")
    known = {source.package: source for source in list_sources()}
    return _table(
        ["package", "version", "training clips", "licence"],
        [[name, known[name].version, str(count), known[name].licence] for name, count in sorted(counts.items())],
    )


def main(folder: Path, manifest: Path) -> None:
    """Replace every block that a page has markers for."""
    figures, info = (json.loads((folder / name).read_text()) for name in ("test.json", "info.json"))
    blocks = {
        "captions": captions(figures["captions"]),
        "types": types(figures["captions"]["model"]),
        "answers": answers(figures["answers"]),
        "tags": tags(figures["tagging"]),
        "classes": classes(figures["tagging"], manifest),
        "reliability": reliability(figures["tagging"]),
        "pruning": pruning(folder, info),
        "packages": packages(manifest),
    }
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, block in blocks.items():
            before, marker, after = text.partition(f"<!-- {name} -->\n")
            if marker:
                text = before + marker + block + "\n<!-- end -->" + after.partition("<!-- end -->")[2]
        page.write_text(text, encoding="utf-8")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _span(interval: list[float]) -> str:
    return f"{interval[0]:.3f}-{interval[1]:.3f}"


def _with_interval(figures: dict[str, Any], name: str) -> str:
    return f"{figures[name]:.3f} ({_span(figures['intervals'][name])})"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER MANIFEST")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
