"""`sonopsis caption`: a sentence for every window of every recording, with its labels."""

from sonopsis.cli import options
from sonopsis.cli.describe import describe


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
    kernels: options.Kernels = False,
    workers: options.Workers = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Describe recordings in sentences and labels, window by window."""
    from sonopsis.model import Request

    request = Request(
        captions=True,
        top_k=top_k,
        threshold=threshold,
        window=window,
        hop=hop,
        beams=beams,
        keep_rate=keep_rate,
        embeddings="npz" in (formats or ()),
    )
    describe(
        paths,
        request,
        macs=macs,
        latency=latency,
        formats=formats,
        output=output,
        model=model,
        engine=engine,
        precision=precision,
        kernels=kernels,
        workers=workers,
        verbose=verbose,
        quiet=quiet,
    )
