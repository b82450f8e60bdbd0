"""`sonopsis tag`: the labels of every window of every recording."""

from sonopsis.cli import options
from sonopsis.cli.describe import describe
from sonopsis.cli.run import Destination


def tag(
    paths: options.Paths = None,
    files_from: options.FilesFrom = None,
    top_k: options.TopK = 5,
    threshold: options.Threshold = None,
    keep_rate: options.KeepRate = None,
    macs: options.Macs = None,
    latency: options.Latency = None,
    window: options.WindowLength = None,
    hop: options.Hop = None,
    events: options.Events = False,
    clock: options.Clock = False,
    formats: options.Formats = None,
    output: options.Output = None,
    combined: options.OneFile = False,
    resume: options.Resume = False,
    errors: options.Errors = None,
    model: options.ModelName = "default",
    engine: options.Engine = "auto",
    precision: options.Precision = None,
    workers: options.Workers = None,
    executor: options.Executor = "local",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """List the sounds in recordings, window by window."""
    from sonopsis.model import Request

    request = Request(
        captions=False,
        top_k=top_k,
        threshold=threshold,
        window=window,
        hop=hop,
        keep_rate=keep_rate,
        embeddings="npz" in (formats or ()),
    )
    describe(
        paths,
        request,
        destination=Destination(
            list(dict.fromkeys(formats or ["text"])),
            output,
            combined,
            resume,
            errors,
            events,
            clock,
        ),
        files_from=files_from,
        macs=macs,
        latency=latency,
        model=model,
        engine=engine,
        precision=precision,
        workers=workers,
        executor=executor,
        verbose=verbose,
        quiet=quiet,
    )
