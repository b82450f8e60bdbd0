"""Causal language models of transformers, with the interface that the captioner uses of the Mamba-2."""
