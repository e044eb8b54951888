"""What a trial puts before its agent: the problem as it may be known, and the environment that evaluates."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym

from agents.protocol import Problem
from suites import envs
from suites.spec import TrialSpec


def evaluation_env(spec: TrialSpec) -> gym.Env[Any, Any]:
    """The environment whose scores count: a stand-in that is fast to train in names it (``EVALUATED_IN``)."""
    counts = getattr(envs.module(spec.env), "EVALUATED_IN", spec.env)
    return envs.build(counts, spec.options, spec.action_repeat)


def problem_of(spec: TrialSpec, env: gym.Env[Any, Any], workspace: Path | None) -> Problem:
    family = envs.module(spec.env)
    return Problem(
        observation_space=env.observation_space,
        action_space=env.action_space,
        budget=spec.budget,
        family=getattr(family, "FAMILY", "vector"),
        env_id=family.card(**spec.options)["env_id"],
        device=spec.device,
        known=_granted(spec, family),
        workspace=workspace,
    )


def agent_module(name: str) -> ModuleType:
    """The module that holds an agent; if it computes with torch, this process is made ready for that."""
    module = importlib.import_module(name)
    if "torch" in sys.modules:
        from suites.runner.processor import settle

        settle()
    return module


def _granted(spec: TrialSpec, family: ModuleType) -> dict[str, Any]:
    if not spec.known:
        return {}
    offered = family.known(**spec.options) if hasattr(family, "known") else {}
    missing = sorted(set(spec.known) - set(offered))
    if missing:
        raise ValueError(
            f"{spec.env} with options {spec.options} offers the known functions {sorted(offered)}, "
            f"but {spec.entrant} is to be given {missing}: take it out of `known` in the suite file."
        )
    return {name: offered[name] for name in spec.known}
