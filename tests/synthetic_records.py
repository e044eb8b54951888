"""Writes suites of made-up records, seeded and shaped like real ones, for the tests of the analysis."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.load import load
from analysis.trials import Results
from results.record import encode, record_path, work_folder


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A task as the suite file declares it, and the range that returns (or lengths) move in."""

    declared: Mapping[str, Any]
    worst: float
    best: float
    episode: int  # steps of a training episode, where the metric is the return

    @property
    def metric(self) -> str:
        return str(self.declared.get("metric", "return"))


def _task(
    env: str, options: dict[str, Any], budget: int, worst: float, best: float, episode: int, **more: Any
) -> Shape:
    return Shape(
        declared={"env": env, "options": options, "budget": budget, **more}, worst=worst, best=best, episode=episode
    )


SHAPES = {
    "hopper": _task("mujoco", {"id": "Hopper-v5"}, 50_000, 15, 3200, 400, threshold=2000.0),
    "half-cheetah": _task("mujoco", {"id": "HalfCheetah-v5"}, 50_000, -250, 9500, 1000, threshold=4000.0),
    "pendulum": _task(
        "classic", {"id": "Pendulum-v1"}, 20_000, -1230, -150, 200,
        threshold=-250.0, score={"zero": -1230.0, "one": -150.0},
    ),
    "cartpole": _task("classic", {"id": "CartPole-v1"}, 30_000, 20, 500, 150, curve="training"),
    "dyna-maze": _task(
        "maze", {"name": "dyna"}, 10_000, 1500, 15, 0, metric="length", threshold=20.0, curve="episodes"
    ),
    "blocking-maze": _task("maze", {"name": "blocking"}, 3_000, 400, 12, 0, metric="length", curve="cumulative"),
    "repeated": _task(
        "classic", {"id": "Pendulum-v1"}, 20_000, -1200, -150, 100,
        action_repeat=2, score={"zero": -1230.0, "one": 2000.0},
    ),
}  # fmt: skip

# How fast each learns, as a share of the budget, and how far it gets; and what the suite grants it.
ENTRANTS: dict[str, tuple[float, float, tuple[str, ...]]] = {
    "mb-mpc": (0.08, 0.62, ("reward",)),
    "pets": (0.14, 0.86, ()),
    "ppo": (0.9, 0.75, ()),
    "sac": (0.4, 0.97, ()),
    "dreamer-v3": (0.25, 0.93, ()),
    "uniform": (1e6, 1.0, ()),
    "mbpo": (0.12, 0.9, ()),
}


def write_suite(
    root: Path,
    *,
    name: str = "made-up",
    tasks: Sequence[str] = ("hopper", "pendulum"),
    entrants: Iterable[str] = ("mb-mpc", "sac", "uniform"),
    seeds: int = 5,
    every: int = 2_000,
    distinct: int = 1_000,
) -> Path:
    """A suite file in ``root`` and a record of each of its trials below ``root/results``; the file's path.

    Of the seeds of a cell, ``distinct`` are drawn and the others repeat their rows: drawing takes most of the time.
    """
    evaluate = {"every": every, "episodes": 5, "final_episodes": 20, "policy": "mode"}
    lines = [f'title: "{name}: {len(tasks)} made-up tasks"', f"seeds: {seeds}"]
    lines.append(f"evaluate: {{ every: {every}, episodes: 5, final_episodes: 20 }}")
    lines.append("tasks:")
    for task in tasks:
        told = ", ".join(f"{key}: {_yaml(value)}" for key, value in SHAPES[task].declared.items())
        lines.append(f"  {task}: {{ {told} }}")
    lines.append("entrants:")
    for entrant in entrants:
        known = ENTRANTS[entrant][2]
        met = [task for task in tasks if not known or SHAPES[task].declared["env"] != "maze"]  # a maze grants nothing
        granted = f", known: [{', '.join(known)}], tasks: [{', '.join(met)}]" if known else ""
        lines.append(f"  {entrant}: {{ agent: tests.synthetic_records{granted} }}")
        for number, task in enumerate(met):
            drawn: list[bytes] = []
            for seed in range(seeds):
                if seed < distinct:
                    rng = np.random.default_rng([number, list(ENTRANTS).index(entrant), seed])
                    drawn.append(b"".join(map(encode, _rows(SHAPES[task], entrant, evaluate, rng))))
                path = record_path(root / "results", name, task, entrant, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                header = _header(name, task, entrant, seed, evaluate)
                path.write_bytes(encode(header) + drawn[seed % distinct])
    file = root / f"{name}.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


def interrupt(record: Path, step: int, budget: int, reason: str | None = None) -> None:
    """Turn a finished trial into one that runs still or, with a reason, that failed."""
    record.unlink()
    work = work_folder(record)
    work.mkdir()
    (work / "progress.json").write_bytes(encode({"step": step, "budget": budget, "phase": "learning"}))
    if reason is not None:
        (work / "failed.json").write_bytes(encode({"step": step, "reason": reason}))


def edit_header(record: Path, **fields: object) -> None:
    """Change fields of the first row."""
    header, rest = record.read_text().split("\n", 1)
    record.write_text(json.dumps({**json.loads(header), **fields}) + "\n" + rest)


def edit_last_evaluation(record: Path, **fields: object) -> None:
    """Change fields of the final evaluation."""
    *lines, last, end = record.read_text().splitlines()
    record.write_text("\n".join([*lines, json.dumps({**json.loads(last), **fields}), end]) + "\n")


def read(root: Path, name: str = "made-up", *tasks: str) -> Results:
    """What the analysis finds of a suite that `write_suite` wrote into ``root``."""
    return load(str(root / f"{name}.yaml"), root / "results", tasks)


def make(*, problem: Any = None, seed: int = 0, **config: Any) -> None:
    """The suite checker wants an agent to have it; these trials were never run."""


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + " }"
    return str(value)


def _header(suite: str, task: str, entrant: str, seed: int, evaluate: dict[str, Any]) -> dict[str, Any]:
    told = SHAPES[task].declared
    protocol = {
        "env": told["env"],
        "options": told["options"],
        "action_repeat": told.get("action_repeat", 1),
        "budget": told["budget"],
        "evaluate": evaluate,
        "packages": {"gymnasium": "1.4.0"},
    }
    return {
        "kind": "header", "schema": 1, "suite": suite, "task": task, "entrant": entrant, "seed": seed,
        "env": told["env"], "agent": "tests.synthetic_records", "budget": told["budget"],
        "action_repeat": protocol["action_repeat"], "metric": SHAPES[task].metric,
        "threshold": told.get("threshold"), "score": told.get("score"), "protocol": protocol,
        "protocol_hash": f"{task:-<16}"[:16], "config": {"learning_rate": 3e-4},
        "known": list(ENTRANTS[entrant][2]), "commit": "0" * 40, "dirty": False,
        "packages": {"numpy": "2.0"}, "machine": {"cores": 2},
    }  # fmt: skip


def _rows(shape: Shape, entrant: str, evaluate: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    budget = int(shape.declared["budget"])
    slow, reach, _ = ENTRANTS[entrant]
    slow, reach = slow * rng.uniform(0.7, 1.4), reach * rng.uniform(0.9, 1.05)

    def level(step: float) -> float:
        learnt = reach * (1 - math.exp(-step / (slow * budget)))
        if shape.metric == "length":  # lengths shrink by factors, returns grow by sums
            return shape.worst * math.exp(min(learnt * 1.05, 1.0) * math.log(shape.best / shape.worst))
        return shape.worst + (shape.best - shape.worst) * learnt

    def draw(step: float) -> float:
        if shape.metric == "length":
            return max(shape.best, round(level(step) * rng.uniform(0.8, 1.4)))
        return level(step) + 0.06 * (shape.best - shape.worst) * rng.standard_normal()

    def evaluation(step: int, episodes: int, final: bool) -> dict[str, Any]:
        values = [draw(step) for _ in range(episodes)]
        lengths = values if shape.metric == "length" else [shape.episode] * episodes
        returns = [1.0] * episodes if shape.metric == "length" else values
        return {"kind": "evaluation", "step": step, "returns": returns, "lengths": lengths, "final": final}

    rows: list[dict[str, Any]] = []
    step, mark, index = 0, 0, 0
    while True:
        long = int(draw(step)) if shape.metric == "length" else shape.episode
        while mark < min(step + long, budget):
            rows.append(evaluation(mark, evaluate["episodes"], False))
            mark += evaluate["every"]
        step += long
        if step > budget:
            break
        gained = 1.0 if shape.metric == "length" else draw(step)
        rows.append({"kind": "episode", "step": step, "return": gained, "length": long, "env": 0})
        index += 1
    rows.append(evaluation(budget, evaluate["final_episodes"], True))
    rows.append({"kind": "end", "step": budget, "updates": budget, "seconds": 1.0, "peak_mb": 100, "commits": []})
    return rows
