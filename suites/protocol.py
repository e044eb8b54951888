"""The conditions under which a trial's numbers were made, their hash, and how two sets of them differ."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

from suites.modules import env_module

if TYPE_CHECKING:
    from suites.spec import TrialSpec

ABSENT = object()


def protocol(trial: TrialSpec) -> dict[str, Any]:
    """Everything but the agent that a trial's numbers depend on. Imports the environment's module."""
    module = importlib.import_module(env_module(trial.env))
    defaults = {
        name: option.default
        for name, option in inspect.signature(module.make).parameters.items()
        if option.default is not option.empty
    }
    found = {
        "env": trial.env,
        "card": module.card(**trial.options),
        "options": {**defaults, **trial.options},  # so that saying a default is the same as leaving it out
        "action_repeat": trial.action_repeat,
        "budget": trial.budget,
        "evaluate": trial.evaluate.model_dump(mode="json"),
        "checkpoint": "last",
        "packages": versions(module, trial.env),
    }
    if evaluated_in := getattr(module, "EVALUATED_IN", None):
        found["evaluated_in"] = importlib.import_module(env_module(evaluated_in)).card(**trial.options)
    return dict(json.loads(json.dumps(found)))


def versions(module: ModuleType, env: str) -> dict[str, str]:
    """The versions of the packages that define the environment."""
    try:
        return {name: metadata.version(name) for name in sorted(module.PACKAGES)}
    except metadata.PackageNotFoundError as error:
        remedy = getattr(module, "EXTRA", None) or f"pip install {error.name}"
        raise ModuleNotFoundError(
            f"the environment {env} needs the package {error.name}, which is not installed: {remedy}"
        ) from None


def protocol_hash(conditions: Mapping[str, Any]) -> str:
    """16 hex digits that are equal for equal conditions, in whatever order and however a number was written."""
    return hashlib.sha256(canonical(conditions).encode()).hexdigest()[:16]


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The fields in which two protocols differ, as (dotted name, value in a, value in b); None where there is none."""
    left, right = dict(leaves(a)), dict(leaves(b))
    found = []
    for name in dict.fromkeys([*left, *right]):
        one, other = left.get(name, ABSENT), right.get(name, ABSENT)
        if one is ABSENT or other is ABSENT or canonical(one) != canonical(other):
            found.append((name, None if one is ABSENT else one, None if other is ABSENT else other))
    return found


def leaves(conditions: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in conditions.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def canonical(value: Any) -> str:
    return json.dumps(same_numbers(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def same_numbers(value: Any) -> Any:
    """The value with 1.0 as 1, so that a number has one spelling."""
    if isinstance(value, Mapping):
        return {str(name): same_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [same_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
