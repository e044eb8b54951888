"""What the supervisor costs beside two trials of 1,000 steps a second, and what checkpoints cost the trials."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 30.0
SUITE = """
title: "two trials that go on for long"
seeds: 2
evaluate: { every: 10_000_000, episodes: 1, final_episodes: 1 }
tasks: { walk: { env: mujoco, options: { id: Hopper-v5 }, budget: 100_000_000 } }
entrants: { uniform: { agent: baselines.uniform } }
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "busy.yaml"
        suite.write_text(SUITE)
        command = [sys.executable, "-m", "suites", "run", str(suite), "--results", folder, "--checkpoint-every", "10"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            time.sleep(10.0)  # imports and the first checkpoint are start-up, not overhead
            supervisor = psutil.Process(process.pid)
            trials = supervisor.children()
            before = cpu(supervisor), [cpu(trial) for trial in trials]
            began = time.monotonic()
            time.sleep(SECONDS)
            wall = time.monotonic() - began
            own = cpu(supervisor) - before[0]
            theirs = sum(cpu(trial) - was for trial, was in zip(trials, before[1], strict=True))
        finally:
            process.terminate()
            process.wait(timeout=10)
    print(
        f"supervisor           {own:6.2f} s of CPU in {wall:.0f} s beside {len(trials)} trials that used {theirs:.1f} s"
    )
    print(f"its share of CPU     {100 * own / (own + theirs):6.2f} %  (at most 1 %)")


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
