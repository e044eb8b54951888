"""Promises of `aggregate`: nothing is compared over different tasks, no hole is silent, no number lacks its n."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis import squares
from analysis.__main__ import app
from analysis.comparison import Field, compare, tidy_csv
from analysis.comparison_tables import READING, is_few, markdown, terminal
from tests.synthetic_records import SHAPES, Shape, read, write_suite

TASKS = ["pendulum", "repeated", "half-cheetah", "hopper"]


@pytest.fixture(autouse=True)
def _three_tasks_have_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `TASKS` the first three declare `score`; two of all have a threshold that is reached."""
    shape = SHAPES["half-cheetah"]
    declared = {**shape.declared, "score": {"zero": shape.worst, "one": shape.best}}
    new = Shape(declared=declared, worst=shape.worst, best=shape.best, episode=shape.episode)
    monkeypatch.setitem(SHAPES, "half-cheetah", new)


def write(root: Path, entrants: list[str], tasks: list[str] = TASKS, seeds: int = 5) -> Path:
    return write_suite(root, tasks=tasks, entrants=entrants, seeds=seeds, every=10_000)


def records(root: Path, task: str, entrant: str) -> list[Path]:
    return sorted((root / "results/made-up" / task / entrant).glob("*.jsonl"))


def test_entrants_are_compared_over_the_tasks_that_all_of_them_have(tmp_path: Path) -> None:
    write(tmp_path, ["sac", "ppo", "pets"])
    for record in records(tmp_path, "repeated", "pets"):
        record.unlink()
    results = read(tmp_path)
    said = compare(results)
    assert [(field.tasks, field.entrants) for field in said.fields] == [
        (("pendulum", "repeated", "half-cheetah"), ("sac", "ppo")),
        (("pendulum", "half-cheetah"), ("sac", "ppo", "pets")),
    ]
    text = markdown(results, said)
    assert "pets: scores are compared over pendulum, half-cheetah; no run has finished of repeated" in text
    assert "repeated / pets / seeds 0-4: missing" in text
    assert "no \\`score\\` is declared, so no aggregate takes them in: hopper" in text


def test_a_task_that_is_alone_is_left_to_the_table(tmp_path: Path) -> None:
    write(tmp_path, ["sac", "ppo"], tasks=["pendulum", "hopper"])
    said = compare(read(tmp_path))
    assert said.fields == []
    assert "only pendulum declares `score`: aggregates need two tasks; the suite's table tells of one" in said.notes
    assert said.races


@pytest.mark.parametrize("task", TASKS)
def test_each_record_that_is_dropped_is_named_and_counted(tmp_path: Path, task: str) -> None:
    write(tmp_path, ["sac", "ppo"], seeds=4)
    records(tmp_path, task, "sac")[2].unlink()
    results = read(tmp_path)
    said = compare(results)
    text = markdown(results, said)
    assert f"{task} / sac / seed 2: missing" in text
    assert {of.n for of in (race.area for race in said.races if race.task.name == task) if of} == {3}
    if task != "hopper":
        assert said.fields[0].runs["sac"] == tuple(3 if name == task else 4 for name in said.fields[0].tasks)
        assert re.search(r"\| sac .*\(n=3-4\)", text)


def test_every_number_has_its_n_beside_it(tmp_path: Path) -> None:
    write(tmp_path, ["sac", "ppo", "uniform"])
    results = read(tmp_path)
    for line in markdown(results, compare(results)).splitlines():
        if line.startswith("| ") and not line.startswith(("|  |", "| :--")):
            for entry in line.strip("| ").split(" | ")[1:]:
                assert "(n=" in entry or not entry.strip(), line


def test_below_three_seeds_there_are_numbers_and_no_intervals(tmp_path: Path) -> None:
    write(tmp_path, ["sac", "ppo"], seeds=2)
    results = read(tmp_path)
    said = compare(results)
    tables = "\n".join(line for line in markdown(results, said).splitlines() if line.startswith("| "))
    assert "(n=2)" in tables
    assert "±" not in tables
    assert "\\[" not in tables


def test_an_entrant_more_changes_no_digit_of_the_others(tmp_path: Path) -> None:
    write(tmp_path / "two", ["sac", "ppo"])
    write(tmp_path / "three", ["sac", "pets", "ppo"])
    texts = [tidy_csv(results, compare(results)) for results in (read(tmp_path / "two"), read(tmp_path / "three"))]
    two, three = (set(text.splitlines()) for text in texts)
    assert two <= three
    assert len(three) > len(two)


def test_a_probability_that_no_resample_doubts_has_no_interval(tmp_path: Path) -> None:
    write(tmp_path, ["sac", "uniform"])
    results = read(tmp_path)
    found = compare(results).fields[0].improvement["uniform", "sac"]
    assert (found.point, found.low, found.high) == (0, None, None)
    assert "0.00 (n=5)" in markdown(results, compare(results))


def test_a_wide_comparison_is_legible_at_100_columns(tmp_path: Path) -> None:
    write(tmp_path, ["mb-mpc", "sac", "ppo", "uniform"])
    results = read(tmp_path)
    text = terminal(results, compare(results), width=100, colour=False)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text


def test_a_threshold_that_nobody_had_to_learn_for_gives_no_ratio(tmp_path: Path) -> None:
    file = write(tmp_path, ["sac", "ppo"], tasks=["pendulum", "hopper"])
    file.write_text(file.read_text().replace("threshold: 2000.0", "threshold: -5000"))
    results = read(tmp_path)
    text = markdown(results, compare(results))
    assert "untrained: a seed meets the threshold at step 0" in text
    assert re.search(r"\| sac : ppo \| .*\| untrained", text)


def test_the_command_prints_the_same_numbers_each_time_and_says_what_is_missing(tmp_path: Path) -> None:
    file = write(tmp_path, ["sac", "ppo"])
    asked = ["aggregate", str(file), "--results", str(tmp_path / "results"), "--format", "csv"]
    once, again = (CliRunner().invoke(app, asked) for _ in range(2))
    assert once.exit_code == 0
    assert once.stdout == again.stdout
    rows = list(csv.DictReader(io.StringIO(once.stdout)))
    assert {row["number"] for row in rows} == {
        "IQM", "median", "mean", "optimality gap", "probability of improvement", "step ratio", "curve difference",
    }  # fmt: skip
    assert all(row["n"] == "5" for row in rows)
    write(tmp_path / "bare", ["sac"], tasks=["hopper"])
    alone = CliRunner().invoke(
        app, ["aggregate", str(tmp_path / "bare/made-up.yaml"), "--results", str(tmp_path / "bare/results")]
    )
    assert alone.exit_code == 2
    assert "with a `score`, or two entrants on one task, found neither" in alone.output


def test_few_seeds_are_cautioned_against_like_few_tasks_and_pairs_are_said_not_to_be_corrected_for() -> None:
    def few(*sizes: int) -> bool:
        tasks = tuple(f"task {number}" for number in range(len(sizes)))
        return is_few(Field(tasks=tasks, entrants=("a",), runs={"a": sizes}, aggregates={}, improvement={}))

    assert [few(*[5] * 6), few(*[5] * 5), few(5, 5, 5, 5, 5, 4), few(*[10] * 7)] == [False, True, True, False]
    for said in (READING["improvement"], READING["ratio"], squares.READING):
        assert "not corrected for the number of pairs" in said.lower()
