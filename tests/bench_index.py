"""Prints what 10,000 trials cost: the first index, a table and a status through it, and one trial more. CPU seconds."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from analysis.index import NAME, SETTLED
from analysis.load import load
from tests.synthetic_records import ENTRANTS, SHAPES, write_suite

ROOT = Path(__file__).resolve().parents[1]
CELLS = 40  # of all made-up tasks and entrants: two mazes grant no functions, so one entrant does not meet them


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU seconds; the commands are whole processes, from the interpreter's start on."""

    trials: int
    written: float
    first: float
    table: float
    status: float
    one_more: float
    megabytes: float


def measure(trials: int, root: Path) -> Cost:
    begin = time.process_time()
    seeds = trials // CELLS
    suite = write_suite(root, tasks=list(SHAPES), entrants=list(ENTRANTS)[:6], seeds=seeds, distinct=5)
    written = time.process_time() - begin
    time.sleep(SETTLED)  # an index takes up no record that was changed a moment ago
    results = root / "results"
    first = _load(suite, results)
    index = results / suite.stem / NAME
    megabytes = index.stat().st_size / 1e6
    told = [str(suite), "--results", str(results)]
    table, status = _command("analysis", "table", *told), _command("suites", "status", *told)
    cell = results / suite.stem / "hopper" / "sac"
    shutil.copyfile(cell / "0.jsonl", cell / "1.jsonl.new")
    (cell / "1.jsonl.new").replace(cell / "1.jsonl")  # says that it is seed 0, which costs as much as if it were 1
    time.sleep(SETTLED)
    return Cost(
        trials=seeds * CELLS, written=written, first=first, table=table, status=status,
        one_more=_load(suite, results), megabytes=megabytes,
    )  # fmt: skip


def _load(suite: Path, results: Path) -> float:
    begin = time.process_time()
    load(str(suite), results)
    return time.process_time() - begin


def _command(module: str, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cost = measure(10_000, Path(folder))
    print(f"{cost.trials:,} trials (written in {cost.written:.1f} s), index of {cost.megabytes:.0f} MB. CPU seconds:")
    print(f"  first index                {cost.first:6.2f}   at most 20")
    print(f"  python -m analysis table   {cost.table:6.2f}   at most 2")
    print(f"  python -m suites status    {cost.status:6.2f}   at most 2")
    print(f"  load with one trial more   {cost.one_more:6.2f}   at most 1")


if __name__ == "__main__":
    main()
