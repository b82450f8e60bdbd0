"""`sonopsis caption`: a sentence for every window of every recording, with its labels."""

from sonopsis.cli import options
from sonopsis.cli.describe import Settings, describe


def caption(
    paths: options.Paths,
    top_k: options.TopK = 5,
    threshold: options.Threshold = None,
    keep_rate: options.KeepRate = None,
    macs: options.Macs = None,
    latency: options.Latency = None,
    window: options.WindowLength = None,
    hop: options.Hop = None,
    beams: options.Beams = 1,
    formats: options.Formats = None,
    output: options.Output = None,
    model: options.ModelName = "default",
    engine: options.Engine = "auto",
    precision: options.Precision = None,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
) -> None:
    """Describe recordings in sentences and labels, window by window."""
    settings = Settings(True, top_k, threshold, window, hop, beams, keep_rate)
    describe(paths, settings, macs, latency, formats, output, model, engine, precision, workers, quiet)
