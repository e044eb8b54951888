"""What an agent tells of its training, in a file beside the rows that git ignores: not part of the record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from agents.protocol import Phase

ROWS = 500  # by steps, at most
EVERY = 5.0  # seconds between rows where phases take no steps


class Losses:
    """Appends to ``losses.jsonl`` as often as is worth a look."""

    def __init__(self, work: Path, budget: int) -> None:
        self._file = (work / "losses.jsonl").open("a", buffering=1)
        self._apart = max(1, budget // ROWS)
        self._next_step, self._next_time = 0, 0.0

    def write(self, step: int, metrics: Mapping[str, float], phase: Phase | None) -> None:
        now = time.monotonic()
        if step < self._next_step and (phase is None or now < self._next_time):
            return
        told = {} if phase is None else {"phase": phase.name, "done": phase.done}
        self._file.write(json.dumps({"step": step, **told, **metrics}, default=float) + "\n")
        self._next_step, self._next_time = step + self._apart, now + EVERY
