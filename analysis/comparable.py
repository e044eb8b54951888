"""Whether a published row and a task of ours may be compared at all, and in what their protocols differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.published import Row
from analysis.trials import TaskFacts

# The published metrics that say the same as what a claim measures.
SAME = {
    ("final", "return"): ("mean_return", "mean_training_return", "best_eval_return", "mean_survival_steps"),
    ("final", "length"): ("steps_per_episode", "mean_survival_steps"),
    ("virtual", "return"): ("mean_return", "mean_survival_steps"),
    ("virtual", "length"): ("steps_per_episode", "mean_survival_steps"),
    ("episodes", "return"): ("episodes_to_epsilon_optimal",),
    ("episodes", "length"): ("episodes_to_epsilon_optimal",),
}
OTHERWISE = {
    "mean_training_return": "training episodes there, evaluation of the last checkpoint here",
    "best_eval_return": "best evaluation of the run there, last checkpoint here",
}


def unusable(row: Row) -> str | None:
    """Why no verdict may rest on a row; None if one may."""
    if row.provenance == "memory":
        return f"{row.id} was written down from memory; a verdict needs a row that was read in its source"
    return None


def refusal(row: Row, task: TaskFacts, measure: str, header: Mapping[str, Any]) -> str | None:
    """Why a value of ours can't be held against the row; None if it can."""
    if why := unusable(row):
        return why
    if row.metric not in SAME.get((measure, task.metric), ()):
        return f"{row.id} is a {row.metric}, the claim is on {measure} ({task.metric})"
    if (measure == "virtual") != in_a_dream(row):
        where = "inside a model" if in_a_dream(row) else "in a true environment"
        return f"{row.id} was measured {where} ({row.env}), the claim is on {measure}"
    return elsewhere(row, task, header)


def elsewhere(row: Row, task: TaskFacts, header: Mapping[str, Any]) -> str | None:
    """That the row is of another environment; None if it is of ours, or of none that is known here."""
    theirs, ours = _family(row.gymnasium_id), _family(str(_card(header).get("env_id") or ""))
    if theirs and ours and theirs != ours:
        return f"{row.id} was measured on {row.gymnasium_id}, the task {task.name} is {_env_id(header)}"
    return None


def in_a_dream(row: Row) -> bool:
    """Whether the row is a score inside a learned model, which is no gymnasium environment."""
    return not row.gymnasium_id and re.search(r"\b(dream|virtual)\b", row.env) is not None


def differing(row: Row, task: TaskFacts, header: Mapping[str, Any]) -> list[str]:
    """The fields of the protocol that differ or that only one side states, as `field: there; here`."""
    return [*_fields(row, task, header), *([f"their note: {row.note}"] if row.note else [])]


def _fields(row: Row, task: TaskFacts, header: Mapping[str, Any]) -> Iterator[str]:
    here = _env_id(header)
    if _spelling(row.env) != _spelling(here):
        yield f"environment: {row.env} there; {here} here"
    if (trained := str(_mapping(header["protocol"].get("card")).get("env_id") or here)) != here:
        yield f"trained in: {row.env} there; {trained} here"
    if row.budget is None:
        yield f"budget: not stated there; {task.length} here"
    else:
        budget = _in_unit(row.unit, task, header)
        if budget != row.budget:
            unit = row.unit.replace("_", " ")
            said = task.length if budget is None else f"{budget:,g}"
            yield f"budget: {row.budget:,g} {unit} there; {said} here"
    if row.metric in OTHERWISE:
        yield f"metric: {OTHERWISE[row.metric]}"
    if row.metric in ("mean_return", "mean_survival_steps"):
        episodes = f"{row.n_episodes:,}" if row.n_episodes else "not stated"
        if row.n_episodes != task.final_episodes:
            yield f"episodes of an evaluation: {episodes} there; {task.final_episodes:,} here"


def _in_unit(unit: str, task: TaskFacts, header: Mapping[str, Any]) -> float | None:
    """Our budget in the row's unit; None where it has no such measure."""
    if unit == "agent_steps":
        return task.budget
    if unit == "env_steps":  # steps of the environment, before an agent's own action repeat
        return task.frames
    if unit == "frames":
        return task.frames * int(_card(header).get("frame_skip") or 1)
    return None


def _card(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the environment whose scores count; an agent may be trained in another one."""
    protocol = header["protocol"]
    return _mapping(protocol.get("evaluated_in")) or _mapping(protocol.get("card"))


def _mapping(card: Any) -> Mapping[str, Any]:
    return card if isinstance(card, Mapping) else {}


def _env_id(header: Mapping[str, Any]) -> str:
    return str(_card(header).get("env_id") or header["env"])


def _spelling(env: str) -> str:
    return env.removeprefix("ALE/").removesuffix("NoFrameskip-v4").lower()


def _family(env: str) -> str:
    """The environment whatever its version: `ALE/Breakout-v5` and `BreakoutNoFrameskip-v4` are one."""
    name = env.rpartition("/")[2] if env.startswith("ALE/") else env
    return re.sub(r"(NoFrameskip|Deterministic)?-v\d+$", "", name).lower()
