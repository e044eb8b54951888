"""CMA-ES with its own generator: finds optima, mirrors its samples, and resumes bit for bit, also in a new process."""

from __future__ import annotations

import subprocess
import sys
from inspect import isclass, isroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.parts import saving
from agents.parts.evolution import Evolution

KINDS = [{"antithetic": antithetic, "diagonal": diagonal} for antithetic in (True, False) for diagonal in (True, False)]
each_kind = pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: "-".join(name for name, on in kind.items() if on) or "plain"
)

# What cma keeps beside that to know when to stop, of which it is never asked, and for reports.
DIAGNOSTICS = tuple(
    f"_es.{name}"
    for name in (
        "fit.hist",
        "best.",
        "timer.",
        "logger.timer",
        "_stoptolxstagnation.",
        "more_to_write.",
        "adapt_sigma.delta",
    )
)


def evolution(size: int = 30, population: int = 12, seed: int = 3, **kind: Any) -> Evolution:
    return Evolution(size, population=population, sigma=0.3, seed=seed, **kind)


def returns(candidates: np.ndarray, generation: int) -> np.ndarray:
    """A noisy hill whose noise is a function of the generation."""
    noise = np.random.default_rng(generation).standard_normal(len(candidates))
    scales = np.linspace(1.0, 30.0, candidates.shape[1])
    return -(scales * (candidates - 1.0) ** 2).sum(1) + 5.0 * noise


def advance(evolving: Evolution, generations: int) -> Evolution:
    for _ in range(generations):
        evolving.tell(returns(evolving.ask(), evolving.generation))
    return evolving


def through_a_file(evolving: Evolution, folder: Path, **kind: Any) -> Evolution:
    """What comes out of the file that its state went into."""
    folder.mkdir(exist_ok=True)
    saving.write(folder, evolving.state())
    resumed = evolution(evolving.size, evolving.population, seed=99, **kind)
    resumed.restore(saving.read(folder))
    return resumed


@each_kind
def test_it_finds_the_optimum_of_a_shifted_quadratic(kind):
    evolving = Evolution(10, population=16, sigma=0.5, seed=0, start=np.full(10, -1.0), **kind)
    target = np.arange(10) / 2 - 1
    for _ in range(250):
        evolving.tell(-((evolving.ask() - target) ** 2).sum(1))
    np.testing.assert_allclose(evolving.mean, target, atol=1e-6)
    assert evolving.generation == 250
    assert evolving.sigma < 1e-5


def test_the_first_generation_spreads_by_sigma_about_the_start():
    evolving = Evolution(500, population=100, sigma=0.2, seed=1, antithetic=False, start=np.full(500, 3.0))
    candidates = evolving.ask()
    assert candidates.shape == (100, 500)
    assert candidates.mean() == pytest.approx(3.0, abs=5 * 0.2 / 50_000**0.5)
    assert candidates.std() == pytest.approx(0.2, rel=0.02)
    np.testing.assert_allclose(evolving.deviations, 0.2, rtol=1e-3)
    np.testing.assert_array_equal(evolving.mean, 3.0)


@pytest.mark.parametrize("diagonal", [True, False])
def test_antithetic_pairs_are_symmetric_about_the_mean(diagonal):
    evolving = advance(evolution(diagonal=diagonal), 20)
    first, second = np.split(evolving.ask(), 2)
    np.testing.assert_allclose((first + second) / 2, np.tile(evolving.mean, (6, 1)), rtol=0, atol=1e-12)
    assert np.abs(first - second).min(1).max() > 1e-4


def test_four_candidates_are_two_pairs_in_every_generation():
    small = evolution(size=20, population=4)
    for _ in range(5):
        candidates = small.ask()
        assert np.allclose(candidates[:2] + candidates[2:], 2 * small.mean)
        small.tell(-np.square(candidates).sum(1))


def test_without_antithetic_no_candidate_mirrors_another():
    candidates = evolution(antithetic=False).ask()
    middles = (candidates[:, None] + candidates[None]) / 2
    assert np.abs(middles).max(2).min() > 0.01


def test_selection_takes_one_of_each_pair():
    # Pairs (0, 3), (1, 4), (2, 5). Winners, best first: 1 (9), 5 (7), 0 (2); losers: 4 (8), 2 (6), 3 (-inf).
    values = np.array([2.0, 9.0, 6.0, -np.inf, 8.0, 7.0])
    assert evolution(population=6)._ranks(values).tolist() == [2, 0, 4, 5, 3, 1]
    assert evolution(population=6, antithetic=False)._ranks(values).tolist() == [4, 0, 3, 5, 1, 2]


@each_kind
def test_the_new_mean_is_made_of_the_winners(kind):
    evolving = evolution(population=4, **kind)
    candidates = evolving.ask().copy()
    evolving.tell(np.array([1.0, 5.0, 4.0, 2.0]))  # 2 beats 0 and 1 beats 3: winners 1, 2 either way
    weights = np.linalg.lstsq(candidates[[1, 2]].T, evolving.mean, rcond=None)[0]
    np.testing.assert_allclose(weights @ candidates[[1, 2]], evolving.mean, atol=1e-12)
    assert weights[0] > weights[1] > 0
    assert weights.sum() == pytest.approx(1.0)


@each_kind
def test_noise_alone_does_not_shrink_the_step_size(kind):
    evolving, rng = evolution(size=100, population=20, **kind), np.random.default_rng(5)
    for _ in range(150):
        evolving.ask()
        evolving.tell(rng.standard_normal(20))
    assert 0.45 < evolving.sigma / 0.3 < 2.2  # mirrored without selection: 0.15 to 0.26, by the seed


def test_ties_go_to_the_first_asked_and_nan_counts_as_the_worst():
    ranks = evolution(population=4, antithetic=False)._ranks
    assert ranks(np.zeros(4)).tolist() == [0, 1, 2, 3]
    told, worst = evolution(population=4), evolution(population=4)
    for evolving, bad in ((told, np.nan), (worst, -np.inf)):
        evolving.ask()
        evolving.tell(np.array([bad, 1.0, 1.0, 0.0]))
    assert told.mean.tolist() == worst.mean.tolist()


@pytest.mark.parametrize("flat", [0.0, np.nan, -np.inf, np.inf])
def test_generations_that_tell_nothing_apart_are_survived(flat):
    evolving = evolution()
    for _ in range(30):
        evolving.ask()
        evolving.tell(np.full(12, flat))
    assert np.isfinite(evolving.mean).all()
    assert 0.01 < evolving.sigma < 10


def test_the_candidates_stay_the_same_until_told_and_cannot_be_spoilt():
    evolving, other = evolution(), evolution()
    asked = evolving.ask()
    assert evolving.ask() is asked
    told = returns(asked, 0)
    asked[:] = 0.0
    evolving.tell(told)
    advance(other, 1)
    assert evolving.mean.tolist() == other.mean.tolist()
    evolving.mean[:] = 7.0
    assert evolving.mean.tolist() == other.mean.tolist()


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match="even if antithetic, found 7"):
        evolution(population=7)
    with pytest.raises(ValueError, match="2 parameters or more, found 1"):
        evolution(size=1)
    evolving = evolution()
    with pytest.raises(RuntimeError, match="that nobody asked for"):
        evolving.tell(np.zeros(12))
    evolving.ask()
    with pytest.raises(ValueError, match="expected 12 returns, one of each candidate, found 11"):
        evolving.tell(np.zeros(11))
    with pytest.raises(ValueError, match="make this one with the same settings"):
        evolution(diagonal=True).restore(evolving.state())


def test_it_leaves_the_global_generator_files_and_terminal_alone(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text('{"popsize": 5, "timeout": 0}')
    before = np.random.get_state()  # noqa: NPY002 - it is what is to stay as it was
    resumed = evolution()
    resumed.restore(advance(evolution(), 5).state())
    advance(resumed, 3)
    for part, now in zip(before, np.random.get_state(), strict=True):  # noqa: NPY002
        assert np.array_equal(part, now)
    assert [path.name for path in tmp_path.iterdir()] == ["cma_signals.in"]
    assert capfd.readouterr() == ("", "")


def test_two_at_once_do_not_influence_each_other():
    alone = advance(evolution(), 8)
    one, other = evolution(), evolution(seed=4, size=31, diagonal=True)
    for _ in range(8):
        candidates = one.ask()
        advance(other, 1)
        one.tell(returns(candidates, one.generation))
    assert one.mean.tolist() == alone.mean.tolist()
    assert evolution().ask().tolist() != evolution(seed=4).ask().tolist()


def differences(one: Any, other: Any, name: str, seen: set[int]) -> list[str]:
    """Names of all that differs in two objects, whatever they hold; arrays in memory layout, too."""
    if id(one) in seen or isroutine(one) or isclass(one):
        return []
    if isinstance(one, np.ndarray):
        same = np.array_equal(one, other) and one.strides == other.strides
        return [] if same else [name]
    if isinstance(one, int | float):
        return [] if one == other or (one != one and other != other) else [name]
    parts = one if isinstance(one, dict) else getattr(one, "__dict__", None)
    if parts is None or isinstance(one, torch.Tensor):
        return [] if repr(one) == repr(other) else [name]
    seen.add(id(one))
    others = other if isinstance(other, dict) else other.__dict__
    found = [f"{name}.{key} is missing" for key in parts.keys() ^ others.keys()]
    for key in parts.keys() & others.keys():
        found += differences(parts[key], others[key], f"{name}.{key}", seen)
    return found


@each_kind
@pytest.mark.parametrize("asked", [False, True], ids=["told", "asked"])
def test_a_resumed_evolution_is_the_same_to_the_bit(kind, asked, tmp_path):
    straight = advance(evolution(**kind), 7)
    if asked:
        straight.ask()
    resumed = through_a_file(straight, tmp_path, **kind)
    if asked:
        assert resumed._asked.tolist() == straight._asked.tolist()
    for _ in range(12):
        np.testing.assert_array_equal(resumed.ask(), straight.ask())
        assert differences(resumed.state(), straight.state(), "state", set()) == []
        advance(resumed, 1)
        advance(straight, 1)
    assert (resumed.sigma, resumed.generation) == (straight.sigma, 19)


@each_kind
def test_nothing_of_cma_is_left_out_of_the_state_but_diagnostics(kind, tmp_path):
    straight = advance(evolution(**kind), 7)
    resumed = through_a_file(straight, tmp_path, **kind)
    advance(straight, 1)
    advance(resumed, 1)
    found = differences(straight._es, resumed._es, "_es", set())
    assert [name for name in found if not name.startswith(DIAGNOSTICS)] == []
    assert "_es.fit.hist" in found  # so differences are seen


def test_a_state_does_not_change_while_the_evolution_goes_on():
    evolving = advance(evolution(), 3)
    state, expected = evolving.state(), evolving.ask().copy()
    advance(evolving, 5)
    for _ in range(2):  # nor is it used up
        resumed = evolution()
        resumed.restore(state)
        np.testing.assert_array_equal(resumed.ask(), expected)
        advance(resumed, 5)
        np.testing.assert_array_equal(resumed.mean, evolving.mean)


IN_A_NEW_PROCESS = """
import sys
from pathlib import Path
from agents.parts import saving
from tests.test_evolution import KINDS, advance, evolution

for number, kind in enumerate(KINDS):
    for asked in (False, True):
        resumed = evolution(120, 16, seed=99, **kind)
        resumed.restore(saving.read(Path(sys.argv[1]) / f"{number}{asked}"))
        print(advance(resumed, 6).mean.tobytes().hex(), resumed.sigma.hex())
"""


def test_a_new_process_goes_on_to_the_bit(tmp_path):
    expected = []
    for number, kind in enumerate(KINDS):
        for asked in (False, True):
            evolving = advance(evolution(120, 16, **kind), 5)
            if asked:
                evolving.ask()
            folder = tmp_path / f"{number}{asked}"
            folder.mkdir()
            saving.write(folder, evolving.state())
            advance(evolving, 6)
            expected.append(f"{evolving.mean.tobytes().hex()} {evolving.sigma.hex()}")
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == expected
