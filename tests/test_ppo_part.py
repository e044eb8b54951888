"""Our PPO: hand-worked numbers, agreement with stable-baselines3 and with autograd, probes, and exact resume."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO as Theirs
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

from agents.parts import saving
from agents.parts.gaussian_policy import GaussianPolicy
from agents.parts.ppo import PPO, PPOConfig, clipped, learn
from agents.parts.rollout import RunningNormaliser, advantages
from tests import probes
from tests.bench_ppo_part import Shape
from tests.in_process import Stopped, gate_to


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def column(*rows: float) -> Tensor:
    return torch.tensor(rows)[:, None]


def flags(*rows: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)[:, None]


def ignore(metrics: Mapping[str, float] | None = None) -> None:
    pass


def data_for(steps: int, envs: int, obs: int, actions: int, seed: int = 1) -> dict[str, Tensor]:
    """A rollout that no policy has made: its log-densities are wrong by about 0.3, so that ratios are clipped, too."""
    generator = seeded(seed)
    found = {
        "obs": torch.randn(steps, envs, obs, generator=generator),
        "action": torch.randn(steps, envs, actions, generator=generator),
    }
    found["log_prob"] = -0.5 * found["action"].square().sum(2) - 0.9189385 * actions
    found["log_prob"] += 0.3 * torch.randn(steps, envs, generator=generator)
    for name in ("value", "reward", "final_value"):
        found[name] = torch.randn(steps, envs, generator=generator)
    ends = torch.rand(steps, envs, generator=generator)
    return found | {"terminated": ends < 0.1, "truncated": (ends > 0.1) & (ends < 0.25)}


def fill(ppo: PPO, data: dict[str, Tensor]) -> None:
    for step in range(len(data["obs"])):
        ppo.store(**{name: rows[step] for name, rows in data.items()})


# Advantages


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [
        # delta = r + V' / 2 - V, from the back: 3 + 6/2 - 4 = 2; 2 + 4/2 - 2 = 2; 1 + 2/2 - 1 = 1
        ((0, 0, 0), (0, 0, 0), (1 + (2 + 2 / 4) / 4, 2 + 2 / 4, 2)),
        # the middle step ends truly: 2 + 0 - 2 = 0, and nothing of what follows is carried back
        ((0, 1, 0), (0, 0, 0), (1 + 0 / 4, 0, 2)),
        # the middle step is cut where the value is 8: 2 + 8/2 - 2 = 4
        ((0, 0, 0), (0, 1, 0), (1 + 4 / 4, 4, 2)),
        # ended and cut at once is ended
        ((0, 1, 0), (0, 1, 0), (1, 0, 2)),
        # ends in the last row: 3 - 4 = -1, or 3 + 8/2 - 4 = 3
        ((0, 0, 1), (0, 0, 0), (1 + (2 - 1 / 4) / 4, 2 - 1 / 4, -1)),
        ((0, 0, 0), (0, 0, 1), (1 + (2 + 3 / 4) / 4, 2 + 3 / 4, 3)),
    ],
)
def test_advantages_are_the_hand_worked_ones(terminated, truncated, expected):
    found = advantages(
        reward=column(1.0, 2.0, 3.0),
        value=column(1.0, 2.0, 4.0),
        last_value=torch.tensor([6.0]),
        terminated=flags(*terminated),
        truncated=flags(*truncated),
        final_value=column(8.0, 8.0, 8.0),
        gamma=0.5,
        lam=0.5,
    )
    assert found[:, 0].tolist() == pytest.approx(list(expected))


def test_advantages_and_returns_are_those_of_stable_baselines3():
    steps, envs = 50, 4
    data, last_value = data_for(steps, envs, 3, 2), torch.randn(envs, generator=seeded(5))
    ppo = PPO(3, 2, PPOConfig(rollout_steps=steps), seeded())
    fill(ppo, data)
    env = Shape(3, 2)
    buffer = RolloutBuffer(steps, env.observation_space, env.action_space, "cpu", 0.95, 0.99, envs)
    starts = torch.ones(envs)
    for t in range(steps):
        reward = data["reward"][t] + 0.99 * data["final_value"][t] * data["truncated"][t]  # as SB3 handles time limits
        row = [data["obs"][t].numpy(), data["action"][t].numpy(), reward.numpy(), starts.numpy()]
        buffer.add(*row, data["value"][t], data["log_prob"][t])
        starts = (data["terminated"][t] | data["truncated"][t]).float()
    buffer.compute_returns_and_advantage(last_value, starts.numpy())
    rows = ppo.rollout.rows(last_value, 0.99, 0.95)
    np.testing.assert_allclose(rows["advantage"].view(steps, envs), buffer.advantages, atol=2e-6)
    np.testing.assert_allclose(rows["return_"].view(steps, envs), buffer.returns, atol=2e-6)


# The loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [
        (1.1, 2.0, 2.2, 2.2),  # inside the clip: r A, whose derivative by log r is r A
        (1.1, -2.0, -2.2, -2.2),
        (1.5, 2.0, 2.4, 0.0),  # a good action is already likelier by more than 1.2: nothing more is to be had
        (0.5, 2.0, 1.0, 1.0),  # a good action has become less likely: pulled back
        (1.5, -2.0, -3.0, -3.0),  # a bad action has become likelier: pulled back
        (0.5, -2.0, -1.6, 0.0),  # a bad action is already less likely
    ],
)
def test_the_clipped_objective_and_its_slope_are_the_hand_worked_ones(ratio, advantage, objective, slope):
    found = clipped(torch.tensor([ratio]), torch.tensor([advantage]), 0.2)
    assert [x.item() for x in found] == pytest.approx([objective, slope])


def sb3_and_ours(config: PPOConfig, envs: int) -> tuple[Any, PPO]:
    """Both with the same numbers in their networks."""
    theirs = Theirs(
        "MlpPolicy",
        DummyVecEnv([lambda: Shape(5, 2)] * envs),
        n_steps=config.rollout_steps,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        clip_range_vf=config.value_clip,
        ent_coef=config.entropy_weight,
        max_grad_norm=config.max_grad_norm,
        policy_kwargs={
            "net_arch": {"pi": list(config.hidden), "vf": list(config.value_hidden)},
            "activation_fn": {"tanh": nn.Tanh, "relu": nn.ReLU}[config.activation],
        },
        device="cpu",
        seed=0,
    )
    theirs.set_logger(configure(None, []))
    ours = PPO(5, 2, config, seeded())
    with torch.no_grad():
        for mine, given in zip(linears(ours), linears_of_sb3(theirs), strict=True):
            mine.weight.copy_(given.weight * 3.0)  # the small last gain would hide mistakes
            given.weight.copy_(mine.weight)
            mine.bias.copy_(given.bias)
        theirs.policy.log_std.fill_(config.log_std)
    return theirs, ours


def linears(ppo: PPO) -> list[nn.Linear]:
    return [*ppo.policy.net.linears, *ppo.value_net.linears]


def linears_of_sb3(model: Any) -> list[nn.Linear]:
    policy, extractor = model.policy, model.policy.mlp_extractor
    hidden = [[x for x in net if isinstance(x, nn.Linear)] for net in (extractor.policy_net, extractor.value_net)]
    return [*hidden[0], policy.action_net, *hidden[1], policy.value_net]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"epochs": 3, "entropy_weight": 0.5, "log_std": -0.3},
        {"value_clip": 0.3, "activation": "relu", "epochs": 2},
        {"hidden": (), "value_hidden": (16,), "max_grad_norm": 1e-4},  # the cut is seen beside Adam's epsilon
        {"epochs": 4, "max_grad_norm": 100.0},  # nothing is cut, nothing made larger
    ],
)
def test_losses_and_weights_after_an_update_are_those_of_stable_baselines3(given):
    steps, envs = 16, 4
    config = PPOConfig(**{"rollout_steps": steps, "batch_size": steps * envs, "epochs": 1, **given})
    theirs, ours = sb3_and_ours(config, envs)
    data = data_for(steps, envs, 5, 2) | {name: torch.zeros(steps, envs).bool() for name in ("terminated", "truncated")}
    fill(ours, data)
    buffer, no_end = theirs.rollout_buffer, np.zeros(envs)
    buffer.reset()
    for t in range(steps):
        row = [data[name][t].numpy() for name in ("obs", "action", "reward")]
        buffer.add(*row, no_end, data["value"][t], data["log_prob"][t])
    last_obs = torch.randn(envs, 5, generator=seeded(3))
    buffer.compute_returns_and_advantage(theirs.policy.predict_values(last_obs).detach(), no_end)
    theirs.train()
    found, logged = ours.update(last_obs), theirs.logger.name_to_value
    assert found["policy"] == pytest.approx(logged["train/policy_gradient_loss"], abs=1e-6)
    assert found["value"] == pytest.approx(logged["train/value_loss"], rel=1e-6)
    assert found["entropy"] == pytest.approx(logged["train/entropy_loss"], abs=1e-6)
    assert found["clipped"] == pytest.approx(logged["train/clip_fraction"], abs=1e-6)
    assert 0.0 < found["clipped"] < 1.0
    assert found["explained"] == pytest.approx(logged["train/explained_variance"], abs=1e-5)
    for mine, expected in zip(linears(ours), linears_of_sb3(theirs), strict=True):
        torch.testing.assert_close(mine.weight, expected.weight, rtol=0.0, atol=1e-6)
        torch.testing.assert_close(mine.bias, expected.bias, rtol=0.0, atol=1e-6)
    torch.testing.assert_close(ours.policy.log_std, theirs.policy.log_std, rtol=0.0, atol=1e-6)
    assert (ours.policy.log_std - config.log_std).abs().min() > 1e-5  # it did move


@pytest.mark.parametrize("tanh_mean", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (8, 6)])
def test_the_gradients_taken_by_hand_are_those_of_autograd(hidden, activation, tanh_mean):
    generator = seeded(2)
    policy = GaussianPolicy(
        4, 3, generator, hidden=hidden, activation=activation, tanh_mean=tanh_mean, log_std=-0.5
    ).double()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    obs, action = (torch.randn(7, size, generator=generator).double() for size in (4, 3))
    by_log_prob = torch.randn(7, generator=generator).double()
    loss = (policy.log_prob(obs, action) * by_log_prob).sum() + 0.7 * policy.entropy()
    expected = torch.autograd.grad(loss, list(policy.parameters()))
    with torch.no_grad():
        layers, noise = policy.layers(obs, action)
        torch.testing.assert_close(policy.density(noise), policy.log_prob(obs, action))
        found = policy.backward(layers, noise, by_log_prob, 0.7)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_log_densities_and_entropy_are_those_of_torch():
    policy, generator = GaussianPolicy(4, 3, seeded(), log_std=-0.7), seeded(1)
    obs = torch.randn(6, 4, generator=generator)
    action, log_prob = policy.sample(obs, generator)
    normal = torch.distributions.Normal(policy(obs), policy.log_std.exp().expand(6, 3))
    torch.testing.assert_close(log_prob, normal.log_prob(action).sum(1))
    torch.testing.assert_close(policy.entropy(), normal.entropy()[0].sum())


def test_an_update_stops_at_the_minibatch_where_the_divergence_is_too_large():
    data, last_obs = data_for(32, 1, 3, 1), torch.zeros(1, 3)
    config = {"rollout_steps": 32, "batch_size": 8, "epochs": 4, "learning_rate": 0.01}
    steps = []
    for target in (None, 1e-6, 0.5):
        ppo = PPO(3, 1, PPOConfig(**config, target_kl=target), seeded())
        fill(ppo, data)
        ppo.update(last_obs)
        steps.append(ppo.numbers.steps.item())
        assert ppo.updates == 1
    assert steps[:2] == [16, 0]
    # from data of the policy itself, the first minibatch has no divergence and a later one has
    ppo = PPO(3, 1, PPOConfig(**config, target_kl=1e-3), seeded())
    obs = torch.randn(32, 1, 3, generator=seeded(4))
    for t in range(32):
        ppo.store(obs[t], *ppo.act(obs[t]), torch.randn(1, generator=ppo.generator), flags(0)[0], flags(0)[0])
    ppo.update(last_obs)
    assert 0 < ppo.numbers.steps.item() < 16


def test_the_learning_rate_falls_to_zero_over_the_updates_named():
    ppo = PPO(3, 1, PPOConfig(rollout_steps=8, batch_size=8, epochs=1, anneal_updates=2, learning_rate=0.1), seeded())
    moved = []
    for _ in range(3):
        before = ppo.numbers.vector.clone()
        fill(ppo, data_for(8, 1, 3, 1))
        ppo.update(torch.zeros(1, 3))
        moved.append((ppo.numbers.vector - before).abs().max().item())
    assert moved[0] == pytest.approx(0.1, rel=1e-2)  # Adam's first step is the learning rate, for every number
    assert moved[1] < 0.06
    assert moved[2] == 0.0


def test_a_policy_given_from_outside_is_spared_while_the_value_is_fitted_alone():
    config = PPOConfig(rollout_steps=16, batch_size=8, entropy_weight=0.1, value_first=2)
    ppo = PPO(3, 1, config, seeded())
    before = {name: number.clone() for name, number in ppo.policy.state_dict().items()}
    errors = []
    for update in range(3):
        fill(ppo, data_for(16, 1, 3, 1))
        errors.append(ppo.update(torch.zeros(1, 3))["value"])
        same = all(torch.equal(before[name], number) for name, number in ppo.policy.state_dict().items())
        assert same == (update < 2)
    assert errors[1] < errors[0]


# Networks and normaliser


def test_a_controller_from_outside_becomes_the_policy():
    ppo = PPO(6, 2, PPOConfig(hidden=(), tanh_mean=True), seeded())
    generator = seeded(3)
    weight, bias = torch.randn(2, 6, generator=generator), torch.randn(2, generator=generator)
    obs = torch.randn(5, 6, generator=generator)
    ppo.policy.set_weights([weight], [bias], log_std=-1.5)
    torch.testing.assert_close(ppo.mean_action(obs), torch.tanh(obs @ weight.T + bias))
    assert ppo.policy.log_std.tolist() == [-1.5, -1.5]
    assert ppo.numbers.vector[:14].tolist() == [-1.5, -1.5, *weight.flatten().tolist()]  # what Adam moves is the same
    ppo.policy.set_weights([weight], [None])
    torch.testing.assert_close(ppo.mean_action(obs), torch.tanh(obs @ weight.T))
    with pytest.raises(ValueError, match=r"expected weights of shapes \[\[2, 6\]\].*found weights \[\[2, 5\]\]"):
        ppo.policy.set_weights([weight[:, :5]], [bias])
    with pytest.raises(ValueError, match=r"a bias per row, found .*\[\[1\]\]"):
        ppo.policy.set_weights([weight], [bias[:1]])


def test_a_policy_trained_from_outside_is_the_one_that_acts_and_a_copy_of_it_stays_as_it_is():
    ppo = PPO(3, 1, PPOConfig(rollout_steps=16, batch_size=8), seeded())
    obs = torch.randn(64, 3, generator=seeded(2))
    optimiser = torch.optim.Adam(ppo.policy.parameters(), 1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        (ppo.policy(obs) - obs[:, :1]).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(ppo.mean_action(obs), obs[:, :1], atol=0.2, rtol=0.0)
    kept = copy.deepcopy(ppo.policy)
    expected = kept(obs)
    fill(ppo, data_for(16, 1, 3, 1))
    ppo.update(torch.zeros(1, 3))
    assert torch.equal(kept(obs), expected)
    assert not torch.equal(ppo.policy(obs), expected)


def test_first_weights_are_orthogonal_with_the_published_gains_and_biases_zero():
    ppo = PPO(20, 3, PPOConfig(hidden=(16, 8), value_hidden=(16,), log_std=-0.5), seeded())
    for net, gains in ((ppo.policy.net, (2.0, 2.0, 1e-4)), (ppo.value_net, (2.0, 1.0))):
        for linear, gain in zip(net.linears, gains, strict=True):
            torch.testing.assert_close(linear.weight @ linear.weight.T, gain * torch.eye(len(linear.weight)))
            assert not linear.bias.any()


def test_everything_random_comes_from_the_generator_that_was_passed():
    def played(seed: int) -> tuple[Tensor, Tensor]:
        ppo = PPO(3, 1, PPOConfig(rollout_steps=16, batch_size=8), seeded(seed))
        fill(ppo, data_for(16, 1, 3, 1))
        ppo.update(torch.zeros(1, 3))
        return ppo.numbers.vector, ppo.act(torch.zeros(4, 3))[0]

    before = torch.get_rng_state()
    one, same, other = played(0), played(0), played(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_acting_with_a_generator_of_its_own_leaves_the_learner_as_it_was():
    ppo, obs = PPO(3, 1, PPOConfig(), seeded()), torch.ones(2, 3)
    before = ppo.generator.get_state()
    one, two = ppo.act(obs, seeded(7))[0], ppo.act(obs, seeded(7))[0]
    assert torch.equal(one, two)
    assert torch.equal(ppo.generator.get_state(), before)


def test_the_running_mean_and_deviation_are_those_of_all_rows():
    normaliser, rows = RunningNormaliser(2, torch.device("cpu")), torch.randn(90, 2, generator=seeded(1)) * 5.0 + 700.0
    assert torch.equal(normaliser(torch.tensor([[3.0, 99.0]])), torch.tensor([[3.0, 10.0]]))  # of nothing: cut at 10
    for part in rows.split([1, 50, 39]):
        normaliser.add(part)
    expected = (rows - rows.mean(0)) / rows.std(0, correction=0)
    torch.testing.assert_close(normaliser(rows), expected, atol=1e-4, rtol=0.0)
    assert normaliser.count == 90


def test_observations_are_learnt_from_as_they_were_seen_when_acted_upon():
    ppo = PPO(1, 1, PPOConfig(rollout_steps=3, normalise_obs=True), seeded())
    for x in (2.0, 4.0, 9.0):
        obs = torch.tensor([[x], [-x]])
        before = ppo.value(obs)
        action, log_prob, value = ppo.act(obs)
        assert torch.equal(before, value)  # acting teaches the normaliser nothing
        ppo.store(obs, action, log_prob, value, torch.zeros(2), flags(0, 0)[:, 0], flags(0, 0)[:, 0])
    seen = ppo.rollout.columns["obs"]
    torch.testing.assert_close(ppo.value_net(seen.flatten(0, 1))[:, 0], ppo.rollout.columns["value"].flatten())
    assert seen[:2, 0, 0].tolist() == pytest.approx([2.0, 2.0], abs=1e-6)  # then by a deviation of 2
    assert seen[2, 0, 0].item() == pytest.approx(9 / 10**0.5, abs=1e-6)  # deviation of 2, -2, 4, -4


# Probes and learning


class Indifferent(gym.ActionWrapper):
    """A probe whose action means nothing, with continuous actions."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def action(self, action: Any) -> int:
        return 0


def vector(make: Callable[[], gym.Env[Any, Any]], envs: int = 4) -> SyncVectorEnv:
    return SyncVectorEnv([make] * envs, autoreset_mode=AutoresetMode.SAME_STEP)


QUICK = {"rollout_steps": 16, "batch_size": 32, "epochs": 4, "learning_rate": 1e-2, "hidden": (16,)}


def trained(make: Callable[[], gym.Env[Any, Any]], updates: int, **config: Any) -> PPO:
    env = make()
    sizes = (env.observation_space.shape[0], env.action_space.shape[0])
    ppo = PPO(*sizes, PPOConfig(**{**QUICK, "value_hidden": (16,), **config}), seeded())
    learn(ppo, vector(make), updates, ignore)
    assert ppo.updates == updates
    return ppo


@pytest.mark.parametrize(
    ("probe", "updates"),
    [(probes.ConstantReward, 15), (probes.RewardByObservation, 25), (probes.DelayedReward, 40)],
)
def test_the_value_of_a_probe_is_learnt(probe, updates):
    ppo = trained(lambda: Indifferent(probe()), updates, gamma=probes.DISCOUNT)
    expected = np.atleast_1d(probe.value).tolist()
    found = ppo.value(torch.arange(float(len(expected)))[:, None])
    assert found.tolist() == pytest.approx(expected, abs=0.05)


def test_the_action_that_matters_is_found():
    ppo = trained(lambda: probes.ActionMatters(continuous=True), 40)
    zero, one = ppo.mean_action(torch.tensor([[0.0], [1.0]]))[:, 0].tolist()
    assert zero < -0.8
    assert one > 0.8


class Endless(gym.Env[Any, Any]):
    """Reward 1 a step for ever, cut every 3 steps. What is observed: how much of them is over."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        return np.full(1, self.time / 3, np.float32), 1.0, False, self.time == 3, {}


class Timeless(gym.ObservationWrapper):
    """The last observation is one that is learnt about, too."""

    def observation(self, obs: Any) -> Any:
        return np.zeros_like(obs)


def test_a_time_limit_is_no_end_of_what_is_to_come():
    ppo = trained(lambda: Timeless(Endless()), 40, gamma=0.8, lam=0.9)
    assert ppo.value(torch.zeros(1, 1)).item() == pytest.approx(5.0, abs=0.1)  # 1 / (1 - gamma); 2.44 of three steps


@pytest.mark.parametrize("normalise", [False, True])
def test_a_point_is_steered_to_the_origin(normalise):
    config = {"rollout_steps": 50, "batch_size": 50, "gamma": 0.9, "hidden": (), "log_std": -1.0}
    ppo = trained(probes.LinearSystem, 36, **config, epochs=10, learning_rate=2e-2, normalise_obs=normalise)
    env = probes.LinearSystem()
    total = {"idle": 0.0, "learnt": 0.0}
    for seed in range(5):
        for who in total:
            obs, cut = env.reset(seed=seed)[0], False
            while not cut:
                mean = ppo.mean_action(torch.from_numpy(obs)[None])[0].numpy().clip(-1.0, 1.0)
                obs, reward, _, cut, _ = env.step(mean if who == "learnt" else np.zeros(2))
                total[who] += reward
    assert total["learnt"] > 0.5 * total["idle"]


# The loop, resuming, errors


def test_actions_stay_in_the_environment_s_bounds_and_the_last_observation_is_returned():
    class Bounded(Endless):
        action_space = gym.spaces.Box(-0.1, 0.2, (1,), np.float32)

        def step(self, action: Any) -> Any:
            assert self.action_space.contains(action)
            return super().step(action)

    ppo = PPO(1, 1, PPOConfig(rollout_steps=7, batch_size=7), seeded())
    obs = learn(ppo, vector(Bounded, 2), 2, ignore)
    assert obs.tolist() == [[pytest.approx(2 / 3)]] * 2  # 14 steps: the second one of the fifth episode
    assert ppo.rollout.columns["action"].abs().max() > 0.2  # what is learnt from is what was drawn


def test_a_cut_episode_is_followed_by_the_value_of_its_own_last_observation():
    ppo = PPO(1, 1, PPOConfig(rollout_steps=8), seeded())
    calls = []

    def stop_at_four(metrics: Mapping[str, float] | None = None) -> None:
        calls.append(metrics)
        if len(calls) == 4:
            raise Stopped

    with pytest.raises(Stopped):
        learn(ppo, vector(Endless, 2), 1, stop_at_four)
    columns = ppo.rollout.columns
    assert columns["truncated"][:4].tolist() == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]
    assert torch.equal(columns["final_value"][2], ppo.value(torch.ones(2, 1)))
    assert columns["obs"][:4, 0, 0].tolist() == pytest.approx([0.0, 1 / 3, 2 / 3, 0.0])


def test_an_environment_may_write_its_observations_into_one_array():
    learnt = []
    for copies in (True, False):
        env = SyncVectorEnv([Endless] * 2, copy=copies, autoreset_mode=AutoresetMode.SAME_STEP)
        ppo = PPO(1, 1, PPOConfig(rollout_steps=7, batch_size=7), seeded())
        learn(ppo, env, 1, ignore)
        learnt.append(ppo.numbers.vector)
    assert torch.equal(*learnt)


RESUMED = {"rollout_steps": 16, "batch_size": 24, "epochs": 2, "normalise_obs": True, "anneal_updates": 5}


@pytest.mark.parametrize("stop", [5, 16, 27])  # in the first rollout, between two updates, in the second rollout
def test_a_learner_that_was_stopped_goes_on_bit_for_bit(stop: int, tmp_path: Path):
    def fresh(seed: int) -> tuple[PPO, Any, Any]:
        gate = gate_to(lambda: probes.LinearSystem(time_limit=7), 1000)
        return PPO(2, 2, PPOConfig(**RESUMED), seeded(seed)), gate, gate.open(3)

    through, _, env = fresh(0)
    metrics: list[Any] = []
    learn(through, env, 3, metrics.append)

    first, gate, env = fresh(0)
    reports, state = 0, {}

    def report(metrics: Mapping[str, float] | None = None) -> None:
        nonlocal reports
        reports += 1
        if reports == stop:
            saving.write(tmp_path, first.state())
            state.update(gate.state())
            raise Stopped

    with pytest.raises(Stopped):
        learn(first, env, 3, report)
    second = PPO(2, 2, PPOConfig(**RESUMED), seeded(99))
    second.restore(saving.read(tmp_path))
    gate = gate_to(lambda: probes.LinearSystem(time_limit=7), 1000)
    gate.restore(state)
    rest: list[Any] = []
    learn(second, gate.open(3), 3, rest.append)
    assert rest == metrics[stop:]
    one, two = through.state(), second.state()
    for name in one["numbers"]:
        assert torch.equal(one["numbers"][name], two["numbers"][name])
    assert torch.equal(one["generator"], two["generator"])
    assert torch.equal(one["normaliser"]["mean"], two["normaliser"]["mean"])
    assert two["updates"] == 3


def test_what_was_saved_does_not_change_when_the_learner_goes_on():
    ppo = PPO(3, 1, PPOConfig(rollout_steps=8, batch_size=8, normalise_obs=True), seeded())
    data = data_for(8, 2, 3, 1)
    for t in range(3):
        ppo.store(**{name: rows[t] for name, rows in data.items()})
    state = ppo.state()
    kept = copy.deepcopy(state)
    for t in range(3, 8):
        ppo.store(**{name: rows[t] for name, rows in data.items()})
    ppo.update(data["obs"][0])
    ppo.store(**{name: rows[7] for name, rows in data.items()})
    ppo.restore(state)
    for part in ("numbers", "rollout", "normaliser"):
        flat, expected = (torch.utils._pytree.tree_leaves(x[part]) for x in (ppo.state(), kept))
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(flat, expected, strict=True))
    assert ppo.rollout.stored == 3


def test_misuse_is_answered_with_what_was_expected():
    ppo, data = PPO(3, 1, PPOConfig(rollout_steps=2), seeded()), data_for(3, 2, 3, 1)
    rows = [{name: x[t] for name, x in data.items()} for t in range(3)]
    ppo.store(**rows[0])
    with pytest.raises(RuntimeError, match="expected a full rollout, found 1 of 2 steps"):
        ppo.update(data["obs"][0])
    with pytest.raises(ValueError, match="expected 2 environments until the rollout is full, found 1"):
        ppo.store(**{name: x[:1] for name, x in rows[1].items()})
    with pytest.raises(ValueError, match="expected final_value where an episode was truncated"):
        ppo.store(**rows[1] | {"final_value": None, "truncated": torch.ones(2).bool()})
    ppo.store(**rows[1])
    with pytest.raises(RuntimeError, match="expected at most 2 steps of a rollout"):
        ppo.store(**rows[2])
    ppo.update(data["obs"][2])
    ppo.store(**{name: x[:1] for name, x in rows[2].items()})  # a new rollout may be of fewer environments
    with pytest.raises(ValueError, match=r"expected a vector with SAME_STEP autoreset and Box actions, found .*NEXT"):
        learn(ppo, SyncVectorEnv([Endless]), 1, ignore)
    with pytest.raises(ValueError, match="expected batch_size >= 1, found 0"):
        PPOConfig(batch_size=0)
