"""Deep Dyna: targets worked out by hand, DQN where nothing is planned, imagined steps and their ends, exact resume."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from agents.dyna import Dyna, chosen, make
from agents.parts.ensemble import Sampled
from agents.parts.imagined import ImaginedWorld
from agents.protocol import Problem
from tests import probes
from tests.in_process import play, problem_of, train, train_interrupted

SMALL: dict[str, Any] = {
    "random_steps": 40,
    "interval": 10,
    "updates": 2,
    "batch_size": 16,
    "hidden": (16,),
    "model_hidden": (16,),
    "model_updates": 3,
    "model_batch_size": 16,
}


def cartpole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


def a_batch(rows: int = 12, size: int = 4, actions: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    action = torch.randint(actions, (rows,), generator=generator)
    return {
        "obs": torch.randn(rows, size, generator=generator),
        "action": torch.eye(actions)[action],
        "reward": torch.randn(rows, generator=generator),
        "next_obs": torch.randn(rows, size, generator=generator),
        "terminated": torch.rand(rows, generator=generator) < 0.3,
    }


def on_a_line(**config: Any) -> Dyna:
    """One observation s, two actions; Q'(s, .) = (2 s + 1, -s), Q(s, .) = (s, 0), both linear; gamma = 0.5."""
    space = Box(-np.inf, np.inf, (1,), np.float32)
    problem = Problem(
        observation_space=space, action_space=Discrete(2), budget=100, family="vector", env_id="line",
    )  # fmt: skip
    agent = make(problem, 0, **{**SMALL, "hidden": (), "gamma": 0.5, **config})
    for networks, slopes, intercepts in ((agent.target, [2.0, -1.0], [1.0, 0.0]), (agent.q, [1.0, 0.0], [0.0, 0.0])):
        networks.weights[0].detach()[0, 0] = torch.tensor(slopes)
        networks.biases[0].detach()[0, 0] = torch.tensor(intercepts)
    return agent


def says(agent: Dyna, ends_beyond: float = np.inf) -> None:
    """The model: action 1 adds 1 to s, action 0 takes 1; the reward is 10 s; an end in a step to beyond a bound."""

    def sample(obs: Tensor, action: Tensor, generator: torch.Generator) -> Sampled:
        next_obs = obs + 2.0 * action[:, 1:] - 1.0
        return Sampled(next_obs, 10.0 * obs[:, 0], (next_obs[:, 0] > ends_beyond).float())

    agent.model.sample = sample  # type: ignore[method-assign]


LINE = {
    "obs": torch.tensor([[0.0], [1.0], [-2.0]]),
    "action": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
    "reward": torch.tensor([1.0, 2.0, 3.0]),
    "next_obs": torch.tensor([[1.0], [-3.0], [5.0]]),
    "terminated": torch.tensor([False, False, True]),
}


def test_targets_are_those_worked_out_by_hand():
    # Q'(1) = (3, -1), Q'(-3) = (-5, 3); the last row has ended
    assert on_a_line().targets(LINE).tolist() == [1.0 + 0.5 * 3.0, 2.0 + 0.5 * 3.0, 3.0]


def test_imagined_transitions_of_replayed_actions_are_those_worked_out_by_hand_and_learnt_by_the_same_rule():
    agent = on_a_line(branch="replayed")
    says(agent, ends_beyond=1.5)
    (rows,) = agent.imagine(LINE, 0.0)
    assert torch.equal(rows["obs"], LINE["obs"])
    assert torch.equal(rows["action"], LINE["action"])
    assert rows["next_obs"][:, 0].tolist() == [-1.0, 2.0, -3.0]
    assert rows["reward"].tolist() == [0.0, 10.0, -20.0]
    assert rows["terminated"].tolist() == [False, True, False]
    # Q'(-1) = (-1, 1), an end, Q'(-3) = (-5, 3)
    assert agent.targets(rows).tolist() == [0.5, 10.0, -18.5]


def test_a_rollout_follows_the_greedy_policy_and_leaves_out_what_has_ended():
    agent = on_a_line(branch="replayed", rollout=3)
    says(agent, ends_beyond=0.5)
    steps = agent.imagine({**LINE, "obs": torch.tensor([[0.0], [0.0], [1.0]])}, 0.0)
    # s = 0 goes to -1 by action 0, to 1 and an end by action 1; s = 1 goes to 0. Q is greedy for action 0 where s > 0.
    assert [rows["obs"][:, 0].tolist() for rows in steps] == [[0.0, 0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    assert [rows["action"][:, 1].tolist() for rows in steps] == [[0.0, 1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert [rows["terminated"].tolist() for rows in steps] == [[False, True, False], [False] * 2, [False] * 2]


def test_where_all_rollouts_have_ended_or_left_the_numbers_they_stop():
    agent = on_a_line(branch="replayed", rollout=5)
    says(agent, ends_beyond=-np.inf)
    assert len(agent.imagine(LINE, 0.0)) == 1
    agent.model.sample = lambda obs, action, generator: Sampled(  # type: ignore[method-assign]
        obs / 0.0, obs[:, 0], torch.zeros(len(obs))
    )
    assert agent.imagine(LINE, 0.0) == []


@pytest.mark.parametrize(("branch", "share"), [("policy", 0.0), ("random", 0.5)])
def test_the_first_action_is_the_policys_or_random_as_declared(branch: str, share: float):
    agent = on_a_line(branch=branch)
    says(agent)
    batch = {"obs": torch.ones(4000, 1), "action": torch.tensor([[0.0, 1.0]]).expand(4000, -1)}
    (rows,) = agent.imagine(batch, 0.0)
    assert rows["action"][:, 1].mean().item() == pytest.approx(share, abs=0.03)


def test_epsilon_is_the_share_of_random_actions():
    agent = on_a_line()
    actions = chosen(agent.q, torch.ones(4000, 1), 0.2, torch.Generator().manual_seed(0))
    assert actions[:, 1].mean().item() == pytest.approx(0.1, abs=0.02)  # half of the random ones are greedy


def test_epsilon_falls_linearly_from_1_and_all_is_random_at_first():
    agent = on_a_line(random_steps=10, exploration_share=0.5, epsilon=0.1)
    found = []
    for steps in (0, 9, 10, 25, 50, 90):
        agent.replay.added = steps
        found.append(agent._epsilon())
    assert found == pytest.approx([1.0, 1.0, 0.82, 0.55, 0.1, 0.1])


def test_an_end_that_was_never_seen_is_not_drawn():
    agent = make(problem_of(cartpole()), 0, **SMALL)
    batch = a_batch() | {"terminated": torch.zeros(12, dtype=torch.bool)}
    agent.model.normalise(batch)
    agent.model.update(batch)
    assert not agent.step(batch["obs"], batch["action"])[2].any()
    agent.model.update(a_batch())
    agent.model.ends.networks.biases[-1].fill_(100.0)  # type: ignore[union-attr]
    assert agent.step(batch["obs"], batch["action"])[2].all()


def test_rewards_and_ends_that_the_suite_grants_are_believed_instead_of_the_model():
    reward = lambda obs, action, next_obs: 10 * action[:, 1] + obs[:, 0]
    termination = lambda obs, action, next_obs: obs[:, 0] > 0.0
    agent = make(problem_of(cartpole(), reward=reward, termination=termination), 0, **SMALL)
    batch = a_batch()
    _, rewards, ends = agent.step(batch["obs"], batch["action"])
    assert torch.equal(rewards, 10 * batch["action"][:, 1] + batch["obs"][:, 0])
    assert torch.equal(ends, batch["obs"][:, 0] > 0.0)


# Against DQN


def test_an_update_is_dqns_as_autograd_and_torchs_adam_compute_it():
    agent = make(problem_of(cartpole()), 0, **{**SMALL, "hidden": (16, 16)})
    agent.target.vector.mul_(1.5)
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(agent.q.weights, agent.q.biases, strict=True):
        linear = torch.nn.Linear(*weight.shape[1:])
        linear.weight.data, linear.bias.data = weight.detach()[0].T.clone(), bias.detach()[0, 0].clone()
        layers += [linear, torch.nn.ReLU()]
    q = torch.nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(q.parameters(), agent.config.learning_rate)
    batch = a_batch()
    batch["reward"] *= 100.0  # so that both the loss's corners and the gradient's bound matter
    for _ in range(3):
        following = agent.target.infer(batch["next_obs"])[0].amax(1)
        targets = batch["reward"] + 0.99 * following * (~batch["terminated"])
        value = q(batch["obs"]).gather(1, batch["action"].argmax(1, keepdim=True))[:, 0]
        loss = smooth_l1_loss(value, targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(q.parameters(), agent.config.max_norm)
        optimiser.step()
        assert agent.update(batch).item() == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(q(batch["obs"]), agent.q.infer(batch["obs"])[0], rtol=1e-4, atol=1e-5)


def test_with_a_perfect_model_imagining_what_was_done_is_learning_from_it_again():
    agent = make(problem_of(cartpole()), 0, **{**SMALL, "branch": "replayed"})
    other = make(problem_of(cartpole()), 0, **SMALL)
    batch = a_batch()
    truth = Sampled(batch["next_obs"], batch["reward"], batch["terminated"].float())
    agent.model.sample = lambda obs, action, generator: truth  # type: ignore[method-assign]
    (rows,) = agent.imagine(batch, 0.0)
    agent.update(batch)
    agent.update(rows)
    other.update(batch)
    other.update(batch)
    assert torch.equal(agent.q.vector, other.q.vector)


def test_without_planning_the_model_is_left_alone_and_what_is_learnt_depends_on_no_setting_of_it():
    found = [
        train(make(problem_of(cartpole(), 121), 3, **{**SMALL, "planning": 0, **other}), cartpole, 121)
        for other in ({}, {"model_hidden": (8, 8), "model_updates": 50, "rollout": 4, "branch": "random"})
    ]
    assert torch.equal(found[0].q.vector, found[1].q.vector)
    assert found[0].updates == found[0].q_updates == 2 * 9
    assert found[0].world_model() is None


def test_planning_takes_as_many_imagined_batches_as_declared():
    agent = train(make(problem_of(cartpole(), 121), 0, **{**SMALL, "planning": 3, "rollout": 1}), cartpole, 121)
    assert agent.q_updates == 9 * 2 * (1 + 3)  # after steps 40, 50, ..., 120
    assert agent.model.updates == 9 * 3


# Learning, resuming, looking


def test_the_value_of_a_reward_that_comes_late_is_learnt():
    config = {"gamma": probes.DISCOUNT, "learning_rate": 5e-3, "updates": 10, "model_updates": 10}
    delayed = probes.DelayedReward
    agent = train(make(problem_of(delayed(), 601), 0, **{**SMALL, **config}), delayed, 601)
    values = agent.q.infer(torch.tensor([[0.0], [1.0]]))[0]
    torch.testing.assert_close(
        values, torch.tensor(probes.DelayedReward.value)[:, None].expand(2, 2), atol=0.05, rtol=0
    )


def test_the_action_that_the_observation_asks_for_is_learnt():
    asks = probes.ActionMatters
    config = {"learning_rate": 1e-2, "updates": 10, "model_updates": 10}
    agent = train(make(problem_of(asks(), 301), 0, **{**SMALL, **config}), asks, 301)
    assert play(agent, asks(), 10) == [1.0] * 10


@pytest.mark.parametrize("stop", [40, 77])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_numbers(stop: int, tmp_path):
    def fresh() -> Dyna:
        return make(problem_of(cartpole(), 121), 4, **{**SMALL, "planning": 2, "rollout": 2, "members": 2})

    whole, resumed = train(fresh(), cartpole, 121), train_interrupted(fresh, cartpole, 121, stop, tmp_path)
    for part in ("q", "target"):
        assert torch.equal(getattr(whole, part).vector, getattr(resumed, part).vector)
    assert torch.equal(whole.model.networks.vector, resumed.model.networks.vector)
    assert whole.updates == resumed.updates
    for name in ("acting", "drawing", "modelling", "imagining"):
        assert torch.equal(getattr(whole, name).get_state(), getattr(resumed, name).get_state())


def test_the_mode_is_greedy_and_a_sample_explores_as_far_as_it_has_come():
    agent = on_a_line()
    policy = agent.policy("mode")
    assert [policy.act(np.array([s], np.float32)) for s in (1.0, -1.0)] == [0, 1]
    agent.replay.added = 100
    assert agent.policy("sample").epsilon == pytest.approx(0.04)


def test_the_model_can_be_measured_once_it_is_fitted():
    agent = make(problem_of(cartpole(), 121), 0, **SMALL)
    assert agent.world_model() is None
    world = train(agent, cartpole, 121).world_model()
    assert isinstance(world, ImaginedWorld)
    returns = world.imagined_returns(np.zeros((3, 4), np.float32), 10, 0)
    assert returns is not None
    assert len(returns[0]) == 3


def test_what_it_cannot_do_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="one-dimensional Box observation space, but Sides"):
        make(problem_of(probes.Sides()), 0, **SMALL)
    with pytest.raises(ValueError, match="Discrete action space, but ActionMatters"):
        make(problem_of(probes.ActionMatters(continuous=True)), 0, **SMALL)
    with pytest.raises(ValueError, match="found planning: 1 and rollout: 0"):
        make(problem_of(cartpole()), 0, **{**SMALL, "rollout": 0})
    with pytest.raises(ValueError, match="would never train: expected random_steps and interval below the budget"):
        make(problem_of(cartpole(), 30), 0, **SMALL)
