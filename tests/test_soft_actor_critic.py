"""Our soft actor-critic and DDPG: hand-worked targets, autograd's gradients, probes, resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log, pi, tanh
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torch.utils._python_dispatch import TorchDispatchMode

from agents.parts import saving
from agents.parts.actor_critic_networks import PIECE, Bounds, Networks
from agents.parts.deterministic_actor_critic import DDPG, DDPGConfig
from agents.parts.soft_actor_critic import SAC, SACConfig, squash, squash_slope
from tests.actor_critics import HIGH, LOW, STEVE, batch, ddpg, linear_sac, sac, seeded, set_noise

# Targets and log-probabilities


def test_targets_are_those_worked_out_by_hand():
    part = linear_sac()
    rows = {
        "next_obs": torch.tensor([[4.0], [4.0], [4.0], [20.0]]),
        "reward": torch.tensor([1.0, 1.0, 1.0, -2.0]),
        "terminated": torch.tensor([False, True, False, False]),
    }
    noise = torch.tensor([[0.0], [0.0], [0.5], [0.0]])
    set_noise(part, noise)
    at_rest = -0.5 * log(2 * pi)  # of u = 0, where the tanh's slope is 1
    moved = at_rest - 0.125 - log(1 - tanh(0.5) ** 2)  # of u = 0.5
    values = [
        min(2 * 4 + 1, 4 + 10) - 0.5 * at_rest,
        0.0,  # terminated
        min(2 * 4 + 3 * tanh(0.5) + 1, 4 + 10) - 0.5 * moved,
        min(2 * 20 + 1, 20 + 10) - 0.5 * at_rest,  # the other critic is less
    ]
    expected = [1.0 + 0.9 * values[0], 1.0, 1.0 + 0.9 * values[2], -2.0 + 0.9 * values[3]]
    assert part.targets(rows).tolist() == pytest.approx(expected, rel=1e-6)


def tanh_gaussian(head: Tensor) -> TransformedDistribution:
    mean, log_std = head.chunk(2, 1)
    normal = Normal(mean, log_std.clamp(-20.0, 2.0).exp())
    return TransformedDistribution(Independent(normal, 1), TanhTransform(cache_size=1))


def test_the_log_probability_is_that_of_torchs_tanh_transform():
    head = torch.randn(200, 6, generator=seeded()) * 2.0
    noise = torch.randn(200, 3, generator=seeded(1))
    sampled = squash(head, noise)
    theirs = tanh_gaussian(head)
    u = head[:, :3] + head[:, 3:].clamp(-20.0, 2.0).exp() * noise
    torch.testing.assert_close(sampled.log_prob, theirs.log_prob(theirs.transforms[0](u)))  # its cache knows u
    part, obs = sac(), batch()["obs"]
    drawn, log_prob = part.sample(obs)
    theirs = tanh_gaussian(part.actor(obs)[0])
    torch.testing.assert_close(theirs.log_prob(part.bounds.inward(drawn)), log_prob, rtol=1e-4, atol=1e-4)


def test_a_log_probability_is_finite_where_the_tanh_rounds_to_one():
    sampled = squash(torch.tensor([[30.0, -1.0]]), torch.zeros(1, 1))
    assert sampled.unit.item() == 1.0
    # -log(std) - log(2 pi) / 2 - log(1 - tanh(30)^2), and 1 - tanh(u)^2 is 4 exp(-2 u) for a large u
    assert sampled.log_prob.item() == pytest.approx(1.0 - 0.5 * log(2 * pi) - log(4.0) + 60.0, rel=1e-6)


# Gradients


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_networks_gradients_by_hand_are_autograds(count: int):
    networks = Networks(count, [4, 16, 8, 3], seeded())
    x = torch.randn(20, 4, generator=seeded(1), requires_grad=True)
    slope = torch.randn(count, 20, 3, generator=seeded(2))
    loss = (networks(x) * slope).sum()
    (by_input,) = torch.autograd.grad(loss, x, retain_graph=True)
    networks.differentiate(loss)
    expected = networks.gradient.clone()
    networks.gradient.fill_(torch.nan)
    with torch.no_grad():
        layers = networks.forward(x)
        networks.backward(layers, slope)
        torch.testing.assert_close(networks.input_slope(layers, slope).sum(0), by_input)
        torch.testing.assert_close(networks.input_slope(layers, slope, 2).sum(0), by_input[:, 2:])
    torch.testing.assert_close(networks.gradient, expected)


def test_the_tanh_gaussians_gradient_by_hand_is_autograds_also_where_its_deviation_is_clamped():
    head = torch.randn(50, 4, generator=seeded())
    head[:10, 2], head[10:20, 3] = 2.5, -21.0
    head.requires_grad_()
    noise = torch.randn(50, 2, generator=seeded(1))
    by_unit, by_log_prob = torch.randn(50, 2, generator=seeded(2)), torch.tensor(0.3)
    sampled = squash(head, noise)
    loss = (sampled.unit * by_unit).sum() + (sampled.log_prob * by_log_prob).sum()
    (expected,) = torch.autograd.grad(loss, head)
    assert (expected[:10, 2] == 0).all()
    torch.testing.assert_close(
        squash_slope(head.detach(), squash(head.detach(), noise), by_unit, by_log_prob), expected
    )


def test_an_updates_gradients_are_those_of_its_losses():
    part, rows = sac(temperature=0.4), batch()
    targets, weight = part.targets(rows), torch.rand(12, generator=seeded(3))
    loss = 0.5 * (weight * (part.critic(rows["obs"], rows["action"]) - targets) ** 2).mean(1).sum()
    part.critics.differentiate(loss)
    expected = part.critics.gradient.clone()
    found = part.update_critics(rows["obs"], rows["action"], targets, weight)
    torch.testing.assert_close(part.critics.gradient, expected)
    torch.testing.assert_close(found["critic"], loss)

    noise = torch.randn(12, 2, generator=seeded(4))
    set_noise(part, noise)
    action, log_prob = part.sample(rows["obs"])
    loss = (part.log_temperature.exp() * log_prob - part.critic(rows["obs"], action).amin(0)).mean()
    part.actor.differentiate(loss)
    expected, of_critics, critics = (
        part.actor.gradient.clone(),
        part.critics.gradient.clone(),
        part.critics.vector.clone(),
    )
    found = part.update_actor(rows["obs"])
    torch.testing.assert_close(part.actor.gradient, expected)
    torch.testing.assert_close(found["actor"], loss)
    assert torch.equal(part.critics.gradient, of_critics)  # an actor's step leaves the critics alone
    assert torch.equal(part.critics.vector, critics)


def test_a_row_of_weight_zero_teaches_nothing():
    one, other, rows = sac(), sac(), batch()
    weight = torch.ones(12)
    weight[3] = 0.0
    targets = one.targets(rows)
    one.update_critics(rows["obs"], rows["action"], targets, weight)
    targets[3] += 100.0
    other.update_critics(rows["obs"], rows["action"], targets, weight)
    assert torch.equal(one.critics.vector, other.critics.vector)


# Temperature and targets


@pytest.mark.parametrize(("target", "sign"), [(-50.0, -1), (50.0, 1)])
def test_alpha_falls_while_the_policy_has_more_entropy_than_asked_for_and_rises_while_less(target: float, sign: int):
    part, rows = sac(target_entropy=target), batch()
    before = part.log_temperature.item()
    found = part.update(rows)
    assert -50.0 < found["entropy"].item() < 50.0
    assert (part.log_temperature.item() - before) * sign == pytest.approx(3e-4, rel=1e-3)  # Adam's first step


def test_the_entropy_asked_for_is_minus_the_number_of_action_dimensions():
    assert sac().target_entropy == -2.0
    assert sac(target_entropy=-0.5).target_entropy == -0.5


@pytest.mark.parametrize("make", [sac, ddpg])
def test_targets_move_by_exactly_tau_of_the_way(make: Callable[[], Any]):
    part = make()
    pairs = [(part.target_critics, part.critics)]
    if isinstance(part, DDPG):
        pairs.append((part.target_actor, part.actor))
    before = [target.vector.clone() for target, _ in pairs]
    part.update(batch())
    for (target, network), old in zip(pairs, before, strict=True):
        assert not torch.equal(network.vector, old)
        assert torch.equal(target.vector, old + part.config.tau * (network.vector - old))


def test_given_targets_stand_in_for_the_algorithms_own():
    one, other, rows = sac(), sac(), batch()
    assert torch.equal(one.update(rows)["critic"], other.update(rows, sac().targets(rows))["critic"])
    given = torch.full((12,), 7.0)
    q = one.critic(rows["obs"], rows["action"])
    torch.testing.assert_close(one.update(rows, given)["critic"], 0.5 * (q - 7.0).square().mean(1).sum())


@pytest.mark.parametrize("make", [sac, ddpg])
def test_an_estimate_is_the_critics_or_where_asked_for_the_target_critics(make: Callable[[], Any]):
    part, rows = make(), batch()
    part.update(rows)
    for target, networks in ((False, part.critics), (True, part.target_critics)):
        expected = networks(torch.cat([rows["obs"], part.bounds.inward(rows["action"])], 1))[..., 0]
        assert torch.equal(part.critic(rows["obs"], rows["action"], target=target), expected)


# Actions


@pytest.mark.parametrize("exploration", ["sac", "parameters", "actions", "occasional"])
def test_actions_stay_within_bounds_that_are_not_symmetric_and_reach_both(exploration: str):
    part: Any = sac() if exploration == "sac" else ddpg(config=DDPGConfig(exploration=exploration, noise=0.9))
    part.actor.vector.mul_(200.0)
    if exploration == "parameters":
        part.perturbed.vector.copy_(part.actor.vector)
    obs = torch.randn(2000, 3, generator=seeded(1)) * 10.0
    for sample in (True, False):
        actions = part.act(obs, sample, seeded(2))
        assert (actions >= LOW).all()
        assert (actions <= HIGH).all()
        torch.testing.assert_close(actions.amin(0), LOW)
        torch.testing.assert_close(actions.amax(0), HIGH)


def test_units_are_scaled_as_their_bounds_say():
    bounds = Bounds(LOW, HIGH, torch.device("cpu"))
    units = torch.tensor([[-1.0, 1.0], [0.0, -0.5]])
    actions = torch.tensor([[-0.3, 1.0], [0.2, -1.25]])
    torch.testing.assert_close(bounds.outward(units), actions)
    torch.testing.assert_close(bounds.inward(actions), units)
    with pytest.raises(ValueError, match="low < high"):
        Bounds(HIGH, LOW, torch.device("cpu"))
    with pytest.raises(ValueError, match="finite"):
        Bounds(torch.tensor([-torch.inf]), torch.tensor([1.0]), torch.device("cpu"))


def test_acting_draws_from_the_generator_that_it_is_given_alone():
    part, obs = sac(), batch()["obs"]
    before = part.generator.get_state()
    first = part.act(obs, True, seeded(3))
    assert torch.equal(first, part.act(obs, True, seeded(3)))
    assert not torch.equal(first, part.act(obs, True, seeded(4)))
    assert torch.equal(part.generator.get_state(), before)
    global_state = torch.get_rng_state()
    part.act(obs, True)
    assert not torch.equal(part.generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), global_state)
    assert torch.equal(part.act(obs.double(), False), part.act(obs, False))  # an environment's float64 is welcome


def test_sampled_actions_have_the_policys_mean_and_deviation():
    part = linear_sac()
    part.actor.biases[0].detach()[0, 0] = torch.tensor([0.3, -1.0])
    actions = part.act(torch.zeros(40_000, 1), True, seeded())
    u = part.bounds.inward(actions).clamp(-1 + 1e-6, 1 - 1e-6).atanh()
    assert u.mean().item() == pytest.approx(0.3, abs=0.01)
    assert u.std().item() == pytest.approx(np.exp(-1.0), abs=0.01)
    assert part.act(torch.zeros(1, 1), False).item() == pytest.approx(1.0 + 2.0 * tanh(0.3))


def test_rows_worked_in_pieces_give_what_they_give_at_once():
    networks = Networks(2, [3, 8, 1], seeded())
    x = torch.randn(2 * PIECE + 7, 3, generator=seeded(1))
    assert not networks.infer(x).requires_grad
    torch.testing.assert_close(networks.infer(x), networks(x))


# Probes


@pytest.mark.parametrize("kind", ["sac", "ddpg", "steve"])
def test_the_value_of_a_constant_reward_is_learnt(kind: str):
    steve = replace(STEVE, critic_learning_rate=5e-3)
    part: Any = sac(learning_rate=3e-3) if kind == "sac" else ddpg(config=steve if kind == "steve" else None)
    rows = batch(rows=64) | {"reward": torch.ones(64), "terminated": torch.ones(64, dtype=torch.bool)}
    for _ in range(800):
        part.update(rows)
    torch.testing.assert_close(
        part.critic(rows["obs"], rows["action"]), torch.ones(len(part.critics.weights[0]), 64), atol=0.2, rtol=0.0
    )


def control_gain(gamma: float) -> float:
    """The best k of a = -k s for s' = s + a, reward -(s^2 + a^2): Riccati's equation, iterated."""
    p = 1.0
    for _ in range(200):
        p = 1.0 + gamma * p - (gamma * p) ** 2 / (1.0 + gamma * p)
    return gamma * p / (1.0 + gamma * p)


@pytest.mark.parametrize("kind", ["sac", "ddpg"])
def test_the_best_linear_control_is_learnt_from_any_data(kind: str):
    gain, generator = control_gain(0.9), seeded(7)
    assert 0.55 < gain < 0.62
    low, high = torch.tensor([-1.0]), torch.tensor([2.0])
    common: dict[str, Any] = {"hidden": (64, 64), "gamma": 0.9, "tau": 0.02}
    part: SAC | DDPG
    if kind == "sac":
        config = SACConfig(**common, learning_rate=2e-3, temperature=0.01, automatic=False)
        part = SAC(1, low, high, config, seeded())
    else:
        part = DDPG(1, low, high, DDPGConfig(**common, exploration="actions"), seeded())
    for _ in range(900):
        obs = torch.rand(128, 1, generator=generator) * 4 - 2
        action = low + torch.rand(128, 1, generator=generator) * (high - low)
        rows = {"obs": obs, "action": action, "reward": -(obs.square() + action.square())[:, 0]}
        part.update(rows | {"next_obs": obs + action, "terminated": torch.zeros(128)})
    states = torch.linspace(-1.5, 1.5, 31)[:, None]
    error = part.act(states, False) + gain * states
    assert error.abs().mean() < 0.1
    assert error.abs().max() < 0.2


# Resuming


@pytest.mark.parametrize("make", [sac, ddpg, lambda seed=0: ddpg(seed, STEVE)], ids=["sac", "ddpg", "steve"])
def test_a_restored_part_goes_on_bit_for_bit(make: Callable[..., Any], tmp_path: Path):
    part = make()
    for seed in range(3):
        part.update(batch(seed))
    saving.write(tmp_path, part.state())
    kept = part.state()
    obs = batch()["obs"]
    action, noise = part.act(obs, True, seeded(1)), part.adaptation.clone() if isinstance(part, DDPG) else None
    going_on = [part.update(batch(seed)) for seed in range(3, 6)]
    other = make(seed=9)
    other.update(batch(8))
    other.restore(saving.read(tmp_path))
    part.restore(kept)  # a state is no view of what goes on changing
    for resumed in (other, part):
        assert torch.equal(resumed.act(obs, True, seeded(1)), action)
        assert noise is None or torch.equal(resumed.adaptation, noise)
        assert [resumed.update(batch(seed)) for seed in range(3, 6)] == going_on
    assert all(torch.equal(a, b) for a, b in zip(part._numbers(), other._numbers(), strict=True))
    assert torch.equal(part.act(obs, True, seeded(1)), other.act(obs, True, seeded(1)))


# On a GPU


class NoLooking(TorchDispatchMode):
    """Refuses to bring a tensor's value to Python, which would stop a GPU and cannot be captured in a graph."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "an update looked at a value"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("make", [sac, ddpg, lambda: ddpg(config=STEVE)], ids=["sac", "ddpg", "steve"])
def test_an_update_looks_at_no_value(make: Callable[[], Any]):
    part, rows = make(), batch()
    with NoLooking():
        part.update(rows)
        with pytest.raises(AssertionError, match="looked"):
            rows["reward"].sum().item()


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="a CUDA graph exists on a CUDA device only; the same update without one is tested on every machine",
)
def test_an_update_replayed_as_a_cuda_graph_is_the_update():
    def fresh() -> SAC:
        generator = torch.Generator("cuda").manual_seed(0)
        return SAC(3, LOW, HIGH, SACConfig(hidden=(16, 8)), generator)

    rows = {name: tensor.cuda() for name, tensor in batch().items()}
    plain, captured = fresh(), fresh()
    start = captured.state()
    with torch.cuda.stream(torch.cuda.Stream()):
        captured.update(rows)
    torch.cuda.synchronize()
    captured.restore(start)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(captured.generator)
    with torch.cuda.graph(graph):
        captured.update(rows)
    captured.restore(start)
    for _ in range(3):
        plain.update(rows)
        graph.replay()
    torch.testing.assert_close(captured.critics.vector, plain.critics.vector)
    torch.testing.assert_close(captured.actor.vector, plain.actor.vector)
