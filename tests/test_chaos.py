"""SIGKILL to workers and supervisors at random moments loses nothing, doubles nothing and tears nothing."""

from __future__ import annotations

import random
import time
from pathlib import Path

from results import record
from suites.spec import load_suite
from tests.supervised import command, kill, lasting, start, workers_of

SEED = 20_240
WORKER_KILLS, SUPERVISOR_KILLS = 60, 6
STEP = 0.002  # seconds, so that a trial lasts about two
SETTINGS = ("--checkpoint-every", "0.1", "--retries", "1000", "--workers", "4")
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


def run_under_fire(suite: Path, results: Path, log: Path) -> tuple[int, int]:
    """Run the suite to its end while a seeded killer is about; how many workers and supervisors it met."""
    rng = random.Random(SEED)
    workers = supervisors = 0
    again = command("run", suite, results, *SETTINGS)
    supervisor = start(again, log, STEP)
    try:
        while supervisor.poll() is None:
            time.sleep(rng.uniform(0.05, 0.3))
            for path in record.finished_records(results / suite.stem):
                assert record.read(path).finished  # what is published is whole at every moment
            if workers >= 10 * (supervisors + 1) and supervisors < SUPERVISOR_KILLS:
                supervisors += kill(supervisor.pid)
                supervisor.wait()
                supervisor = start(again, log, STEP)
            elif workers < WORKER_KILLS + 10 and (running := workers_of(results)):
                workers += kill(rng.choice(running))
        assert supervisor.returncode == 0
    finally:
        supervisor.kill()
        for pid in workers_of(results):
            kill(pid)
    return workers, supervisors


def test_a_suite_under_fire_leaves_the_records_of_an_undisturbed_one(scratch: Path) -> None:
    suite, log = scratch / "chaos.yaml", scratch / "log.txt"
    suite.write_text(SUITE)
    calm, shot_at = scratch / "calm", scratch / "shot-at"
    assert start(command("run", suite, calm, *SETTINGS), log).wait() == 0
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
