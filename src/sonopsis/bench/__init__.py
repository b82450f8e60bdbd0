"""Speed, measured side by side: variants of one piece of work, interleaved in a single run (docs/bench.md)."""
