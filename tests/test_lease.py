"""Who dies, freezes or is cut off with a trial in its hands leaves it to others, and does no harm if it comes back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from results import record
from suites.runner.display import display
from suites.runner.job import Job
from suites.runner.lease import lease_of
from suites.runner.sweep import Settings, Sweep
from suites.runner.worker import BUSY, DONE
from suites.spec import TrialSpec
from tests.supervised import kill, wait_for

LEASE = 2.0  # seconds
START = 12.0  # seconds in which a trial's process starts and plays, be the machine ever so busy


def trial(how: str = "well") -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "suite": "small", "task": "maze", "entrant": "one", "seed": 0, "env": "tests.slow", "budget": 80,
            "agent": "tests.misbehaving", "config": {"how": how, "at": 5},
            "evaluate": {"every": 80, "episodes": 1, "final_episodes": 1},
        }
    )  # fmt: skip


def sweep(results: Path, how: str = "well", **settings: bool) -> Sweep:
    return Sweep([trial(how)], Settings(results=results, workers=1, lease=LEASE, **settings), display())


@pytest.fixture
def frozen(tmp_path: Path, pace: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """A trial whose process stopped in its fifth step; a step takes ``pace`` seconds."""
    monkeypatch.setenv("SLOW_SECONDS", str(pace))
    held = sweep(tmp_path, "stop")
    held._start_what_fits()
    (job,) = held.running
    assert job.process is not None
    process = psutil.Process(job.process.pid)
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, START)
    yield job
    if job.process.poll() is None:
        kill(job.process.pid)
    job.process.wait()


def seconds_to_finish(results: Path, how: str = "well") -> float:
    began = time.monotonic()
    assert sweep(results, how).run() == 0
    return time.monotonic() - began


def test_a_lease_that_its_worker_died_upon_before_it_wrote_it_is_taken_over(tmp_path: Path) -> None:
    work = record.work_folder(record.record_path(tmp_path, "small", "maze", "one", 0))
    work.mkdir(parents=True)
    (work / "lease").touch()
    assert LEASE < seconds_to_finish(tmp_path) < 1.1 * LEASE + 1 + START


def test_a_lease_of_another_machine_is_taken_over_when_it_has_run_out_and_not_before(tmp_path: Path) -> None:
    work = record.work_folder(record.record_path(tmp_path, "small", "maze", "one", 0))
    work.mkdir(parents=True)
    with lease_of(work, LEASE):
        left = (work / "lease").read_text()
    owner, host = str(os.getpid()), os.uname().nodename
    assert owner in left
    assert host in left
    (work / "lease").write_text(left.replace(host, "cut-off"))
    took = seconds_to_finish(tmp_path)
    assert LEASE < took < 1.1 * LEASE + 1 + START


@pytest.mark.parametrize(("pace", "code"), [(0.05, BUSY), (0.0, DONE)])
def test_who_was_frozen_and_wakes_stops_or_comes_too_late(tmp_path: Path, frozen: Job, code: int) -> None:
    other = sweep(tmp_path)
    other.jobs[0].spec = other.queue[0].spec = frozen.spec
    began = time.monotonic()
    other._start_what_fits()
    while not other.queue:
        other._look_at(other.running[0])
        time.sleep(0.05)
    watch = other.queue[0].watch
    assert watch is not None  # busy: somebody has it
    wait_for(watch.over, 1.1 * LEASE + 1)
    assert time.monotonic() - began > LEASE
    with lease_of(frozen.work, LEASE).acquire(timeout=0):
        frozen.path.write_bytes(b"published")
        assert frozen.process is not None
        frozen.process.send_signal(signal.SIGCONT)
        assert frozen.process.wait(2 * LEASE) == code
        assert frozen.path.read_bytes() == b"published"


def test_work_leaves_only_after_a_lease_would_have_run_out(tmp_path: Path) -> None:
    work = record.work_folder(record.record_path(tmp_path, "small", "maze", "one", 0))
    work.mkdir(parents=True)
    began = time.monotonic()
    with lease_of(work, LEASE):
        assert sweep(tmp_path, wait_for_others=False).run() == 0
    assert 1.1 * LEASE < time.monotonic() - began < 1.1 * LEASE + 2 + START
    assert not record.record_path(tmp_path, "small", "maze", "one", 0).exists()
