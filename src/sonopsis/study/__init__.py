"""Studies of a model on recordings: what pruning costs, and what the dropped patches are (docs/study.md).

clips.py         the clips of a manifest or a folder whose labels the model knows
variants.py      the ways to prune that are compared, at equal executed MACs
passes.py        a model run clip by clip; predictions.py: what it said, in a file that a rerun continues
bootstrap.py     paired intervals from whole groups of clips
tradeoff.py      `sonopsis study pruning`
page.py          a report as one HTML file; plots.py draws its pictures
"""
