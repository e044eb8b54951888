"""Promise: every environment is a function of its reset seed and the actions since, and it stays that one."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from suites.envs import build
from tests.fingerprints import CASES, GOLDEN, SEED, Case, explain, fingerprint, machine, take, versions

ROOT = Path(__file__).parents[1]
NAMES = [case.name for case in CASES]


@cache
def fresh_here(name: str) -> str:
    return take(CASES[NAMES.index(name)])


@cache
def fresh_elsewhere(env: str) -> dict[str, str]:
    """The digests of one environment module's cases, from a new process."""
    names = [case.name for case in CASES if case.env == env]
    command = [sys.executable, "-m", "tests.fingerprints", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    digests: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return digests


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_same_seed_and_actions_give_the_same_episodes_in_any_object_and_process(case: Case) -> None:
    env = build(case.env, case.options)
    digests = {
        "fresh object": fresh_here(case.name),
        "same object": fingerprint(lambda: env, SEED, case.steps),
        "same object again": fingerprint(lambda: env, SEED, case.steps),
        "used object": fingerprint(lambda: env, SEED, case.steps, used=True),
        "new process": fresh_elsewhere(case.env)[case.name],
    }
    env.close()
    assert set(digests.values()) == {digests["fresh object"]}, digests


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_environment_is_the_one_that_the_recorded_scores_were_made_in(case: Case) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert case.name in golden, f"no digest of {case.name} in {GOLDEN.name}; run `python -m tests.fingerprints --write`"
    recorded = golden[case.name]
    assert fresh_here(case.name) == recorded["digest"], explain(recorded, versions(case.env), machine())


def test_no_two_cases_are_one_environment() -> None:
    digests = [entry["digest"] for entry in json.loads(GOLDEN.read_text()).values()]
    assert len(set(digests)) == len(digests)


def test_another_seed_gives_another_digest() -> None:
    for case in CASES:
        if case.env in ("exam", "classic", "mujoco", "mujoco_velocity"):
            assert fingerprint(lambda case=case: build(case.env, case.options), SEED + 1, 50) != fingerprint(
                lambda case=case: build(case.env, case.options), SEED, 50
            )


def test_a_changed_digest_names_the_package_that_changed() -> None:
    recorded = {"packages": {"gymnasium": "1.3.0", "numpy": "2.0"}, "machine": "a"}
    message = explain(recorded, {"gymnasium": "1.4.0", "numpy": "2.0"}, "b")
    assert "gymnasium 1.3.0 -> 1.4.0" in message
    assert "numpy" not in message


def test_a_changed_digest_with_equal_packages_names_the_module_or_the_machine() -> None:
    recorded = {"packages": {"numpy": "2.0"}, "machine": "a"}
    assert "environment module changed" in explain(recorded, {"numpy": "2.0"}, "a")
    assert "taken on a and this is b" in explain(recorded, {"numpy": "2.0"}, "b")
