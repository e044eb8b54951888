"""What an agent tells of its training, in a file beside the rows that git ignores: not part of the record.

A loss that is no number ends the trial: the agent would go on by what has diverged, and its curve would not tell.
"""

from __future__ import annotations

import json
import math
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
        refuse_divergence(step, metrics)
        now = time.monotonic()
        if step < self._next_step and (phase is None or now < self._next_time):
            return
        told = {} if phase is None else {"phase": phase.name, "done": phase.done}
        self._file.write(json.dumps({"step": step, **told, **metrics}, default=float) + "\n")
        self._next_step, self._next_time = step + self._apart, now + EVERY


def refuse_divergence(step: int, metrics: Mapping[str, float]) -> None:
    """Raise `FloatingPointError` if a metric ``loss/...`` is infinite or no number."""
    bad = {name: value for name, value in metrics.items() if name.startswith("loss/") and not math.isfinite(value)}
    if bad:
        found = ", ".join(f"{name} {value:g}" for name, value in bad.items())
        raise FloatingPointError(
            f"training diverged: expected finite losses, found {found} after {step:,} steps; look for infinite numbers "
            "in observations and rewards, or lower the learning rate of what this is the loss of"
        )
