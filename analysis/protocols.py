"""Keeps unlike numbers apart: records of one task meet in a table only if they were made under one protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.trials import Trial, spans
from suites.spec import difference


class UnlikeProtocols(Exception):
    """Records of one task that were made under different protocols; the message names every field that differs."""


def spoken(unlike: Iterable[tuple[str, Any, Any]]) -> str:
    """The fields that `suites.spec.difference` has found, on one line."""
    return "; ".join(f"{name}: {one!r} / {other!r}" for name, one, other in unlike)


def refuse_unlike(task: str, trials: Sequence[Trial]) -> None:
    """Raise UnlikeProtocols unless all trials of the task carry one protocol hash."""
    groups: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        groups[trial.header["protocol_hash"]][trial.entrant].append(trial)
    if len(groups) < 2:
        return
    lines = [f"{task}: expected records of one protocol, found {len(groups)}:"]
    first: Mapping[str, Any] | None = None
    for digest, entrants in groups.items():
        who = "; ".join(
            f"{entrant} (seed{'s' if len(of) > 1 else ''} {spans([trial.seed for trial in of])})"
            for entrant, of in entrants.items()
        )
        lines.append(f"  {digest}: {who}")
        protocol = next(iter(entrants.values()))[0].header["protocol"]
        first = protocol if first is None else first
        lines += [f"    {name}: {one!r} above, {other!r} here" for name, one, other in difference(first, protocol)]
    lines.append("Such numbers don't compare. Run one side anew under the other's protocol, or pick tasks with --task.")
    raise UnlikeProtocols("\n".join(lines))
