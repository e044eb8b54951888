"""Where a suite stands, read from its results folder: during a run, after it, and between crashes."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import record

if TYPE_CHECKING:
    from suites.spec import TrialSpec

FRESH = 5.0  # seconds: a trial at work writes its progress every second while it moves


@dataclass(frozen=True)
class Standing:
    """One trial's state: ``finished``, ``running``, ``interrupted``, ``failed`` or ``waiting``."""

    task: str
    entrant: str
    seed: int
    state: str
    step: int
    detail: str


def standing(trial: TrialSpec, results: Path) -> Standing:
    path = record.record_path(results, trial.suite, trial.task, trial.entrant, trial.seed)
    work = record.work_folder(path)
    state, step, detail = "waiting", 0, ""
    if path.exists():
        state, step = "finished", trial.budget
    elif failure := _json(work / "failed.json"):
        state, step, detail = "failed", failure["step"], failure["reason"]
    elif progress := _json(work / "progress.json"):
        step = progress["step"]
        held = _held(work)
        age = time.time() - (work / "progress.json").stat().st_mtime
        state = "running" if held else "interrupted"
        part = "" if progress.get("part") is None else f" {progress['part']:.0%}"
        detail = progress["phase"] + part if held else "goes on when the suite is run again"
        if held and age > FRESH:
            detail += f", no sign of life for {age:.0f} s"
    return Standing(trial.task, trial.entrant, trial.seed, state, step, detail)


def _held(work: Path) -> bool:
    """Whether a worker has the trial; one that died on this machine holds nothing."""
    import psutil

    from suites.runner.lease import lease_of

    owner = lease_of(work).owner
    if owner is None or owner.hostname != socket.gethostname():
        return owner is not None
    try:
        return psutil.Process(owner.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def print_status(trials: Sequence[TrialSpec], results: Path) -> None:
    """One line per task and entrant, then what is not finished and has something to say."""
    from rich.console import Console
    from rich.table import Table

    all_ = [standing(trial, results) for trial in trials]
    table = Table(box=None, pad_edge=False)
    for column in ("task", "entrant", "finished", "running", "interrupted", "failed", "waiting"):
        table.add_column(column, justify="left" if column in ("task", "entrant") else "right")
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in all_:
        cells[one.task, one.entrant][one.state] += 1
    for cell, states in cells.items():
        counts = [states[state] for state in ("finished", "running", "interrupted", "failed", "waiting")]
        table.add_row(*cell, *(str(count) if count else "." for count in counts))
    console = Console(width=None if _terminal() else 110, highlight=False, markup=False)
    console.print(table)
    for one in all_:
        if one.detail:
            console.print(f"{one.task}/{one.entrant}/{one.seed}: {one.state} at step {one.step:,}; {one.detail}")
    done = sum(one.state == "finished" for one in all_)
    console.print(f"{done} of {len(all_)} trials finished, records below {results}")


def _terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found
