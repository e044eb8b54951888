"""Finds what would stop a suite, before its first trial starts: simulators, spaces, granted functions, old records."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from results import record
from suites import envs
from suites.modules import read_module
from suites.runner import checkpoint
from suites.runner.header import differences, refusal
from suites.spec import TrialSpec


def problems(trials: Sequence[TrialSpec], results: Path) -> list[str]:
    """What stands in the way of ``trials``, one text each; an empty list if nothing does."""
    found: list[str] = []
    tasks = {trial.task: trial for trial in trials}
    spaces: dict[str, gym.Env[Any, Any]] = {}
    for name, trial in tasks.items():
        try:
            with silenced():
                spaces[name] = envs.build(trial.env, trial.options, trial.action_repeat)
        except ImportError as error:
            extra = _constant(trial.env, "EXTRA") or "`make quickstart` installs everything"
            found.append(f"task {name}: the simulator of {trial.env} can't be imported ({error}). To cure it: {extra}")
        except Exception as error:  # whatever a reader's own environment raises is what the reader has to see
            found.append(f"task {name}: {trial.env} with options {trial.options} can't be made: {error}")
    for pair in dict.fromkeys((trial.task, trial.entrant) for trial in trials):
        trial = next(t for t in trials if (t.task, t.entrant) == pair)
        if trial.task in spaces:
            found += _mismatch(trial, spaces[trial.task])
            found += _not_granted(trial)
    for env in spaces.values():
        env.close()
    return found + _other_conditions(trials, results)


def action_kind(space: gym.Space[Any]) -> str:
    return "discrete" if isinstance(space, gym.spaces.Discrete) else "continuous"


def observation_kind(space: gym.Space[Any]) -> str:
    """``discrete``, ``image`` (bytes with height and width) or ``vector``."""
    if isinstance(space, gym.spaces.Discrete):
        return "discrete"
    shape = space.shape or ()
    return "image" if len(shape) >= 2 and space.dtype == np.uint8 else "vector"


def _mismatch(trial: TrialSpec, env: gym.Env[Any, Any]) -> list[str]:
    found = []
    for constant, kind, word in (
        ("ACTIONS", action_kind(env.action_space), "actions"),
        ("OBSERVATIONS", observation_kind(env.observation_space), "observations"),
    ):
        able = _constant(trial.agent, constant)
        if able is not None and kind not in able:
            found.append(
                f"entrant {trial.entrant} ({trial.agent}) takes {' or '.join(able)} {word}, "
                f"but task {trial.task} has {kind} ones. Give the entrant `tasks: [...]` without {trial.task}."
            )
    return found


def _not_granted(trial: TrialSpec) -> list[str]:
    if not trial.known:
        return []
    family = envs.module(trial.env)
    offered = sorted(family.known(**trial.options)) if hasattr(family, "known") else []
    missing = sorted(set(trial.known) - set(offered))
    if not missing:
        return []
    return [
        f"entrant {trial.entrant} is to be given the known functions {missing}, but task {trial.task} offers {offered}"
    ]


def _other_conditions(trials: Sequence[TrialSpec], results: Path) -> list[str]:
    """A record, or a save, that was made under other settings than the suite file has now is of another trial."""
    found = []
    for trial in trials:
        path = record.record_path(results, trial.suite, trial.task, trial.entrant, trial.seed)
        saved = checkpoint.newest(record.work_folder(path))
        if path.exists():
            first, made, remove = _first_line(path), f"{path} was made", path
        elif saved is not None:
            remove = record.work_folder(path)
            first, made = saved.record().split(b"\n", 1)[0], f"the interrupted trial in {remove} was begun"
        else:
            continue
        before = json.loads(first).get("asked", {})
        if changed := differences(before, record.asked(trial.model_dump(mode="json"))):
            found.append(refusal(f"{made} under other settings than the suite has now", changed, remove))
    return found


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Simulators greet and warn on the terminal from C, past Python's streams; in a trial that goes to its log."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(nowhere)


def _constant(module: str, name: str) -> Any:
    source = read_module(module if "." in module else f"suites.envs.{module}")
    return source.constant(name) if source else None
