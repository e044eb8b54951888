"""Keeps unlike numbers apart: records of one task meet in a table only if they were made under one protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.imported import beside, comparable, is_imported, mixed
from analysis.trials import Trial, spans
from suites.spec import difference


class UnlikeProtocols(Exception):
    """Records of one task that were made under different protocols; the message names every field that differs."""


def spoken(unlike: Iterable[tuple[str, Any, Any]]) -> str:
    """The fields that `suites.spec.difference` has found, on one line."""
    return "; ".join(f"{name}: {one!r} / {other!r}" for name, one, other in unlike)


def refuse_unlike(task: str, trials: Sequence[Trial]) -> None:
    """Raise UnlikeProtocols unless all trials of the task carry one protocol hash.

    Imported ones may stand beside them, for they are marked wherever they are shown, unless something that is known
    of them differs; and not under the name of an entrant that has native records.
    """
    groups: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in sorted(trials, key=is_imported):
        groups[trial.header["protocol_hash"]][trial.entrant].append(trial)
    first: Mapping[str, Any] | None = None
    facts: dict[str, Any] = {}
    lines: list[str] = []
    unlike = 0
    for digest, entrants in groups.items():
        one = next(iter(entrants.values()))[0]
        protocol = one.header["protocol"]
        differing = beside(facts, protocol) if is_imported(one) else difference(first or protocol, protocol)
        if first is None or differing or not is_imported(one):
            unlike += 1
            who = "; ".join(
                f"{entrant} (seed{'s' if len(of) > 1 else ''} {spans([trial.seed for trial in of])})"
                for entrant, of in entrants.items()
            )
            lines.append(f"  {digest}: {who}")
            lines += [f"    {name}: {one!r} above, {other!r} here" for name, one, other in differing]
        first = protocol if first is None else first
        facts = {**comparable(protocol), **facts}
    if unlike > 1:
        remedy = "Run one side anew under the other's protocol, or pick tasks with --task."
        if any(map(is_imported, trials)):
            remedy += " What is known of imported runs is told when they are imported: --budget, --action-repeat."
        lines = [
            f"{task}: expected records of one protocol, found {unlike}:",
            *lines,
            f"Such numbers don't compare. {remedy}",
        ]
        raise UnlikeProtocols("\n".join(lines))
    if both := mixed(trials):
        raise UnlikeProtocols(
            f"{task}: expected an entrant's records to be either native or imported, found both of "
            f"{', '.join(both)}. Import the others under a name of their own, with --entrant."
        )
