"""Shows a sweep at work: bars with an estimate of the time left on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suites.runner.job import Job
    from suites.runner.sweep import Display, Sweep

EVERY = 30.0  # seconds between two plain lines


def display() -> Display:
    """The display that suits standard output."""
    return Bars() if sys.stdout.isatty() else Lines()


class Lines:
    """One line at every event and at least every 30 seconds, for logs and pipes."""

    def __init__(self, every: float = EVERY) -> None:
        self.every = every
        self.next = time.monotonic() + every

    def update(self, sweep: Sweep) -> None:
        if time.monotonic() >= self.next:
            self.say(headline(sweep) + "".join(f"\n    {describe(job)}" for job in sweep.running))

    def say(self, text: str) -> None:
        self.next = time.monotonic() + self.every
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    def close(self) -> None:
        pass


class Bars:
    """One bar for the sweep and one for each running trial."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskID, TextColumn

        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[note]}", markup=False),
            refresh_per_second=4,
        )
        self.total = self.progress.add_task("all", total=1.0, note="")
        self.bars: dict[str, TaskID] = {}
        self.next = 0.0
        self.shown: Sweep | None = None
        self.progress.start()

    def update(self, sweep: Sweep) -> None:
        self.shown = sweep
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + 0.5
        self.progress.update(self.total, completed=fraction(sweep), description="all", note=headline(sweep))
        running = {job.name: job for job in sweep.running}
        for name in set(self.bars) - set(running):
            self.progress.remove_task(self.bars.pop(name))
        for name, job in running.items():
            if name not in self.bars:
                self.bars[name] = self.progress.add_task(name, total=1.0, note="")
            found = job.progress()
            part = found.get("part")
            done = found.get("step", 0) / job.spec.budget if part is None else part
            note = f"{found.get('phase', 'starting')}  {found.get('step', 0):,} of {job.spec.budget:,} steps"
            self.progress.update(self.bars[name], completed=done, note=note)

    def say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        if self.shown is not None:  # leave the last state on the screen, not the one of half a second ago
            self.next = 0.0
            self.update(self.shown)
        self.progress.stop()


def headline(sweep: Sweep) -> str:
    parts = [f"{len(sweep.done)} of {len(sweep.jobs)} trials done"]
    if sweep.running:
        parts.append(f"{len(sweep.running)} running")
    if elsewhere := sum(job.watch is not None for job in sweep.queue):
        parts.append(f"{elsewhere} at another worker")
    if sweep.failed:
        parts.append(f"{len(sweep.failed)} FAILED")
    left = seconds_left(sweep)
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def describe(job: Job) -> str:
    found = job.progress()
    part = "" if found.get("part") is None else f" {found['part']:.0%}"
    return f"{job.name}  {found.get('phase', 'starting')}{part}, step {found.get('step', 0):,} of {job.spec.budget:,}"


def fraction(sweep: Sweep) -> float:
    """Part of the work done, by the trials' own steps."""
    running: float = sum(job.progress().get("step", 0) / job.spec.budget for job in sweep.running)
    return (len(sweep.done) + len(sweep.failed) + running) / max(1, len(sweep.jobs))


def seconds_left(sweep: Sweep) -> float | None:
    """Estimated from what trials of the same task and entrant take; None until one has got somewhere."""
    known: dict[tuple[str, str], list[float]] = {}
    for job in [*sweep.running, *sweep.done]:
        found = job.progress()
        part = 1.0 if job in sweep.done else found.get("step", 0) / job.spec.budget
        if found.get("seconds") and part > 0.02 and (part == 1.0 or found.get("part") is None):  # phases: no measure
            known.setdefault((job.spec.task, job.spec.entrant), []).append(found["seconds"] / part)
    if not known:
        return None
    cell = {name: sum(times) / len(times) for name, times in known.items()}
    usual = sum(cell.values()) / len(cell)
    left = 0.0
    for job in [*sweep.queue, *sweep.running]:
        part = job.progress().get("step", 0) / job.spec.budget
        left += max(0.0, 1.0 - part) * cell.get((job.spec.task, job.spec.entrant), usual)
    return left / max(1, min(sweep.settings.workers, len(sweep.queue) + len(sweep.running)))


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
