"""Who has a trial: a file that its worker refreshes, on any file system that workers share."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

DURATION = 30.0  # seconds without a refresh after which another worker may take a trial over
SLACK = 1.1  # a lease that has run out is noticed within so many durations


def lease_of(work: Path, duration: float = DURATION, **options: Any) -> SoftFileLease:
    """The lease of the trial in ``work``; all that contend for it must agree on ``duration``."""
    return SoftFileLease(work / "lease", lease_duration=duration, **options)


class Watch:
    """Waits for a trial that another worker has.

    A lease of another machine, or of a process that is frozen, has run out once one and the same process has seen it
    unchanged for its duration, which a worker that only asks and goes never does. So has a file that has been empty for
    that long: its worker died before it wrote its name there, and filelock lets nobody have it for ever.
    """

    def __init__(self, work: Path, duration: float) -> None:
        self._lease = lease_of(work, duration)
        self._duration = duration
        self._began = time.monotonic()
        self._empty: tuple[tuple[int, int], float] | None = None  # which file was found empty first, and when

    def over(self) -> bool:
        """Whether the trial can be had now."""
        try:
            if self._nobodys():
                self._lease.break_lock()
            self._lease.acquire(timeout=0)
        except (Timeout, LeaseSettingsMismatch):
            return False
        except OSError:
            return True  # whatever is wrong there, the worker that tries it will say so
        self._lease.release()
        return True

    @property
    def long_enough(self) -> bool:
        """Whether a lease would have run out by now that nobody refreshed; who still has it is alive."""
        return time.monotonic() - self._began > SLACK * self._duration

    def _nobodys(self) -> bool:
        """Whether the file has been empty for as long as a lease lasts."""
        now = time.monotonic()
        try:
            found = os.stat(self._lease.lock_file)
        except FileNotFoundError:
            return False
        which = found.st_ino, found.st_ctime_ns
        if found.st_size or self._empty is None or self._empty[0] != which:
            self._empty = None if found.st_size else (which, now)
            return False
        return now - self._empty[1] >= self._duration
