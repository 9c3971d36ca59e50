"""Single runs of a study, and where they are made: in threads, in processes, or on the machines of a cluster.

A run depends on nothing but its `Job`: not on how many are made at once, nor on where.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from coagent_rl.files import is_about_input
from coagent_rl.training.hyperparameters import check_environment
from coagent_rl.training.run import Options, train


@dataclass(frozen=True)
class Job:
    """All that is needed to make one run, here or elsewhere.

    Attributes:
        env: environment id, or ``module:id``.
        options: where a folder is named in them, files are written there.
        sends_files: the folder is one of this machine, and the run is made on another: the files come back as bytes.
    """

    algorithm: str
    env: str
    settings: Mapping[str, Any]
    seed: int
    options: Options
    sends_files: bool = False


@dataclass
class Outcome:
    """What a run gave, or why it gave nothing.

    Attributes:
        returns, lengths: of all training episodes, shape (n_episodes,).
        summary: as in ``summary.json``; empty for a run that failed.
        error: why it failed, in one line; empty for one that did not.
        details: the traceback, where the error is not one about what the user gave.
        files: name → content, where the job sends them.
    """

    returns: np.ndarray = field(default_factory=lambda: np.zeros(0))
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    summary: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    details: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


class StopWhenAsked(BaseCallback):
    """Give a run up as soon as an event is set: the interpreter interrupts its main thread only."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self.stop = stop

    def steps_until_needed(self) -> float:
        """It is content with being asked whenever compiled training comes by."""
        return np.inf

    def _on_step(self) -> bool:
        if self.stop.is_set():
            raise RuntimeError("The study was interrupted.")
        return True


def failure(error: BaseException) -> Outcome:
    """Make an outcome of the error of a run."""
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, Exception) and is_about_input(error):
        return Outcome(error=text)
    return Outcome(error=f"{type(error).__name__}: {text}", details="".join(traceback.format_exception(error)))


def execute(job: Job, stop: threading.Event | None = None) -> Outcome:
    """Make a run; what goes wrong in it is an outcome too."""
    with ExitStack() as stack:
        options = replace(job.options, callbacks=[StopWhenAsked(stop)] if stop is not None else [])
        if job.sends_files:
            options.folder = Path(stack.enter_context(TemporaryDirectory()))
        try:
            result = train(job.algorithm, check_environment(job.env), job.settings, job.seed, options)
            outcome = Outcome(result.returns, result.lengths, result.summary)
        except (Exception, SystemExit) as error:
            outcome = failure(error)
        if job.sends_files and options.folder is not None:
            outcome.files = {path.name: path.read_bytes() for path in sorted(options.folder.iterdir())}
        return outcome


Outcomes = Generator[tuple[int, Outcome], None, None]
"""Position of a job and its outcome, in the order in which they end."""


def in_threads(jobs: Sequence[Job], n_jobs: int, address: str | None = None) -> Outcomes:
    """Make runs in threads of this process, ``n_jobs`` at a time; compiled training runs without the interpreter's lock."""
    stop = threading.Event()
    with ThreadPoolExecutor(n_jobs) as pool:
        positions = {pool.submit(execute, job, stop): position for position, job in enumerate(jobs)}
        try:
            for future in as_completed(list(positions)):
                yield positions.pop(future), future.result()
        finally:
            stop.set()
            for future in positions:
                future.cancel()


def in_processes(jobs: Sequence[Job], n_jobs: int, address: str | None = None) -> Outcomes:
    """Make runs in processes, ``n_jobs`` at a time.

    When a process dies, nobody can tell which of the runs in progress was to blame: each is made again on its own, and the
    one whose process dies again has failed.
    """
    suspects = []
    for position, outcome in _pooled(jobs, range(len(jobs)), n_jobs):
        if outcome is None:
            suspects.append(position)
        else:
            yield position, outcome
    for position, outcome in _pooled(jobs, suspects, 1):
        yield position, outcome or Outcome(error="The process of this run died, twice.")


def _pooled(jobs: Sequence[Job], positions: Sequence[int], n_jobs: int) -> Iterator[tuple[int, Outcome | None]]:
    """Make some of the runs; None for those that were in progress when a process died."""
    from joblib.externals.loky import ProcessPoolExecutor

    waiting = deque(positions)
    while waiting:
        running: dict[Future[Outcome], int] = {}
        # Small networks gain nothing from threads in linear algebra, and with one a sum has one order.
        pool = ProcessPoolExecutor(min(n_jobs, len(waiting)), initializer=_ignore_interrupts, env={"OMP_NUM_THREADS": "1"})
        broken = False
        try:
            while running or (waiting and not broken):
                while waiting and len(running) < n_jobs and not broken:
                    try:
                        running[pool.submit(execute, jobs[waiting[0]])] = waiting[0]
                        waiting.popleft()
                    except BrokenProcessPool:
                        broken = True
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    position = running.pop(future)
                    try:
                        outcome: Outcome | None = future.result()
                    except BrokenProcessPool:
                        broken, outcome = True, None
                    except Exception as error:  # a job or an outcome that cannot be pickled
                        outcome = failure(error)
                    yield position, outcome
        finally:
            pool.shutdown(wait=True, kill_workers=True)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches every process, to the main process: a run must not take it for its regular end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def on_dask(jobs: Sequence[Job], n_jobs: int, address: str | None = None) -> Outcomes:
    """Make runs on a Dask cluster, or on one of ``n_jobs`` local processes if there is no address.

    The scheduler gives the runs of a lost worker to the others; one that has cost several workers has failed.
    """
    distributed = import_extra("dask")
    with ExitStack() as stack:
        where: Any = address
        if where is None:
            where = distributed.LocalCluster(n_workers=n_jobs, threads_per_worker=1, dashboard_address=None)
            stack.enter_context(where)
        client = stack.enter_context(distributed.Client(where, set_as_default=False, timeout=20))
        positions = {client.submit(execute, job, pure=False): position for position, job in enumerate(jobs)}
        try:
            for future in distributed.as_completed(list(positions), loop=client.loop):
                try:
                    outcome = future.result()
                except Exception as error:
                    outcome = failure(error)
                yield positions.pop(future), outcome
        finally:
            client.cancel(list(positions))


def on_ray(jobs: Sequence[Job], n_jobs: int, address: str | None = None) -> Outcomes:
    """Make runs on a Ray cluster, or on a local one of ``n_jobs`` processes if there is no address.

    A run whose process or machine is lost is made again elsewhere, three times at most.
    """
    ray = import_extra("ray")
    with ExitStack() as stack:
        if not ray.is_initialized():
            local: dict[str, Any] = {"num_cpus": n_jobs, "include_dashboard": False} if address is None else {}
            ray.init(address=address or "local", log_to_driver=False, **local)
            stack.callback(ray.shutdown)
        remote = ray.remote(num_cpus=1, max_retries=3)(execute)
        positions = {remote.remote(job): position for position, job in enumerate(jobs)}
        try:
            while positions:
                (done,), _ = ray.wait(list(positions), num_returns=1)
                position = positions.pop(done)
                try:
                    outcome = ray.get(done)
                except Exception as error:
                    outcome = failure(error)
                yield position, outcome
        finally:
            for reference in positions:
                ray.cancel(reference, force=True)


ELSEWHERE = {"dask": "distributed", "ray": "ray"}
"""Backends whose workers may see other files than this process does → the package that each needs."""


def import_extra(backend: str) -> Any:
    """Import the package that a backend needs.

    Raises:
        ImportError: if it cannot be imported; the message names the extra.
    """
    try:
        return import_module(ELSEWHERE[backend])
    except ImportError as error:
        raise ImportError(
            f"The backend {backend!r} needs the package {ELSEWHERE[backend]}, which cannot be imported ({error}): "
            f"pip install 'coagent-rl[{backend}]'."
        ) from error


BACKENDS: dict[str, Callable[[Sequence[Job], int, str | None], Outcomes]] = {
    "threads": in_threads,
    "loky": in_processes,
    "dask": on_dask,
    "ray": on_ray,
}
"""Name → generator of outcomes from jobs, the number of them at a time, and the address of a cluster."""
