"""SIGKILL to workers and supervisors at random moments loses nothing, doubles nothing and tears nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import psutil

from results import record
from suites.spec import load_suite

ROOT = Path(__file__).resolve().parents[1]
SEED = 20_240
WORKER_KILLS, SUPERVISOR_KILLS = 60, 6
SUITE = """\
title: Short trials to be killed
seeds: 8
evaluate: { every: 200, episodes: 1, final_episodes: 2 }
tasks:
  maze: { env: tests.slow, options: { of: maze }, budget: 800 }
  cartpole: { env: tests.slow, options: { of: cartpole }, budget: 800 }
entrants:
  dyna-q: { agent: agents.dyna_q, config: { planning_steps: 5 }, tasks: [maze] }
  uniform: { agent: baselines.uniform }
"""


def start(suite: Path, results: Path, seconds: float, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "suites", "run", str(suite), "--results", str(results)]
    settings = ["--checkpoint-every", "0.1", "--retries", "1000", "--workers", "4"]
    environment = {**os.environ, "SLOW_SECONDS": str(seconds)}
    return subprocess.Popen([*command, *settings], cwd=ROOT, env=environment, stdout=log, stderr=log)


def workers_of(results: Path) -> list[int]:
    """Process ids of the trials below ``results`` that are alive, whoever started them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if "suites.runner.worker" in command and command[-1].startswith(str(results)):
            if process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return sorted(found)


def kill(pid: int) -> bool:
    """Whether SIGKILL met a living process."""
    try:
        alive = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        os.kill(pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return alive


def run_under_fire(suite: Path, results: Path, log: IO[bytes]) -> tuple[int, int]:
    """Run the suite to its end while a seeded killer is about; how many workers and supervisors it met."""
    rng = random.Random(SEED)
    workers = supervisors = 0
    supervisor = start(suite, results, 0.002, log)
    try:
        while supervisor.poll() is None:
            time.sleep(rng.uniform(0.05, 0.3))
            for path in record.finished_records(results / suite.stem):
                assert record.read(path).finished  # what is published is whole at every moment
            if workers >= 10 * (supervisors + 1) and supervisors < SUPERVISOR_KILLS:
                supervisors += kill(supervisor.pid)
                supervisor.wait()
                supervisor = start(suite, results, 0.002, log)
            elif workers < WORKER_KILLS + 10 and (running := workers_of(results)):
                workers += kill(rng.choice(running))
        assert supervisor.returncode == 0
    finally:
        supervisor.kill()
        for pid in workers_of(results):
            kill(pid)
    return workers, supervisors


def lasting(path: Path) -> list[dict[str, Any]]:
    """Header and rows, without what two runs may differ in, and without the commit: it may move meanwhile."""
    found = record.read(path)
    assert found.finished
    volatile = (*record.VOLATILE, "commit", "dirty")
    return [{name: value for name, value in row.items() if name not in volatile} for row in (found.header, *found.rows)]


def test_a_suite_under_fire_leaves_the_records_of_an_undisturbed_one(tmp_path: Path) -> None:
    suite = tmp_path / "chaos.yaml"
    suite.write_text(SUITE)
    calm, shot_at = tmp_path / "calm", tmp_path / "shot-at"
    with (tmp_path / "log.txt").open("wb") as log:
        assert start(suite, calm, 0.0, log).wait() == 0
        workers, supervisors = run_under_fire(suite, shot_at, log)
    assert workers >= WORKER_KILLS, f"only {workers} workers were killed before the suite was done"
    assert supervisors >= SUPERVISOR_KILLS

    trials = load_suite(suite).trials()
    expected = [record.record_path(Path(), "chaos", t.task, t.entrant, t.seed) for t in trials]
    assert len(expected) == 24
    found = [path.relative_to(shot_at) for path in record.finished_records(shot_at / "chaos")]
    assert sorted(found) == sorted(expected)
    for path in expected:
        assert lasting(shot_at / path) == lasting(calm / path), path
    assert (shot_at / "chaos/summary.csv").read_bytes() == (calm / "chaos/summary.csv").read_bytes()
