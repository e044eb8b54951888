"""The commands that only look answer at once, never import torch, and say what is wrong in a line or two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slowness import slowness
from tests.supervised import ROOT

LIMIT = 0.7  # seconds of a processor; the best of three, because the machine may have other work
HEAVY = {"torch", "stable_baselines3", "mujoco", "vizdoom", "ale_py", "cv2", "pygame", "Box2D", "matplotlib", "ray"}
SUITE = """\
title: A suite
seeds: 1
evaluate: { every: 10, episodes: 1, final_episodes: 1 }
tasks:
  dyna-maze: { env: maze, budget: 100 }
entrants:
  dyna-q: { agent: agents.dyna_q }
"""
LOOKING = [
    ["suites", "--help"],
    ["suites", "run", "--help"],
    ["suites", "list"],
    ["suites", "check", "quickstart"],
    ["suites", "status", "quickstart", "--results", "{results}"],
    ["analysis", "--help"],
]


def python(*arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def processor_seconds(arguments: list[str]) -> float:
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=nowhere)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_what_only_looks_answers_at_once_and_without_torch(arguments: list[str], tmp_path: Path) -> None:
    words = ["-m", *(word.format(results=tmp_path) for word in arguments)]
    code, _, log = python("-X", "importtime", *words)
    assert code == 0
    modules = {line.rpartition("|")[2].strip() for line in log.splitlines() if line.startswith("import time:")}
    assert len(modules) > 50
    assert not HEAVY & modules
    assert not {name for name in modules if name.startswith(("agents.", "baselines.", "suites.envs."))}
    assert min(processor_seconds(words) for _ in range(3)) <= LIMIT * slowness()


def test_every_fault_of_a_bad_suite_is_shown_without_a_traceback(tmp_path: Path) -> None:
    suite = tmp_path / "bad.yaml"
    suite.write_text(SUITE.replace("budget", "budgte").replace("agents.dyna_q", "agents.dyna_k"))
    for verb in ("check", "run", "status", "work"):
        code, said, wrong = python("-m", "suites", verb, str(suite))
        assert code == 2
        assert "did you mean budget?" in wrong
        assert f"{suite}:5:" in wrong
        assert f"{suite}:7:" in wrong
        assert "dyna_q" in wrong
        assert "Traceback" not in said + wrong
    assert list(tmp_path.iterdir()) == [suite]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "quikstart"], "did you mean quickstart?"),
        (["status", "quickstart", "--task", "dyna-mase"], "did you mean dyna-maze?"),
        (["run", "quickstart", "--entrant", "dyna-q5"], "did you mean dyna-q-5?"),
        (["run", "quickstart", "--seeds", "one"], "expected numbers like 0,2 or 0-4"),
        (["run", "quickstart", "--seeds", "99"], "expected one of quickstart's seeds"),
        (["status", "quickstart", "--seeds", "one", "--seeds", "0"], "expected numbers like 0,2 or 0-4"),
        (["status", "quickstart", "--seeds", "0", "--seeds", "+5"], "expected numbers like 0,2 or 0-4"),
        (["check", "no/such/file.yaml"], "no/such/file.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_name_on_the_command_line_is_answered_with_the_right_one(arguments: list[str], expected: str) -> None:
    code, said, wrong = python("-m", "suites", *arguments)
    assert code == 2
    assert expected in wrong
    assert "Traceback" not in said + wrong


def test_a_suite_that_cannot_run_says_so_before_its_first_trial(tmp_path: Path) -> None:
    suite = tmp_path / "odd.yaml"
    suite.write_text(SUITE.replace("{ env: maze,", "{ env: classic, options: { id: Pendulum-v1 },"))
    code, said, wrong = python("-m", "suites", "run", str(suite), "--results", str(tmp_path / "results"))
    assert code == 2
    assert "dyna-q" in wrong
    assert "continuous" in wrong
    assert "nothing was run" in wrong
    assert "Traceback" not in said + wrong
    assert not (tmp_path / "results").exists()
