"""MBMF: stages by hand, the model's part equal to MB-MPC's, DAgger's bookkeeping, imitation, fine-tuning, resume."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from agents import mb_mpc
from agents.mbmf import MBMF, Config, make
from agents.parts.model_predictive import Controller
from agents.parts.objective import Objective
from agents.parts.planning import ControllerPolicy, Planner
from agents.parts.trpo import parameters_of
from tests import probes
from tests.in_process import Gate, gate_to, play, problem_of, spend, train, train_interrupted

MODEL: dict[str, Any] = {
    "random_steps": 20,
    "steps_per_round": 10,
    "horizon": 3,
    "candidates": 12,
    "hidden": (8,),
    "epochs": 2,
    "batch_size": 8,
}
SMALL: dict[str, Any] = MODEL | {
    "rounds": 2,
    "expert_steps": 12,
    "aggregations": 2,
    "aggregation_steps": 7,
    "imitation_epochs": 3,
    "imitation_batch": 5,
    "policy_hidden": (8,),
    "rollout_steps": 8,
    "tuning_batch": 4,
    "tuning_epochs": 2,
}  # model until 40, expert until 52, DAgger until 59 and 66, then tuning, first updates at 74 and 82
GAIN = torch.tensor([[-0.6, 0.3], [0.2, -0.9]])


def linear() -> gym.Env[Any, Any]:
    return probes.LinearSystem(time_limit=9)


def agent_of(budget: int = 100, seed: int = 0, **config: Any) -> MBMF:
    return make(problem_of(linear(), budget), seed, **{**SMALL, **config})


class Known(Controller):
    """A controller that is a known linear function of the observation."""

    def plan(self, obs: Any, planner: Planner, generator: torch.Generator) -> Tensor:
        return GAIN @ torch.as_tensor(np.asarray(obs, np.float32))


def with_known(agent: MBMF) -> MBMF:
    """Its rollouts are imitated in the place of the planner's."""
    known = Known(None, agent.actions, Objective(known={}))
    agent.dynamics.controller = lambda actions: known  # type: ignore[method-assign]
    agent.controller = known
    return agent


def tensors(agent: MBMF, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    agent.save(folder)
    state: dict[str, Any] = torch.load(folder / "agent.pt", weights_only=True)
    return state


def watch(agent: MBMF, budget: int) -> dict[int, Tensor]:
    """The policy's parameters after each step."""
    gate: Gate = gate_to(linear, budget)
    found: dict[int, Tensor] = {}

    def report(metrics: Any = None, **_: Any) -> None:
        found[gate.steps] = parameters_of(agent.ppo.policy)

    spend(agent, gate, report)
    return found


def test_steps_belong_to_stages_as_counted_by_hand() -> None:
    config = Config(**SMALL)
    assert (config.model_steps, config.pairs) == (40, 26)
    found = [config.stage(step) for step in (0, 39, 40, 51, 52, 65, 66, 1000)]
    assert found == ["model", "model", "expert", "expert", "dagger", "dagger", "tuning", "tuning"]


def test_the_models_part_is_mb_mpc_bit_for_bit() -> None:
    """Seed 0 gives both the same streams; MB-MPC trains at steps 20, 30 and 40, as this agent does."""
    ours, theirs = agent_of(60), mb_mpc.make(problem_of(linear(), 60), 0, **MODEL)
    train(ours, linear, 40)
    train(theirs, linear, 40)
    for name, column in theirs.replay.tensors().items():
        assert torch.equal(ours.replay.tensors()[name][:40], column[:40])
    for mine, other in zip(ours.dynamics.model.folded(), theirs.dynamics.model.folded(), strict=True):
        assert torch.equal(mine, other)
    assert ours.dynamics.updates == theirs.updates > 0


def test_the_controller_acts_as_expert_and_the_policy_in_dagger_but_the_controller_is_imitated() -> None:
    agent = with_known(agent_of(66))
    acted: dict[int, Tensor] = {}
    choose = agent.choose

    def watched(stage: Any, obs: Any, seen: Tensor) -> Any:
        acted[agent.replay.added] = agent.scale.bounded(agent.ppo.mean_action(seen[None])[0])
        return choose(stage, obs, seen)

    agent.choose = watched  # type: ignore[method-assign]
    train(agent, linear, 66)
    data, (obs, wanted) = agent.replay.tensors(), agent.pairs.held()
    assert agent.pairs.count == 12 + 2 * 7
    assert torch.equal(obs, data["obs"][40:66])
    torch.testing.assert_close(wanted, obs @ GAIN.T)
    torch.testing.assert_close(data["action"][40:52], obs[:12] @ GAIN.T)
    assert torch.equal(data["action"][52:66], torch.stack([acted[step] for step in range(52, 66)]))
    assert not torch.allclose(data["action"][52:66], wanted[12:], atol=1e-3)


def test_the_policy_is_trained_on_all_pairs_so_far_when_each_part_of_them_is_whole() -> None:
    agent, gate, pairs = with_known(agent_of(80)), gate_to(linear, 80), {}

    def report(metrics: Any = None, **_: Any) -> None:
        if metrics and "pairs" in metrics:
            pairs[gate.steps] = metrics["pairs"]

    spend(agent, gate, report)
    assert pairs == {52: 12.0, 59: 19.0, 66: 26.0}
    assert agent.imitation_updates == 3 * (3 + 4 + 6)  # epochs times batches of 5


def test_imitation_reaches_the_controllers_actions_on_a_linear_system() -> None:
    agent = with_known(agent_of(500, expert_steps=200, aggregation_steps=50, imitation_epochs=150, imitation_batch=32))
    train(agent, linear, 341)
    obs = torch.rand(500, 2, generator=torch.Generator().manual_seed(9)) * 2.0 - 1.0
    error = (agent.ppo.mean_action(obs) - obs @ GAIN.T).square().mean()
    assert float(error) < 1e-3
    assert float((obs @ GAIN.T).square().mean()) > 0.1


def test_actions_are_imitated_in_units_of_half_their_range() -> None:
    env = linear()
    env.action_space = Box(np.array([-4.0, 1.0], np.float32), np.array([4.0, 3.0], np.float32))
    agent = make(problem_of(env, 100), 0, **SMALL)
    action = torch.tensor([[2.0, 1.5], [-4.0, 3.0]])
    torch.testing.assert_close(agent.scale.unit(action), torch.tensor([[0.5, -0.5], [-1.0, 1.0]]))
    torch.testing.assert_close(agent.scale.bounded(agent.scale.unit(action)), action)
    torch.testing.assert_close(agent.scale.bounded(torch.tensor([9.0, -9.0])), torch.tensor([4.0, 1.0]))


def test_fine_tuning_begins_with_exactly_the_imitated_policy_and_spares_it_while_the_value_is_new() -> None:
    """DAgger ends with step 66; a rollout has 8 steps and the first update is the value's alone."""
    agent = agent_of(95, std=0.25, value_first=1)
    found = watch(agent, 95)
    imitated = found[66]
    assert not torch.equal(found[65], imitated)
    assert torch.equal(imitated[:2], torch.full((2,), log(0.25)))
    for step in range(66, 82):
        assert torch.equal(found[step], imitated)
    assert not torch.equal(found[82], imitated)


def test_fine_tuning_learns_from_the_policys_own_samples() -> None:
    agent = agent_of(100, std=2.0)
    train(agent, linear, 71)
    stored = agent.ppo.rollout.columns
    assert agent.ppo.rollout.stored == 5
    assert torch.equal(stored["obs"][:5, 0], agent.replay.tensors()["obs"][66:71])
    assert float(stored["action"][:5].abs().max()) > 1.0  # what is learnt from is not cut
    executed = agent.replay.tensors()["action"][66:71]
    torch.testing.assert_close(executed, stored["action"][:5, 0].clamp(-1.0, 1.0))
    assert stored["truncated"][:5, 0].tolist() == [(step + 1) % 9 == 0 for step in range(66, 71)]


@pytest.mark.parametrize("stop", [0, 13, 20, 40, 47, 52, 57, 66, 71, 85])
def test_an_interrupted_trial_ends_as_one_that_ran_through(stop: int, tmp_path: Path) -> None:
    (tmp_path / "stopped").mkdir()
    whole = tensors(train(agent_of(95), linear, 95), tmp_path / "whole")
    again = tensors(train_interrupted(lambda: agent_of(95), linear, 95, stop, tmp_path / "stopped"), tmp_path / "again")
    torch.testing.assert_close(again, whole, rtol=0.0, atol=0.0)


def test_behaviour_is_the_controllers_until_there_is_a_policy() -> None:
    obs = np.array([0.5, -0.5], np.float32)
    agent = train(agent_of(100), linear, 45)
    assert isinstance(agent.policy("mode"), ControllerPolicy)
    agent = train(agent_of(100), linear, 60)
    expected = agent.scale.bounded(agent.ppo.mean_action(torch.as_tensor(obs)[None])[0])
    policy = agent.policy("mode")
    policy.reset(0)
    assert np.array_equal(policy.act(obs), expected.numpy())
    sample = agent.policy("sample")
    sample.reset(0)
    assert not np.array_equal(sample.act(obs), policy.act(obs))


def test_the_model_is_offered_once_it_was_fitted_with_returns_once_there_is_a_policy() -> None:
    assert train(agent_of(), linear, 15).world_model() is None
    first = np.zeros((3, 2), np.float32)
    assert train(agent_of(), linear, 25).world_model().imagined_returns(first, 4, 0) is None
    returns, lengths = train(agent_of(), linear, 60).world_model().imagined_returns(first, 4, 0)
    assert len(returns) == 3
    assert lengths == [4, 4, 4]


def test_what_it_cannot_do_is_said() -> None:
    env = linear()
    with pytest.raises(ValueError, match="never have a policy"):
        make(problem_of(env, 52), 0, **SMALL)
    with pytest.raises(ValueError, match="aggregation_steps"):
        make(problem_of(env, 100), 0, **SMALL | {"aggregation_steps": 0})
    env.action_space = Discrete(2)
    with pytest.raises(ValueError, match="continuous actions"):
        make(problem_of(env, 100), 0, **SMALL)
    env = linear()
    env.observation_space = Box(0, 255, (8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="one-dimensional"):
        make(problem_of(env, 100), 0, **SMALL)


def test_the_imitated_policy_brings_a_linear_system_to_rest() -> None:
    settings: dict[str, Any] = {"random_steps": 100, "steps_per_round": 50, "hidden": (32,), "epochs": 100}
    settings |= {"horizon": 5, "candidates": 100, "expert_steps": 100, "aggregation_steps": 50, "imitation_epochs": 100}
    settings |= {"imitation_batch": 16, "batch_size": 32}
    agent = agent_of(500, **settings)
    nothing = float(np.mean(play(agent, linear(), 30)))  # random actions
    train(agent, linear, 401)
    assert float(np.mean(play(agent, linear(), 30))) > 0.6 * nothing
