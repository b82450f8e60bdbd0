"""Composed scenes of real clips, the words that describe them, and the frozen benchmark."""
