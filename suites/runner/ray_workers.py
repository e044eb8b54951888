"""Spreads workers over a Ray cluster. The results folder, which every node must see, stays the truth; Ray only starts.

Each Ray task is one `python -m suites work`: it takes trials by their leases until none is left. So a task that dies
with its node loses nothing but time: the trial's lease runs out, another worker resumes it from its last save, and the
driver starts a new worker for the lost one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import record
from suites.runner.display import Lines
from suites.runner.status import standing

if TYPE_CHECKING:
    from suites.spec import TrialSpec

ROOT = Path(__file__).resolve().parents[2]


def run_on_ray(
    trials: Sequence[TrialSpec], results: Path, arguments: Sequence[str], *, address: str, workers: int, gpus: float
) -> int:
    """Keep ``workers`` workers going until every trial is finished or failed. 0: all done, 1: trials failed.

    ``arguments`` is the command line of `work`; ``gpus`` is the share of a GPU that Ray gives each worker, which sees
    that GPU alone (0: none).

    Raises:
        ImportError: the extra ``ray`` is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    for trial in trials:  # what failed before is tried again, as by `run` without Ray
        path = record.record_path(results, trial.suite, trial.task, trial.entrant, trial.seed)
        (record.work_folder(path) / "failed.json").unlink(missing_ok=True)
    ray.init(address=None if address == "local" else address, logging_level=logging.WARNING, include_dashboard=False)
    # a process per task, so that none inherits a GPU; retries are ours, because only we know what is left
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=1, max_retries=0)(_work)
    lines = Lines()
    running: list[Any] = []
    try:
        while left := _unfinished(trials, results):
            for _ in range(min(workers, len(left)) - len(running)):
                running.append(task.remote(list(arguments)))
            ended, running = ray.wait(running, timeout=5.0)
            for reference in ended:
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:
                    lines.say(f"a worker was lost ({type(error).__name__}); its trial goes on at another")
            if time.monotonic() >= lines.next:
                lines.say(f"{len(trials) - len(left)} of {len(trials)} trials done, {len(running)} workers")
    finally:
        for reference in running:
            ray.cancel(reference, force=False)
        ray.shutdown()
    for suite in {trial.suite for trial in trials}:
        record.summarise(results / suite)
    failed = [trial for trial in trials if standing(trial, results).state == "failed"]
    for trial in failed:
        lines.say(f"FAILED   {trial.task}/{trial.entrant}/{trial.seed}   {standing(trial, results).detail}")
    return 1 if failed else 0


def _unfinished(trials: Sequence[TrialSpec], results: Path) -> list[TrialSpec]:
    return [trial for trial in trials if standing(trial, results).state not in ("finished", "failed")]


def _work(arguments: list[str]) -> int:
    """One worker, in a process of Ray's; a cancelled task passes the wish to stop on, so that its trial is saved."""
    process = subprocess.Popen([sys.executable, "-m", "suites", "work", *arguments], cwd=ROOT)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait(timeout=10)
        raise
