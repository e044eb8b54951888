"""The trust-region step: conjugate gradient, Fisher products against the explicit Hessian, the bound, the baseline."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torch.func import hessian

from agents.parts.gaussian_policy import GaussianPolicy
from agents.parts.trpo import (
    Fisher,
    LinearBaseline,
    TRPOConfig,
    conjugate_gradient,
    divergence,
    parameters_of,
    parted,
    set_parameters,
    trust_region_step,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(seed: int = 0, *, activation: str = "tanh", tanh_mean: bool = False) -> GaussianPolicy:
    """Its last layer is made large, so that second derivatives of the mean could not hide."""
    policy = GaussianPolicy(
        3,
        2,
        seeded(seed),
        hidden=(4,),
        activation=activation,  # type: ignore[arg-type]
        tanh_mean=tanh_mean,
        log_std=-0.3,
    )
    with torch.no_grad():
        policy.net.linears[-1].weight.mul_(60.0)
        policy.log_std[1] = 0.2
    return policy


def sampled(policy: GaussianPolicy, count: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    """Observations, the policy's own actions, and advantages that like the action's first number positive."""
    obs = torch.randn(count, 3, generator=seeded(1))
    with torch.no_grad():
        action, _ = policy.sample(obs, seeded(2))
    return obs, action, action[:, 0] - 0.5 * action[:, 1] * obs[:, 0]


def test_conjugate_gradient_solves_a_system_worked_by_hand() -> None:
    matrix = torch.tensor([[4.0, 1.0], [1.0, 3.0]])
    found = conjugate_gradient(lambda v: matrix @ v, torch.tensor([1.0, 2.0]), 2)
    torch.testing.assert_close(found, torch.tensor([1.0 / 11.0, 7.0 / 11.0]))
    first = conjugate_gradient(lambda v: matrix @ v, torch.tensor([1.0, 2.0]), 1)
    torch.testing.assert_close(first, torch.tensor([0.25, 0.5]))  # steepest descent: 5 / 20 of the residual


def test_conjugate_gradient_needs_no_more_iterations_than_unknowns() -> None:
    root = torch.randn(12, 12, generator=seeded(), dtype=torch.float64)
    matrix, target = root @ root.T + torch.eye(12), torch.randn(12, generator=seeded(1), dtype=torch.float64)
    found = conjugate_gradient(lambda v: matrix @ v, target, 12, 0.0)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, target), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("activation", "tanh_mean"), [("tanh", False), ("tanh", True), ("relu", False)])
def test_a_fisher_product_is_that_with_the_explicit_hessian_of_the_divergence(activation: str, tanh_mean: bool) -> None:
    policy = small(activation=activation, tanh_mean=tanh_mean).double()
    obs = torch.randn(7, 3, generator=seeded(1), dtype=torch.float64)
    start, names = parameters_of(policy), [name for name, _ in policy.named_parameters()]
    old_mean, old_log_std = policy(obs).detach(), policy.log_std.detach().clone()
    # `forward` works in place, so the mean is written out for the transforms.
    linears = policy.net.linears

    def kl(vector: Tensor) -> Tensor:
        log_std, w1, b1, w2, b2 = parted(policy, vector)
        hidden = obs @ w1.T + b1
        hidden = hidden.tanh() if activation == "tanh" else hidden.relu()
        mean = hidden @ w2.T + b2
        mean = mean.tanh() if tanh_mean else mean
        per_row = log_std - old_log_std + ((2 * old_log_std).exp() + (old_mean - mean) ** 2) / (2 * (2 * log_std).exp())
        return (per_row - 0.5).sum(1).mean()

    assert names == ["log_std", *(f"net.stack.{i}.{x}" for i in range(len(linears)) for x in ("weight", "bias"))]
    assert abs(float(kl(start))) < 1e-12
    explicit = hessian(kl)(start)
    assert isinstance(explicit, Tensor)
    fisher = Fisher(policy, obs)
    found = torch.stack([fisher(column) for column in torch.eye(len(start), dtype=torch.float64)])
    torch.testing.assert_close(found, explicit, rtol=1e-9, atol=1e-10)
    damped = Fisher(policy, obs, 0.5)(start)
    torch.testing.assert_close(damped, explicit @ start + 0.5 * start, rtol=1e-9, atol=1e-10)


def test_the_divergence_equals_hand_worked_numbers() -> None:
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    same = torch.zeros(1)
    assert float(divergence(zero, same, zero, same)) == 0.0
    assert float(divergence(zero, same, one, same)) == pytest.approx(0.5)  # (0 - 1)^2 / 2
    wide = torch.full((1,), log(2.0))
    assert float(divergence(zero, same, zero, wide)) == pytest.approx(log(2.0) + 1.0 / 8.0 - 0.5)


@pytest.mark.parametrize("max_kl", [1e-4, 0.01, 0.1])
def test_a_step_improves_the_surrogate_and_keeps_the_bound(max_kl: float) -> None:
    policy = small()
    obs, action, advantage = sampled(policy)
    old = policy(obs).detach().clone()
    old_log_std, old_log_prob = policy.log_std.detach().clone(), policy.log_prob(obs, action).detach()
    found = trust_region_step(policy, obs, action, advantage, TRPOConfig(max_kl=max_kl))
    kl = float(divergence(old, old_log_std, policy(obs).detach(), policy.log_std.detach()))
    surrogate = ((policy.log_prob(obs, action).detach() - old_log_prob).exp() * advantage).mean()
    assert 0.2 * max_kl < kl <= max_kl
    assert found["kl"] == pytest.approx(kl, rel=1e-4)
    assert found["improvement"] == pytest.approx(float(surrogate - advantage.mean()), rel=1e-3)
    assert found["improvement"] > 0.0


def test_the_line_search_takes_the_longest_share_that_keeps_the_bound() -> None:
    """So far off the divergence is no longer quadratic: the share before the one taken must have been refused."""
    policy = small()
    obs, action, advantage = sampled(policy)
    start = parameters_of(policy)
    found = trust_region_step(policy, obs, action, advantage, TRPOConfig(max_kl=0.5))
    moved = parameters_of(policy) - start
    share = found["step"]
    assert 0.0 < share < 1.0
    old = small()
    set_parameters(policy, start + moved / 0.8)
    kl = float(divergence(old(obs).detach(), old.log_std.detach(), policy(obs).detach(), policy.log_std.detach()))
    gain = ((policy.log_prob(obs, action) - old.log_prob(obs, action)).exp() * advantage).mean() - advantage.mean()
    assert kl > 0.5 or float(gain) <= 0.0


def test_a_step_that_cannot_improve_leaves_the_policy_bit_for_bit() -> None:
    policy = small()
    obs, action, advantage = sampled(policy)
    start = parameters_of(policy)
    found = trust_region_step(policy, obs, action, torch.zeros_like(advantage), TRPOConfig())
    assert found == {"kl": 0.0, "improvement": 0.0, "step": 0.0}
    assert torch.equal(parameters_of(policy), start)
    assert trust_region_step(policy, obs, action, advantage, TRPOConfig(backtracks=0))["step"] == 0.0
    assert torch.equal(parameters_of(policy), start)


def test_steps_find_the_best_constant_action() -> None:
    """Reward -(a - 0.7)^2: the mean goes there, and the deviation falls."""
    policy = GaussianPolicy(1, 1, seeded(), hidden=(), log_std=0.0)
    generator, obs = seeded(3), torch.zeros(500, 1)
    for _ in range(60):
        with torch.no_grad():
            action, _ = policy.sample(obs, generator)
        reward = -(action[:, 0] - 0.7).square()
        trust_region_step(policy, obs, action, (reward - reward.mean()) / reward.std(), TRPOConfig(max_kl=0.05))
    assert float(policy(obs).detach()[0, 0]) == pytest.approx(0.7, abs=0.05)
    assert float(policy.log_std.detach()) < -1.5


def test_the_baseline_fits_what_is_linear_in_its_features() -> None:
    obs, time = torch.randn(5, 40, 2, generator=seeded()), torch.arange(40.0).expand(5, 40)
    return_ = 3.0 * obs[..., 0] - obs[..., 1].square() + 0.02 * time + 1.0
    baseline = LinearBaseline(2)
    assert float(baseline(obs, time).abs().max()) == 0.0
    baseline.fit(obs, time, return_)
    torch.testing.assert_close(baseline(obs, time), return_, rtol=1e-3, atol=1e-3)
    other = LinearBaseline(2)
    other.restore(baseline.state())
    assert torch.equal(other(obs, time), baseline(obs, time))
