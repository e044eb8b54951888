"""Runs many trials, one process each, and survives whatever happens to them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from results import record
from suites.runner import checkpoint
from suites.runner.job import Job
from suites.runner.lease import DURATION, Watch
from suites.runner.worker import BUSY, DISK_FULL, DONE, STOPPED, Order

if TYPE_CHECKING:
    from suites.spec import TrialSpec

POLL = 0.1  # seconds between two looks at the running trials
AGAIN = 1.0  # seconds between two looks at a trial that another worker has
GRACE = 4.5  # seconds that trials have to save themselves after SIGTERM


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run, as opposed to what: nothing here changes a record."""

    results: Path
    workers: int
    checkpoint_every: float = 60.0  # seconds
    patience: float = 1800.0  # seconds without a sign of life after which a trial counts as hung
    retries: int = 3  # attempts in a row that may end without the trial having got further
    simulators: int = 0  # processes over which each trial spreads the environments of a vector
    wait_for_others: bool = True  # stay until trials that another worker holds are done, too
    lease: float = DURATION  # seconds; all that work on the same results must agree on it


class Display(Protocol):
    """Shows a sweep at work."""

    def update(self, sweep: Sweep) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class Sweep:
    """A queue of trials and the processes that work it off."""

    def __init__(self, trials: Sequence[TrialSpec], settings: Settings, display: Display) -> None:
        self.settings = settings
        self.display = display
        self.jobs = [
            Job(spec, record.record_path(settings.results, spec.suite, spec.task, spec.entrant, spec.seed))
            for spec in trials
        ]
        self.began = time.monotonic()
        self.done = [job for job in self.jobs if job.path.exists()]
        self.done_before = len(self.done)
        self.queue = deque(job for job in self.jobs if not job.path.exists())
        self.running: list[Job] = []
        self.failed: list[Job] = []
        self.signal: int | None = None
        self.at_once = False  # asked twice: wait for no trial to save
        self.disk_full = False

    def run(self) -> int:
        """Work the queue off. The exit code: 0 all done, 1 trials failed, 4 disk full, 130 or 143 stopped."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self.queue or self.running:
                if self.signal is not None or self.disk_full:
                    self._stop_all()
                    break
                self._start_what_fits()
                for job in list(self.running):
                    self._look_at(job)
                if not (self.running or self.settings.wait_for_others) and self._only_others_left():
                    break
                self.display.update(self)
                time.sleep(POLL)
        finally:
            self._kill_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        self._summarise()
        self.display.close()
        if self.signal is not None:
            return 128 + self.signal
        return DISK_FULL if self.disk_full else int(bool(self.failed))

    # -- starting --------------------------------------------------------------------------------------------------

    def _start_what_fits(self) -> None:
        now = time.monotonic()
        for _ in range(len(self.queue)):
            if len(self.running) >= self.settings.workers:
                return
            job = self.queue.popleft()
            if job.path.exists():
                self._finished(job)
            elif job.not_before > now:
                self.queue.append(job)
            elif job.watch and not job.watch.over():
                self._leave_for_now(job)
            else:
                self._start(job)

    def _start(self, job: Job) -> None:
        job.watch = None
        try:
            job.work.mkdir(parents=True, exist_ok=True)
            (job.work / "failed.json").unlink(missing_ok=True)
            order = Order(
                trial=job.spec.model_dump(mode="json"),
                results=str(self.settings.results.resolve()),
                checkpoint_every=self.settings.checkpoint_every,
                simulators=self.settings.simulators,
                lease=self.settings.lease,
            )
            record.write_atomically(job.work / "order.json", json.dumps(asdict(order)).encode())
            log = (job.work / "log.txt").open("ab")
        except OSError as error:
            self._no_room(job, str(error))
            return
        with log:
            job.start(log)
        self.running.append(job)

    # -- watching --------------------------------------------------------------------------------------------------

    def _look_at(self, job: Job) -> None:
        assert job.process is not None
        code = job.process.poll()
        if code is None:
            if job.silent_for() > self.settings.patience:
                job.process.kill()
                job.process.wait()
                self._ended_badly(job, f"hung: no sign of life for {self.settings.patience:.0f} s")
            return
        if code == DONE and job.path.exists():
            self.running.remove(job)
            self._finished(job)
        elif code == BUSY:
            self.running.remove(job)
            job.watch = Watch(job.work, self.settings.lease)
            self._leave_for_now(job)
        elif code == DISK_FULL:
            self._no_room(job, " ".join(job.last_lines()[-1:]))
        elif code == STOPPED and self.signal is None:
            self._ended_badly(job, "stopped by SIGTERM from outside")
        elif code < 0:
            self._ended_badly(job, f"killed by {signal.Signals(-code).name}")
        else:
            self._ended_badly(job, f"ended with exit code {code}")

    def _finished(self, job: Job) -> None:
        checkpoint.clear(job.work)  # a worker killed right after it published had no time to
        self.done.append(job)
        self.display.say(f"done     {job.name}   {len(self.done)} of {len(self.jobs)}")

    def _ended_badly(self, job: Job, reason: str) -> None:
        if job in self.running:
            self.running.remove(job)
        if job.path.exists():
            self._finished(job)
            return
        progress = job.progress()
        reached = (progress.get("saves", 0), progress.get("step", 0))
        job.failures = 1 if reached > job.best else job.failures + 1
        job.best = max(job.best, reached)
        job.reason = reason
        if job.failures <= self.settings.retries:
            self.display.say(f"retry    {job.name}   {reason}; attempt {job.failures + 1}")
            self.queue.append(job)
            return
        lines = job.last_lines()
        self.failed.append(job)
        failure = {"reason": reason, "step": reached[1], "last_lines": lines}
        try:
            record.write_atomically(job.work / "failed.json", json.dumps(failure, indent=1).encode())
        except OSError as error:
            self._no_room(job, str(error))
        self.display.say(
            f"FAILED   {job.name}   {reason} at step {reached[1]:,}, {job.failures} times without getting further.\n"
            + "".join(f"    | {line}\n" for line in lines)
            + f"    whole log: {job.work / 'log.txt'}"
        )

    def _leave_for_now(self, job: Job) -> None:
        job.not_before = time.monotonic() + AGAIN
        self.queue.append(job)

    def _no_room(self, job: Job, detail: str) -> None:
        if job in self.running:
            self.running.remove(job)
        self.disk_full = True
        free = _free_bytes(self.settings.results)
        self.display.say(
            f"STOPPED  {job.name}   no room left below {self.settings.results} ({free / 1e6:.1f} MB free): {detail}\n"
            "    Make room and give the same command again: every trial goes on from its last save."
        )

    def _only_others_left(self) -> bool:
        return all(job.watch and job.watch.long_enough for job in self.queue)

    # -- stopping --------------------------------------------------------------------------------------------------

    def _on_signal(self, number: int, _frame: object) -> None:
        """Only take note: what is interrupted here may hold the lock that waiting for a process needs."""
        self.at_once, self.signal = self.signal is not None, number

    def _stop_all(self) -> None:
        if self.running:
            self.display.say(f"saving {len(self.running)} running trials ...")
        for job in self.running:
            assert job.process is not None
            job.process.terminate()
        deadline = time.monotonic() + GRACE
        saving = [job.process for job in self.running if job.process]
        while not self.at_once and time.monotonic() < deadline and any(one.poll() is None for one in saving):
            time.sleep(0.02)

    def _kill_all(self) -> None:
        for job in self.running:
            if job.process and job.process.poll() is None:
                job.process.kill()
                job.process.wait()

    def _summarise(self) -> None:
        for suite in {job.spec.suite for job in self.done}:
            try:
                record.summarise(self.settings.results / suite)
            except OSError as error:
                self.disk_full = True
                self.display.say(f"summary.csv could not be written: {error}. Give the same command again.")


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
