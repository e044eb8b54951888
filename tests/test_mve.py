"""MVE: expanded targets worked out by hand, a perfect model, the learner left alone at horizon 0, exact resume."""

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

from agents.mve import MVE, Config, learner, make
from agents.parts.actor_critic_networks import Networks
from agents.parts.deterministic_actor_critic import DDPG
from agents.parts.ensemble import Moments
from agents.parts.imagined import ImaginedWorld
from agents.parts.soft_actor_critic import SAC
from agents.parts.value_expansion import q_targets
from agents.protocol import Problem, Sequences
from tests import probes
from tests.in_process import play, problem_of, train, train_interrupted

SMALL: dict[str, Any] = {
    "random_steps": 60,
    "model_from": 40,
    "interval": 10,
    "updates": 1,
    "model_updates": 1,
    "batch_size": 16,
    "model_batch_size": 16,
    "hidden": (16, 16),
    "model_hidden": (16, 16),
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


# Targets worked out by hand: one observation s, one action a in [-1, 1], all networks are lines.


def set_line(networks: Networks, *numbers: float) -> None:
    """Slopes and then the intercept of the first network."""
    networks.weights[0].detach()[0] = torch.tensor(numbers[:-1])[:, None]
    networks.biases[0].detach()[0] = numbers[-1]


def set_model(agent: MVE, logit: Callable[[Tensor], Tensor]) -> None:
    def predict(obs: Tensor, action: Tensor) -> Moments:
        mean = torch.cat([obs + action, 10.0 * obs + action], 1)[None]
        return Moments(mean, torch.zeros_like(mean), logit(obs[:, 0])[None])

    agent.model.predict = predict  # type: ignore[method-assign]


def on_a_line(**config: Any) -> MVE:
    """The model says: s' = s + a, the reward is 10 s + a, and the episode ends in a step that begins beyond 1.5."""
    space = Box(-np.inf, np.inf, (1,), np.float32)
    problem = Problem(
        observation_space=space, action_space=Box(-1.0, 1.0, (1,)), budget=10, family="vector", env_id="line"
    )
    lines = {"hidden": (), "model_hidden": (), "gamma": 0.5, "horizon": 2}
    agent = make(problem, 0, **{**SMALL, "random_steps": 1, "model_from": 1, **lines, **config})
    set_model(agent, lambda s: 1000.0 * s - 1500.0)
    agent.model.end_seen = True
    if isinstance(agent.learner, DDPG):
        set_line(agent.learner.actor, 0.0, -30.0)  # must not matter
        set_line(agent.learner.target_actor, 0.0, 30.0)  # a = 1
        set_line(agent.learner.critics, 1.0, 0.0, 0.0)
        set_line(agent.learner.target_critics, 2.0, 3.0, 1.0)
    return agent


# Rows: going on to the end; ending in the second imagined step; ending in the first; ended by the real step.
LINE = {
    "obs": torch.tensor([[-1.0], [0.5], [1.2], [4.0]]),
    "action": torch.tensor([[0.0], [0.1], [0.2], [0.3]]),
    "reward": torch.tensor([1.0, 2.0, 3.0, 7.0]),
    "next_obs": torch.tensor([[0.0], [1.0], [2.0], [5.0]]),
    "terminated": torch.tensor([False, False, False, True]),
}
# s = 0: rewards 1 and 11, then Q' = 2 * 2 + 3 + 1 at s = 2. s = 1: 11 and 21, then the end. s = 2: 21, then the end.
SECOND = [11.0 + 0.5 * 8.0, 21.0, 31.0, 61.0]  # behind an end the targets go on, with weight 0
FIRST = [1.0 + 0.5 * 15.0, 11.0 + 0.5 * 21.0, 21.0, 51.0]
REAL = [1.0 + 0.5 * 8.5, 2.0 + 0.5 * 21.5, 3.0 + 0.5 * 21.0, 7.0]


def test_targets_are_those_worked_out_by_hand_with_ends_in_the_middle_of_rollouts():
    lesson = on_a_line().expand(LINE)
    assert lesson.targets.tolist() == pytest.approx(REAL + FIRST + SECOND, rel=1e-6)
    assert lesson.obs[:, 0].tolist() == pytest.approx([-1.0, 0.5, 1.2, 4.0, 0.0, 1.0, 2.0, 5.0, 1.0, 2.0, 3.0, 6.0])
    assert lesson.action[:, 0].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3] + [1.0] * 8)


def test_imagined_states_count_as_a_mean_over_those_that_are_reached():
    agent = on_a_line()
    lesson = agent.expand(LINE)
    assert lesson.weight is not None
    # 12 rows in all; 4 real states, 3 reached first ones, 2 reached second ones
    assert lesson.weight.tolist() == pytest.approx([3.0] * 4 + [4.0, 4.0, 4.0, 0.0] + [6.0, 6.0, 0.0, 0.0])
    errors = [
        np.mean([(s - t) ** 2 for s, t in zip((-1.0, 0.5, 1.2, 4.0), REAL, strict=True)]),
        np.mean([(s - t) ** 2 for s, t in zip((0.0, 1.0, 2.0), FIRST, strict=False)]),
        np.mean([(s - t) ** 2 for s, t in zip((1.0, 2.0), SECOND, strict=False)]),
    ]
    assert agent.update(LINE)["critic"].item() == pytest.approx(0.5 * sum(errors), rel=1e-5)  # Q = s


def test_where_every_row_has_ended_only_the_real_states_count():
    rows = {**LINE, "terminated": torch.ones(4, dtype=torch.bool)}
    lesson = on_a_line().expand(rows)
    assert lesson.targets[:4].tolist() == rows["reward"].tolist()
    assert lesson.weight is not None
    assert lesson.weight.tolist() == [3.0] * 4 + [0.0] * 8


def test_a_likely_end_cuts_off_as_much_as_it_is_likely():
    agent = on_a_line()
    set_model(agent, lambda s: torch.full_like(s, -log(3.0)))  # an end has the probability 1/4
    lesson = agent.expand({name: column[:1] for name, column in LINE.items()})
    second = 11.0 + 0.75 * 0.5 * 8.0
    first = 1.0 + 0.75 * 0.5 * second
    assert lesson.targets.tolist() == pytest.approx([1.0 + 0.5 * first, first, second], rel=1e-5)
    both = agent.expand({name: column[[0, 3]] for name, column in LINE.items()})
    assert both.weight is not None
    assert both.weight.tolist() == pytest.approx(
        [3.0, 3.0, 6.0, 0.0, 6.0, 0.0]
    )  # a mean over those that may be reached


def test_an_end_that_was_never_seen_is_not_heeded():
    agent = on_a_line()
    agent.model.end_seen = False
    third = {name: column[2:3] for name, column in LINE.items()}
    second = 31.0 + 0.5 * (2 * 4.0 + 3.0 + 1.0)
    assert agent.expand(third).targets[2].item() == pytest.approx(second)


def test_without_the_td_k_trick_the_real_states_alone_are_taught_the_same_targets():
    lesson = on_a_line(td_k=False).expand(LINE)
    assert lesson.targets.tolist() == pytest.approx(REAL, rel=1e-6)
    assert torch.equal(lesson.obs, LINE["obs"])
    assert lesson.weight is None


def test_soft_targets_are_those_worked_out_by_hand():
    agent = on_a_line(learner="sac")
    sac = agent.learner
    assert isinstance(sac, SAC)
    sac.actor.vector.zero_()  # N(0, 1) before the tanh
    sac._noise = lambda count: torch.zeros(count, 1)  # type: ignore[method-assign]
    sac.log_temperature.fill_(log(0.2))
    set_line(sac.target_critics, 2.0, 3.0, 1.0)
    sac.target_critics.biases[0].detach()[1] = 100.0  # the other critic is never the least
    first_row = {name: column[:1] for name, column in LINE.items()}
    lesson = agent.expand(first_row)
    bonus = 0.2 * 0.5 * log(2 * pi)  # -alpha log pi of a = 0, where the tanh's slope is 1
    second = 0.0 + 0.5 * (1.0 + bonus)  # s stays 0: Q' = 1
    first = 0.0 + 0.5 * (second + bonus)
    assert lesson.targets.tolist() == pytest.approx([1.0 + 0.5 * (first + bonus), first, second], rel=1e-5)


def test_rewards_and_ends_that_the_suite_grants_are_believed_instead_of_the_model():
    space = Box(-np.inf, np.inf, (1,), np.float32)
    problem = Problem(
        observation_space=space,
        action_space=Box(-1.0, 1.0, (1,)),
        budget=10,
        family="vector",
        env_id="line",
        known={
            "reward": lambda obs, action, next_obs: 100 * obs[:, 0] + 10 * action[:, 0] + next_obs[:, 0],
            "termination": lambda obs, action, next_obs: next_obs[:, 0] > 1.5,
        },
    )
    agent = make(problem, 0, **{**SMALL, "hidden": (), "model_hidden": (), "random_steps": 1, "model_from": 1})
    assert not agent.model.reward
    assert not agent.model.termination
    agent.model.networks.weights[0][0] = torch.tensor([[0.0], [1.0]])
    next_obs, reward, cont = agent.step(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]]))
    assert next_obs[:, 0].tolist() == [1.0, 2.0]
    assert reward.tolist() == [0.0 + 10.0 + 1.0, 100.0 + 10.0 + 2.0]
    assert cont.tolist() == [1.0, 0.0]


def test_values_of_several_models_broadcast_over_their_own_axes():
    rewards = [torch.tensor([1.0, 2.0]), torch.tensor([[[10.0]], [[20.0]]])]
    conts = [torch.tensor([1.0, 0.5]), torch.tensor([1.0])]
    value = torch.tensor([[4.0, 8.0]])
    first, second = q_targets(rewards, conts, value, 0.5)
    assert second.tolist() == [[[12.0, 14.0]], [[22.0, 24.0]]]
    assert first.tolist() == [[[7.0, 5.5]], [[12.0, 8.0]]]


# Against the learner and against the truth


@pytest.mark.parametrize("kind", ["ddpg", "sac"])
def test_with_horizon_0_an_update_is_the_learners_own_bit_for_bit(kind: str):
    agent = make(problem_of(pendulum()), 3, **{**SMALL, "learner": kind, "horizon": 0})
    base = learner(3, pendulum().action_space, agent.config, seeded(4 * 3 + 3))  # type: ignore[arg-type]
    batch = a_batch()
    for _ in range(4):
        mine, theirs = agent.update(batch), base.update(batch)
        assert all(torch.equal(mine[name], value) for name, value in theirs.items())
    for one, other in zip(agent.learner._numbers(), base._numbers(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(agent.learner.generator.get_state(), base.generator.get_state())


def test_with_horizon_0_no_model_is_trained():
    agent = train(make(problem_of(pendulum(), 101), 0, **{**SMALL, "horizon": 0}), pendulum, 101)
    assert agent.learner_updates == agent.updates == 50
    assert agent.world_model() is None


def linear_system(**config: Any) -> MVE:
    """A model of `probes.LinearSystem` that is right; its reward is granted."""
    reward = lambda obs, action, next_obs: -next_obs.square().sum(1)
    problem = problem_of(probes.LinearSystem(), reward=reward)
    agent = make(problem, 0, **{**SMALL, "model_hidden": (), **config})
    weight = np.concatenate([probes.LinearSystem.A - np.eye(2), probes.LinearSystem.B], 1).T
    agent.model.networks.weights[0][0, :, :2] = torch.tensor(weight, dtype=torch.float32)
    return agent


@pytest.mark.parametrize("horizon", [1, 4])
def test_with_a_perfect_model_a_target_is_the_true_discounted_return_and_the_value_behind_it(horizon: int):
    agent = linear_system(horizon=horizon, gamma=0.9)
    assert isinstance(agent.learner, DDPG)
    agent.learner.target_actor.vector.mul_(2.0)  # not what the actor does
    batch = a_batch(rows=5, size=2, actions=2) | {"terminated": torch.zeros(5, dtype=torch.bool)}
    lesson = agent.expand(batch)
    env = probes.LinearSystem()
    for row in range(5):
        env.reset(seed=0)
        env.state = batch["next_obs"][row].double().numpy()
        obs = batch["next_obs"][row : row + 1]
        rewards = [float(batch["reward"][row])]
        for _ in range(horizon):
            action = agent.learner.action(obs, target=True).detach()
            state, reward, *_ = env.step(action[0].numpy())
            rewards.append(reward)
            obs = torch.tensor(state)[None]
        rewards.append(agent.learner.value(obs).item())
        for start in range(horizon + 1):
            truth = sum(0.9**t * reward for t, reward in enumerate(rewards[start:]))
            assert lesson.targets[5 * start + row].item() == pytest.approx(truth, rel=1e-4, abs=1e-5)


def test_the_longer_the_horizon_the_less_a_wrong_value_weighs():
    """The critic says 0 everywhere; the truth of a row is the sum of all its discounted rewards."""
    batch = a_batch(rows=5, size=2, actions=2) | {"terminated": torch.zeros(5, dtype=torch.bool)}
    found = []
    for horizon in (0, 2, 8, 60):
        agent = linear_system(horizon=horizon, gamma=0.9)
        assert isinstance(agent.learner, DDPG)
        agent.learner.target_critics.vector.zero_()
        found.append(agent.expand(batch).targets[:5])
    distance = [(short - found[-1]).abs().max().item() for short in found[:-1]]
    assert distance[0] > 1.05 * distance[1] > 1.1 * distance[2] > 0.0


# Learning


def test_the_action_that_the_observation_asks_for_is_learnt_from_episodes_of_one_step():
    asks = lambda: probes.ActionMatters(continuous=True)
    config = {"random_steps": 100, "model_from": 100, "interval": 10, "model_hidden": (32,), "learning_rate": 3e-3}
    agent = train(make(problem_of(asks(), 301), 0, **{**SMALL, **config, "updates": 2}), asks, 301)
    assert min(play(agent, asks(), 10)) > 0.9


def test_rounds_train_the_model_first_and_both_as_often_as_declared():
    agent = train(make(problem_of(pendulum(), 101), 0, **SMALL), pendulum, 101)
    assert agent.model.updates == 10 * 7  # after steps 40, 50, ..., 100
    assert agent.learner_updates == 10 * 5  # after steps 60, ..., 100
    torch.testing.assert_close(agent.model.inputs.mean[:3], agent.replay.tensors()["obs"][:100].mean(0))


def test_the_learners_settings_are_its_own_where_none_are_given():
    ddpg, sac = (make(problem_of(pendulum(), 20_000), 0, learner=kind) for kind in ("ddpg", "sac"))
    assert ddpg.learner.config.hidden == (64, 64)
    assert ddpg.learner.config.critic_learning_rate == ddpg.learner.config.actor_learning_rate == 1e-3
    assert sac.learner.config.hidden == (256, 256)
    assert (ddpg.batch_size, sac.batch_size) == (64, 256)
    swimmer = make(problem_of(pendulum(), 20_000), 0, actor_learning_rate=1e-4)
    walker = make(problem_of(pendulum(), 20_000), 0, learning_rate=1e-4, tau=0.001)
    assert (swimmer.learner.config.actor_learning_rate, swimmer.learner.config.critic_learning_rate) == (1e-4, 1e-3)
    assert (walker.learner.config.actor_learning_rate, walker.learner.config.critic_learning_rate) == (1e-4, 1e-4)
    assert walker.learner.config.tau == 0.001
    assert len(ddpg.model.networks.weights) == 9
    assert Config().horizon == 5


# Resuming and looking


@pytest.mark.parametrize("env", [pendulum, inverted_pendulum])
@pytest.mark.parametrize("kind", ["ddpg", "sac"])
@pytest.mark.parametrize("stop", [60, 97])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_numbers(env, kind, stop, tmp_path):
    def fresh() -> Any:
        return make(problem_of(env(), 121), 4, **{**SMALL, "learner": kind, "horizon": 2})

    whole, resumed = train(fresh(), env, 121), train_interrupted(fresh, env, 121, stop, tmp_path)
    for one, other in zip(whole.learner._numbers(), resumed.learner._numbers(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(whole.model.networks.vector, resumed.model.networks.vector)
    for name, rows in whole.replay.tensors().items():
        assert torch.equal(rows, resumed.replay.tensors()[name])
    assert whole.updates == resumed.updates
    assert play(whole, env(), 1) == play(resumed, env(), 1)


@pytest.mark.parametrize("kind", ["ddpg", "sac"])
def test_a_policy_stays_as_it_was_and_leaves_no_trace(kind: str):
    agent = train(make(problem_of(pendulum(), 101), 0, **{**SMALL, "learner": kind}), pendulum, 101)
    streams = [agent.acting, agent.drawing, agent.modelling, agent.learner.generator]
    before = [stream.get_state() for stream in streams]
    obs = np.array([1.0, 0.0, 0.0], np.float32)
    policies = [agent.policy("mode"), agent.policy("sample")]
    acted: list[list[float]] = []
    for _ in range(2):
        for policy in policies:
            policy.reset(1)
        acted.append([float(policy.act(obs)[0]) for policy in policies])
        assert all(torch.equal(stream.get_state(), then) for stream, then in zip(streams, before, strict=True))
        agent.update(a_batch())
        before = [stream.get_state() for stream in streams]
    assert acted[0] == acted[1]
    assert (acted[0][0] == acted[0][1]) == (kind == "ddpg")
    policies[1].reset(2)
    assert (float(policies[1].act(obs)[0]) == acted[0][1]) == (kind == "ddpg")


def test_the_world_model_predicts_what_the_model_says_with_rewards_that_were_granted():
    agent = linear_system()
    assert agent.world_model() is None
    agent.model.updates = 1
    world = agent.world_model()
    assert isinstance(world, ImaginedWorld)
    env, (obs, _) = probes.LinearSystem(), probes.LinearSystem().reset(seed=3)
    env.reset(seed=3)
    actions = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(6, 2)
    steps = [env.step(action) for action in actions]
    sequences = Sequences(
        obs=np.stack([obs, *(step[0] for step in steps)])[None],
        action=actions[None],
        reward=np.array([[step[1] for step in steps]]),
        terminated=np.zeros((1, 6), bool),
        valid=np.ones((1, 6), bool),
        context=1,
    )
    found = world.predict(sequences, 0)
    np.testing.assert_allclose(found.obs, sequences.obs[:, 2:], rtol=1e-4, atol=1e-5)
    assert found.reward is not None
    np.testing.assert_allclose(found.reward, sequences.reward[:, 1:], rtol=1e-4)
    returns = world.imagined_returns(obs[None], 50, 0)
    assert returns is not None
    assert returns[1] == [50]
    assert returns[0][0] == pytest.approx(play(agent, probes.LinearSystem(), 1, seed=3)[0], rel=1e-3)


# Refusals


def test_settings_that_could_not_work_are_refused_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"below the budget of 1000 steps and an interval of at most that, found random_steps: 10000"
    ):
        make(problem_of(pendulum(), 1000), 0)
    with pytest.raises(ValueError, match=r"model_from of at most random_steps \(100\), found 5000"):
        make(problem_of(pendulum(), 1000), 0, random_steps=100)
    with pytest.raises(ValueError, match="found random_steps: 100 and interval: 1001"):
        make(problem_of(pendulum(), 1000), 0, random_steps=100, model_from=50, interval=1001)
    with pytest.raises(ValueError, match="learner: sac, found noise, saturation, which DDPG alone has"):
        make(problem_of(pendulum(), 1000), 0, random_steps=100, model_from=50, learner="sac", noise=0.1, saturation=0.0)
    with pytest.raises(ValueError, match="found horizon: -1 and interval: 10"):
        make(problem_of(pendulum()), 0, **{**SMALL, "horizon": -1})
    make(problem_of(pendulum(), 1000), 0, random_steps=100, horizon=0)  # where there is no model, none is awaited


def test_images_and_choices_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="one-dimensional Box observation space, but ImageMemory"):
        make(problem_of(probes.ImageMemory()), 0, **SMALL)
    with pytest.raises(ValueError, match="bounded one-dimensional Box of actions, but ActionMatters"):
        make(problem_of(probes.ActionMatters()), 0, **SMALL)
