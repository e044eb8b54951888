"""Whatever happens to trials or to their supervisor is named, survived, and made good by the same command."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from results import record
from suites.runner import checkpoint
from suites.runner.display import display
from suites.runner.sweep import Settings, Sweep
from tests.supervised import ROOT, command, environment, kill, lasting, run, start, wait_for, workers_of

STEP = 0.002  # seconds; slow enough to be met at work
HEAD = "title: Trials for the supervisor's tests\nevaluate: { every: 10_000, episodes: 1, final_episodes: 1 }\n"


def suite_of(folder: Path, seeds: int, budget: int, entrants: str, name: str = "small") -> Path:
    path = folder / f"{name}.yaml"
    task = f"seeds: {seeds}\ntasks:\n  maze: {{ env: tests.slow, budget: {budget} }}\n"
    path.write_text(f"{HEAD}{task}entrants:\n{entrants}")
    return path


UNIFORM = "  uniform: { agent: baselines.uniform }\n"


def bad(*ways: str) -> str:
    return "".join(f"  {way}: {{ agent: tests.misbehaving, config: {{ how: {way} }} }}\n" for way in ways)


def work_folders(results: Path) -> list[Path]:
    return sorted(results.glob("*/*/*/*.work"))


def saved_steps(work: Path) -> int:
    saved = checkpoint.newest(work)
    return saved.state()["gate"]["steps"] if saved else 0


def all_at_work(results: Path, count: int) -> bool:
    """Whether ``count`` trials have told of steps that they have taken."""
    told = [path.read_text() for path in results.glob("*/*/*/*.work/progress.json")]
    return sum('"step": 0,' not in text for text in told) == count


# -- trials that end badly -----------------------------------------------------------------------------------------


def test_a_bad_trial_is_named_with_its_reason_and_last_lines_while_the_others_go_on(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 1, 300, UNIFORM + bad("crash", "sleep", "stop", "segfault", "memory"))
    results, patience = tmp_path / "results", 4.0
    settings = ("--workers", "6", "--retries", "0", "--patience", str(patience))
    began = time.monotonic()
    code, said = run(command("run", suite, results, *settings))
    took = time.monotonic() - began
    assert code == 1
    assert "done     maze/uniform/0" in said
    for way, reason in {
        "crash": "ended with exit code 1",
        "sleep": "hung: no sign of life for 4 s",
        "stop": "hung: no sign of life for 4 s",
        "segfault": "killed by SIGSEGV",
        "memory": "ended with exit code 1",
    }.items():
        report = said.split(f"FAILED   maze/{way}/0")[1].split("whole log:")[0]
        assert reason in report
        assert f"about to {way}" in (results / f"small/maze/{way}/0.work/log.txt").read_text()
        assert "    | " in report
    assert "the dog ate my gradient" in said
    assert "MemoryError" in said
    assert took < patience + 5 + 3  # the three: to start the supervisor and six trials
    _, status = run(command("status", suite, results))
    assert "maze/sleep/0: failed at step 20; hung" in status
    assert "1 of 6 trials finished" in status


def test_a_bad_trial_is_tried_again_as_often_as_asked(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 1, 300, bad("crash"))
    code, said = run(command("run", suite, tmp_path / "results", "--retries", "2"))
    assert code == 1
    assert said.count("retry    maze/crash/0") == 2
    (work,) = work_folders(tmp_path / "results")
    assert (work / "log.txt").read_text().count("about to crash") == 3


# -- signals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code", "count"), [(signal.SIGINT, 130, 8), (signal.SIGTERM, 143, 3)])
def test_a_signal_saves_all_running_trials_within_five_seconds(
    tmp_path: Path, number: signal.Signals, code: int, count: int
) -> None:
    suite = suite_of(tmp_path, count, 1500, UNIFORM)
    results, settings = tmp_path / "results", ("--workers", str(count), "--checkpoint-every", "1000")
    supervisor = start(command("run", suite, results, *settings), tmp_path / "log.txt", STEP)
    wait_for(lambda: all_at_work(results, count), 30)
    supervisor.send_signal(number)
    began = time.monotonic()
    assert supervisor.wait() == code
    assert time.monotonic() - began < 5
    assert workers_of(results) == []
    assert all(saved_steps(work) > 0 for work in work_folders(results))
    assert run(command("status", suite, results))[1].count("interrupted at step") == count

    assert run(command("run", suite, results, *settings))[0] == 0
    calm = tmp_path / "calm"
    assert run(command("run", suite, calm, *settings))[0] == 0
    for path in record.finished_records(calm / "small"):
        assert lasting(path) == lasting(results / path.relative_to(calm))


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 1, 300, bad("sleep"))
    results = tmp_path / "results"
    supervisor = start(command("run", suite, results), tmp_path / "log.txt")
    wait_for(lambda: any("about to" in path.read_text() for path in results.glob("*/*/*/*.work/log.txt")), 30)
    supervisor.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert supervisor.poll() is None  # it waits for its trial, which sleeps
    supervisor.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert supervisor.wait() == 130
    assert time.monotonic() - began < 1
    assert workers_of(results) == []


def test_an_interrupt_waits_for_no_lock(tmp_path: Path) -> None:
    sweep = Sweep([], Settings(results=tmp_path, workers=1), display())
    with subprocess.Popen(["sleep", "60"]) as process:
        sweep.running = [SimpleNamespace(process=process)]  # type: ignore[list-item]
        twice = Thread(target=lambda: [sweep._on_signal(signal.SIGINT, None) for _ in range(2)], daemon=True)
        with process._waitpid_lock:  # type: ignore[attr-defined]  # as when a signal comes while poll() is at work
            twice.start()
            twice.join(10)
            assert not twice.is_alive()
        process.kill()
    assert sweep.at_once


# -- a supervisor that is killed -----------------------------------------------------------------------------------


def test_the_trials_of_a_killed_supervisor_stop_by_themselves(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 2, 2000, UNIFORM + bad("sleep"))
    results, settings = tmp_path / "results", ("--workers", "4", "--checkpoint-every", "1000")
    supervisor = start(command("run", suite, results, *settings), tmp_path / "log.txt", STEP)
    wait_for(lambda: all_at_work(results, 4), 30)
    assert "running" in run(command("status", suite, results, "--task", "maze"))[1]
    assert kill(supervisor.pid)
    supervisor.wait()
    wait_for(lambda: workers_of(results) == [], 12)
    stopped = [work for work in work_folders(results) if "uniform" in str(work)]
    assert all(saved_steps(work) > 0 for work in stopped)
    _, said = run(command("status", suite, results))
    assert said.count("interrupted at step") == 4

    began = time.monotonic()  # whoever is dead holds nothing: the same command goes on at once
    assert run(command("run", suite, results, "--entrant", "uniform"))[0] == 0
    assert time.monotonic() - began < 10
    assert "2 of 4 trials finished" in run(command("status", suite, results))[1]


# -- more hands ----------------------------------------------------------------------------------------------------


def test_two_workers_on_one_folder_give_each_result_exactly_once(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 6, 300, UNIFORM)
    shared, calm = tmp_path / "shared", tmp_path / "calm"
    both = [start(command("work", suite, shared), tmp_path / f"log-{i}.txt", STEP) for i in (0, 1)]
    assert [one.wait() for one in both] == [0, 0]
    assert run(command("run", suite, calm))[0] == 0
    found = record.finished_records(shared / "small")
    assert [path.stem for path in found] == [str(seed) for seed in range(6)]
    for path in found:
        assert lasting(path) == lasting(calm / path.relative_to(shared))
    run(command("run", suite, shared))  # all is done: this only makes the summary of both hands' work
    assert (shared / "small/summary.csv").read_bytes() == (calm / "small/summary.csv").read_bytes()
    begun = [(work / "log.txt").read_text() for work in work_folders(shared)]
    assert begun == [""] * 6


# -- other conditions ----------------------------------------------------------------------------------------------


def test_a_trial_goes_on_only_under_the_conditions_that_it_was_begun_under(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 1, 2000, UNIFORM)
    results = tmp_path / "results"
    supervisor = start(command("run", suite, results), tmp_path / "log.txt", STEP)
    wait_for(lambda: all_at_work(results, 1), 30)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait() == 130
    suite_of(tmp_path, 1, 2500, UNIFORM)
    code, said = run(command("run", suite, results))
    assert code == 2
    assert f"the interrupted trial in {work_folders(results)[0]} was begun under other settings" in said
    assert "\n    budget: 2000 -> 2500\n" in said
    suite_of(tmp_path, 1, 2000, UNIFORM)
    assert run(command("run", suite, results))[0] == 0
    suite_of(tmp_path, 1, 2500, UNIFORM)
    code, said = run(command("run", suite, results))
    assert code == 2
    assert "budget: 2000 -> 2500" in said
    assert "Traceback" not in said


# -- a full disk ---------------------------------------------------------------------------------------------------

FILLED = """\
mount -t tmpfs -o size=8m none {disk} || exit 99
mkdir {disk}/results
head -c {ballast}k /dev/zero > {disk}/ballast
{run}; echo "exit $?"
find {disk} -name '*.tmp' | sed 's/^/left over: /'
echo then room was made
rm {disk}/ballast
{run}; echo "exit $?"
cp -r {disk}/results {kept}
"""


def full_disk(tmp_path: Path, suite: Path, free: int) -> tuple[str, str]:
    """What the same command says with ``free`` KB on the disk, and then with 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = command("run", suite, disk / "results", "--checkpoint-every", "0", "--workers", "2")
    script = FILLED.format(disk=disk, ballast=8192 - free, run=" ".join(words), kept=tmp_path / "kept")
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == 99 or "unshare" in ended.stderr:
        pytest.skip(f"a full disk needs the right to mount one (root, user namespaces): {ended.stderr.strip()}")
    first, second = ended.stdout.split("then room was made\n")
    assert "Traceback" not in ended.stderr
    return first, second


@pytest.mark.parametrize(
    ("free", "how"),
    [(8, "well"), (24, "well"), (64, "well"), (300, "bulk"), (400, "torch-bulk")],
)
def test_a_full_disk_stops_the_sweep_and_room_makes_it_go_on(tmp_path: Path, free: int, how: str) -> None:
    suite = suite_of(tmp_path, 2, 60, bad(how))
    first, second = full_disk(tmp_path, suite, free)
    assert "exit 4" in first
    assert f"no room left below {tmp_path / 'disk/results'}" in first
    assert "Make room and give the same command again" in first
    assert "FAILED" not in first
    assert "left over" not in first
    assert second.rstrip().endswith("exit 0")
    calm = tmp_path / "calm"
    assert run(command("run", suite, calm))[0] == 0
    found = record.finished_records(calm / "small")
    assert len(found) == 2
    for path in found:
        assert lasting(path) == lasting(tmp_path / "kept" / path.relative_to(calm))
