"""Studies of a model on recordings: what pruning costs, and what the dropped patches are (docs/study.md).

clips.py         the clips of a manifest or a folder whose labels the model knows
variants.py      the ways to prune that are compared, at equal executed MACs
passes.py        a model run clip by clip; predictions.py: what it said, in a file that a rerun continues
bootstrap.py     paired intervals from whole groups of clips
tradeoff.py      `sonopsis study pruning`
importance.py    `sonopsis study importance`
patches.py       statistics and clusters of patches, and the attention they get; kendall.py: rank correlation
page.py          a report as one HTML file; plots.py draws its pictures
"""
