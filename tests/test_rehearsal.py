"""What only an agent itself can refuse is told by `check --make`, and no shipped suite has any of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.readme import ROOT

SUITE = """
title: "two faults that no suite file shows"
seeds: 2
evaluate: { every: 100, episodes: 1, final_episodes: 1 }
tasks:
  pendulum: { env: classic, options: { id: Pendulum-v1 }, budget: 500 }
entrants:
  mb-mpc: { agent: agents.mb_mpc, config: { random_steps: 500 } }
  pets: { agent: agents.pets, config: { trial_steps: 100, particles: 7 } }
  uniform: { agent: baselines.uniform }
"""


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "suites", "check", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_every_agent_of_every_shipped_suite_takes_its_settings() -> None:
    names = sorted(path.stem for path in (ROOT / "suites").glob("*.yaml"))
    told = check("--make", *names)
    assert told.returncode == 0, told.stderr
    assert [line.split(":")[0] for line in told.stdout.splitlines()] == names


def test_check_make_names_entrant_task_and_remedy_of_all_refusals_at_once(tmp_path: Path) -> None:
    path = tmp_path / "refused.yaml"
    path.write_text(SUITE)
    assert check(str(path)).returncode == 0
    told = check("--make", str(path))
    assert told.returncode == 2
    first, second, _ = told.stderr.strip().split("\n\n")
    assert first.startswith("entrant mb-mpc on task pendulum: ")
    assert "lower random_steps" in first
    assert second.startswith("entrant pets on task pendulum: ")
    assert "multiple of members, found 7 and 5" in second
