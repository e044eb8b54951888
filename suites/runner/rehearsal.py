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
    for task in dict.fromkeys(trial.task for trial in trials):
        entrants = {trial.entrant: trial for trial in trials if trial.task == task}  # any seed of each
        with silenced():
            env = evaluation_env(next(iter(entrants.values())))
            for trial in entrants.values():
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        problem = problem_of(trial, env, Path(folder))
                        agent_module(trial.agent).make(problem, trial.seed, **trial.config)
                    except Exception as error:  # an agent of the reader's own may raise anything
                        found.append(f"entrant {trial.entrant} on task {task}: {error}")
            env.close()
    return found
