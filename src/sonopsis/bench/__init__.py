"""Measuring speed: variants of one piece of work, interleaved in one run (docs/bench.md).

timing.py, child.py     one run, and the process of one variant
report.py, machine.py   rows, tables and causes; the machine they were measured on
sounds.py, weights.py   recordings and models to measure with
encoder.py, peers.py    log-Mel to logits, and the others that do it
pipeline.py             a folder of recordings in, tags out
lm.py                   prompts and steps of the language model
start.py                whole commands
"""
