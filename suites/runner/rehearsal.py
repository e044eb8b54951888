"""Makes every agent of a suite once, so that a setting which an agent refuses is told before a trial meets it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from suites.runner.preflight import silenced
from suites.runner.problem import agent_module, evaluation_env, problem_of
from suites.spec import TrialSpec


def refusals(trials: Sequence[TrialSpec]) -> list[str]:
    """What agents say against the tasks and settings that ``trials`` give them, one text for each pair of both."""
    found: list[str] = []
    first = {(trial.task, trial.entrant): trial for trial in reversed(trials)}
    for trial in sorted(first.values(), key=trials.index):
        with silenced(), tempfile.TemporaryDirectory() as folder:
            env = evaluation_env(trial)
            try:
                agent_module(trial.agent).make(problem_of(trial, env, Path(folder)), trial.seed, **trial.config)
            except Exception as error:  # whatever an agent of the reader's own raises is what the reader has to see
                found.append(f"entrant {trial.entrant} on task {trial.task}: {error}")
            env.close()
    return found
