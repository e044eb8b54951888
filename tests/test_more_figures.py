"""Promises of the figures over seeds, tasks and pairs: stable bytes, nothing missing unsaid, honest ends."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from analysis import forests
from analysis.cells import cells
from analysis.comparison import compare
from analysis.figures_all import write_all
from analysis.profiles import profiles
from tests.synthetic_records import interrupt, read, write_suite


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks with a score, one whose threshold is reached, three entrants, five seeds and a hole. Only read."""
    root = tmp_path_factory.mktemp("shelf")
    write_suite(root, tasks=["pendulum", "repeated", "hopper"], entrants=["sac", "pets", "uniform"], every=5_000)
    interrupt(root / "results/made-up/pendulum/sac/1.jsonl", 300, 20_000, reason="out of memory")
    return root


def test_all_figures_are_drawn_and_the_same_records_give_the_same_bytes(shelf: Path, tmp_path: Path) -> None:
    once, undrawn = write_all(read(shelf), tmp_path / "one")
    again, _ = write_all(read(shelf), tmp_path / "two")
    names = ["curves", "seeds", "aggregates", "improvement", "ratios", "profiles"]
    assert [path.name for path in once] == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert undrawn == {}
    for one, other in zip(once, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    for name in ("seeds", "aggregates", "improvement", "ratios"):
        text = (tmp_path / "one" / f"{name}.svg").read_text()  # glyphs are paths; each text stands beside them
        assert "pendulum / sac / seed 1: failed: out of memory" in text


def test_a_figure_that_is_not_drawn_is_named_with_the_reason(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["cartpole"], entrants=["sac", "ppo"], seeds=1)
    paths, undrawn = write_all(read(tmp_path), tmp_path / "figures")
    assert {path.stem for path in paths} == {"curves", "seeds"}
    assert list(undrawn) == ["aggregates", "profiles", "improvement", "ratios"]
    assert "no `score` is declared" in undrawn["aggregates"]
    assert undrawn["ratios"] == "no task declares a `threshold`"


def test_every_seed_is_a_dot_and_the_interval_is_the_tables(shelf: Path) -> None:
    results = read(shelf)
    of_cells = {(cell.task.name, cell.entrant): cell for cell in cells(results)}
    for forest in forests.of_seeds(results):
        for row in forest.rows:
            cell = of_cells[forest.name, str(row.entrant)]
            assert row.dots == tuple(zip(cell.seeds, cell.values, strict=True))
            assert cell.final is not None
            assert (row.point, row.low, row.high) == (cell.final.mean, cell.final.low, cell.final.high)
            assert f"(n={len(cell.seeds)}" in row.said


def test_an_entrant_without_a_seed_keeps_its_row(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "ppo"], seeds=3)
    for record in (tmp_path / "results/made-up/pendulum/ppo").glob("*.jsonl"):
        record.unlink()
    (forest,) = forests.of_seeds(read(tmp_path))
    assert [(row.label, row.said) for row in forest.rows][1] == ("ppo", "(n=0 of 3)")


def test_a_ratio_of_which_nothing_is_known_is_counted_and_not_drawn(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["hopper"], entrants=["sac", "ppo", "uniform"], seeds=3)
    results = read(tmp_path)
    said = compare(results)
    (forest,) = forests.of_ratios(results, said)
    assert [row.label for row in forest.rows] == ["sac : ppo", "sac : uniform"]  # neither of the others gets there
    assert forests.untold(said) == [
        "hopper: 1 pair not drawn: of neither did half of the seeds reach the threshold"
    ]  # fmt: skip
    for row in forest.rows:
        assert row.point is None
        assert row.high == math.inf


def test_a_profile_is_the_share_of_runs_above_each_level(shelf: Path) -> None:
    results = read(shelf)
    (of,) = profiles(results, compare(results))
    shares = []
    for task in ("pendulum", "repeated"):
        score = results.tasks[task].score
        assert score is not None
        values = np.array([trial.final for trial in results.trials[task, "pets"]])
        shares.append([((values - score[0]) / (score[1] - score[0]) > tau).mean() for tau in of.taus])
    band = of.bands["pets"]
    assert band.point == pytest.approx(np.mean(shares, axis=0))
    assert band.low is not None
    assert band.high is not None
    assert (band.low <= band.point + 1e-12).all()
    assert (band.point <= band.high + 1e-12).all()
