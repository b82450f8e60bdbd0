"""Prompt and step of a Mamba-2 as machine code, compiled by numba on first use."""
