"""Imported runs beside native ones: never without their mark, and never where what is known of them differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.protocol import leaves

if TYPE_CHECKING:
    from analysis.index import Columns
    from analysis.trials import Key, Results, Trial

# What a native record knows of how its numbers were made.
FIELDS = (
    "env", "card", "options", "action_repeat", "budget", "evaluate", "checkpoint", "packages", "config",
    "functions granted",
)  # fmt: skip
SHORT = 0.9  # share of the budget that an imported run must reach: its last episode need not end with the budget
NOT_COMPARED = ("imported", "unknown", "evaluate")  # what was made of the file, not what was done


def is_imported(trial: Trial) -> bool:
    return "imported" in trial.header


def strays(found: Mapping[Key, Path], tasks: Iterable[str], read: Callable[[Path], Columns | None]) -> Iterator[Key]:
    """Those of the undeclared records ``found`` that were imported into one of the suite's tasks."""
    from results.record import RecordError

    for key, path in found.items():
        if key[0] in tasks and path.suffix == ".jsonl":
            try:
                columns = read(path)
            except (RecordError, OSError):
                continue  # it stays what it was: a record that the suite does not declare
            if columns and "imported" in columns.header:
                yield key


def unfit(columns: Columns, curve: str) -> str | None:
    """Why an imported run has no number to show in a task whose curve is ``curve``."""
    told, budget = columns.header.get("imported"), columns.header["budget"]
    if told and told["ends"] < SHORT * budget:
        return f"the imported run ends at step {told['ends']:,} of {budget:,}"
    if told and curve in ("cumulative", "episodes") and not columns.episode.size:
        return f"the imported file ({told['from']}) has no training episodes, of which this task's numbers are made"
    return None


def comparable(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What a protocol, native or imported, says of how its numbers were made, by dotted name."""
    facts = {name: value for name, value in leaves(protocol) if name.partition(".")[0] not in NOT_COMPARED}
    if "action_repeat" in facts:
        facts["frames_per_step"] = facts["action_repeat"] * (facts.get("card.frame_skip") or 1)
    return facts


def beside(facts: Mapping[str, Any], imported: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The fields that an imported record states and in which the ``facts`` of others are known to differ."""
    stated = comparable(imported)
    return [(name, facts[name], value) for name, value in stated.items() if name in facts and facts[name] != value]


def mark(results: Results) -> None:
    """Write into ``results`` which entrants were imported, and a note on what is not known of them."""
    notes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (task, entrant), cell in results.trials.items():
        for trial in filter(is_imported, cell):
            unknown = tuple(trial.header["protocol"]["unknown"])
            known_of = results.imported.get(entrant, ())
            results.imported[entrant] = (*known_of, *(name for name in unknown if name not in known_of))
            told = trial.header["imported"]
            text = f"imported from {told['from']}; unknown: {', '.join(unknown)}; {told['made']}"
            if task not in notes[entrant, text]:
                notes[entrant, text].append(task)
    results.notes += [f"{', '.join(tasks)} / {entrant} ({text})" for (entrant, text), tasks in notes.items()]


def mixed(trials: Sequence[Trial]) -> list[str]:
    """The entrants of which some seeds are native and others imported."""
    kinds: dict[str, set[bool]] = defaultdict(set)
    for trial in trials:
        kinds[trial.entrant].add(is_imported(trial))
    return [entrant for entrant, of in kinds.items() if len(of) > 1]
