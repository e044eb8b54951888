"""Reads runs that other projects recorded: DreamerV3's score JSON, TD-MPC2's CSV, stable-baselines3's Monitor CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.foreign_values import (
    ForeignError,
    ascending,
    content_of,
    fault,
    rows_of,
    shown,
    step_of,
    value_of,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run as its file has it; ``task``, ``entrant`` and ``seed`` are None where the file has none."""

    file: Path
    sha256: str
    task: str | None = None
    entrant: str | None = None
    seed: int | None = None
    env_id: str | None = None
    steps: Sequence[float] = field(repr=False)  # ascending, in the file's unit
    values: Sequence[float | None] = field(repr=False)  # None: not finite
    lengths: Sequence[int] | None = field(default=None, repr=False)  # with them, each point is a training episode


def read_dreamerv3(path: Path) -> list[Run]:
    """A list of {task, method, seed, xs, ys}, packed by gzip or not."""
    content, digest = content_of(path)
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        raise fault(f"{path}:{error.lineno}:{error.colno}", "JSON", error.msg) from None
    except (ValueError, RecursionError) as error:
        raise fault(path, "JSON", str(error)) from None
    shape = "a list of runs, each with task, method, seed, xs and ys"
    if not isinstance(found, list) or not found:
        raise fault(path, shape, shown(found))
    runs = []
    for number, run in enumerate(found):
        where = f"{path}: run {number}"
        if not isinstance(run, dict) or (lacking := {"task", "method", "seed", "xs", "ys"} - run.keys()):
            raise fault(where, shape, f"none of {', '.join(sorted(lacking))}" if isinstance(run, dict) else shown(run))
        for name in ("task", "method"):
            if not isinstance(run[name], str):
                raise fault(f"{where}: {name}", "text", shown(run[name]))
        xs, ys = run["xs"], run["ys"]
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or not xs:
            sizes = " and ".join(str(len(of)) if isinstance(of, list) else shown(of) for of in (xs, ys))
            raise fault(f"{where}: xs and ys", "two lists of one length, not empty", sizes)
        places = [f"{where}: xs[{i}]" for i in range(len(xs))]
        steps = ascending([step_of(x, place) for x, place in zip(xs, places, strict=True)], places)
        values = [value_of(y, f"{where}: ys[{i}]") for i, y in enumerate(ys)]
        seed = whole(run["seed"], f"{where}: seed")
        told = {"task": run["task"], "entrant": run["method"], "seed": seed}
        runs.append(Run(file=path, sha256=digest, steps=steps, values=values, **told))
    return runs


def read_tdmpc2(path: Path) -> list[Run]:
    """Columns step, reward and seed; the task is the file's name."""
    rows, digest, _ = rows_of(path, ("step", "reward", "seed"))
    seeds: dict[int, list[tuple[str, Mapping[str, str]]]] = {}
    for where, row in rows:
        seeds.setdefault(whole(row["seed"], f"{where}: seed"), []).append((where, row))
    runs = []
    for seed, of in seeds.items():
        places = [f"{where}: step" for where, _ in of]
        steps = ascending([step_of(row["step"], place) for place, (_, row) in zip(places, of, strict=True)], places)
        values = [value_of(row["reward"], f"{where}: reward") for where, row in of]
        name = path.name.removesuffix(".gz").removesuffix(".csv")
        runs.append(Run(file=path, sha256=digest, task=name, entrant="tdmpc2", seed=seed, steps=steps, values=values))
    return runs


def read_monitor(path: Path) -> list[Run]:
    """One run: the Monitor file of its one environment, or a folder with those of all its environments."""
    files = sorted(path.glob("*monitor.csv")) if path.is_dir() else [path]
    if not files:
        raise fault(path, "Monitor files (*monitor.csv) in the folder", "none")
    ended: list[tuple[float, float | None, int]] = []  # when, return, length
    digests, names = [], set()
    for file in files:
        rows, digest, head = rows_of(file, ("r", "l", "t"), head=1)
        told = _monitor_head(file, head)
        digests.append(digest)
        names.add(told.get("env_id"))
        for where, row in rows:
            when = value_of(row["t"], f"{where}: t")
            if when is None:
                raise fault(f"{where}: t", "a finite number", row["t"])
            length = whole(row["l"], f"{where}: l", least=1)
            ended.append((told["t_start"] + when, value_of(row["r"], f"{where}: r"), length))
    if len(names) > 1:
        raise fault(path, "one environment in all files of a run", ", ".join(sorted(map(str, names))))
    ended.sort(key=lambda one: one[0])
    steps, step = [], 0
    for _, _, length in ended:
        step += length
        steps.append(step)
    name = names.pop()
    return [
        Run(
            file=path,
            sha256=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
            task=name if isinstance(name, str) else None,
            env_id=name if isinstance(name, str) else None,
            steps=steps,
            values=[value for _, value, _ in ended],
            lengths=[length for _, _, length in ended],
        )
    ]


def _monitor_head(file: Path, head: str) -> dict[str, Any]:
    try:
        told = dict(json.loads(head.removeprefix("#")))
        told["t_start"] = value_of(told["t_start"], "t_start") or 0.0
    except (ValueError, TypeError, KeyError, RecursionError, ForeignError):
        expected = '#{"t_start": ..., "env_id": ...} as stable-baselines3\'s Monitor writes it'
        raise fault(f"{file}:1", expected, shown(head)) from None
    return told


READERS: dict[str, Callable[[Path], list[Run]]] = {
    "dreamerv3": read_dreamerv3,
    "tdmpc2": read_tdmpc2,
    "monitor": read_monitor,
}


def read_runs(form: str, paths: Sequence[Path], first_seed: int = 0) -> list[Run]:
    """All runs of the files, in their order; those of a format without seeds are numbered by task from ``first_seed``.

    Raises:
        ForeignError: a file can't be read, or is not in this format.
    """
    runs = [run for path in paths for run in READERS[form](path)]
    return [
        run if run.seed is not None else replace(run, seed=first_seed + sum(one.task == run.task for one in runs[:at]))
        for at, run in enumerate(runs)
    ]
