"""Planners find known optima, agree with brute force, begin where they left off, and keep to a cost limit."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from scipy import stats

from agents.parts.actions import ActionVectors
from agents.parts.icem import ICEM, colouring
from agents.parts.objective import Objective
from agents.parts.planners import CEM, MPPI, path_weights, planner
from agents.parts.planning import REJECTED, PlannerConfig, Proposal, limited
from suites.envs import exam

# Enough iterations and, for MPPI, a low enough temperature to come close to the optimum of a smooth problem.
SEARCHES = {
    "cem": PlannerConfig(planner="cem", candidates=500, elites=50, iterations=20, least_variance=1e-10),
    "icem": PlannerConfig(planner="icem", candidates=500, elites=25, iterations=15, noise_exponent=0.5),
    "mppi": PlannerConfig(planner="mppi", candidates=50_000, iterations=20, temperature=0.005, perturbation=0.12),
}
each_search = pytest.mark.parametrize("config", SEARCHES.values(), ids=SEARCHES.keys())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def box(low: float = -1.0, high: float = 1.0, size: int = 1) -> ActionVectors:
    return ActionVectors(Box(low, high, (size,), np.float32))


def lqr(horizon: int, price: float = 0.0) -> tuple[Any, torch.Tensor, float]:
    """A double integrator under x'Qx + u'Ru: the returns of action sequences, the best plan and its return.

    The best plan by the Riccati recursion: P = Q + A'P(A - BK), K = (R + B'PB)^-1 B'PA, u = -Kx. For a planner to
    which action costs something by itself, ``price`` is added to R in it, but not in the returns.
    """
    a, b = np.array([[1.0, 0.2], [0.0, 1.0]]), np.array([[0.0], [0.2]])
    q, r, start = np.diag([1.0, 0.1]), np.array([[0.1 + price]]), np.array([0.3, 0.1])
    gains, p = [], q
    for _ in range(horizon):
        gain = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)
        gains.append(gain)
        p = q + a.T @ p @ (a - b @ gain)
    state, plan = start, []
    for gain in reversed(gains):
        plan.append(-gain @ state)
        state = a @ state + b @ plan[-1]
    at, bt, qt = (torch.tensor(x, dtype=torch.float32) for x in (a, b, q))

    def returns(sequences: torch.Tensor) -> torch.Tensor:
        x = torch.tensor(start, dtype=torch.float32)[:, None].expand(-1, sequences.shape[2])
        total = torch.zeros(sequences.shape[2])
        for u in sequences:
            total = total - (x * (qt @ x)).sum(0) - 0.1 * u.square().sum(0)
            x = at @ x + bt @ u
        return total - (x * (qt @ x)).sum(0)

    return returns, torch.tensor(np.stack(plan), dtype=torch.float32), float(-start @ p @ start)


def test_the_lqr_of_these_tests_is_solved_by_its_riccati_plan():
    returns, best, value = lqr(8)
    assert float(returns(best[:, :, None])[0]) == pytest.approx(value, rel=1e-5)
    nearby = best[:, :, None] + 0.1 * torch.randn(8, 1, 1000, generator=seeded())
    assert float(returns(nearby).max()) < value
    assert float(best.abs().max()) < 1.0  # no bound is met, so Riccati's plan is the best of those that are allowed


@each_search
def test_a_planner_finds_the_riccati_solution_of_an_lqr_problem(config):
    """MPPI's own price of action is temperature / (2 sigma^2) times its square."""
    price = config.temperature / (2.0 * config.perturbation**2) if config.planner == "mppi" else 0.0
    returns, best, _ = lqr(8, price)
    plan = planner(box(), replace(config, horizon=8)).plan(returns, seeded())
    assert float(returns(plan[:, :, None])[0]) >= 1.003 * float(returns(best[:, :, None])[0])
    torch.testing.assert_close(plan[0], best[0], atol=0.05, rtol=0.0)


@each_search
def test_a_planner_finds_the_top_of_a_quadratic(config):
    """For MPPI the top of -(u - target)^2 and the price of its action, as above, paid from the middle of the range."""
    tilted = ActionVectors(Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 2.0], np.float32)))
    target, middle = torch.tensor([[1.0, 0.6], [-0.4, 1.5], [0.0, 1.0]]), torch.tensor([0.0, 1.0])
    plan = planner(tilted, replace(config, horizon=3)).plan(
        lambda x: -(x - target[:, :, None]).square().sum((0, 1)), seeded()
    )
    sigma = config.perturbation * torch.tensor([2.0, 1.0])
    price = config.temperature / (2.0 * sigma.square()) if config.planner == "mppi" else torch.zeros(2)
    torch.testing.assert_close(plan, (target + price * middle) / (1.0 + price), atol=0.05, rtol=0.0)


@each_search
def test_a_planner_agrees_with_brute_force_where_there_are_several_peaks(config):
    def returns(sequences: torch.Tensor) -> torch.Tensor:
        x, y = sequences[0, 0], sequences[1, 0]
        return (3.0 * x).sin() * (2.0 * y + 1.0).cos() + 0.3 * x - 0.2 * y.square()

    grid = torch.linspace(-1.0, 1.0, 401)
    every = torch.cartesian_prod(grid, grid).T[:, None]
    best = every[:, :, returns(every).argmax()]
    plan = planner(box(), replace(config, horizon=2)).plan(returns, seeded())
    torch.testing.assert_close(plan, best, atol=0.04, rtol=0.0)


@each_search
def test_a_planner_agrees_with_brute_force_on_a_small_discrete_problem(config):
    worth = torch.randn(4, 3, generator=seeded(3))

    def returns(sequences: torch.Tensor) -> torch.Tensor:
        """Worth of each step's action, and a price for choosing the same twice in a row."""
        kept = (sequences[1:] * sequences[:-1]).sum(1)
        return (sequences * worth[:, :, None]).sum((0, 1)) - 2.0 * kept.sum(0)

    every = torch.stack([torch.eye(3)[list(path)] for path in product(range(3), repeat=4)], 2)
    best = every[:, :, returns(every).argmax()]
    plan = planner(ActionVectors(Discrete(3)), replace(config, horizon=4, elites=10)).plan(returns, seeded())
    torch.testing.assert_close(plan, best)


@pytest.mark.parametrize("name", ["shooting", "cem", "icem", "mppi"])
def test_a_plan_fixed_before_the_question_declines_the_exam(name):
    """Open loop, by averages over particles: one for each question of an exam with three digits."""
    sums = torch.tensor([a + b for a in range(3) for b in range(3)])

    def returns(sequences: torch.Tensor) -> torch.Tensor:
        accepts, answer = sequences[0].argmax(0) != exam.DECLINE, sequences[1].argmax(0)
        right = answer[:, None] == sums
        return accepts * torch.where(right, exam.CORRECT, exam.WRONG).mean(1)

    config = PlannerConfig(planner=name, horizon=2, candidates=200, elites=20, temperature=100.0)
    plan = planner(ActionVectors(Discrete(5)), config).plan(returns, seeded())
    assert int(plan[0].argmax()) == exam.DECLINE


# -- the cross-entropy method -------------------------------------------------------------------------------------


def test_cem_moves_mean_and_variance_by_the_elites_and_keeps_a_share_of_the_old():
    """One iteration by hand: momentum 0.25 of mean 0 and variance 1/4, the rest of the two best of five."""
    config = PlannerConfig(planner="cem", horizon=1, candidates=5, elites=2, iterations=1, momentum=0.25)
    seen: list[torch.Tensor] = []
    plan = CEM(box(), config).plan(lambda x: seen.append(x) or x[0, 0], seeded())
    best = seen[0][0, 0].sort().values[-2:]
    assert float(plan[0, 0]) == pytest.approx(0.75 * float(best.mean()), rel=1e-5)

    seen.clear()
    CEM(box(), replace(config, iterations=2)).plan(lambda x: seen.append(x) or x[0, 0], seeded())
    best = seen[0][0, 0].sort().values[-2:]
    mean, var = 0.75 * float(best.mean()), 0.25 * 0.25 + 0.75 * float(best.var(correction=0))
    deviation = min(var**0.5, (1.0 - mean) / 2)
    second = Proposal(box(), 1).truncated(torch.tensor([[mean]]), torch.tensor([[var]]), torch.tensor([[[0.999999]]]))
    assert float(second) == pytest.approx(mean + 2 * deviation, rel=1e-3)
    assert float((seen[1] - mean).abs().max()) <= 2 * deviation + 1e-6


def test_cem_draws_from_a_normal_distribution_cut_at_two_deviations_and_inside_the_bounds():
    proposal, n = Proposal(box(-1.0, 3.0), 1), 200_000
    uniform = proposal.uniform(n, seeded())
    wide = proposal.truncated(torch.tensor([[1.0]]), torch.tensor([[0.25]]), uniform)[0, 0].numpy()
    assert stats.kstest(wide, stats.truncnorm(-2, 2, loc=1.0, scale=0.5).cdf).pvalue > 0.01
    near = proposal.truncated(torch.tensor([[2.8]]), torch.tensor([[4.0]]), uniform)[0, 0].numpy()
    assert stats.kstest(near, stats.truncnorm(-2, 2, loc=2.8, scale=0.1).cdf).pvalue > 0.01  # half the way to 3
    assert near.max() <= 3.0


@pytest.mark.parametrize("high", [0.01, 1.0, 100.0])
def test_cem_stops_when_its_variance_is_small_whatever_the_size_of_actions(high):
    calls: list[int] = []
    config = PlannerConfig(planner="cem", horizon=2, candidates=100, elites=5, iterations=50, least_variance=1e-3)
    CEM(box(-high, high), config).plan(lambda x: calls.append(1) or -x.square().sum((0, 1)), seeded())
    assert 3 <= len(calls) < 10


def test_cem_draws_discrete_actions_by_their_probabilities():
    proposal = Proposal(ActionVectors(Discrete(3)), 2)
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    drawn = proposal.chosen(probabilities, proposal.uniform(50_000, seeded()))
    torch.testing.assert_close(drawn.mean(2), probabilities, atol=0.01, rtol=0.0)
    assert torch.equal(drawn.sum(1), torch.ones(2, 50_000))


# -- warm starts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cem", "mppi"])
def test_a_warm_start_is_the_last_plan_one_step_later_and_the_middle_at_its_end(name):
    made = planner(box(-1.0, 2.0), replace(SEARCHES[name], horizon=3))
    assert isinstance(made, CEM | MPPI)
    plan = made.plan(lambda x: -(x[:, 0] - torch.tensor([[0.5], [-0.3], [0.2]])).square().sum(0), seeded())
    assert made.mean is not None
    assert torch.equal(made.mean[:2], plan[1:])
    assert float(made.mean[2]) == 0.5
    made.forget()
    assert made.mean is None


def test_icem_begins_with_its_last_mean_one_step_later_and_repeats_the_end():
    made = ICEM(box(-1.0, 2.0), replace(SEARCHES["icem"], horizon=3))
    made.plan(lambda x: -(x[:, 0] - torch.tensor([[0.5], [-0.3], [0.2]])).square().sum(0), seeded())
    assert made.mean is not None
    torch.testing.assert_close(made.mean[:, 0], torch.tensor([-0.3, 0.2, 0.2]), atol=0.02, rtol=0.0)
    made.forget()
    assert made.mean is None
    assert made.elites is None


def test_half_of_a_discrete_warm_start_is_uniform():
    made = CEM(ActionVectors(Discrete(4)), PlannerConfig(planner="cem", horizon=2, candidates=100, elites=5))
    made.plan(lambda x: x[0, 2] + x[1, 1], seeded())
    assert made.mean is not None
    torch.testing.assert_close(made.mean[0], torch.tensor([0.125, 0.625, 0.125, 0.125]), atol=0.01, rtol=0.0)
    torch.testing.assert_close(made.mean[1], torch.full((4,), 0.25))


@pytest.mark.parametrize("name", ["shooting", "cem", "icem", "mppi"])
@pytest.mark.parametrize("space", [Box(-1.0, 1.0, (2,), np.float32), Discrete(3)], ids=["box", "discrete"])
def test_a_planner_restored_plans_as_the_one_that_was_saved(name, space):
    actions = ActionVectors(space)
    config = PlannerConfig(planner=name, horizon=5, candidates=30, elites=5)
    worth = torch.randn(5, actions.size, 1, generator=seeded(5))
    returns = lambda x: (x * worth).sum((0, 1))
    first, second, generator = planner(actions, config), planner(actions, config), seeded()
    for _ in range(3):
        first.plan(returns, generator)
    second.restore(first.state())
    other = torch.Generator()
    other.set_state(generator.get_state())
    for _ in range(3):
        assert torch.equal(first.plan(returns, generator), second.plan(returns, other))


# -- iCEM ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0, 3.5])
@pytest.mark.parametrize("steps", [15, 16])
def test_coloured_noise_has_the_stated_spectrum_and_variance_one_at_every_step(exponent, steps):
    matrix = colouring(steps, exponent).double()
    covariance = matrix @ matrix.T
    torch.testing.assert_close(covariance.diagonal(), torch.ones(steps).double(), atol=1e-5, rtol=0.0)
    power = torch.fft.fft(covariance[0]).real  # of a circulant covariance: its eigenvalues
    torch.testing.assert_close(covariance[3], covariance[0].roll(3), atol=1e-5, rtol=0.0)
    for k in range(2, steps // 2 + 1):
        assert float(power[k] / power[1]) == pytest.approx(k**-exponent, rel=1e-3)
    assert float(power[0]) == pytest.approx(float(power[1]), rel=1e-4)


def test_coloured_noise_of_exponent_0_is_white():
    matrix = colouring(12, 0.0)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(12), atol=1e-5, rtol=0.0)


def test_icem_draws_ever_fewer_candidates_and_sees_a_share_of_the_elites_again():
    """100, then 100 / 1.25 and so on, no fewer than twice the elites; int(0.3 * 10) elites of the step before."""
    counts: list[int] = []
    config = PlannerConfig(planner="icem", horizon=3, candidates=40, elites=10, iterations=5)
    made = ICEM(box(), config)
    returns = lambda x: counts.append(x.shape[2]) or -x.square().sum((0, 1))
    made.plan(returns, seeded())
    assert counts == [40, 32, 25, 20, 20]
    counts.clear()
    made.plan(returns, seeded())
    assert counts == [43, 32, 25, 20, 20]


def test_icem_shifts_its_best_elites_into_the_next_step():
    config = PlannerConfig(planner="icem", horizon=4, candidates=40, elites=10, iterations=3)
    made, seen = ICEM(box(), config), []
    returns = lambda x: seen.append(x) or -x.square().sum((0, 1))
    made.plan(returns, seeded())
    assert made.elites is not None
    elites = made.elites.clone()
    seen.clear()
    made.plan(returns, seeded(1))
    assert torch.equal(seen[0][:-1, :, 40:], elites[1:, :, :3])


@pytest.mark.parametrize("elites", [1, 3, 10])
def test_icem_executes_the_best_candidate_that_it_saw(elites):
    best: list[tuple[float, torch.Tensor]] = []
    bumpy = lambda x: (7.0 * x).sin().sum((0, 1)) - x.square().sum((0, 1))

    def returns(x: torch.Tensor) -> torch.Tensor:
        scores = bumpy(x)
        best.append((float(scores.max()), x[:, :, scores.argmax()].clone()))
        return scores

    config = PlannerConfig(planner="icem", horizon=3, candidates=50, elites=elites, iterations=4)
    for seed in range(20):
        best.clear()
        plan = ICEM(box(), config).plan(returns, seeded(seed))
        assert torch.equal(plan, max(best, key=lambda pair: pair[0])[1])


def test_icem_tries_its_mean_in_the_last_iteration():
    seen: list[torch.Tensor] = []
    config = PlannerConfig(planner="icem", horizon=2, candidates=20, elites=10, iterations=2, momentum=0.0, reuse=0.0)
    ICEM(box(), config).plan(lambda x: seen.append(x) or x.sum((0, 1)), seeded())
    best = seen[0][:, :, seen[0].sum((0, 1)).topk(10).indices]
    torch.testing.assert_close(seen[1][:, :, 0], best.mean(2))


# -- MPPI ---------------------------------------------------------------------------------------------------------


def test_mppi_weights_equal_hand_worked_ones():
    """Temperature 2: returns 0, -2 ln 3 and -2 ln 6 weigh 1, 1/3 and 1/6, of 3/2 together."""
    weights = path_weights(torch.tensor([0.0, -2.0 * log(3.0), -2.0 * log(6.0)]) + 50.0, 2.0)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 2 / 9, 1 / 9]))


def test_mppi_gives_a_diverged_plan_no_weight_and_survives_if_all_diverged():
    infinite = -torch.inf
    torch.testing.assert_close(path_weights(torch.tensor([1.0, infinite, 1.0]), 1e-3), torch.tensor([0.5, 0.0, 0.5]))
    torch.testing.assert_close(path_weights(torch.full((4,), infinite), 1e-3), torch.full((4,), 0.25))


def test_mppi_moves_to_the_mean_that_its_formula_promises():
    """Algorithm 2 aims at the mean of exp(return / temperature) times N(0, sigma^2). For a return of -c (u - a)^2 / 2
    that is (c a / temperature) / (1 / sigma^2 + c / temperature), whatever mean the noise was drawn around. The bounds
    are too far away to matter."""
    config = PlannerConfig(
        planner="mppi", horizon=1, candidates=400_000, iterations=1, temperature=0.5, perturbation=0.01
    )
    made = MPPI(box(-100.0, 100.0), config)  # sigma 1
    for mean in (0.0, 0.4):
        made.mean = torch.tensor([[mean]])
        plan = made.plan(lambda x: -1.5 * (x[0, 0] - 0.8).square() / 2, seeded())
        assert float(plan) == pytest.approx((1.5 * 0.8 / 0.5) / (1.0 + 1.5 / 0.5), abs=0.01)


def test_mppi_weights_discrete_actions_by_their_share():
    """Drawn evenly, an action that is better by the temperature times ln 3 comes to three times the probability."""
    config = PlannerConfig(planner="mppi", horizon=1, candidates=200_000, iterations=1, temperature=2.0)
    made = MPPI(ActionVectors(Discrete(2)), config)
    made.plan(lambda x: 2.0 * log(3.0) * x[0, 0], seeded())
    made.mean = None
    candidates, price = made._draw(made.proposal.middle, seeded())
    weights = path_weights(2.0 * log(3.0) * candidates[0, 0] - price, 2.0)
    torch.testing.assert_close((weights * candidates).sum(2), torch.tensor([[0.75, 0.25]]), atol=0.005, rtol=0.0)


# -- cost limits --------------------------------------------------------------------------------------------------


def test_a_cost_limit_rejects_and_ranks_what_is_rejected_by_its_violation():
    returns, costs = torch.tensor([5.0, 9.0, -3e38, 7.0, 8.0]), torch.tensor([1.0, 3.0, 0.5, 1.5, torch.nan])
    scores = limited(returns, costs, 1.0)
    assert scores.argsort(descending=True).tolist() == [0, 2, 3, 1, 4]
    assert (scores <= REJECTED).tolist() == [False, True, False, True, True]
    torch.testing.assert_close(scores[[0, 2]], returns[[0, 2]].double())


def test_a_cost_penalty_takes_its_price_per_unit_above_the_limit():
    scores = limited(torch.tensor([5.0, 9.0]), torch.tensor([0.5, 3.0]), 1.0, penalty=1.5)
    assert scores.tolist() == [5.0, 6.0]


SAFE = Objective(
    known={
        "reward": lambda obs, action, next_obs: action[:, 0],
        "cost": lambda obs, action, next_obs: action[:, 0] > 0.4,
    },
    cost_limit=0.0,
)


@pytest.mark.parametrize("name", ["shooting", "cem", "icem", "mppi"])
@pytest.mark.parametrize("limit", [0.0, 2.0, None])
def test_a_planner_under_a_cost_limit_takes_as_much_as_it_may(name, limit):
    """Reward is the action, an action above 0.4 costs 1: without a limit all go up to 1, with 0 none above 0.4."""
    objective = replace(SAFE, cost_limit=limit)
    config = replace(SEARCHES.get(name, PlannerConfig()), planner=name, candidates=3000, horizon=3, cost_limit=limit)

    def returns(sequences: torch.Tensor) -> torch.Tensor:
        count = sequences.shape[2]
        return objective.scores(torch.zeros(4, 1, count), sequences, None, None)

    plan = planner(box(), config).plan(returns, seeded())
    cost, total = int((plan > 0.4).sum()), float(plan.sum())
    assert cost <= (3 if limit is None else limit)
    best = {None: 3.0, 0.0: 1.2, 2.0: 2.4}[limit]
    assert total > (0.7 if name == "shooting" else 0.9) * best - 0.4 * (limit == 2.0)


def test_no_plan_within_the_limit_means_the_least_violation():
    config = PlannerConfig(planner="cem", horizon=1, candidates=200, elites=10, cost_limit=-10.0)
    distance = lambda x: (x[0, 0] - 0.3).abs()
    plan = CEM(box(), config).plan(lambda x: limited(x[0, 0], distance(x), -10.0), seeded())
    assert float(plan) == pytest.approx(0.3, abs=0.05)


def test_a_mean_of_permitted_plans_that_is_not_permitted_is_not_executed():
    """Two permitted sides, a forbidden middle: the mean of the elites lies in it."""
    config = PlannerConfig(planner="mppi", horizon=1, candidates=500, iterations=1, cost_limit=0.0)
    forbidden = lambda x: (x[0, 0].abs() < 0.3).float()
    free = MPPI(box(), replace(config, cost_limit=None)).plan(lambda x: x[0, 0].square(), seeded())
    held = MPPI(box(), config).plan(lambda x: limited(x[0, 0].square(), forbidden(x), 0.0), seeded())
    assert abs(float(free)) < 0.3
    assert abs(float(held)) >= 0.3


def test_an_expected_cost_is_the_mean_over_particles_of_what_is_reached():
    """Two candidates of two particles: (0, 1) costs with certain ends after step 0, (1, 1) costs without."""
    objective = Objective(
        known={"reward": lambda o, a, n: torch.zeros(len(o)), "cost": lambda o, a, n: n[:, 0]}, cost_limit=0.9
    )
    states = torch.zeros(3, 1, 4)
    states[1, 0] = torch.tensor([0.0, 1.0, 1.0, 1.0])  # particle 0 of both candidates, then particle 1
    states[2, 0] = 1.0
    cont = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    scores = objective.scores(states, torch.zeros(2, 1, 2), None, cont)
    assert float(scores[0]) == 0.0  # costs 0.5 = (0 + 1) / 2: the second step is not reached
    assert float(scores[1]) == pytest.approx(REJECTED * (1.0 + 1.1), rel=1e-6)  # costs 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"planner": "cem", "candidates": 10}, "1 <= elites <= candidates, found 40 elites of 10"),
        ({"planner": "mppi", "temperature": 0.0}, "temperature above 0"),
        ({"cost_penalty": 2.0}, "set cost_limit too"),
    ],
)
def test_settings_that_cannot_plan_are_refused_with_the_remedy(changes, says):
    with pytest.raises(ValueError, match=says):
        planner(box(), PlannerConfig(**changes))


def test_a_limit_on_a_cost_that_nobody_knows_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="no cost is known"):
        Objective(known={}, cost_limit=0.0)


def test_exponentials_of_returns_far_apart_do_not_overflow():
    weights = path_weights(torch.tensor([1e6, 1e6 - 1.0]), 1.0)
    assert float(weights[0]) == pytest.approx(1 / (1 + exp(-1.0)), rel=1e-3)
