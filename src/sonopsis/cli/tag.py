"""`sonopsis tag`: the labels of every window of every recording."""

from sonopsis.cli import options
from sonopsis.cli.describe import Settings, describe


def tag(
    paths: options.Paths,
    top_k: options.TopK = 5,
    threshold: options.Threshold = None,
    keep_rate: options.KeepRate = None,
    macs: options.Macs = None,
    latency: options.Latency = None,
    window: options.WindowLength = None,
    hop: options.Hop = None,
    formats: options.Formats = None,
    output: options.Output = None,
    model: options.ModelName = "default",
    engine: options.Engine = "auto",
    precision: options.Precision = None,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
) -> None:
    """Label what is heard in recordings, window by window."""
    settings = Settings(False, top_k, threshold, window, hop, 1, keep_rate)
    describe(paths, settings, macs, latency, formats, output, model, engine, precision, workers, quiet)
