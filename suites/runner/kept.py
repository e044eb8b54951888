"""The agent that a finished trial left beside its record, brought back to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.protocol import Agent
from results import record
from suites.runner import pictures
from suites.runner.problem import agent_module, evaluation_env, problem_of
from suites.spec import TrialSpec


class NotKept(Exception):
    """There is no agent to be looked at; the message says why and what to do."""


def pictures_of(trial: str, results: Path, temperatures: Sequence[float], suffix: str) -> list[Path]:
    """Write what the kept agent of ``trial`` sees and dreams into its suite's figures.

    Raises:
        NotKept: no such record, no agent beside it, or an agent that sees no pictures.
    """
    path = Path(trial) if trial.endswith(".jsonl") else results / f"{trial}.jsonl"
    spec = spec_of(path)
    env = evaluation_env(spec)
    try:
        agent = kept_agent(path, spec, env)
        return pictures.show(spec, agent, env, path.parents[2] / "figures", temperatures, suffix)
    except pictures.NoPictures as error:
        raise NotKept(str(error)) from None
    finally:
        env.close()


def spec_of(path: Path) -> TrialSpec:
    """The trial that wrote the record at ``path``."""
    try:
        header = record.read(path).header
    except FileNotFoundError:
        raise NotKept(f"expected a record at {path}, found none; a trial is named suite/task/entrant/seed") from None
    named = {name: header[name] for name in ("suite", "task", "entrant", "seed")}
    return TrialSpec.model_validate({**named, **header["asked"]})


def kept_agent(path: Path, spec: TrialSpec, env: Any) -> Agent:
    folder = record.work_folder(path) / "agent"
    if not folder.exists():
        raise NotKept(
            f"expected the trained agent in {folder}, found none: weights stay on the machine that ran the trial and "
            f"are not committed. Move {path} away and run it again: python -m suites run {spec.suite} --task "
            f"{spec.task} --entrant {spec.entrant} --seeds {spec.seed}"
        )
    agent: Agent = agent_module(spec.agent).make(problem_of(spec, env, None), spec.seed, **spec.config)
    agent.load(folder)
    return agent
