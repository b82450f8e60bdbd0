"""`sonopsis caption`: a sentence for every window of every recording, with its labels."""

from sonopsis.cli import options
from sonopsis.cli.describe import describe
from sonopsis.cli.run import Destination


def caption(
    paths: options.Paths = None,
    files_from: options.FilesFrom = None,
    top_k: options.TopK = 5,
    threshold: options.Threshold = None,
    keep_rate: options.KeepRate = None,
    macs: options.Macs = None,
    latency: options.Latency = None,
    window: options.WindowLength = None,
    hop: options.Hop = None,
    beams: options.Beams = 1,
    scenes: options.Scenes = False,
    clock: options.Clock = False,
    formats: options.Formats = None,
    output: options.Output = None,
    combined: options.OneFile = False,
    resume: options.Resume = False,
    errors: options.Errors = None,
    model: options.ModelName = "default",
    engine: options.Engine = "auto",
    precision: options.Precision = None,
    kernels: options.Kernels = False,
    workers: options.Workers = None,
    executor: options.Executor = "local",
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
        destination=Destination(
            list(dict.fromkeys(formats or ["text"])),
            output,
            combined,
            resume,
            errors,
            clock=clock,
            scenes=scenes,
        ),
        files_from=files_from,
        macs=macs,
        latency=latency,
        model=model,
        engine=engine,
        precision=precision,
        kernels=kernels,
        workers=workers,
        executor=executor,
        verbose=verbose,
        quiet=quiet,
    )
