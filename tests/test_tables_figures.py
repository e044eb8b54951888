"""Promises of tables and figures: n beside every number, honest cells, stable bytes and colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.cells import cells, tidy_csv
from analysis.curves import curves
from analysis.figures import look, write
from analysis.tables import markdown, number, terminal
from tests.synthetic_records import SHAPES, edit_last_evaluation, read, write_suite


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the suite `made-up`: hopper and pendulum, three entrants, five seeds. Only read."""
    root = tmp_path_factory.mktemp("shelf")
    write_suite(root)
    return root


def test_a_cell_holds_the_last_checkpoint_and_the_steps_to_the_threshold(shelf: Path) -> None:
    results = read(shelf)
    cell = next(cell for cell in cells(results) if (cell.task.name, cell.entrant) == ("hopper", "sac"))
    expected, times = [], []
    for seed in range(5):
        lines = (shelf / f"results/made-up/hopper/sac/{seed}.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if row["kind"] == "evaluation"]
        expected.append(np.mean(rows[-1]["returns"]))
        times.append(next(row["step"] for row in rows if np.mean(row["returns"]) >= 2000))
    assert cell.values == pytest.approx(expected)
    assert list(cell.times) == times
    assert cell.median_time == sorted(times)[2]


def test_every_number_of_a_table_has_its_n_beside_it(shelf: Path) -> None:
    for line in markdown(read(shelf)).splitlines():
        if line.startswith(("| sac", "| uniform", "| mb-mpc")):
            for entry in line.strip("| ").split(" | ")[1:]:
                assert "(n=5)" in entry or " of 5)" in entry


def test_the_table_says_what_an_entrant_was_granted_and_who_is_best(shelf: Path) -> None:
    text = markdown(read(shelf))
    assert r"mb-mpc \[known reward\]" in text
    best = [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| sac")]
    assert best[0].startswith("**")
    assert "50,000 steps" in text


def test_a_time_before_which_marks_were_not_measured_is_shown_as_a_bound(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "uniform"], seeds=3)
    for record in (tmp_path / "results" / "made-up" / "pendulum" / "sac").glob("*.jsonl"):
        rows = [json.loads(line) for line in record.read_text().splitlines()]
        kept = [row for row in rows if row["kind"] != "evaluation" or row["step"] == 0 or row["final"]]
        record.write_text("".join(json.dumps(row) + "\n" for row in kept))
        edit_last_evaluation(record, returns=[-200.0])
    results = read(tmp_path)
    cell = next(cell for cell in cells(results) if cell.entrant == "sac")
    assert (cell.times, cell.since, cell.median_is_bound) == ((20_000.0,) * 3, (0.0,) * 3, True)
    text = markdown(results)
    assert "**≤ 20,000 (3 of 3)**" in text
    assert "with ≤: marks before it were not measured" in text
    assert ";".join(["0"] * 3) in tidy_csv(results).splitlines()[1]


def test_what_can_not_be_bold_is_not_explained(shelf: Path) -> None:
    results = read(shelf)
    assert "In bold the best of a column" in markdown(results)
    assert "In bold" in terminal(results, width=100, colour=True)
    assert "bold" not in terminal(results, width=100, colour=False)


def test_below_three_seeds_a_table_lists_every_seed(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "ppo"], seeds=2)
    results = read(tmp_path)
    line = next(line for line in markdown(results).splitlines() if line.startswith("| ppo"))
    first, second = (trial.final for trial in results.trials["pendulum", "ppo"])
    assert f"{number(first, 0)}, {number(second, 0)} (n=2)" in line
    assert "±" not in line


def test_shorter_is_better_where_the_metric_is_a_length(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["dyna-maze", "blocking-maze"], entrants=["pets", "uniform"])
    results = read(tmp_path)
    pets, uniform = (line for line in markdown(results).splitlines() if line.startswith(("| pets", "| uniform")))
    assert pets.split(" | ")[1].startswith("**")
    assert "**" not in uniform
    by_entrant = {cell.entrant: cell for cell in cells(results) if cell.task.name == "blocking-maze"}
    assert by_entrant["pets"].reward is not None
    trials = results.trials["blocking-maze", "pets"]
    assert by_entrant["pets"].rewards == tuple(len(trial.episode_step) for trial in trials)  # 1 for each episode


def test_a_wide_suite_is_legible_at_100_columns(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=list(SHAPES), entrants=["mb-mpc", "sac", "uniform"], seeds=3)
    text = terminal(read(tmp_path), width=100, colour=False)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for task in SHAPES:
        assert task in text
    assert "20,000 steps (40,000 frames)" in text


def test_a_number_never_shows_minus_zero() -> None:
    assert number(-0.001, 2) == "0.00"
    assert number(-1234.5, 1) == "-1,234.5"


def test_the_same_records_give_the_same_bytes(shelf: Path, tmp_path: Path) -> None:
    results = read(shelf, "made-up", "pendulum")
    once = [path.read_bytes() for path in write(results, tmp_path / "one")]
    again = [path.read_bytes() for path in write(read(shelf, "made-up", "pendulum"), tmp_path / "two")]
    assert once == again
    assert markdown(results) == markdown(read(shelf, "made-up", "pendulum"))
    assert tidy_csv(results) == tidy_csv(read(shelf, "made-up", "pendulum"))


def test_a_figure_draws_what_there_is_and_says_what_is_missing(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=list(SHAPES), entrants=["pets", "sac"], seeds=1)
    for record in (tmp_path / "results" / "made-up" / "cartpole").glob("*/*.jsonl"):
        record.unlink()
    png, svg = write(read(tmp_path), tmp_path / "figures" / "curves")
    assert png.stat().st_size > 10_000
    text = svg.read_text()  # glyphs are paths; each text stands beside them in a comment
    for told in ("no finished trial", "cartpole / pets / seed 0: missing", "threshold: 2,000", "score 0: -1,230"):
        assert told in text


def test_an_entrant_that_ended_no_episode_is_named_where_episodes_are_drawn(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["dyna-maze", "cartpole", "blocking-maze"], entrants=["pets", "sac"], seeds=3)
    for record in (tmp_path / "results" / "made-up").glob("*/sac/*.jsonl"):
        lines = [line for line in record.read_text().splitlines(keepends=True) if '"kind":"episode"' not in line]
        record.write_text("".join(lines))
    results = read(tmp_path)
    _, svg = write(results, tmp_path / "curves")
    assert svg.read_text().count("no curve: sac") == 2  # a cumulative curve stays at 0
    assert "> 0 (n=3)" in markdown(results)


def test_an_entrant_keeps_its_colour_whoever_else_is_drawn(tmp_path: Path) -> None:
    write_suite(tmp_path, entrants=["mb-mpc", "sac", "uniform"], seeds=1)
    before = look(read(tmp_path), "uniform")
    (tmp_path / "results/made-up/hopper/sac/0.jsonl").unlink()
    assert look(read(tmp_path), "uniform") == look(read(tmp_path, "made-up", "pendulum"), "uniform") == before


def test_a_curve_has_the_kind_that_its_task_declares(tmp_path: Path) -> None:
    tasks = ["pendulum", "cartpole", "dyna-maze", "blocking-maze"]
    write_suite(tmp_path, tasks=tasks, entrants=["sac"], seeds=3)
    results = read(tmp_path)
    drawn = {task: curves(results.tasks[task], results.trials[task, "sac"]) for task in tasks}
    assert drawn["pendulum"].x.tolist() == list(range(0, 20_001, 2_000))
    assert np.isfinite(drawn["pendulum"].mean).all()
    assert np.isnan(drawn["cartpole"].mean[0])  # no episode has ended at step 0
    assert drawn["dyna-maze"].x[-1] == 50
    rewards = [len(trial.episode_step) for trial in results.trials["blocking-maze", "sac"]]
    assert drawn["blocking-maze"].mean[-1] == pytest.approx(np.mean(rewards))
