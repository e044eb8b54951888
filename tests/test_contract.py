"""What every entrant owes on every family: exact budgets, exact resume, evaluation without trace, seeds that decide."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from results import record
from suites.runner import checkpoint
from suites.runner.model_quality import DREAM
from tests.contract_cases import CASES, WORLDS, Case
from tests.trial_process import Server

BESIDE = ("evaluation", "model", "virtual")  # rows that only an evaluation writes


@dataclass(frozen=True)
class Reference:
    """A case and what it comes to if nothing disturbs it."""

    case: Case
    rows: list[dict[str, Any]]
    digests: dict[str, str]
    training_steps: int


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def reference(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    case: Case = request.param
    folder = tmp_path_factory.mktemp(case.name)
    ended = server.run(case.trial(), folder)
    return Reference(case, rows_of(folder, case), ended.found["digests"], ended.found["training_steps"])


def rows_of(results: Path, case: Case, seed: int = 0) -> list[dict[str, Any]]:
    """Header and rows of a finished record, without what two runs may differ in, and without the commit: it may move
    while the tests run."""
    found = record.read(path_of(results, case, seed))
    assert found.finished
    return [
        {name: value for name, value in row.items() if name not in (*record.VOLATILE, "commit", "dirty")}
        for row in (found.header, *found.rows)
    ]


def path_of(results: Path, case: Case, seed: int = 0) -> Path:
    trial = case.trial(seed)
    return record.record_path(results, trial.suite, trial.task, trial.entrant, seed)


def kill_points(reference: Reference) -> list[tuple[str, int]]:
    """Where the trial is killed, and from which step on; in the order in which it comes there."""
    budget = reference.case.budget
    ends = [row["step"] for row in reference.rows if row["kind"] == "episode"]
    late = next((step for step in ends if step > budget / 2), ends[-1])
    early = [("mid-episode", int(0.3 * budget)), ("while saving", int(0.45 * budget)), ("episode end", late)]
    early.sort(key=lambda point: point[1])
    if not reference.case.learns:
        return [*early, ("final evaluation", budget)]
    return [("first step", 0), *early, ("last step", budget), ("final evaluation", budget)]


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def test_an_entrant_takes_exactly_the_steps_of_its_budget(reference: Reference, server: Server, scratch: Path) -> None:
    case, end = reference.case, reference.rows[-1]
    played = [row["lengths"] for row in reference.rows if row["kind"] == "virtual" and row["where"] != DREAM]
    assert end["step"] == case.budget == reference.training_steps - sum(map(sum, played))
    assert end["updates"] > 0 or not case.learns
    ended = server.run(case.trial(budget=61), scratch, evaluate=False)
    assert rows_of(scratch, case)[-1]["step"] == 61 == ended.found["training_steps"]


def test_a_trial_killed_anywhere_and_resumed_writes_the_record_of_one_that_ran_through(
    reference: Reference, server: Server, scratch: Path
) -> None:
    case = reference.case
    for point, at in kill_points(reference):
        ended = server.run(case.trial(), scratch, save_every=case.save_every, kill=point, at=at)
        assert ended.code == -signal.SIGKILL, f"the trial never came to {point!r}"
        saved = checkpoint.newest(record.work_folder(path_of(scratch, case)))
        assert saved is not None
        repeated = ended.found["died_at"] - saved.state()["gate"]["steps"]
        assert repeated > 0 or point in ("first step", "final evaluation")
    ended = server.run(case.trial(), scratch, save_every=case.save_every)
    assert rows_of(scratch, case) == reference.rows
    assert differing(ended.found["digests"], reference.digests) == []


def test_evaluation_leaves_no_trace_in_the_agent(reference: Reference, server: Server, scratch: Path) -> None:
    case = reference.case
    ended = server.run(case.trial(), scratch, evaluate=False)
    rows = [row for row in reference.rows if row["kind"] not in BESIDE]
    assert len(rows) < len(reference.rows)
    assert rows_of(scratch, case) == rows
    assert differing(ended.found["digests"], reference.digests) == []


def test_the_seed_decides_what_a_trial_becomes(reference: Reference, server: Server, scratch: Path) -> None:
    case = reference.case
    ended = server.run(case.trial(seed=1), scratch)
    assert (differing(ended.found["digests"], reference.digests) != []) == case.draws
    if WORLDS[case.world].telling:
        assert [*played(rows_of(scratch, case, seed=1))] != [*played(reference.rows)]


def played(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["kind"] in ("episode", "evaluation"))
