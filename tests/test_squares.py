"""Pairs of many entrants: squares in place of rows, both halves of them alike, and the page's choice of one entrant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis import forests, squares
from analysis.comparison import Comparison, Race, compare
from analysis.curves import CROWDED
from analysis.efficiency import RatioInterval, sample_efficiency_ratio
from analysis.figures_all import write_all
from analysis.report import page
from analysis.trials import Results, TaskFacts
from tests.browser import browser, opened
from tests.synthetic_records import ENTRANTS, read, write_suite

TASK = TaskFacts(
    name="task", env="e", budget=5_000, action_repeat=1, every=1_000, final_episodes=1, metric="return", threshold=1.0,
    score=None, curve="evaluation", protocol=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More entrants than rows of pairs are drawn for, on two tasks. Only read."""
    root = tmp_path_factory.mktemp("shelf")
    write_suite(root, tasks=["pendulum", "repeated"], entrants=ENTRANTS, seeds=3, every=5_000)
    return root


@pytest.fixture(scope="module")
def found(shelf: Path) -> tuple[Results, Comparison]:
    results = read(shelf)
    return results, compare(results)


def test_of_many_entrants_squares_are_drawn_and_no_rows_of_pairs(found: tuple[Results, Comparison]) -> None:
    assert len(ENTRANTS) == forests.MANY + 1
    assert forests.of_improvement(*found) == forests.of_ratios(*found) == []
    (square,) = squares.of_improvement(*found)
    assert square.labels == tuple(found[0].label(name) for name in found[0].entrants)
    assert {square.name for square in squares.of_ratios(*found)} == {"pendulum"}  # the other task has no threshold
    assert "ratios" not in dict(forests.nothing(*found))


def test_both_halves_of_a_square_say_the_same(found: tuple[Results, Comparison]) -> None:
    (square,) = squares.of_improvement(*found)
    for down, row in enumerate(square.rows):
        assert row[down] is None
        for along, pair in enumerate(row):
            if other := square.rows[along][down]:
                assert pair is not None
                assert pair.said.startswith(f"{square.labels[down]}, {square.labels[along]}: ")
                assert float(pair.shown) + float(other.shown) == pytest.approx(1, abs=0.011)
                assert (pair.tint, pair.sure) == (-other.tint, other.sure)
    worst = square.labels.index("uniform")
    assert {pair.shown for pair in square.rows[worst] if pair} == {"0.00"}
    assert {pair.tint for pair in square.rows[worst] if pair} == {-squares.STEPS}


def test_a_ratio_turned_is_that_of_the_other_to_the_one() -> None:
    # Medians 10 and 40 of a budget of 100: 40 / 10 one way, 10 / 40 the other. Censored: above 100, so above 10 times.
    there = sample_efficiency_ratio([10, 10, 10], [40, 40, 40], 100, rng=rng())
    assert (there.point, there.turned().point) == (4, 0.25)
    assert there.turned().low == there.turned().high == 0.25
    censored = sample_efficiency_ratio([10, 10, 10], [None, None, None], 100, rng=rng())
    assert (censored.least, censored.most) == (10, float("inf"))
    assert (censored.turned().least, censored.turned().most) == (0, 0.1)
    assert censored.turned().turned() == censored


def test_a_race_turned_is_that_of_the_other_against_the_one(found: tuple[Results, Comparison]) -> None:
    race = next(race for race in found[1].races if race.area and isinstance(race.ratio, RatioInterval))
    turned = race.turned()
    assert (turned.a, turned.b) == (race.b, race.a)
    assert turned.area is not None
    assert race.area is not None
    assert (turned.area.mean, turned.area.half) == (-race.area.mean, race.area.half)


@pytest.mark.parametrize(
    ("least", "most", "low", "high", "tint", "sure"),
    [
        (2.0, 2.0, 1.5, 3.0, 2, True),
        (2.0, 2.0, 0.9, 3.0, 2, False),
        (64.0, 64.0, None, None, 4, False),
        (0.0, 0.5, 0.0, 0.8, -2, True),
        (4.0, float("inf"), 2.0, float("inf"), 4, True),
        (0.0, float("inf"), 0.0, float("inf"), 0, False),
    ],
)
def test_a_tint_is_two_steps_for_each_doubling_and_never_more_than_is_known(
    found: tuple[Results, Comparison], least: float, most: float, low: Any, high: Any, tint: int, sure: bool
) -> None:
    ratio = RatioInterval(point=None, least=least, most=most, low=low, high=high, n=3)
    race = next(race for race in found[1].races if race.ratio)
    pair = squares._race(type(race)(task=race.task, a=race.a, b=race.b, ratio=ratio, area=None))
    assert pair is not None
    assert (pair.tint, pair.sure) == (tint, sure)


def test_one_mark_apart_on_a_coarse_grid_is_not_sure() -> None:
    """Seen at 1,000 and 2,000, every seed: it may have been 999 and 1,001."""
    marks = (0.0, 0.0, 0.0), (1000.0, 1000.0, 1000.0)
    ratio = sample_efficiency_ratio([1000] * 3, [2000] * 3, 5_000, since=marks, rng=rng())
    assert (ratio.point, ratio.least, ratio.most) == (2, 1, float("inf"))
    assert (ratio.low, ratio.high) == (1, float("inf"))
    pair = squares._race(Race(task=TASK, a="a", b="b", ratio=ratio, area=None))
    assert pair is not None
    assert (pair.shown, pair.sure, pair.tint) == ("2.00", False, 0)
    assert pair.said == "2.00 [1.00, ∞] (n=3)"
    far = sample_efficiency_ratio([1000] * 3, [4000] * 3, 5_000, since=((0.0,) * 3, (3000.0,) * 3), rng=rng())
    sure = squares._race(Race(task=TASK, a="a", b="b", ratio=far, area=None))
    assert sure is not None
    assert (far.low, sure.sure, sure.tint) == (3, True, 3)
    back = far.turned()
    assert (back.point, back.least, back.most, back.low, back.high) == (0.25, 0, 1 / 3, 0, 1 / 3)


def test_squares_are_written_beside_the_other_figures_always_the_same_bytes(shelf: Path, tmp_path: Path) -> None:
    paths, _ = write_all(read(shelf), tmp_path / "one")
    again, _ = write_all(read(shelf), tmp_path / "two")
    names = [path.name for path in paths]
    assert {"improvement-squares.png", "ratios-squares.svg"} <= set(names)
    assert not {"improvement.png", "ratios.png"} & set(names)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_on_the_page_one_entrant_is_chosen_from_the_crowd_and_let_go(shelf: Path) -> None:
    file = shelf / "report.html"
    file.write_text(page([str(shelf / "made-up.yaml")], shelf / "results"))
    with browser() as chromium, opened(chromium, file) as tab:
        assert len(ENTRANTS) > CROWDED
        assert tab.page.locator("table.square").count() == 2
        assert tab.page.locator(".crowded .band:visible").count() == 0
        chosen = tab.page.locator(".pick", has_text="sac")
        chosen.click()
        assert chosen.get_attribute("aria-pressed") == "true"
        panel = tab.page.locator(".panel", has_text="pendulum").first
        assert panel.locator(".band:visible").count() == panel.locator(".mean.picked").count() == 1
        assert panel.locator(".seed.picked").count() == 3
        chosen.click()
        assert tab.page.locator(".picked, .picking").count() == 0
        assert tab.complaints == []


def rng() -> Any:
    import numpy as np

    return np.random.default_rng(0)
