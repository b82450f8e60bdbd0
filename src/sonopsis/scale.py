"""Recordings on a Ray cluster: the same parts in the same order as on one machine, from a worker for each processor.

    paths -> Ray Data, blocks of a few files -> workers, each with the model in memory -> parts, in the paths' order

A worker describes a file with one thread. What it found goes back when the files of its block have ended, so memory
holds the windows of a few whole recordings. The caller writes them, as it does for its own.
"""

import logging
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from sonopsis.files import ModelError
from sonopsis.installed import needed_by
from sonopsis.model import Request, load
from sonopsis.moments import follow_moments
from sonopsis.passages import follow_scenes
from sonopsis.results import Part

WAYS: Mapping[str, Callable[..., Iterator[Part]] | None] = {
    "windows": None,
    "moments": follow_moments,
    "scenes": follow_scenes,
}
BLOCK = 8  # files that a worker takes at once, at most; a worker that dies loses what it found of these
BLOCKS = 10_000  # Ray keeps account of each, so very long lists have larger ones


class ClusterError(ModelError):
    """There is no cluster; as what is wrong with a model, this is the same for every file."""


@dataclass(frozen=True)
class Job:
    """What every worker needs: the model as `load` takes it, and what is asked; `way` is a key of `WAYS`."""

    model: str
    engine: str
    precision: str | None
    kernels: bool
    request: Request
    way: str = "windows"
    declared: bool = False
    folder: str = field(default_factory=os.getcwd)  # that paths start from


class Worker:
    """A process of the cluster, which loads the model once."""

    def __init__(self, job: Job) -> None:
        os.chdir(job.folder)
        self.job = job
        self.model = load(job.model, engine=job.engine, dtype=job.precision)
        if job.kernels:
            self.model.prepare()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """`parts` (files,): for each of the batch's paths, its parts as bytes; a file that failed has its error there,
        and an error of the model, which every file would have, comes in their place."""
        described = np.empty(len(batch["path"]), object)
        for place, path in enumerate(batch["path"]):
            described[place] = pickle.dumps(self._parts(os.fsdecode(path)))  # names of files need not be UTF-8
        return {"parts": described}

    def _parts(self, path: str) -> list[Part] | ModelError:
        way = WAYS[self.job.way]
        follow = None if way is None else partial(way, self.model)
        try:
            found = self.model.follow_many(
                [path], self.job.request, follow=follow, declared=self.job.declared, workers=1
            )
            return list(found)
        except ModelError as error:
            return error


def follow_on_cluster(job: Job, paths: Sequence[str], *, workers: int | None = None) -> Iterator[Part]:
    """The parts of each file in turn, as `Model.follow_many` gives them; of one that fails, the last has its error.

    The cluster is the one that Ray finds (`RAY_ADDRESS`), or a new one on this machine. Every machine of it must have
    sonopsis, and see the files and the model under the same paths. `workers` is the number of processes (None: one for
    each processor). Raises MissingPackageError without Ray, ClusterError if it does not start, and ModelError.
    """
    with needed_by("--executor ray"):
        import ray
        import ray.data
    if not paths:
        return
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that we start reports to nobody
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray has no narrower one for this
            why = " ".join(str(error).split())
            raise ClusterError(
                f"Ray did not start ({why}); name a cluster that runs in RAY_ADDRESS, try again when this machine is "
                "less busy, or leave out --executor"
            ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of every step on standard error
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    wanted = max(1, min(workers or int(ray.cluster_resources().get("CPU", 1)), len(paths)))
    blocks = min(BLOCKS, max(math.ceil(len(paths) / BLOCK), min(len(paths), 4 * wanted)))
    files = ray.data.from_items([{"path": os.fsencode(path)} for path in paths], override_num_blocks=blocks)
    pool = ray.data.ActorPoolStrategy(size=wanted)
    described = files.map_batches(
        Worker, fn_constructor_args=(job,), batch_size=None, compute=pool, num_cpus=1, batch_format="numpy"
    )
    for row in described.iter_rows():
        found = pickle.loads(row["parts"])
        if isinstance(found, ModelError):
            raise found
        yield from found
