"""Figures for tags and captions, in NumPy: tagging, captioning against references, and events against facts."""
