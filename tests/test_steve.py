"""STEVE: candidates and weights worked out by hand, a perfect model, judges against autograd, exact resume."""

from __future__ import annotations

from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from agents.parts.actor_critic_networks import Networks
from agents.parts.ensemble import Moments
from agents.parts.imagined import ImaginedWorld
from agents.protocol import Problem, Sequences
from agents.steve import STEVE, Config, Judges, make
from tests import probes
from tests.in_process import play, problem_of, train, train_interrupted

SMALL: dict[str, Any] = {
    "random_steps": 60,
    "model_pretraining": 5,
    "updates": 1,
    "batch_size": 16,
    "target_every": 7,
    "hidden": (16, 16),
    "model_hidden": (16, 16),
    "judge_hidden": (16,),
}


def pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1", max_episode_steps=25)


def inverted_pendulum() -> gym.Env[Any, Any]:
    return gym.make("InvertedPendulum-v5")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_batch(rows: int = 12, size: int = 3, actions: int = 1) -> dict[str, Tensor]:
    generator = seeded(1)
    return {
        "obs": torch.randn(rows, size, generator=generator),
        "action": torch.rand(rows, actions, generator=generator) * 2 - 1,
        "reward": torch.randn(rows, generator=generator),
        "next_obs": torch.randn(rows, size, generator=generator),
        "terminated": torch.rand(rows, generator=generator) < 0.3,
    }


# Candidates worked out by hand: one observation s, one action, always 1; two models of each kind, all of them lines.


def set_lines(networks: Networks, *lines: list[float]) -> None:
    """Slopes and then the intercept of each network."""
    for i, line in enumerate(lines):
        networks.weights[0].detach()[i] = torch.tensor(line[:-1])[:, None]
        networks.biases[0].detach()[i] = line[-1]


def on_a_line(transitions: tuple[float, ...], ends: tuple[float, ...], **config: Any) -> STEVE:
    """Model m says s' = s + m of ``transitions`` and that an episode ends in a step that begins beyond m of ``ends``.

    The reward models say 10 s' and 10 s' + 4, the target critics 2 s + a and 2 s + a + 2.
    """
    space = Box(-np.inf, np.inf, (1,), np.float32)
    problem = Problem(
        observation_space=space, action_space=Box(-1.0, 1.0, (1,)), budget=10, family="vector", env_id="line"
    )
    lines = {"hidden": (), "judge_hidden": (), "gamma": 0.5, "horizon": 2, "members": 2, "critics": 2}
    agent = make(problem, 0, **{**SMALL, "random_steps": 1, **lines, **config})
    moved = torch.tensor(transitions)[:, None, None]

    def predict(obs: Tensor, action: Tensor) -> Moments:
        return Moments(obs + moved * action, torch.zeros_like(obs), None)

    agent.transitions.predict = predict  # type: ignore[method-assign]
    set_lines(agent.rewards.networks, [10.0, 0.0, 0.0, 0.0], [10.0, 0.0, 0.0, 4.0])
    set_lines(agent.ends.networks, *([0.0, 1000.0, 0.0, -1000.0 * end] for end in ends))
    agent.end_seen = True
    set_lines(agent.learner.actor, [0.0, 30.0])
    set_lines(agent.learner.critics, [9.0, 9.0, 9.0], [9.0, 9.0, 9.0])  # must not matter
    set_lines(agent.learner.target_critics, [2.0, 1.0, 0.0], [2.0, 1.0, 2.0])
    return agent


NEVER = (100.0, 100.0)
LINE = {
    "obs": torch.tensor([[-1.0], [3.0]]),
    "action": torch.tensor([[0.5], [0.5]]),
    "reward": torch.tensor([1.0, 7.0]),
    "next_obs": torch.tensor([[0.0], [5.0]]),
    "terminated": torch.tensor([False, True]),
}


def test_candidates_are_those_worked_out_by_hand_with_an_end_in_the_middle_of_a_rollout():
    # Model 0 moves on by 1 and knows no end; model 1 moves by 2 and says that a step that begins at s > 1 is the last.
    agent = on_a_line((1.0, 2.0), (100.0, 1.0))
    found = [sorted(candidates[:, 0].tolist()) for candidates in agent.candidates(LINE)]
    none = [1 + 0.5 * q for q in (1.0, 3.0)]  # Q' at s = 0
    one = [1 + 0.5 * (r + 0.5 * q) for r, q in product((10.0, 14.0), (3.0, 5.0))]  # s = 1
    one += [1 + 0.5 * (r + 0.5 * q) for r, q in product((20.0, 24.0), (5.0, 7.0))]  # s = 2
    two = [
        1 + 0.5 * (first + 0.5 * (second + 0.5 * q))
        for (first, second), q in product(((10.0, 20.0), (14.0, 24.0)), (5.0, 7.0))
    ]
    two += [1 + 0.5 * (first + 0.5 * second) for first, second in ((20.0, 40.0), (24.0, 44.0)) for _ in range(2)]
    assert found[0] == pytest.approx(sorted(none))
    assert found[1] == pytest.approx(sorted(one))
    assert found[2] == pytest.approx(sorted(two))


def test_the_target_is_the_mean_over_horizons_weighted_with_inverse_variances():
    agent = on_a_line((1.0, 2.0), (100.0, 1.0))
    candidates = [each[:, 0].numpy() for each in agent.candidates(LINE)]
    precisions = [1.0 / each.var() for each in candidates]
    expected = sum(p * each.mean() for p, each in zip(precisions, candidates, strict=True)) / sum(precisions)
    targets, weights = agent.targets(LINE)
    assert targets[0].item() == pytest.approx(expected, rel=1e-5)
    assert weights[:, 0].tolist() == pytest.approx([p / sum(precisions) for p in precisions], rel=1e-5)
    # The first horizon's candidates are 1.5 and 2.5, whose variance about their mean is 1/4.
    assert precisions[0] == pytest.approx(4.0)


def test_where_the_real_step_ended_the_episode_the_target_is_its_reward():
    targets, weights = on_a_line((1.0, 2.0), (100.0, 1.0)).targets(LINE)
    assert targets[1].item() == pytest.approx(7.0)
    assert weights[:, 1].tolist() == pytest.approx([1 / 3] * 3)


def test_where_models_agree_each_horizon_weighs_as_discounting_makes_the_critics_agree():
    agent = on_a_line((1.0, 1.0), NEVER)
    set_lines(agent.rewards.networks, *[[10.0, 0.0, 0.0, 0.0]] * 2)
    targets, weights = agent.targets(LINE)
    # The critics are 2 apart everywhere: variances 1 * 0.5^2, 0.5^4 and 0.5^6, weights as 1 : 4 : 16.
    assert weights[:, 0].tolist() == pytest.approx([1 / 21, 4 / 21, 16 / 21], rel=1e-5)
    means = [1 + 0.5 * 2, 1 + 0.5 * (10 + 0.5 * 4), 1 + 0.5 * (10 + 0.5 * (20 + 0.5 * 6))]
    assert targets[0].item() == pytest.approx((means[0] + 4 * means[1] + 16 * means[2]) / 21, rel=1e-5)


def test_where_critics_agree_the_horizon_that_needs_no_model_has_all_the_weight():
    agent = on_a_line((1.0, 2.0), NEVER)
    set_lines(agent.learner.target_critics, [2.0, 1.0, 0.0], [2.0, 1.0, 0.0])
    targets, weights = agent.targets(LINE)
    assert weights[0, 0].item() > 1 - 1e-6
    assert targets[0].item() == pytest.approx(1 + 0.5 * 1.0, rel=1e-5)


def test_where_all_agree_all_horizons_weigh_alike():
    agent = on_a_line((1.0, 1.0), NEVER)
    set_lines(agent.rewards.networks, *[[10.0, 0.0, 0.0, 0.0]] * 2)
    set_lines(agent.learner.target_critics, [2.0, 1.0, 0.0], [2.0, 1.0, 0.0])
    assert agent.targets(LINE)[1][:, 0].tolist() == pytest.approx([1 / 3] * 3)


def test_a_model_that_errs_later_takes_weight_from_later_horizons_alone():
    agent = on_a_line((1.0, 1.0), NEVER, horizon=3)
    set_lines(agent.rewards.networks, *[[10.0, 0.0, 0.0, 0.0]] * 2)
    trusting = agent.targets(LINE)[1][:, 0]
    calls = []

    def predict(obs: Tensor, action: Tensor) -> Moments:
        calls.append(len(calls))
        error = 5.0 * torch.tensor([0.0, 1.0])[:, None, None] * (len(calls) > 1)
        return Moments(obs + action + error, torch.zeros_like(obs), None)

    agent.transitions.predict = predict  # type: ignore[method-assign]
    weights = agent.targets(LINE)[1][:, 0]
    assert len(calls) == 3
    assert (weights[1] / weights[0]).item() == pytest.approx((trusting[1] / trusting[0]).item(), rel=1e-5)
    assert (weights[2] / weights[1]).item() < 0.1 * (trusting[2] / trusting[1]).item()


def test_a_likely_end_cuts_off_as_much_as_it_is_likely():
    agent = on_a_line((1.0, 1.0), NEVER, horizon=1)
    agent.ends.networks.vector.zero_()  # an end has the probability 1/2
    found = sorted(agent.candidates(LINE)[1][:, 0].tolist())
    one = [1 + 0.5 * (r + 0.5 * 0.5 * q) for r, q in product((10.0, 14.0), (3.0, 5.0)) for _ in range(2)]
    assert found == pytest.approx(sorted(one))
    agent.end_seen = False  # then it is not heeded
    one = [1 + 0.5 * (r + 0.5 * q) for r, q in product((10.0, 14.0), (3.0, 5.0)) for _ in range(2)]
    assert sorted(agent.candidates(LINE)[1][:, 0].tolist()) == pytest.approx(sorted(one))


def test_rewards_and_ends_that_the_suite_grants_are_believed_instead_of_the_models():
    agent = on_a_line((1.0, 2.0), NEVER, horizon=1)
    agent.known = {
        "reward": lambda obs, action, next_obs: 100 * obs[:, 0] + 10 * action[:, 0] + next_obs[:, 0],
        "termination": lambda obs, action, next_obs: next_obs[:, 0] > 1.5,
    }
    obs = torch.tensor([[[0.0], [0.0]], [[0.0], [1.0]]])
    next_obs, reward, cont = agent.step(obs, torch.ones(2, 2, 1))
    assert next_obs[..., 0].tolist() == [[1.0, 1.0], [2.0, 3.0]]
    assert reward.tolist() == [[[11.0, 11.0], [12.0, 113.0]]]
    assert cont.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    found = sorted(agent.candidates(LINE)[1][:, 0].tolist())
    assert found == pytest.approx(sorted([1 + 0.5 * (11 + 0.5 * 3), 1 + 0.5 * (11 + 0.5 * 5), *[1 + 0.5 * 12] * 2]))


@pytest.mark.parametrize("members", [1, 3])
def test_with_perfect_models_every_candidate_is_the_true_discounted_return_and_a_critics_value_behind_it(members: int):
    reward = lambda obs, action, next_obs: -next_obs.square().sum(1)
    problem = problem_of(probes.LinearSystem(), reward=reward)
    agent = make(problem, 0, **{**SMALL, "model_hidden": (), "members": members, "gamma": 0.9, "horizon": 4})
    weight = np.concatenate([probes.LinearSystem.A - np.eye(2), probes.LinearSystem.B], 1).T
    agent.transitions.networks.weights[0][:] = torch.tensor(weight, dtype=torch.float32)
    batch = a_batch(rows=5, size=2, actions=2) | {"terminated": torch.zeros(5, dtype=torch.bool)}
    found = agent.candidates(batch)
    env = probes.LinearSystem()
    for row in range(5):
        env.reset(seed=0)
        env.state = batch["next_obs"][row].double().numpy()
        obs, rewards = batch["next_obs"][row : row + 1], [float(batch["reward"][row])]
        for horizon in range(5):
            action = agent.learner.action(obs).detach()
            values = agent.learner.critic(obs, action, target=True)[:, 0].tolist()
            truth = [
                sum(0.9**t * reward for t, reward in enumerate(rewards)) + 0.9 ** (horizon + 1) * value
                for value in values * (members if horizon else 1)
            ]
            assert sorted(found[horizon][:, row].tolist()) == pytest.approx(sorted(truth), rel=1e-4, abs=1e-5)
            state, reward_there, *_ = env.step(action[0].numpy())
            rewards.append(reward_there)
            obs = torch.tensor(state)[None]


def test_with_horizon_0_the_target_is_the_learners_own_and_no_model_is_trained():
    agent = train(make(problem_of(pendulum(), 101), 0, **{**SMALL, "horizon": 0}), pendulum, 101)
    assert agent.updates == agent.learner_updates == 101 - 60 + 1
    assert agent.world_model() is None
    batch = a_batch()
    targets, weights = agent.targets(batch)
    torch.testing.assert_close(targets, agent.learner.targets(batch))
    assert (weights == 1.0).all()


# Models


@pytest.mark.parametrize("logistic", [False, True])
def test_judges_gradients_are_autograds_of_the_published_loss(logistic: bool):
    """Of the mean over a batch in which each transition teaches one model, and the L2 term of all numbers."""
    config = Config(members=2, judge_hidden=(8,), model_decay=0.3)
    judges = Judges(5, config, seeded(), logistic=logistic)
    inputs, truth = torch.randn(2, 6, 5, generator=seeded(1)), (torch.rand(2, 6, generator=seeded(2)) < 0.5).float()
    numbers = judges.networks.vector.clone().requires_grad_()
    parts = judges.networks._parts(numbers)
    hidden = torch.baddbmm(parts[1], inputs, parts[0]).relu()
    out = torch.baddbmm(parts[3], hidden, parts[2])[..., 0]
    if logistic:
        each = torch.nn.functional.binary_cross_entropy_with_logits(out, truth, reduction="none")
    else:
        each = 0.5 * (out - truth).square()
    published = each.sum() / 12 + 0.3 * 0.5 * numbers.square().sum()
    (expected,) = torch.autograd.grad(published, numbers)
    found = judges.update(inputs, truth)
    gradient = judges.optimiser.means[0] / 0.1  # Adam's first average is a tenth of it
    torch.testing.assert_close(gradient, 2 * expected, rtol=1e-4, atol=1e-6)  # as many times as there are models
    torch.testing.assert_close(found, each.mean(1).sum().detach())


def test_the_transition_models_l2_term_has_the_published_share():
    agent = make(problem_of(pendulum()), 0, **{**SMALL, "members": 2, "model_decay": 0.3})
    batch = {name: column.view(2, 6, *column.shape[1:]) for name, column in a_batch().items()}
    networks = agent.transitions.networks
    numbers = networks.vector.clone().requires_grad_()
    layers = networks.parts(numbers)
    x = torch.cat([batch["obs"], batch["action"]], -1)
    for i in range(3):
        x = torch.baddbmm(layers[3 + i], x, layers[i])
        x = x.relu() if i < 2 else x
    squares = (x - (batch["next_obs"] - batch["obs"])).square().sum(-1)
    decayed = torch.cat([weight.flatten() for weight in layers[:3]]).square().sum()
    (expected,) = torch.autograd.grad(0.5 * squares.sum() / 12 + 0.3 * 0.5 * decayed, numbers)
    agent.transitions.update(batch)
    found = torch.cat([mean.flatten() for mean in agent.transitions.optimiser.means[:4]]) / 0.1  # weights, then biases
    torch.testing.assert_close(found, 2 * 2 / 3 * expected, rtol=1e-4, atol=1e-6)  # members * 2 / columns


def test_models_learn_a_linear_system_its_reward_and_where_it_ends():
    agent = make(
        problem_of(probes.LinearSystem(), 4000), 0, **{**SMALL, "model_learning_rate": 3e-3, "model_decay": 0.0}
    )
    generator = np.random.default_rng(0)
    for _ in range(2000):
        obs, action = generator.uniform(-1, 1, 2), generator.uniform(-1, 1, 2)
        next_obs = probes.LinearSystem.A @ obs + probes.LinearSystem.B @ action
        agent.replay.add(obs, action, float(next_obs.sum()), next_obs, bool(next_obs[0] > 0.2))
    agent.end_seen = True
    for _ in range(600):
        agent.update_models()
    held = agent.draw((400,), seeded(5))
    members = agent.config.members
    obs, action = (held[name].expand(members, -1, -1) for name in ("obs", "action"))
    next_obs, reward, cont = agent.step(obs, action)
    assert (next_obs - held["next_obs"]).abs().mean() < 0.03
    assert reward.shape == (members, members, 400)
    assert (reward - held["reward"]).abs().mean() < 0.05
    assert ((cont < 0.5) == held["terminated"]).float().mean() > 0.95


# Learning


def test_the_action_that_the_observation_asks_for_is_learnt_from_episodes_of_one_step():
    asks = lambda: probes.ActionMatters(continuous=True)
    config = {"random_steps": 100, "model_pretraining": 50, "learning_rate": 5e-3, "updates": 2, "batch_size": 32}
    agent = train(make(problem_of(asks(), 251), 0, **{**SMALL, **config, "target_every": 20}), asks, 251)
    assert agent.end_seen
    assert min(play(agent, asks(), 10)) > 0.9


def test_models_are_pretrained_once_and_targets_copied_every_so_many_updates():
    agent = make(problem_of(pendulum(), 101), 0, **{**SMALL, "updates": 2})
    copied: list[int] = []
    agent.learner.follow_targets = lambda rate: copied.append(agent.learner_updates)  # type: ignore[method-assign]
    train(agent, pendulum, 101)
    assert agent.learner_updates == 2 * (101 - 60 + 1)
    assert agent.transitions.updates == agent.learner_updates + 5
    assert copied == [*range(7, agent.learner_updates + 1, 7)]


def test_the_defaults_are_the_published_settings():
    agent = make(problem_of(pendulum(), 20_000), 0)
    assert len(agent.transitions.networks.weights) == 8
    assert len(agent.rewards.networks.weights) == len(agent.learner.critics.weights) == 4
    assert agent.learner.config.critics == agent.config.members == 4
    assert agent.learner.config.exploration == "occasional"
    assert agent.learner.target_actor is agent.learner.actor


# Resuming and looking


@pytest.mark.parametrize("env", [pendulum, inverted_pendulum])
@pytest.mark.parametrize("stop", [60, 97])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_numbers(env, stop, tmp_path):
    def fresh() -> Any:
        return make(problem_of(env(), 121), 4, **SMALL)

    whole, resumed = train(fresh(), env, 121), train_interrupted(fresh, env, 121, stop, tmp_path)
    for one, other in zip(whole.learner._numbers(), resumed.learner._numbers(), strict=True):
        assert torch.equal(one, other)
    for name in ("transitions", "rewards", "ends"):
        assert torch.equal(getattr(whole, name).networks.vector, getattr(resumed, name).networks.vector)
    assert whole.updates == resumed.updates
    assert whole.end_seen == resumed.end_seen == (env is inverted_pendulum)
    assert play(whole, env(), 1) == play(resumed, env(), 1)


def test_a_policy_stays_as_it_was_and_leaves_no_trace():
    agent = train(make(problem_of(pendulum(), 101), 0, **SMALL), pendulum, 101)
    streams = [agent.acting, agent.drawing, agent.modelling, agent.learner.generator]
    before = [stream.get_state() for stream in streams]
    obs = np.array([1.0, 0.0, 0.0], np.float32)
    mode, sample = agent.policy("mode"), agent.policy("sample")
    mode.reset(1)
    first = mode.act(obs)
    assert sample.act(obs) == first  # a deterministic policy
    assert all(torch.equal(stream.get_state(), then) for stream, then in zip(streams, before, strict=True))
    for _ in range(5):
        agent.update(a_batch())
    assert mode.act(obs) == first
    assert agent.policy("mode").act(obs) != first


def test_the_world_model_tells_the_models_mean_and_their_spread():
    agent = on_a_line((1.0, 3.0), NEVER)
    assert agent.world_model() is None
    agent.transitions.updates = 1
    world = agent.world_model()
    assert isinstance(world, ImaginedWorld)
    sequences = Sequences(
        obs=np.array([[[0.0], [0.0], [0.0]]]),
        action=np.ones((1, 2, 1), np.float32),
        reward=np.zeros((1, 2)),
        terminated=np.zeros((1, 2), bool),
        valid=np.ones((1, 2), bool),
        context=0,
    )
    found = world.predict(sequences, 0)
    assert found.obs[0, :, 0].tolist() == pytest.approx([2.0, 4.0])
    assert found.obs_std is not None
    assert found.obs_std.shape == (1, 2, 1)  # its size: tests/test_imagined.py
    assert found.reward is not None
    assert found.reward[0].tolist() == pytest.approx([22.0, 42.0])  # the mean of 10 s' and 10 s' + 4
    assert found.termination is not None
    assert found.termination[0].tolist() == [0.0, 0.0]


def test_the_actor_plays_in_the_world_model_as_long_as_it_is_told():
    agent = train(make(problem_of(pendulum(), 81), 0, **SMALL), pendulum, 81)
    world = agent.world_model()
    assert world is not None
    found = world.imagined_returns(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32), 10, 0)
    assert found is not None
    assert found[1] == [10, 10]
    assert np.isfinite(found[0]).all()


# Refusals


def test_settings_that_could_not_work_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"budget of 1000 steps, found 10000; lower random_steps"):
        make(problem_of(pendulum(), 1000), 0)
    with pytest.raises(ValueError, match="found 3, 4 and 2"):
        make(problem_of(pendulum()), 0, **{**SMALL, "batch_size": 2})


def test_images_and_choices_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="one-dimensional Box observation space, but ImageMemory"):
        make(problem_of(probes.ImageMemory()), 0, **SMALL)
    with pytest.raises(ValueError, match="bounded one-dimensional Box of actions, but ActionMatters"):
        make(problem_of(probes.ActionMatters()), 0, **SMALL)
