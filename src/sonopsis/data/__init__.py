"""Data: manifests, packages that can be fetched, composed scenes and the words that describe them."""
