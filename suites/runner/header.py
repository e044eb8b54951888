"""A record's first row, and the check that a checkpoint belongs to it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from agents.protocol import Agent
from results import record
from suites.runner import provenance
from suites.spec import TrialSpec, protocol, protocol_hash


def header_of(spec: TrialSpec, agent: Agent) -> dict[str, Any]:
    """What a reader must know to read the rows: the trial, its conditions, its settings, where it ran."""
    conditions = protocol(spec)
    config = json.loads(json.dumps(dataclasses.asdict(agent.config)))  # as read back: tuples become lists
    commit, dirty = provenance.commit()
    return {
        "kind": "header",
        "schema": record.SCHEMA,
        "suite": spec.suite,
        "task": spec.task,
        "entrant": spec.entrant,
        "seed": spec.seed,
        "env": spec.env,
        "agent": spec.agent,
        "budget": spec.budget,
        "action_repeat": spec.action_repeat,
        "metric": spec.metric,
        "threshold": spec.threshold,
        "score": spec.score.model_dump() if spec.score else None,
        "asked": record.asked(spec.model_dump(mode="json")),
        "protocol": conditions,
        "protocol_hash": protocol_hash(conditions),
        "config": config,
        "known": sorted(spec.known),
        "commit": commit,
        "dirty": dirty,
        "packages": provenance.versions(provenance.PACKAGES),
        "machine": provenance.machine(spec.device),
    }


def refuse_other_trial(before: dict[str, Any], now: dict[str, Any], work: Path) -> None:
    """A checkpoint is resumed only by the trial that wrote it.

    Raises:
        ValueError: naming what differs.
    """
    fields = ("env", "agent", "budget", "action_repeat", "asked", "config", "known", "protocol_hash")
    if changed := differences({name: before[name] for name in fields}, {name: now[name] for name in fields}):
        raise ValueError(refusal("the trial was begun under other conditions", changed, work))


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two values as JSON has them, a line for each place: ``config.rollouts: 8 -> 4``."""
    if before == now:
        return []
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [f"{name}: {before} -> {now}"]
    found: list[str] = []
    for key in dict.fromkeys([*now, *before]):
        found += differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    return found


def refusal(what: str, changed: list[str], remove: Path) -> str:
    """What the user is told of a record or a save that is of another trial: what differs, and the remedies."""
    lines = "\n    ".join(changed)
    return f"{what}:\n    {lines}\n    Restore them, give the entrant or task another name, or remove {remove}."
