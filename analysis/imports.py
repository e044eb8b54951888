"""Enters runs that other projects recorded as records of a suite, marked as imported and with what is not known."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from analysis.adoption import ImportRefused, adopted, declared_suite
from analysis.foreign import Run, read_runs
from analysis.imported import FIELDS, SHORT
from results import record
from suites.spec import Suite, protocol_hash

POINTS = 20  # of a curve, where neither the suite nor a regular spacing says where its points lie

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the reader says of the files; None or nothing: what follows from the suite, or from the files."""

    form: str  # one of foreign.READERS
    suite: str
    results: Path
    tasks: Sequence[str] = ()  # OURS or OURS=THEIRS
    entrants: Sequence[str] = ()
    action_repeat: int | None = None  # frames of a step: by this the files' steps are divided
    budget: int | None = None  # steps
    last: int | None = None  # values that make the final number; None: the last, or the episodes since the last mark
    first_seed: int = 0


@dataclass(kw_only=True)
class Entered:
    written: list[Path] = field(default_factory=list)
    already: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """How the runs of one task are read."""

    budget: int
    every: int
    metric: str
    env: str = "unknown"
    threshold: float | None = None
    score: dict[str, float] | None = None


def import_runs(paths: Sequence[Path], told: Told) -> Entered:
    """Write a record for each run in the files, or nothing at all.

    Raises:
        ForeignError: a file is not in this format.
        ImportRefused: a run has no place in the suite.
        SuiteError: the suite's file has faults.
    """
    suite = declared_suite(told.suite)
    name = suite.name if suite else told.suite
    tasks: dict[str, list[Run]] = defaultdict(list)
    for run in adopted(read_runs(told.form, paths, told.first_seed), told.tasks, told.entrants, suite):
        tasks[run.task or ""].append(replace(run, steps=[step // (told.action_repeat or 1) for step in run.steps]))
    entered = Entered()
    records: dict[Path, list[Row]] = {}
    for task, runs in tasks.items():
        reading = _reading(task, runs, told, suite)
        for run in runs:
            path = record.record_path(told.results, name, task, run.entrant or "", run.seed or 0)
            if path in records:
                raise ImportRefused(f"{run.file}: expected one run of {_identity(run)}, found two in the files")
            records[path] = _record(name, run, reading, told)
            entered.remarks += _remarks(run, reading)
    if told.action_repeat is None and told.form != "monitor":
        entered.remarks.append("steps are as the files count them; if these are frames, say so with --action-repeat")
    _write(records, entered)
    return entered


def _identity(run: Run) -> str:
    return f"{run.task}/{run.entrant}/{run.seed}"


def _reading(task: str, runs: Sequence[Run], told: Told, suite: Suite | None) -> _Reading:
    if suite:
        declared = suite.tasks[task]
        return _Reading(
            budget=told.budget or declared.budget,
            every=(declared.evaluate or suite.evaluate).every,
            metric=declared.metric,
            env=declared.env,
            threshold=declared.threshold,
            score=declared.score.model_dump() if declared.score else None,
        )
    budget = told.budget or int(max(run.steps[-1] for run in runs)) or 1
    spacing = math.gcd(*(int(step) for run in runs for step in run.steps[:-1]))
    regular = told.form != "monitor" and spacing >= budget / (10 * POINTS)
    return _Reading(budget=budget, every=spacing if regular else -(-budget // POINTS), metric="return")


def _record(suite: str, run: Run, reading: _Reading, told: Told) -> list[Row]:
    kept = sum(step <= reading.budget for step in run.steps)
    if not kept:
        raise ImportRefused(f"{run.file}: expected values within {reading.budget:,} steps, found none. Say --budget.")
    if run.lengths is None and reading.metric == "length" and told.form != "dreamerv3":
        raise ImportRefused(f"{run.file}: expected lengths of episodes, which {run.task} compares, found none")
    steps = [int(step) for step in run.steps[:kept]]
    values = list(run.values[:kept])
    if run.lengths is None:
        rows = _points(steps, values, reading.metric, told.last or 1)
    else:
        rows = _episodes(steps, values, run.lengths, reading.every, told.last)
    end = {"kind": "end", "step": steps[-1], "updates": None, "seconds": None, "peak_mb": None, "commits": []}
    return [_header(suite, run, reading, told, rows[-1]), *rows, end]


def _points(steps: Sequence[int], values: Sequence[float | None], metric: str, last: int) -> list[Row]:
    """Each point is an evaluation; those at one step are one."""
    at = [list(of) for _, of in groupby(zip(steps, values, strict=True), key=lambda point: point[0])]
    rows = [_evaluation(of[0][0], [value for _, value in of], metric) for of in at]
    rows[-1] = _evaluation(steps[-1], values[-max(last, len(at[-1])) :], metric, final=True)
    return rows


def _episodes(
    steps: Sequence[int], values: Sequence[float | None], lengths: Sequence[int], every: int, last: int | None
) -> list[Row]:
    """Training episodes; those that ended since the mark before are the evaluation at a mark."""
    rows: list[Row] = []
    mark, since = every, 0
    for index, step in enumerate(steps):
        while step > mark:
            if index > since:
                rows.append(_evaluation(mark, values[since:index], lengths=lengths[since:index]))
            mark, since = mark + every, index
        rows.append({"kind": "episode", "step": step, "return": values[index], "length": lengths[index], "env": 0})
    end = len(steps)
    first = since if last is None else max(end - last, 0)
    rows.append(_evaluation(steps[-1], values[first:end], lengths=lengths[first:end], final=True))
    return rows


def _evaluation(
    step: int,
    values: Sequence[float | None],
    metric: str = "return",
    *,
    lengths: Sequence[int] = (),
    final: bool = False,
) -> Row:
    found = {"returns": list(values), "lengths": list(lengths)}
    if metric == "length" and not lengths:
        found = {"returns": [], "lengths": list(values)}
    return {"kind": "evaluation", "step": step, **found, "final": final}


def _header(suite: str, run: Run, reading: _Reading, told: Told, final: Row) -> Row:
    count = max(len(final["returns"]), len(final["lengths"]))
    known = {"budget", *(("action_repeat",) if told.action_repeat else ())}
    protocol: Row = {
        "imported": True,
        "unknown": [*(name for name in FIELDS if name not in known), *(("seed",) if told.form == "monitor" else ())],
        "budget": reading.budget,
    }
    if told.action_repeat:
        protocol["frames_per_step"] = told.action_repeat
    if run.env_id:
        protocol["card"] = {"env_id": run.env_id}
    digest = f"imported{protocol_hash(protocol)[:8]}"
    protocol["evaluate"] = {"every": reading.every, "episodes": 1, "final_episodes": count, "policy": None}
    made = "the last value of the file"
    if run.lengths is not None or told.last:
        what = "values" if run.lengths is None else "training episodes"
        made = (
            f"the mean of the last {told.last} {what}" if told.last else f"the mean of the {what} since the last mark"
        )
    return {
        "kind": "header", "schema": record.SCHEMA, "suite": suite, "task": run.task, "entrant": run.entrant,
        "seed": run.seed, "env": reading.env, "agent": "imported", "budget": reading.budget,
        "action_repeat": told.action_repeat or 1, "metric": reading.metric, "threshold": reading.threshold,
        "score": reading.score, "protocol": protocol,
        "protocol_hash": digest, "config": {}, "known": [], "commit": "",
        "dirty": False, "packages": {}, "machine": {},
        "imported": {"from": told.form, "file": run.file.name, "sha256": run.sha256, "ends": final["step"],
                     "made": f"the final number is {made}"},
    }  # fmt: skip


def _remarks(run: Run, reading: _Reading) -> list[str]:
    remarks = []
    if beyond := sum(step > reading.budget for step in run.steps):
        remarks.append(f"{_identity(run)}: {beyond} values beyond the budget of {reading.budget:,} steps are left out")
    if run.steps[-1] < SHORT * reading.budget:
        remarks.append(
            f"{_identity(run)}: ends at step {run.steps[-1]:,.0f} of {reading.budget:,}, and will be shown as a hole; "
            "say --budget if the runs were to be that short"
        )
    return remarks


def _write(records: Mapping[Path, Sequence[Row]], entered: Entered) -> None:
    """Publish all of them, unless one that is already there holds something else."""
    contents = {path: b"".join(map(record.encode, rows)) for path, rows in records.items()}
    for path, content in contents.items():
        if not path.exists():
            entered.written.append(path)
        elif path.read_bytes() == content:
            entered.already.append(path)
        else:
            raise ImportRefused(
                f"{path}: expected no other record there, found one. Nothing was written. Remove it if these runs are "
                "to take its place, or say another --entrant."
            )
    for path in entered.written:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not record.Writer(path.with_suffix(".importing.tmp"), contents[path]).publish(path):
            raise ImportRefused(f"{path}: another process wrote a record there just now. Look at it, and import again.")
