"""Starts the suites' command line as a user does, and finds and kills the processes that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from results import record

ROOT = Path(__file__).resolve().parents[1]


def command(verb: str, suite: Path, results: Path, *settings: str) -> list[str]:
    return [sys.executable, "-m", "suites", verb, str(suite), "--results", str(results), *settings]


def environment(seconds_per_step: float = 0.0) -> dict[str, str]:
    """``seconds_per_step`` is for `tests.slow`."""
    return {**os.environ, "SLOW_SECONDS": str(seconds_per_step)}


def start(arguments: list[str], log: Path, seconds_per_step: float = 0.0) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(arguments, cwd=ROOT, env=environment(seconds_per_step), stdout=file, stderr=file)


def run(arguments: list[str], seconds_per_step: float = 0.0) -> tuple[int, str]:
    """The exit code, and what was printed."""
    ended = subprocess.run(
        arguments, cwd=ROOT, env=environment(seconds_per_step), capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def workers_of(results: Path) -> list[int]:
    """Process ids of the trials below ``results`` that are alive, whoever started them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and "suites.runner.worker" in words and words[-1].startswith(str(results)):
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


def wait_for(what: Callable[[], Any], seconds: float) -> float:
    """Seconds until ``what()`` was true."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, f"did not come true in {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


def lasting(path: Path) -> list[dict[str, Any]]:
    """Header and rows, without what two runs may differ in, and without the commit: it may move meanwhile."""
    found = record.read(path)
    assert found.finished
    volatile = (*record.VOLATILE, "commit", "dirty")
    return [{name: value for name, value in row.items() if name not in volatile} for row in (found.header, *found.rows)]
