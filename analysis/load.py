"""Finds what a suite's trials left behind: every expected trial comes back as data or as a hole with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.imported import is_imported, mark, strays, unfit
from analysis.index import EPISODE, EVALUATION, MODEL, VIRTUAL, Columns, Index, parsed
from analysis.protocols import as_of_today, parted, refuse_undeclared, refuse_unlike, spoken
from analysis.shelf import folders, scan, why_unfinished
from analysis.trials import Hole, Key, Results, TaskFacts, Trial
from results.record import RecordError
from suites.faults import nearest
from suites.spec import Suite, difference, load_suite, shipped_suites


class LoadError(Exception):
    """Nothing can be shown; the message says what was expected, what was found, and the remedy."""


def load(name: str, results: Path = Path("results"), tasks: Sequence[str] = ()) -> Results:
    """Everything recorded of a suite, given by name or by the path of its file; ``tasks`` picks some of its tasks.

    Raises:
        SuiteError: the suite file has faults.
        LoadError: no such suite or task, or nothing recorded.
        UnlikeProtocols: records of one task differ in protocol.
    """
    suite = _declared(name, results)
    stem = suite.name if suite else name
    folder = results / stem
    found = dict(scan(folder))
    expected = [(t.task, t.entrant, t.seed) for t in suite.trials()] if suite else sorted(found)
    names = list(suite.tasks) if suite else list(dict.fromkeys(key[0] for key in expected))
    for task in tasks:
        if task not in names:
            raise LoadError(f"expected a task of {stem} ({', '.join(names)}), found {task!r}.{_nearest(task, names)}")
    names = [task for task in names if not tasks or task in tasks]
    index = Index(folder)
    if suite:
        declared = set(expected)
        expected += strays({key: path for key, path in found.items() if key not in declared}, names, index.read)
    entrants = list(dict.fromkeys([*(suite.entrants if suite else ()), *sorted({key[1] for key in expected})]))
    expected = [key for key in expected if key[0] in names]
    if not any(key in found for key in expected):
        raise LoadError(
            f"expected records below {_spoken(folder)}, found none{' of these tasks' if tasks else ''}. "
            f"Make them with `python -m suites run {name}`, or say where they lie with --results."
        )
    expected.sort(key=lambda key: (names.index(key[0]), entrants.index(key[1]), key[2]))
    shown = Results(
        suite=stem, title=suite.title if suite else stem, folder=folder, tasks={}, entrants={}, trials={},
        holes=[], notes=[],
    )  # fmt: skip
    if suite is None:
        shown.notes.append(f"no suite file {stem}.yaml was found: a trial that left nothing behind is not listed")
    _collect(shown, expected, found, suite, index)
    index.save({f"{task}/{entrant}/{path.name}" for (task, entrant, _), path in found.items()})
    for task in names:
        of_task = [trial for key, cell in shown.trials.items() if key[0] == task for trial in cell]
        refuse_unlike(task, of_task)
        if suite:
            refuse_undeclared(task, suite.tasks[task], of_task)
        if suite or of_task:
            shown.tasks[task] = _facts(shown, task, suite, of_task)
    if not shown.tasks:
        raise LoadError(
            "\n  ".join([f"expected a record that can be read below {folder}, found:", *shown.hole_lines()])
        )
    for entrant in entrants:
        shown.entrants[entrant] = _known(shown, entrant, suite)
    mark(shown)
    _note_strays(shown, set(found) - set(expected), tasks)
    return shown


def _spoken(folder: Path) -> Path:
    """As seen from here where it lies below: a report that is passed on tells nothing of the machine's folders."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _declared(name: str, results: Path) -> Suite | None:
    """The suite's file, or None if only its records are there."""
    path = Path(name)
    shipped = [file.stem for file in shipped_suites()]
    if path.suffix in (".yaml", ".yml") or path.name != name or name in shipped:
        return load_suite(name)
    if (results / name).is_dir():
        return None
    recorded = {Path(folder).name for folder in folders(results) if any(Path(folder).glob("*/*/*.jsonl"))}
    names = sorted({*shipped, *recorded})
    raise LoadError(
        f"expected the name or the file of a suite, found {name!r}.{_nearest(name, names)} "
        f"Known here: {', '.join(names) or 'none'}."
    )


def _nearest(name: str, names: Iterable[str]) -> str:
    near = nearest(name, names)
    return f" Did you mean {near!r}?" if near else ""


def _collect(
    shown: Results, expected: Iterable[Key], found: Mapping[Key, Path], suite: Suite | None, index: Index
) -> None:
    """Every expected trial into ``shown``, as data or as a hole."""
    for key in expected:
        task, entrant, seed = key
        declared = suite.tasks[task] if suite else None
        metric, curve = (declared.metric, declared.curve) if declared else (None, "evaluation")
        outcome = trial_or_reason(key, found.get(key), shown.folder, metric, curve, index.read)
        if isinstance(outcome, str):
            shown.holes.append(Hole(task=task, entrant=entrant, seed=seed, reason=outcome))
            continue
        shown.trials.setdefault((task, entrant), []).append(outcome)
        if (bad := outcome.step[~np.isfinite(outcome.value)]).size:
            shown.notes.append(f"{task} / {entrant} / seed {seed}: not finite when evaluated at step {bad[0]:,.0f}")
    for (task, entrant), cell in shown.trials.items():
        for one, other, unlike in parted(cell, "config"):
            shown.notes.append(f"{task} / {entrant}: seeds {one} and {other} differ in {spoken(unlike)}")


def _facts(shown: Results, task: str, suite: Suite | None, trials: Sequence[Trial]) -> TaskFacts:
    """What was run is told by the records; what only reading needs (threshold, score, curve) by the suite file.

    Imported records tell it only where there is nothing else.
    """
    native = [trial.header for trial in trials if not is_imported(trial)]
    header = native[0] if native else trials[0].header if trials and not suite else {}
    told: dict[str, Any] = {}
    if suite:
        declared = suite.tasks[task]
        told = {**declared.model_dump(), "evaluate": (declared.evaluate or suite.evaluate).model_dump()}
    ran = {name: header[name] for name in ("env", "budget", "action_repeat") if header}
    if header:
        ran["evaluate"] = header["protocol"]["evaluate"]
    if told and (unlike := difference({name: told[name] for name in ran}, ran)):
        shown.notes.append(f"{task}: the suite file has changed since the records were made: {spoken(unlike)}")
    facts = {"curve": "evaluation", **header, **told, **ran}
    return TaskFacts(
        name=task,
        env=facts["env"],
        budget=facts["budget"],
        action_repeat=facts["action_repeat"],
        every=facts["evaluate"]["every"],
        final_episodes=facts["evaluate"]["final_episodes"],
        metric=facts["metric"],
        threshold=facts["threshold"],
        score=(facts["score"]["zero"], facts["score"]["one"]) if facts["score"] else None,
        curve=facts["curve"],
        protocol=trials[0].header["protocol_hash"] if trials and not native else header.get("protocol_hash"),
    )


def _known(shown: Results, entrant: str, suite: Suite | None) -> tuple[str, ...]:
    """What the records say was granted; what the suite says where there is no record."""
    for (_, of), cell in shown.trials.items():
        if of == entrant:
            return tuple(cell[0].header["known"])
    return tuple(suite.entrants[entrant].known) if suite and entrant in suite.entrants else ()


def _note_strays(shown: Results, strays: set[Key], tasks: Sequence[str]) -> None:
    listed = [f"{task}/{entrant}/{seed}" for task, entrant, seed in sorted(strays) if not tasks or task in tasks]
    if listed:
        shown.notes.append(f"left out, for the suite does not declare them: {', '.join(listed)}")


def trial_or_reason(
    key: Key,
    path: Path | None,
    folder: Path,
    metric: str | None,
    curve: str,
    read: Callable[[Path], Columns | None] = parsed,
) -> Trial | str:
    """Read the trial ``key`` from its record or from the folder it runs in; ``folder`` is the suite's.

    ``metric`` None: the one that the record names. ``read``: by an index, where there is one.
    """
    if path is None:
        return "missing"
    if path.suffix == ".work":
        return why_unfinished(path)
    try:
        columns = read(path)
    except (RecordError, OSError) as error:
        return f"unreadable record: {str(error).replace(str(path), str(path.relative_to(folder)))}"
    if columns is None:
        return f"torn record {path.relative_to(folder)}: expected a last row `end`, found none"
    header = columns.header
    if (header["task"], header["entrant"], header["seed"]) != key:
        identity = f"{header['task']}/{header['entrant']}/{header['seed']}"
        return f"misplaced record {path.relative_to(folder)}: its header says that it is {identity}"
    if reason := unfit(columns, curve):
        return reason
    return _numbers(key, columns, metric or header.get("metric", "return"), curve)


def _numbers(key: Key, columns: Columns, metric: str, curve: str) -> Trial | str:
    rows = dict(zip(EVALUATION, columns.evaluation, strict=True))
    training = dict(zip(EPISODE, columns.episode, strict=True))
    if not rows["step"].size or not rows["final"][-1]:
        return "finished without a final evaluation"
    value = rows[f"{metric}_mean"]
    if not rows[f"{metric}s"][-1]:
        return f"the final evaluation has no {metric}s"
    if not math.isfinite(value[-1]):
        return f"the final evaluation has a {metric} that is not finite"
    if curve == "cumulative" and not np.isfinite(training["return"]).all():
        return "a training episode has a return that is not finite"
    return Trial(
        task=key[0],
        entrant=key[1],
        seed=key[2],
        header=as_of_today(columns.header),
        step=rows["step"],
        value=value,
        sd=rows[f"{metric}_sd"],
        count=rows[f"{metric}s"],
        episode_step=training["step"],
        episode_return=training["return"],
        episode_length=training["length"],
        model=dict(zip(MODEL, columns.model, strict=True)) if columns.model.size else {},
        virtual=dict(zip(VIRTUAL, columns.virtual, strict=True)) if columns.virtual.size else {},
    )
