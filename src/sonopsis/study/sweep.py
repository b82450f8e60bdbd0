"""`sonopsis sweep`: the trials of a sweep in a database of Optuna, from which any number of processes take their work.

A trial is a configuration, trained once with each seed. The configurations of a grid or of random points are put into
the database first; TPE chooses its own. When two processes have put the same one there, the trial of the lower number
counts (the database gives each number once) and the other one is void.
"""

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from sonopsis.study.sweepfile import Choices, Point, Sweep
from sonopsis.study.sweeprun import RunFailed, run_once

MOST_KILLS = 3  # after so many dead processes a trial has failed
ATTEMPTS = 5  # to make the tables of a new database, which several processes may do at the same time
OPEN = (TrialState.WAITING, TrialState.RUNNING)
Tell = Callable[[str], object]

optuna.logging.set_verbosity(optuna.logging.ERROR)


def run_sweep(sweep: Sweep, *, retry: bool = False, tell: Tell = lambda line: None) -> optuna.Study:
    """Work on a sweep until every trial has ended, whoever runs it; with `retry`, failed trials are tried once more.

    `tell` is given a line for each trial that this process has ended. Raises ValueError for a database that cannot be
    reached or that holds another sweep of this name. Ctrl-C and SIGTERM give back the trial and save its checkpoint.
    """
    study = open_study(sweep)
    if retry:
        failed = [trial.number for trial in study.get_trials(deepcopy=False) if failure(trial) is not None]
        study.set_user_attr("forgiven", sorted({*study.user_attrs.get("forgiven", []), *failed}))
    with _stopped_like_ctrl_c():
        while True:
            _put_missing(study, sweep)
            trials = study.get_trials(deepcopy=False)
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if waiting or (sweep.sampler == "tpe" and len(_counting(study, trials)) < sweep.trials):
                _work_on_one(study, sweep, tell)
            elif any(trial.state == TrialState.RUNNING for trial in trials):
                time.sleep(sweep.patience / 6)  # a process may die, and its trial is then done here
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    fail_stale_trials(study)
            else:
                return study


def open_study(sweep: Sweep) -> optuna.Study:
    """The study of a sweep in its database, made if it is not there; raises ValueError as `run_sweep` does."""
    if sweep.storage.startswith("sqlite:///"):
        sweep.output.mkdir(parents=True, exist_ok=True)
    storage = _storage(sweep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=storage,
            study_name=sweep.name,
            direction=sweep.direction,
            sampler=_sampler(sweep),
            load_if_exists=True,
        )
    identity = sweep.identity()
    if (known := study.user_attrs.get("sweep")) is None:
        study.set_user_attr("sweep", identity)
    elif other := [key for key in identity if known[key] != identity[key]]:
        raise ValueError(
            f"the study {sweep.name!r} of this database is of a sweep with other {', '.join(other)}; give this one "
            "another `name` (runs that have finished in its output are used again)"
        )
    return study


def failure(trial: FrozenTrial) -> str | None:
    """Why a trial failed; None for one that did not, and for one whose process was stopped, which is tried again."""
    return trial.user_attrs.get("error") if trial.state == TrialState.FAIL else None


def point_of(trial: FrozenTrial) -> Point:
    """The point of a trial, also of one that has not begun."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def void(trial: FrozenTrial) -> bool:
    """Whether a trial was given up, because another one has its point."""
    return trial.state == TrialState.PRUNED


def _work_on_one(study: optuna.Study, sweep: Sweep, tell: Tell) -> None:
    """Work on the next trial; one that was given to another process meanwhile is that one's, and no error."""
    begun: list[int] = []
    errors: list[BaseException] = []  # of the work itself

    def objective(trial: Trial) -> float:
        begun.append(trial.number)
        try:
            return _objective(study, sweep, trial, tell)
        except (RunFailed, optuna.TrialPruned, UpdateFinishedTrialError):
            raise
        except BaseException as error:
            errors.append(error)
            raise

    try:
        study.optimize(objective, n_trials=1, catch=(RunFailed,))
    except (UpdateFinishedTrialError, ValueError, AssertionError):  # so Optuna says that another process has the trial
        if errors:
            raise errors[0] from None
        if not begun:
            raise
        tell(
            f"this process lost trial {begun[0]} to another one, because it gave no sign of life for longer than "
            f"`patience`, {sweep.patience} s; what it trained is kept, and the sweep goes on"
        )


def _objective(study: optuna.Study, sweep: Sweep, trial: Trial, tell: Tell) -> float:
    point = {name: _suggest(trial, sweep, name) for name in sweep.axes}
    before = _counting(study, [other for other in study.get_trials(deepcopy=False) if other.number < trial.number])
    if sweep.sampler == "tpe":
        spare = len(before) >= sweep.trials
    else:  # another process may have taken what waited, and the sampler drawn a point
        spare = any(point_of(other) == point for other in before) or point not in points(sweep)
    if spare:
        raise optuna.TrialPruned
    name, kills = sweep.run_name(point), trial.user_attrs.get("killed", 0)
    try:
        if kills >= MOST_KILLS:
            raise RunFailed(f"{kills} processes that had this trial were killed; perhaps memory was short")
        runs = []
        for seed in sweep.seeds:
            found = run_once(sweep, point, seed)
            runs.append({key: found[key] for key in ("seed", "metrics", "seconds", "parameters", "trainable")})
            trial.set_user_attr("runs", runs)
        mean = math.fsum(run["metrics"][sweep.objective] for run in runs) / len(runs)
        if not math.isfinite(mean):
            raise RunFailed(f"its {sweep.objective} is {mean}")
    except RunFailed as error:
        trial.set_user_attr("error", str(error))
        tell(f"trial {trial.number} ({name}) failed: {error}")
        raise
    except KeyboardInterrupt:
        study.enqueue_trial(point, user_attrs={"killed": kills})
        raise
    tell(f"trial {trial.number} ({name}): {sweep.objective} {mean:.4f}")
    return mean


def _suggest(trial: Trial, sweep: Sweep, name: str) -> Any:
    """The place of a trial on one axis, as Optuna's sampler chooses it or as it was put into the database."""
    axis = sweep.axes[name]
    if isinstance(axis, Choices):
        return trial.suggest_categorical(name, list(axis.values))
    if axis.whole:
        return trial.suggest_int(name, int(axis.low), int(axis.high), step=int(axis.step or 1), log=axis.log)
    return trial.suggest_float(name, axis.low, axis.high, step=axis.step, log=axis.log)


def _put_missing(study: optuna.Study, sweep: Sweep) -> None:
    """Put into the database what a grid or random points lack."""
    if sweep.sampler == "tpe":
        return
    known = [point_of(trial) for trial in _counting(study, study.get_trials(deepcopy=False))]
    for point in points(sweep):
        if point not in known:
            study.enqueue_trial(point)


def points(sweep: Sweep) -> list[Point]:
    """The configurations of a grid or of random points, the same in every process."""
    if sweep.sampler == "grid":
        return sweep.grid()
    drawn = optuna.create_study(sampler=RandomSampler(seed=sweep.seeds[0]))
    found: list[Point] = []
    for _ in range(sweep.trials):
        trial = drawn.ask()
        point = {name: _suggest(trial, sweep, name) for name in sweep.axes}
        if point not in found:
            found.append(point)
    return found


def _counting(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials whose point needs no other trial: those that wait, run, have a figure, or failed for good."""
    forgiven = study.user_attrs.get("forgiven", [])
    return [
        trial
        for trial in trials
        if trial.state in (*OPEN, TrialState.COMPLETE) or (failure(trial) is not None and trial.number not in forgiven)
    ]


def _sampler(sweep: Sweep) -> BaseSampler:
    # With several processes, TPE must know what the others are trying (constant_liar), and each draws on its own.
    return TPESampler(constant_liar=True) if sweep.sampler == "tpe" else RandomSampler()


def _storage(sweep: Sweep) -> RDBStorage:
    """The database; a process gives a sign of life a few times within `patience`."""

    def put_again(study: optuna.Study, trial: FrozenTrial) -> None:
        study.enqueue_trial(point_of(trial), user_attrs={"killed": trial.user_attrs.get("killed", 0) + 1})

    waits = {"connect_args": {"timeout": 60}} if sweep.storage.startswith("sqlite") else {"pool_pre_ping": True}
    for attempt in range(ATTEMPTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RDBStorage(
                    sweep.storage,
                    engine_kwargs=waits,
                    heartbeat_interval=max(1, sweep.patience // 6),
                    grace_period=sweep.patience,
                    heartbeat_stale_trial_callback=put_again,
                )
        except ImportError as error:
            raise ValueError(
                f"storage: this database needs a package that is not installed ({error}); for PostgreSQL: "
                "pip install 'psycopg[binary]'"
            ) from error
        except Exception as error:
            if attempt == ATTEMPTS - 1:
                lines = str(error.__cause__ or error).splitlines()
                raise ValueError(f"storage: {sweep.storage.split('@')[-1]} cannot be used: {lines[0]}") from error
            time.sleep(0.3 * (attempt + 1))
    raise AssertionError


@contextmanager
def _stopped_like_ctrl_c() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
