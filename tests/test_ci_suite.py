"""Promises of the suite `ci` and its reference: every agent is in it, learning is visible, planted bugs are caught."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from analysis.drops import smallest_drop
from analysis.gate import Gate, judge
from analysis.sides import Side, read_side
from results.record import finished_records, read
from suites.runner.display import display
from suites.runner.sweep import Settings, Sweep
from suites.spec import Suite, load_suite
from tests.ci_share import FEWEST, PROCESSOR_SECONDS, SEEDS, costs, seeds, shares
from tests.planted import Bug, planted

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results"
MINUTES = 16.0  # of the whole suite with five seeds, on two cores of the slower kind of machine
NO_SCORES = {
    "agents.predictor",  # acts at random whatever it learns; its errors are under test_predictor
    "baselines.scripted",  # learns nothing, acts as it is told; under test_scripted
}
FRESH = range(10, 15)  # what `--seeds +5` is here


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("ci")


@pytest.fixture(scope="module")
def recorded(suite: Suite) -> dict[tuple[str, str], Side]:
    pairs = list(dict.fromkeys((trial.task, trial.entrant) for trial in suite.trials()))
    return read_side(REFERENCE / "ci", pairs, {name: task.metric for name, task in suite.tasks.items()})


def run(folder: Path, task: str, entrant: str, bug: Bug, fresh: Iterable[int] = FRESH) -> Gate:
    """Fresh seeds of one cell by its agent with a bug planted in it, through the gate."""
    suite = load_suite("ci").model_copy(update={"seeds": tuple(fresh)})
    trials = [planted(trial, bug) for trial in suite.trials([task], [entrant])]
    assert Sweep(trials, Settings(results=folder, workers=2), display()).run() == 0
    return judge(suite, folder, REFERENCE, rng=np.random.default_rng(0), tasks=[task], entrants=[entrant])


def test_every_agent_is_in_the_suite(suite: Suite) -> None:
    def is_agent(path: Path) -> bool:
        names = {getattr(node, "name", None) for node in ast.parse(path.read_text()).body}
        return {"Config", "make"} <= names

    found = {f"{path.parent.name}.{path.stem}" for room in ("agents", "baselines") for path in ROOT.glob(f"{room}/*.py")
             if is_agent(path)}  # fmt: skip
    entered = {entrant.agent for entrant in suite.entrants.values()}
    missing = found - entered - NO_SCORES
    assert not missing, f"expected every agent in suites/ci.yaml, with a task that it learns in seconds: {missing}"


def test_the_reference_is_ten_seeds_of_every_cell(suite: Suite, recorded: dict[tuple[str, str], Side]) -> None:
    for pair, side in recorded.items():
        assert [trial.seed for trial in side.trials] == list(suite.seeds), f"{pair}: python -m suites run ci"
        assert not side.holes


def test_five_fresh_seeds_could_see_every_learner_fall_back_to_a_uniform_policy(
    suite: Suite, recorded: dict[tuple[str, str], Side]
) -> None:
    for (task, entrant), side in recorded.items():
        if entrant != "uniform":
            sign = -1 if suite.tasks[task].metric == "length" else 1
            assert sees_fall(side, recorded[task, "uniform"], sign, SEEDS, 0.05 / len(recorded)), f"{task}/{entrant}"


def test_so_could_the_three_of_those_that_are_too_dear_for_five(
    suite: Suite, recorded: dict[tuple[str, str], Side]
) -> None:
    cost = costs(REFERENCE / "ci")
    dear = [name for name in cost if seeds([name], cost, PROCESSOR_SECONDS) < SEEDS]
    cells = [pair for pair in recorded if pair[1] in dear]
    for task, entrant in cells:
        share = 0.05 / sum(name == entrant for _, name in cells)
        fewer = seeds([entrant], cost, PROCESSOR_SECONDS)
        sign = -1 if suite.tasks[task].metric == "length" else 1
        assert sees_fall(recorded[task, entrant], recorded[task, "uniform"], sign, fewer, share), f"{task}/{entrant}"


def sees_fall(side: Side, uniform: Side, sign: int, fresh: int, share: float) -> bool:
    """Whether so many fresh seeds could see this learner fall back to a uniform policy."""
    scores, chance = (sign * np.array(of.values) for of in (side, uniform))
    sees = smallest_drop(chance[:fresh], scores, share)
    return sees is not None and bool(sees < scores.mean() - chance.mean())


def test_the_suite_takes_two_cores_a_quarter_of_an_hour() -> None:
    assert sum(costs(REFERENCE / "ci").values()) / 2 < 60 * MINUTES


def test_each_entrant_is_in_one_share_and_a_share_takes_a_hundred_seconds() -> None:
    cost = costs(REFERENCE / "ci")
    found = shares(cost, PROCESSOR_SECONDS)
    assert sorted(name for share in found for name in share) == sorted(load_suite("ci").entrants)
    for share in found:
        fresh = seeds(share, cost, PROCESSOR_SECONDS)
        assert fresh >= FEWEST
        assert fresh / SEEDS * sum(cost[name] for name in share) / 2 <= 100, share
    assert len(found) == len(shares(dict(reversed(cost.items())), PROCESSOR_SECONDS))


def test_an_entrant_too_dear_for_a_share_has_one_of_its_own() -> None:
    assert shares({"a": 3.0, "b": 30.0, "c": 5.0, "d": 6.0}, 10.0) == [["b"], ["d", "a"], ["c"]]


def test_a_share_that_lasts_too_long_has_fewer_fresh_seeds_and_three_at_least() -> None:
    cost = {"a": 100.0, "b": 101.0, "c": 140.0, "d": 1_000.0}
    assert [seeds([name], cost, 100.0) for name in cost] == [5, 4, 3, 3]
    assert seeds(["a", "b"], cost, 100.0) == 3  # 2.5 would fit


def test_the_share_is_printed_as_options_of_the_commands(suite: Suite) -> None:
    words = subprocess.run(
        [sys.executable, "-m", "tests.ci_share"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    options = words.stdout.split()
    assert options[::2] == ["--seeds"] + ["--entrant"] * (len(options) // 2 - 1)
    assert options[1] in ("+3", "+4", "+5")
    assert set(options[3::2]) <= set(suite.entrants)
    assert len(options) >= 4


def test_the_agent_itself_passes(tmp_path: Path) -> None:
    found = run(tmp_path, "dyna-maze", "dyna-q", "none")
    assert (found.cells[0].verdict, found.exit_code) == ("pass", 0)
    for path in finished_records(tmp_path / "ci"):
        assert read(path).header["agent"] == "tests.planted"


@pytest.mark.parametrize("bug", ["flipped-reward", "ignored-model"])
def test_an_agent_with_a_flipped_reward_or_an_ignored_model_is_caught(tmp_path: Path, bug: Bug) -> None:
    found = run(tmp_path, "dyna-maze", "dyna-q", bug)
    assert (found.cells[0].verdict, found.exit_code) == ("regress", 3)


def test_a_planner_that_ignores_its_network_is_caught(tmp_path: Path) -> None:
    found = run(tmp_path, "pendulum", "mb-mpc", "ignored-model", FRESH[:FEWEST])
    assert (found.cells[0].verdict, found.exit_code) == ("regress", 3)
