"""What the report tells of one suite: its numbers, graphs, holes, protocol and provenance, ready to be shown."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import forests, squares
from analysis.comparison import Comparison, compare
from analysis.profiles import profiles
from analysis.report.graphs import Panel, Strips, curve_panel, legend, profile_panel, strips
from analysis.report.models import Models, models
from analysis.squares import Square
from analysis.tables import Column, below, met, pages
from analysis.trials import Results, Trial
from results.record import last_row, record_path
from suites.protocol import leaves


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One line of the table of suites."""

    name: str
    anchor: str  # where its section is; empty where it has none
    title: str
    finished: int
    total: int
    seconds: float
    machines: tuple[str, ...]
    why: str = ""  # why it has no section


@dataclass(frozen=True, kw_only=True)
class Table:
    """The numbers of one task."""

    task: str
    columns: Sequence[Column]
    rows: Sequence[tuple[int, str]]  # place in the columns, label


@dataclass(frozen=True, kw_only=True)
class Section:
    overview: Overview
    about: str
    legend: Mapping[str, str]
    tables: Sequence[Table]
    below: Sequence[tuple[str, Sequence[str]]]
    curves: Sequence[Panel]
    seeds: Sequence[Strips]
    profiles: Sequence[Panel]
    aggregates: Sequence[Strips]
    improvement: Sequence[Strips]
    ratios: Sequence[Strips]
    improvement_squares: Sequence[Square]  # of more entrants than rows of pairs are drawn for
    ratio_squares: Sequence[Square]
    models: Models
    holes: Sequence[str]
    cautions: Sequence[str]
    undrawn: Mapping[str, Sequence[str]]  # why -> which graphs
    notes: Sequence[str]
    protocols: Mapping[str, Sequence[tuple[str, str]]]  # task -> field, value
    settings: Sequence[tuple[str, str, str]]  # entrant, agent, settings
    provenance: Sequence[tuple[str, str]]


def section(results: Results, *, anchor: str, about: str) -> Section:
    said = compare(results)
    labels = [results.label(entrant) for entrant in results.entrants]
    trials = [trial for cell in results.trials.values() for trial in cell]
    seconds = sum(float(last_row(_path(results, trial)).get("seconds") or 0.0) for trial in trials)
    overview = Overview(
        name=results.suite, anchor=anchor, title=results.title, finished=len(trials), total=results.total,
        seconds=seconds, machines=tuple(_counted(map(_machine, trials))),
    )  # fmt: skip
    undrawn: dict[str, list[str]] = defaultdict(list)
    for name, why in forests.nothing(results, said):
        undrawn[why].append(name)
    return Section(
        overview=overview,
        about=about,
        legend=legend(results),
        tables=[
            Table(task=columns[0].task, columns=columns, rows=[(row, labels[row]) for row in met(columns)])
            for columns in pages(results, 0)  # a task a page
        ],
        below=[(title, lines) for title, lines in below(results) if title == "How to read it"],
        curves=[curve_panel(results, task) for task in results.tasks.values()],
        seeds=[strips(results, of, of.name) for of in forests.of_seeds(results)],
        profiles=[profile_panel(results, of) for of in profiles(results, said)],
        aggregates=[strips(results, of) for of in forests.of_aggregates(results, said)],
        improvement=[strips(results, of) for of in forests.of_improvement(results, said)],
        ratios=[strips(results, of) for of in forests.of_ratios(results, said)],
        improvement_squares=squares.of_improvement(results, said),
        ratio_squares=squares.of_ratios(results, said),
        models=models(results),
        holes=results.hole_lines(),
        cautions=forests.caution(said),
        undrawn=undrawn,
        notes=_notes(results, said, " ".join(undrawn)),
        protocols={task: _protocol(results, task) for task in results.tasks},
        settings=list(_settings(results)),
        provenance=list(_provenance(results, trials, seconds)),
    )


def _path(results: Results, trial: Trial) -> Path:
    return record_path(results.folder.parent, results.suite, trial.task, trial.entrant, trial.seed)


def _notes(results: Results, said: Comparison, told: str) -> list[str]:
    """What else must be known; a reason that stands beside what is not drawn is not told twice."""
    return [*results.notes, *(line for line in (*said.notes, *forests.untold(said)) if line not in told)]


def _protocol(results: Results, task: str) -> list[tuple[str, str]]:
    """Field by field, of the first record that is not imported; of an imported one where there is no other."""
    of_task = [trial for (name, _), cell in results.trials.items() if name == task for trial in cell]
    native = [trial for trial in of_task if "imported" not in trial.header]
    for trial in (native or of_task)[:1]:
        fields = [(name, plain(value)) for name, value in leaves(trial.header["protocol"])]
        return [("hash", str(trial.header["protocol_hash"])), *fields]
    return []


def plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _settings(results: Results) -> Iterable[tuple[str, str, str]]:
    """The agent of each entrant and its whole config; of tasks with another config, the fields that differ."""
    for entrant in results.entrants:
        found = {task: cell[0].header for (task, name), cell in results.trials.items() if name == entrant and cell}
        if not found:
            continue
        first = next(iter(found.values()))
        told = [f"{name} = {plain(value)}" for name, value in leaves(first["config"])]
        common = dict(leaves(first["config"]))
        for task, header in found.items():
            unlike = [f"{k} = {plain(v)}" for k, v in leaves(header["config"]) if k not in common or common[k] != v]
            told += [f"on {task}: {', '.join(unlike)}"] if unlike else []
        yield results.label(entrant), str(first["agent"]), "; ".join(told) or "no settings"


def _provenance(results: Results, trials: Sequence[Trial], seconds: float) -> Iterable[tuple[str, str]]:
    packages: dict[str, set[str]] = defaultdict(set)
    for trial in trials:
        for name, version in trial.header.get("packages", {}).items():
            packages[name].add(str(version))
    yield "command", f"python -m suites run {results.suite}"
    yield "commit", "; ".join(_counted(map(_commit, trials)))
    yield "packages", ", ".join(f"{name} {' / '.join(sorted(of))}" for name, of in sorted(packages.items()))
    yield "machine", "; ".join(_counted(map(_machine, trials)))
    yield "computing time", f"{duration(seconds)}, {len(trials)} trials"


def _commit(trial: Trial) -> str:
    changed = " with uncommitted changes" if trial.header.get("dirty") else ""
    return f"{str(trial.header.get('commit', 'unknown'))[:12]}{changed}"


def _machine(trial: Trial) -> str:
    told = trial.header.get("machine") or {}
    words = [str(told.get("processor") or ""), f"{told['cores']} cores" if "cores" in told else ""]
    words += [str(told.get("accelerator") or ""), str(told.get("system") or "")]
    words += [f"Python {told['python']}" if "python" in told else ""]
    return ", ".join(word for word in words if word) or "not known"


def _counted(words: Iterable[str]) -> list[str]:
    """Each once, in the order of how often it is; how often, where there are several."""
    counts = Counter(words).most_common()
    return [word if len(counts) == 1 else f"{word} ({n})" for word, n in counts]


def duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:,.0f} min" if seconds >= 90 else f"{seconds:,.0f} s"
