"""SVG: gradients through a linear-quadratic model and through none, values worked out by hand, exact resume."""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from agents.parts.ensemble import Moments
from agents.parts.imagined import ImaginedWorld
from agents.parts.soft_actor_critic import SAC
from agents.protocol import Problem
from agents.svg import SVG, PathwiseWorld, make, policy_config
from analysis import figures_all
from suites.runner.evaluation import Episode
from suites.runner.model_quality import model_rows
from tests import probes
from tests.in_process import play, problem_of, train, train_interrupted
from tests.planted_models import errors, plant
from tests.synthetic_records import read, write_suite

SMALL: dict[str, Any] = {
    "random_steps": 60,
    "model_from": 40,
    "normalise_every": 20,
    "batch_size": 16,
    "model_batch_size": 16,
    "model_updates": 1,
    "hidden": (16, 16),
    "model_hidden": (16, 16),
}


def pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1", max_episode_steps=25)


def inverted_pendulum() -> gym.Env[Any, Any]:
    return gym.make("InvertedPendulum-v5")


def a_batch(rows: int = 12, size: int = 3, actions: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "obs": torch.randn(rows, size, generator=generator),
        "action": torch.rand(rows, actions, generator=generator) * 2 - 1,
        "reward": torch.randn(rows, generator=generator),
        "next_obs": torch.randn(rows, size, generator=generator),
        "terminated": torch.rand(rows, generator=generator) < 0.3,
    }


# The gradient through a linear-quadratic problem: s' = A s + B a, reward -|s'|^2, policy a = K s

A = np.array([[0.9, 0.3], [-0.2, 1.1]])
B = np.array([[0.1, 0.0], [0.05, 0.2]])
WIDE = 1000.0  # actions so far inside their bounds that tanh is a line


def linear_quadratic(gain: np.ndarray, horizon: int) -> SVG:
    """No entropy, no noise and no value behind the last step."""
    problem = Problem(
        observation_space=Box(-np.inf, np.inf, (2,), np.float32),
        action_space=Box(-WIDE, WIDE, (2,), np.float32),
        budget=100,
        family="vector",
        env_id="lq",
        known={
            "reward": lambda obs, action, next_obs: -next_obs.square().sum(1),
            "termination": lambda obs, action, next_obs: torch.zeros(len(obs), dtype=torch.bool),
        },
    )
    config = {"horizon": horizon, "final_value": False, "hidden": (), "model_hidden": (), "gamma": 0.9}
    agent = make(problem, 0, **{**SMALL, **config})
    weight = np.concatenate([A - np.eye(2), B], 1).T
    agent.model.networks.weights[0][0] = torch.tensor(weight, dtype=torch.float32)
    agent.sac.actor.vector.zero_()
    agent.sac.actor.weights[0].detach()[0, :, :2] = torch.tensor(gain.T / WIDE)
    agent.sac._noise = lambda count: torch.zeros(count, 2)  # type: ignore[method-assign]
    agent.sac.log_temperature.fill_(-80.0)
    return agent


@pytest.mark.parametrize("horizon", [1, 2, 5, 20])
def test_the_gradient_through_a_linear_quadratic_model_is_the_analytic_one(horizon: int):
    gain = np.array([[-0.5, 0.2], [0.1, -0.4]])
    agent = linear_quadratic(gain, horizon)
    batch = a_batch(rows=6, size=2, actions=2)
    value, _ = agent.value(batch)
    agent.sac.actor.differentiate(value.mean())
    found = agent.sac.actor.weight_slopes[0][0, :, :2].numpy().T / WIDE  # its numbers are those of tanh's argument

    moves = A + B @ gain
    costs = [np.zeros((2, 2))]  # s' P_t s is what is still to be paid; the Riccati recursion of a fixed gain
    for _ in range(horizon):
        costs.append(moves.T @ (np.eye(2) + 0.9 * costs[-1]) @ moves)
    wanted, total = np.zeros((2, 2)), 0.0
    for start in batch["obs"].double().numpy():
        state = start
        total += start @ costs[-1] @ start / 6
        for t in range(horizon):
            behind = np.eye(2) + 0.9 * costs[horizon - 1 - t]
            wanted -= 0.9**t * 2 * B.T @ behind @ moves @ np.outer(state, state) / 6
            state = moves @ state
    assert value.mean().item() == pytest.approx(-total, rel=1e-4)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-4)


def test_climbing_the_gradient_finds_the_best_gain():
    agent = linear_quadratic(np.zeros((2, 2)), 5)
    agent.sac.actor_optimiser.learning_rate = 0.3 / WIDE
    batch = a_batch(rows=30, size=2, actions=2)
    for _ in range(400):
        agent.update_actor(batch)
        agent.sac.log_temperature.fill_(-80.0)
    gain = agent.sac.actor.weights[0].detach()[0, :, :2].numpy().T * WIDE
    np.testing.assert_allclose(A + B @ gain, 0.0, atol=0.05)  # B is invertible: every state can be moved to 0 at once


@pytest.mark.parametrize("horizon", [1, 4, 16])
def test_the_norm_of_the_gradient_by_horizon_is_that_of_the_products_of_the_models_matrix(horizon: int):
    system = probes.LinearSystem
    agent = make(problem_of(system()), 0, **{**SMALL, "model_hidden": (), "hidden": ()})
    agent.sac.actor.vector.zero_()
    weight = np.concatenate([system.A - np.eye(2), system.B], 1).T
    agent.model.networks.weights[0][0, :, :2] = torch.tensor(weight, dtype=torch.float32)
    found = agent.gradients(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), [0, horizon], 0)
    # a rotation by some angle, times the root of its determinant
    assert found == pytest.approx([1.0, np.linalg.det(system.A) ** (horizon / 2)], rel=1e-4)
    agent.model.networks.weights[0][0, :2, :2] += 0.2 * torch.eye(2)
    assert agent.gradients(torch.ones(5, 2), [horizon], 0)[0] > 1.15**horizon


# Values worked out by hand: one observation s, one action a in [-1, 1]; s' = s + a, reward 10 s + a


def set_model(agent: SVG, logit: Callable[[Tensor], Tensor]) -> None:
    def predict(obs: Tensor, action: Tensor) -> Moments:
        mean = torch.cat([obs + action, 10.0 * obs + action], 1)[None]
        return Moments(mean, torch.zeros_like(mean), logit(obs[:, 0])[None])

    agent.model.predict = predict  # type: ignore[method-assign]


def on_a_line(**config: Any) -> SVG:
    """The policy's action is about 1 (log-prob as given by `squash`), Q = 2 s + 3 a + 1; an end has odds of 1 to 3."""
    problem = Problem(
        observation_space=Box(-np.inf, np.inf, (1,), np.float32),
        action_space=Box(-1.0, 1.0, (1,), np.float32),
        budget=100,
        family="vector",
        env_id="line",
    )
    agent = make(problem, 0, **{**SMALL, "hidden": (), "model_hidden": (), "gamma": 0.5, "horizon": 2, **config})
    set_model(agent, lambda s: torch.full_like(s, -log(3.0)))
    agent.model.end_seen = True
    sac = agent.sac
    sac.actor.vector.zero_()  # N(0, 1) before the tanh
    sac._noise = lambda count: torch.zeros(count, 1)  # type: ignore[method-assign]
    sac.log_temperature.fill_(log(0.2))
    for row, numbers in enumerate(([2.0, 3.0, 1.0], [0.0, 0.0, 100.0])):  # the other critic is never the least
        sac.critics.weights[0].detach()[row] = torch.tensor(numbers[:-1])[:, None]
        sac.critics.biases[0].detach()[row] = numbers[-1]
    return agent


BONUS = 0.2 * 0.5 * log(2 * pi)  # -alpha log pi of a = 0, where the tanh's slope is 1
LINE = {
    "obs": torch.tensor([[1.0], [-2.0]]),
    "action": torch.tensor([[0.5], [-0.5]]),
    "reward": torch.tensor([100.0, 100.0]),  # must not matter
    "next_obs": torch.tensor([[4.0], [5.0]]),
    "terminated": torch.tensor([False, False]),
}


def expected(state: float, states: list[float], cont: float, final: float) -> float:
    value = final
    for s in reversed([state, *states]):
        value = 10.0 * s + BONUS + 0.5 * cont * value
    return value


def test_the_value_is_that_worked_out_by_hand_with_ends_that_cut_off_as_much_as_they_are_likely():
    agent = on_a_line()
    value, log_prob = agent.value(LINE)
    assert value.tolist() == pytest.approx([expected(s, [s], 0.75, 2 * s + 1.0 + BONUS) for s in (1.0, -2.0)], rel=1e-5)
    assert log_prob.tolist() == pytest.approx([-0.5 * log(2 * pi)] * 2, rel=1e-5)
    agent.model.end_seen = False  # an end that was never seen is not heeded
    assert agent.value(LINE)[0].tolist() == pytest.approx(
        [expected(s, [s], 1.0, 2 * s + 1.0 + BONUS) for s in (1.0, -2.0)], rel=1e-5
    )


def test_without_the_final_value_rewards_and_entropies_are_all():
    value, _ = on_a_line(final_value=False).value(LINE)
    assert value.tolist() == pytest.approx([expected(s, [s], 0.75, 0.0) for s in (1.0, -2.0)], rel=1e-5)


def test_an_inferred_noise_moves_the_first_imagined_state_alone():
    agent = on_a_line(residual=True)
    assert agent.missed(LINE)[:, 0].tolist() == pytest.approx([2.5, 7.5])  # s' - (s + a)
    value, _ = agent.value(LINE)
    wanted = [expected(s, [s + xi], 0.75, 2 * (s + xi) + 1.0 + BONUS) for s, xi in ((1.0, 2.5), (-2.0, 7.5))]
    assert value.tolist() == pytest.approx(wanted, rel=1e-5)
    agent.sac.sample = lambda obs: (LINE["action"], torch.zeros(2))  # type: ignore[method-assign]
    agent.config = make(problem_of(pendulum()), 0, **{**SMALL, "horizon": 1}).config
    way = agent.imagine(LINE["obs"], agent.missed(LINE))
    torch.testing.assert_close(way.last, LINE["next_obs"])  # what was done leads to where it led


def test_the_gradient_is_that_of_finite_differences_in_every_number_of_the_actor():
    agent = make(problem_of(pendulum()), 0, **{**SMALL, "hidden": (4,), "horizon": 3})
    batch = a_batch()
    agent.model.normalise(batch)
    for _ in range(20):
        agent.model.update(batch)
    noise = torch.randn(12, 1, generator=torch.Generator().manual_seed(0))
    agent.sac._noise = lambda count: noise  # type: ignore[method-assign]
    agent.sac.actor.differentiate(agent.value(batch)[0].mean())
    found, vector = agent.sac.actor.gradient.clone(), agent.sac.actor.vector
    for at in range(0, len(vector), 3):
        sides = []
        for shift in (1e-2, -1e-2):
            vector[at] += shift
            sides.append(agent.value(batch)[0].mean().item())
            vector[at] -= shift
        assert found[at].item() == pytest.approx((sides[0] - sides[1]) / 2e-2, abs=5e-3)


def test_rewards_and_ends_that_the_suite_grants_are_believed_instead_of_the_model():
    reward = lambda obs, action, next_obs: 100 * obs[:, 0] + 10 * action[:, 0]
    termination = lambda obs, action, next_obs: next_obs[:, 0] > 0.0
    agent = make(problem_of(pendulum(), reward=reward, termination=termination), 0, **SMALL)
    assert not agent.model.reward
    assert not agent.model.termination
    batch = a_batch()
    next_obs, rewards, conts = agent.step(batch["obs"], batch["action"])
    torch.testing.assert_close(rewards, reward(batch["obs"], batch["action"], next_obs))
    assert torch.equal(conts, (next_obs[:, 0] <= 0.0).float())


# Against soft actor-critic


def test_with_horizon_0_an_update_is_sacs():
    agent = make(problem_of(pendulum()), 3, **{**SMALL, "horizon": 0})
    space = pendulum().action_space
    assert isinstance(space, Box)
    low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
    base = SAC(3, low, high, policy_config(agent.config), torch.Generator().manual_seed(4 * 3 + 3))
    batch = a_batch()
    for _ in range(4):
        mine, theirs = agent.update(batch), base.update(batch)
        for name in ("critic", "actor", "entropy", "alpha"):
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(agent.sac.actor.gradient, base.actor.gradient, rtol=1e-4, atol=1e-6)
    assert torch.equal(agent.sac.generator.get_state(), base.generator.get_state())
    assert agent.sac.log_temperature.item() == pytest.approx(base.log_temperature.item(), rel=1e-6)


def test_with_horizon_0_no_model_is_trained():
    agent = train(make(problem_of(pendulum(), 101), 0, **{**SMALL, "horizon": 0}), pendulum, 101)
    assert agent.updates == agent.policy_updates == 42
    assert agent.world_model() is None


# Learning, resuming, looking


def test_the_action_that_the_observation_asks_for_is_learnt():
    asks = lambda: probes.ActionMatters(continuous=True)
    config = {"learning_rate": 1e-2, "temperature": 0.1, "target_entropy": -3.0, "horizon": 1}
    config |= {"final_value": False, "model_updates": 4}
    agent = train(make(problem_of(asks(), 301), 0, **{**SMALL, **config}), asks, 301)
    assert min(play(agent, asks(), 10)) > 0.8


def test_model_and_policy_are_updated_as_often_as_declared():
    agent = train(make(problem_of(pendulum(), 101), 0, **{**SMALL, "model_updates": 2, "updates": 3}), pendulum, 101)
    assert agent.model.updates == 2 * 62  # after steps 40, 41, ..., 101
    assert agent.policy_updates == 3 * 42  # after steps 60, 61, ..., 101
    torch.testing.assert_close(agent.model.inputs.mean[:3], agent.replay.tensors()["obs"][:100].mean(0))


@pytest.mark.parametrize("stop", [45, 97])
@pytest.mark.parametrize(("env", "residual"), [(pendulum, True), (inverted_pendulum, False)])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_numbers(env, residual, stop, tmp_path):
    def fresh() -> SVG:
        return make(problem_of(env(), 121), 4, **{**SMALL, "horizon": 2, "residual": residual})

    whole, resumed = train(fresh(), env, 121), train_interrupted(fresh, env, 121, stop, tmp_path)
    for one, other in zip(whole.sac._numbers(), resumed.sac._numbers(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(whole.model.networks.vector, resumed.model.networks.vector)
    assert whole.updates == resumed.updates
    for name in ("acting", "drawing", "modelling"):
        assert torch.equal(getattr(whole, name).get_state(), getattr(resumed, name).get_state())


def test_measuring_the_model_leaves_no_trace():
    agent = train(make(problem_of(pendulum(), 101), 0, **SMALL), pendulum, 101)
    states = [agent.sac.generator.get_state(), agent.modelling.get_state(), agent.sac.actor.vector.clone()]
    world = agent.world_model()
    assert isinstance(world, PathwiseWorld)
    first = np.asarray(agent.replay.arrays["obs"][:5])
    assert world.gradients(first, [1, 5, 10], 0) == world.gradients(first, [1, 5, 10], 0)
    returns = world.imagined_returns(first, 10, 0)
    assert returns is not None
    assert np.isfinite(returns[0]).all()
    now = [agent.sac.generator.get_state(), agent.modelling.get_state(), agent.sac.actor.vector]
    assert all(torch.equal(one, other) for one, other in zip(states, now, strict=True))


def test_what_it_cannot_do_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="one-dimensional Box observation space, but ImageMemory"):
        make(problem_of(probes.ImageMemory()), 0, **SMALL)
    with pytest.raises(ValueError, match="bounded one-dimensional Box of actions, but ActionMatters"):
        make(problem_of(probes.ActionMatters()), 0, **SMALL)
    with pytest.raises(ValueError, match="random_steps below the budget of 30 steps, found 60"):
        make(problem_of(pendulum(), 30), 0, **SMALL)
    with pytest.raises(ValueError, match=r"model_from of at most random_steps \(60\), found 70"):
        make(problem_of(pendulum()), 0, **{**SMALL, "model_from": 70})
    with pytest.raises(ValueError, match="normalise_every of at least 1 step, found 0"):
        make(problem_of(pendulum()), 0, **{**SMALL, "normalise_every": 0})
    with pytest.raises(ValueError, match="found horizon: 0 and final_value: False"):
        make(problem_of(pendulum()), 0, **{**SMALL, "horizon": 0, "final_value": False})


def test_the_record_tells_of_the_gradient_at_every_horizon_and_only_of_models_that_have_one():
    agent = train(make(problem_of(pendulum(), 101), 0, **SMALL), pendulum, 101)
    world, episodes = agent.world_model(), [episode_of(pendulum())]
    rows = list(model_rows(world, episodes, seed=0))
    obs = np.stack(episodes[0].obs)[:-1]
    assert [row["horizon"] for row in rows] == [1, 2, 5, 10, 25]  # the episode has 25 steps
    told = world.gradients(obs, [row["horizon"] for row in rows], 0)
    assert [row["gradient"] for row in rows] == pytest.approx(told, rel=1e-4)
    plain = ImaginedWorld(agent.model, agent.actions)
    assert not any("gradient" in row for row in model_rows(plain, episodes, seed=0))
    agent.sac.actor.vector.fill_(torch.nan)
    assert [row["gradient"] for row in model_rows(world, episodes, seed=0)] == [None] * 5


def episode_of(env: gym.Env[Any, Any]) -> Episode:
    obs = [env.reset(seed=0)[0]]
    actions, rewards = [np.array([np.sin(t)], np.float32) for t in range(25)], []
    for action in actions:
        following, reward, *_ = env.step(action)
        obs.append(following)
        rewards.append(float(reward))
    return Episode(obs=obs, action=actions, reward=rewards, terminated=False)


def test_gradients_by_horizon_are_drawn_where_a_model_has_them(tmp_path, monkeypatch):
    save = figures_all.save
    monkeypatch.setattr(figures_all, "save", lambda draw, stem: save(draw, stem) if stem.name == "gradients" else [])
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "ppo"], seeds=2)
    for entrant, norms in (("sac", {1: 1.0, 10: 20.0, 50: None}), ("ppo", {})):
        for seed in range(2):
            rows = [row | {"gradient": norms[row["horizon"]]} for row in errors(dict.fromkeys(norms, 1.0))]
            plant(tmp_path / f"results/made-up/pendulum/{entrant}/{seed}.jsonl", rows or errors({1: 1.0}))
    paths, _ = figures_all.write_all(read(tmp_path), tmp_path / "figures")
    assert [path.name for path in paths] == ["gradients.png", "gradients.svg"]
    text = paths[1].read_text()
    assert "norm of the gradient" in text
    assert "sac (n=2)" in text
    assert "ppo (n=2)" not in text
