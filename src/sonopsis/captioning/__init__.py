"""Encoder tokens -> connector -> prefix -> language model -> sentence (arXiv 2509.15680)."""
