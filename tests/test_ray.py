"""Workers that a Ray cluster spreads leave the same bytes as workers of one machine, also when some are killed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
SUITE = """
title: "short trials for many workers"
seeds: 4
evaluate: { every: 1000, episodes: 1, final_episodes: 2 }
tasks: { maze: { env: maze, budget: 2000 } }
entrants: { dyna-q: { agent: agents.dyna_q, config: { planning_steps: 5 } }, uniform: { agent: baselines.uniform } }
"""


def run(suite: Path, results: Path, *options: str) -> None:
    command = [sys.executable, "-m", "suites", "run", str(suite), "--results", str(results), "--workers", "2", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="the extra `ray` (200 MB, a cluster's engine) is not installed: pip install -c constraints.txt -e '.[ray]'",
)
@pytest.mark.timeout(300)
def test_ray_leaves_the_same_summary_though_workers_are_killed(tmp_path: Path) -> None:
    suite = tmp_path / "spread.yaml"
    suite.write_text(SUITE)
    run(suite, tmp_path / "local")
    killed = []

    def kill_two_workers() -> None:
        deadline = time.monotonic() + 120
        while len(killed) < 2 and time.monotonic() < deadline:
            for process in psutil.process_iter(["cmdline"]):
                command = process.info["cmdline"] or []
                if "work" in command and str(suite) in command and process.pid not in killed:
                    process.kill()
                    killed.append(process.pid)
                    break
            time.sleep(1.0)

    killer = threading.Thread(target=kill_two_workers)
    killer.start()
    run(suite, tmp_path / "ray", "--ray", "local")
    killer.join()
    assert killed
    assert (tmp_path / "ray/spread/summary.csv").read_bytes() == (tmp_path / "local/spread/summary.csv").read_bytes()
