"""Writes what is known of a suite in the forms of other tools; each writer returns what it had to leave out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import scores
from analysis.trials import Results, Trial
from results.record import write_atomically

TIDY = {
    "suite": "VARCHAR", "task": "VARCHAR", "entrant": "VARCHAR", "imported": "BOOLEAN", "known": "VARCHAR",
    "protocol": "VARCHAR", "metric": "VARCHAR", "budget": "BIGINT", "seed": "BIGINT", "step": "BIGINT",
    "frames": "BIGINT", "value": "DOUBLE", "sd": "DOUBLE", "episodes": "BIGINT", "final": "BOOLEAN",
}  # fmt: skip


class ExportRefused(Exception):
    """This form cannot hold what is there, or its package is missing; the message says what to do."""


def tidy(results: Results, out: Path) -> list[str]:
    """CSV, one row per evaluation: the metric's mean and sd over its episodes; an empty field is no number."""
    _write(out, _tidy(results).encode())
    return []


def parquet(results: Results, out: Path) -> list[str]:
    """The rows of `tidy`, typed, through DuckDB."""
    try:
        import duckdb
    except ImportError:
        raise ExportRefused(_missing("parquet", "duckdb")) from None
    with tempfile.TemporaryDirectory() as folder:
        rows, packed = Path(folder, "rows.csv"), Path(folder, "rows.parquet")
        rows.write_text(_tidy(results))
        with duckdb.connect() as connection:
            connection.execute("SET threads = 1")  # so that the same records give the same bytes
            connection.read_csv(str(rows), header=True, dtype=TIDY).write_parquet(str(packed), compression="zstd")
        _write(out, packed.read_bytes())
    return []


def dreamerv3(results: Results, out: Path) -> list[str]:
    """A list of {task, method, seed, xs, ys} with xs in frames, as DreamerV3's scores; packed into a .gz."""
    runs: list[dict[str, Any]] = []
    remarks: list[str] = []
    for trial in _trials(results):
        finite = np.isfinite(trial.value)
        if not finite.all():
            steps = ", ".join(f"{step:,.0f}" for step in trial.step[~finite])
            remarks.append(f"{_name(trial)}: left out, for it is not finite: the evaluation at step {steps}")
        frames = trial.step[finite] * results.tasks[trial.task].action_repeat
        runs.append(
            {"task": trial.task, "method": trial.entrant, "seed": str(trial.seed),
             "xs": frames.astype(int).tolist(), "ys": trial.value[finite].tolist()}
        )  # fmt: skip
    text = json.dumps(runs, separators=(",", ":")).encode()
    _write(out, gzip.compress(text, mtime=0) if out.suffix == ".gz" else text)
    return remarks


def rliable(results: Results, out: Path, raw: bool = False) -> list[str]:
    """An npz of {entrant: [runs, tasks]}: final scores, or ``raw`` values; `_tasks` and `_seeds.<entrant>` name them.

    A name with an underscore in front is no entrant's, so rliable is given the others.
    """
    unscored = [name for name, task in results.tasks.items() if not task.score]
    if unscored and not raw:
        raise ExportRefused(
            f"rliable: expected a score in every task, found none in {', '.join(unscored)}. Declare "
            "`score: { zero: ..., one: ... }`, pick tasks with --task, or take values as they are with --raw."
        )
    arrays: dict[str, Any] = {"_tasks": np.array(list(results.tasks))}
    remarks: list[str] = []
    for entrant in results.entrants:
        cells = [results.trials.get((task, entrant), []) for task in results.tasks]
        if not any(cells):
            remarks.append(f"{entrant}: left out, for it has no finished trial")
            continue
        seeds = sorted({trial.seed for cell in cells for trial in cell})
        for task, cell in zip(results.tasks, cells, strict=True):
            if lacking := sorted({*seeds} - {trial.seed for trial in cell}):
                raise ExportRefused(_hole(results, task, entrant, lacking))
        values = np.array([[trial.final for trial in cell] for cell in cells]).T
        if not raw:
            for column, facts in enumerate(results.tasks.values()):
                zero, one = facts.score or (0.0, 1.0)
                values[:, column] = scores.normalised(values[:, column], zero=zero, one=one)
        arrays[entrant], arrays[f"_seeds.{entrant}"] = values, np.array(seeds)
    if raw and (lengths := [name for name, task in results.tasks.items() if task.lower_is_better]):
        remarks.append(f"less is better in {', '.join(lengths)}, which rliable does not know")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:  # np.savez would take an entrant called `file` for its own argument
        for name, array in arrays.items():
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    _write(out, packed.getvalue())
    return remarks


def tensorboard(results: Results, out: Path) -> list[str]:
    """A folder of event files, one for each trial: evaluation/<metric>, episode/return, episode/length by step."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        raise ExportRefused(_missing("tensorboard", "tensorboard")) from None
    for trial in _trials(results):
        packed = io.BytesIO()
        writer = RecordWriter(packed)
        writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
        for step, tag, value in _scalars(trial, results.tasks[trial.task].metric):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            # no wall clock: a record has none, and so the same records give the same bytes
            writer.write(Event(wall_time=0.0, step=step, summary=summary).SerializeToString())
        _write(out / trial.task / trial.entrant / str(trial.seed) / "events.out.tfevents.0", packed.getvalue())
    return []


FORMS: dict[str, Callable[[Results, Path], list[str]]] = {
    "tidy": tidy,
    "parquet": parquet,
    "dreamerv3": dreamerv3,
    "rliable": rliable,
    "tensorboard": tensorboard,
}


def export(form: str, results: Results, out: Path, *, raw: bool = False) -> list[str]:
    """Write ``results`` to ``out``; what the form leaves out, holes first."""
    remarks = rliable(results, out, raw) if raw and form == "rliable" else FORMS[form](results, out)
    return [*(f"hole: {line}" for line in results.hole_lines()), *remarks]


def _trials(results: Results) -> Iterator[Trial]:
    return (trial for cell in results.trials.values() for trial in cell)


def _name(trial: Trial) -> str:
    return f"{trial.task}/{trial.entrant}/{trial.seed}"


def _tidy(results: Results) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TIDY)
    for trial in _trials(results):
        task = results.tasks[trial.task]
        native = "imported" not in trial.header
        known = ";".join(trial.header["known"])
        told = (
            results.suite, trial.task, trial.entrant, str(not native).lower(), known, trial.header["protocol_hash"],
            task.metric, task.budget, trial.seed,
        )  # fmt: skip
        last = trial.step.size - 1
        columns = (trial.step, trial.value, trial.sd, trial.count)
        for row, (step, value, sd, count) in enumerate(zip(*(of.tolist() for of in columns), strict=True)):
            frames = int(step) * task.action_repeat
            writer.writerow([*told, int(step), frames, _exact(value), _exact(sd), int(count), str(row == last).lower()])
    return text.getvalue()


def _exact(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def _scalars(trial: Trial, metric: str) -> list[tuple[int, str, float]]:
    series = (
        (f"evaluation/{metric}", trial.step, trial.value),
        ("episode/return", trial.episode_step, trial.episode_return),
        ("episode/length", trial.episode_step, trial.episode_length),
    )
    found = [
        (int(step), tag, value)
        for tag, steps, values in series
        for step, value in zip(steps.tolist(), values.tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: one[0])


def _hole(results: Results, task: str, entrant: str, seeds: Sequence[int]) -> str:
    reasons = [
        f"seed {hole.seed}: {hole.reason}"
        for hole in results.holes
        if (hole.task, hole.entrant) == (task, entrant) and hole.seed in seeds
    ]
    why = "; ".join(reasons) or f"{entrant} does not meet {task}"
    return (
        f"rliable: expected the same seeds of {entrant} in every task, found a hole in {task} ({why}). "
        "Fill it with `python -m suites run`, or pick tasks with --task."
    )


def _missing(extra: str, package: str) -> str:
    return f"{extra}: the package {package} is not installed: pip install -c constraints.txt -e '.[{extra}]'"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
