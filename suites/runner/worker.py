"""The process of one trial: takes the lease, runs the trial, shows signs of life, obeys signals."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from suites.runner.lease import DURATION, lease_of

if TYPE_CHECKING:
    from suites.runner.trial import Trial

DONE, FAILED, DISK_FULL, BUSY, STOPPED = 0, 1, 4, 75, 143  # exit codes; the sweep knows them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What the sweep tells a trial's process, as JSON in ``order.json``."""

    trial: dict[str, Any]
    results: str  # the folder that holds all results
    checkpoint_every: float = 60.0  # seconds; 0: at every report
    evaluate: bool = True  # off only in the test that evaluation leaves no trace
    simulators: int = 0  # processes over which the environments of a vector are spread
    lease: float = DURATION  # seconds


def watch(trial: Trial, parent: int, interval: float = 1.0) -> threading.Thread:
    """A thread that writes ``progress.json`` whenever the trial has moved, and stops it when its parent is gone."""

    def loop() -> None:
        last: Any = None
        orphaned = 0
        while True:
            now = trial.signs_of_life()
            if now != last:
                last = now
                progress = {"step": now[0], "budget": trial.spec.budget, "phase": now[3], "pid": os.getpid(),
                            "part": now[4], "seconds": round(trial.seconds(), 1), "saves": trial.saves}  # fmt: skip
                temporary = trial.work / ".progress.tmp"
                try:
                    temporary.write_text(json.dumps(progress))
                    temporary.replace(trial.work / "progress.json")
                    if rows := getattr(trial, "rows", None):
                        rows.flush()
                except (OSError, ValueError):
                    # No room, or the rows are published by now: progress is a courtesy, the record is not.
                    temporary.unlink(missing_ok=True)
            if os.getppid() != parent:
                trial.stop = True
                orphaned += 1
                if orphaned * interval > 10:  # no report came in ten seconds: the last save has to do
                    os._exit(BUSY)
            time.sleep(interval)

    thread = threading.Thread(target=loop, daemon=True, name="progress")
    thread.start()
    return thread


def main(work: Path) -> int:
    """Run the trial that ``work/order.json`` describes; the exit code says how it ended."""
    try:
        order = Order(**json.loads((work / "order.json").read_text()))
        lease = lease_of(work, order.lease, on_compromise=lambda _: os._exit(BUSY))
        lease.acquire(timeout=0)
    except Timeout:
        return BUSY
    except OSError as error:
        return _failure(error)
    try:
        return _run(work, order)
    except Exception as error:
        return _failure(error)
    finally:
        lease.release()


def _failure(error: Exception) -> int:
    """The exit code for ``error``, which goes to the log if that has room for it."""
    with contextlib.suppress(OSError):
        traceback.print_exc()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DISK_FULL if full else FAILED


def _run(work: Path, order: Order) -> int:
    from suites.runner.trial import Stop, Trial
    from suites.spec import TrialSpec

    trial = Trial(
        TrialSpec.model_validate(order.trial),
        Path(order.results),
        order.checkpoint_every,
        evaluate=order.evaluate,
        simulators=order.simulators,
    )
    if trial.path.exists():  # another worker was faster, between our look and our lease
        return DONE

    def ask_to_stop(signum: int, frame: FrameType | None) -> None:
        trial.stop = True

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    (work / "cwd").mkdir(exist_ok=True)
    os.chdir(work / "cwd")  # simulators write files into the folder that they run in
    watch(trial, os.getppid())
    try:
        trial.run()
    except Stop:
        return STOPPED
    return DONE


if __name__ == "__main__":
    code = main(Path(sys.argv[1]).resolve())
    with contextlib.suppress(OSError):  # a full disk
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # simulators and thread pools are not waited for: the record is published
