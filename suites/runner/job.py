"""A trial on its way through a sweep, and the process that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from results import record
from suites.runner.lease import Watch

if TYPE_CHECKING:
    from suites.spec import TrialSpec

ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = 12  # of a log, shown where a trial failed


@dataclass
class Job:
    """A trial on its way through the sweep."""

    spec: TrialSpec
    path: Path
    failures: int = 0
    best: tuple[int, int] = (-1, -1)  # saves and steps at the last failure
    not_before: float = 0.0
    reason: str = ""
    began: float = field(default=0.0)
    process: subprocess.Popen[bytes] | None = None
    watch: Watch | None = None  # while another worker has the trial

    @property
    def name(self) -> str:
        return f"{self.spec.task}/{self.spec.entrant}/{self.spec.seed}"

    @property
    def work(self) -> Path:
        return record.work_folder(self.path)

    def progress(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.work / "progress.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def silent_for(self) -> float:
        """Seconds since the running process has shown a sign of life, or was started."""
        try:
            sign = (self.work / "progress.json").stat().st_mtime
        except OSError:
            sign = 0.0
        started = time.time() - (time.monotonic() - self.began)
        return time.time() - max(sign, started)

    def last_lines(self) -> list[str]:
        try:
            return (self.work / "log.txt").read_text(errors="replace").splitlines()[-LAST_LINES:]
        except OSError:
            return []

    def start(self, log: BinaryIO) -> None:
        """Run the trial's process, with what it prints going to ``log``."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "suites.runner.worker", str(self.work)],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C reaches the sweep alone, which then asks its trials to stop
        )
        self.began = time.monotonic()


def environment() -> dict[str, str]:
    """One thread for each numerical library, the reader's import path, and no display."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    own = [entry for entry in sys.path if entry and not entry.startswith((sys.prefix, sys.base_prefix))]
    path = [str(ROOT), *own, os.getcwd()]
    return {
        **os.environ,
        **dict.fromkeys(threads, "1"),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "PYTHONUNBUFFERED": "1",
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
        "PYGAME_HIDE_SUPPORT_PROMPT": "1",
        "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl"),
    }
