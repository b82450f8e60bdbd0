"""The card (README.md) of a model trained on a user's own labels: data, labels, figures, limits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sonopsis.data.folder_per_class import FolderRows
from sonopsis.data.manifest import Row
from sonopsis.folder import ModelConfig
from sonopsis.training.start import Start


def card(
    start: Start,
    config: ModelConfig,
    found: FolderRows,
    train: Sequence[Row],
    held_out: Sequence[Row],
    figures: Mapping[str, Any] | None,
) -> str:
    """The card's text, in Markdown."""
    trained, scored = (Counter(row.labels[0] for row in rows) for rows in (train, held_out))
    recall = {} if figures is None else figures["recall"]
    rows = [
        f"| {label} | {trained[label]} | {scored[label]} | "
        f"{format(recall[label]['recall'], '.3f') if label in recall else ''} |"
        for label in config.labels
    ]
    steps = config.training.get("steps")
    how = f"The encoder's upper half and the head were then trained for {steps} steps." if steps else ""
    sources = f"Sources of training clips: {_listed(sorted({row.source for row in train}))}."
    return "\n".join(
        [
            f"# A tagger of {len(config.labels)} labels",
            "",
            f"Trained with `sonopsis train --from {start.name}` on a folder of recordings, `{found.root.name}`. "
            f"The head was trained on outputs of the encoder of `{start.name}`. {how}".rstrip(),
            "",
            "| label | training clips | held-out clips | recall on held-out clips |",
            "|---|---|---|---|",
            *rows,
            "",
            _score(figures, found),
            "",
            *([sources, ""] if found.held_out_sources else []),
            "## Limits",
            "",
            "- The model knows only these labels. It gives scores for them to every other sound as well; set a "
            "threshold on recordings of your own that hold none of them.",
            "- The held-out clips come from the same folder as the training clips. Recordings made elsewhere may be "
            "harder.",
            f"- Default keep rate of patches: {config.keep_rate:g}.",
            "",
            "## Licence",
            "",
            f"Not stated: it depends on the recordings and on the card of `{start.name}`.",
            "",
        ]
    )


def _score(figures: Mapping[str, Any] | None, found: FolderRows) -> str:
    """What was measured on which clips."""
    if figures is None:
        return "No recording was held out, so nothing is known of how well it does."
    if found.divided:
        where = "of the validation and test folders"
    elif found.held_out_sources:
        where = f"of held-out sources ({_listed(found.held_out_sources)}), which no training clip comes from"
    else:
        where = "that were held out"
    low, high = figures["map_interval"]
    lower, upper = figures["balanced_accuracy_interval"]
    text = (
        f"On {figures['clips']} clips {where}: mAP {figures['map']:.3f} (95 % {low:.3f}-{high:.3f}), accuracy "
        f"{figures['accuracy']:.3f}, balanced accuracy {figures['balanced_accuracy']:.3f} ({lower:.3f}-{upper:.3f})."
    )
    if found.labels_without_sources:
        text += (
            f" The files of {_listed(found.labels_without_sources)} do not tell at least two sources; single files "
            "were held out there, and the score may be too good."
        )
    return text


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
