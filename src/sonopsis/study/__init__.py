"""Studies: of a model on recordings (docs/study.md), and of many training runs beside each other (docs/sweep.md).

clips.py         the clips of a manifest or a folder whose labels the model knows
variants.py      the ways to prune that are compared, at equal executed MACs
passes.py        a model run clip by clip; predictions.py: what it said, in a file that a rerun continues
bootstrap.py     paired intervals from whole groups of clips
tradeoff.py      `sonopsis study pruning`
importance.py    `sonopsis study importance`
tokens.py        `sonopsis study tokens`; rank.py: effective rank and cosine of tokens
patches.py       statistics and clusters of patches, and the attention they get; kendall.py: rank correlation
sweepfile.py     a sweep's YAML file: axes, objective, seeds
sweep.py         `sonopsis sweep`: its trials, in a database that several processes share
sweeprun.py      one run in a process of its own, and the JSON file that it leaves; leash.py ends it with the sweep
sweeptable.py    the table of a sweep as text, JSON, CSV and a page
page.py          a report as one HTML file; plots.py draws its pictures
"""

from sonopsis.installed import require

require("torch", "a study")
