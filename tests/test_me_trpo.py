"""ME-TRPO: the 70 % rule and imagination by hand, what is collected and kept, exact resume, and that it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from agents.me_trpo import METRPO, Config, PolicyPhase, improves, make
from agents.parts.ensemble import Sampled
from agents.parts.trpo import parameters_of
from agents.protocol import Sequences
from tests import probes
from tests.in_process import play, problem_of, train, train_interrupted

SMALL: dict[str, Any] = {
    "steps_per_iteration": 25,
    "members": 3,
    "hidden": (8,),
    "model_batch_size": 16,
    "model_epochs": 3,
    "policy_hidden": (8,),
    "horizon": 6,
    "imagined_steps": 60,
    "validate_every": 2,
    "validation_starts": 4,
    "tolerance": 2,
    "max_updates": 6,
}
ORIGIN = torch.zeros(1, 2)  # where imagined episodes begin


def linear() -> gym.Env[Any, Any]:
    return probes.LinearSystem(time_limit=10)


def agent_of(env: gym.Env[Any, Any] | None = None, budget: int = 100, seed: int = 0, **config: Any) -> METRPO:
    return make(problem_of(env or linear(), budget), seed, **{**SMALL, **config})


def tensors(agent: METRPO, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    agent.save(folder)
    state: dict[str, Any] = torch.load(folder / "agent.pt", weights_only=True)
    return state


@pytest.mark.parametrize(
    ("old", "new", "share", "kept"),
    [
        ([1, 1, 1, 1, 1], [2, 2, 2, 2, 0], 0.7, True),  # 4 of 5 are 80 %
        ([1, 1, 1, 1, 1], [9, 9, 9, 0, 0], 0.7, False),  # 3 of 5 are 60 %, however large the gain
        ([1, 1, 1, 1, 1], [2, 2, 2, 2, 1], 0.8, True),
        ([1, 1, 1, 1, 1], [1, 1, 2, 2, 2], 0.7, False),  # to be as good is not to improve
        ([0] * 10, [1] * 7 + [-1] * 3, 0.7, True),  # exactly 70 %, which 0.7 * 10 in floating point must not refuse
        ([-float("inf"), 1], [0, 2], 1.0, True),
        ([0, 1], [-float("inf"), 2], 1.0, False),
    ],
)
def test_a_policy_is_better_if_it_is_in_seven_of_ten_members(
    old: list[float], new: list[float], share: float, kept: bool
) -> None:
    assert improves(torch.tensor(old, dtype=torch.float32), torch.tensor(new, dtype=torch.float32), share) is kept


def test_a_phase_goes_on_until_the_policy_failed_to_improve_for_the_tolerated_updates() -> None:
    """Checked after updates 5, 10, ...: kept at 5, fails at 10, kept at 15, fails at 20, 25, 30: over 15 after 15."""
    config = Config(validate_every=5, tolerance=15, max_updates=100)
    scripted = {5: [1, 1, 1, 0], 10: [2, 2, 0, 0], 15: [2, 2, 1.5, 0], 20: [9, 0, 0, 0], 25: [2, 2, 1, 0], 30: [0] * 4}
    phase = PolicyPhase(config, torch.zeros(1), torch.zeros(4))
    kept = []
    while not phase.over:
        phase.updates += 1
        if phase.due and phase.check(
            torch.tensor([float(phase.updates)]), torch.tensor(scripted[phase.updates]).float()
        ):
            kept.append(phase.updates)
    assert (kept, phase.updates, float(phase.best)) == ([5, 15], 30, 15.0)
    assert phase.metrics()["return_after"] == pytest.approx(5.5 / 4)


def test_a_phase_ends_after_the_most_updates() -> None:
    phase = PolicyPhase(Config(validate_every=5, max_updates=12), torch.zeros(1), torch.zeros(1))
    while not phase.over:
        phase.updates += 1
        if phase.due:
            assert phase.check(torch.zeros(1), torch.tensor([float(phase.updates)]))
    assert phase.updates == 12


def test_the_best_policy_is_kept_and_its_deviation_begins_anew_in_each_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = train(agent_of(tolerance=4), linear, 30)  # one iteration, so that there is a model
    seen: list[Tensor] = []
    returns = iter([[0.0] * 3, [1.0] * 3, [0.0] * 3, [1.0, 2.0, 0.5]])

    def validate(starts: Tensor) -> Tensor:
        seen.append(parameters_of(agent.policy_net))
        return torch.tensor(next(returns))

    monkeypatch.setattr(agent, "validate", validate)
    before = parameters_of(agent.policy_net)
    metrics = agent.improve_policy()
    assert metrics["policy/kept_at"] == 2
    assert metrics["policy/updates"] == 6
    assert torch.equal(parameters_of(agent.policy_net), seen[1])
    assert not torch.equal(seen[1], seen[3])
    assert torch.equal(seen[0][:2], torch.zeros(2))  # log 1 for each action: the phase's beginning
    expected = seen[1] - before
    assert torch.equal(agent.change[2:], expected[2:])
    assert float(agent.change[:2].abs().max()) == 0.0


def test_a_phase_that_keeps_nothing_leaves_the_noise_of_the_last_one_that_did(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = train(agent_of(tolerance=4), linear, 30)
    returns = iter([[0.0] * 3, [1.0] * 3, *[[0.0] * 3] * 9])
    monkeypatch.setattr(agent, "validate", lambda starts: torch.tensor(next(returns)))
    assert agent.improve_policy()["policy/kept_at"] == 2
    before = agent.change
    monkeypatch.setattr(agent, "validate", lambda starts: torch.zeros(3))
    assert agent.improve_policy()["policy/kept_at"] == 0
    assert torch.equal(agent.change, before)
    assert float(before.abs().max()) > 0.0


def test_the_last_real_steps_are_learned_from_too() -> None:
    assert train(agent_of(budget=50), linear, 50).policy_updates > train(agent_of(budget=50), linear, 49).policy_updates


def test_published_settings_go_by_the_environment() -> None:
    problem = problem_of(linear(), 9000)
    assert make(problem, 0).config.horizon == 100
    swimmer = make(replace(problem, env_id="Swimmer-v5"), 0, hidden=(8,)).config
    assert (swimmer.horizon, swimmer.hidden) == (200, (8,))


def counting(
    agent: METRPO, monkeypatch: pytest.MonkeyPatch, end_at: float = 99.0
) -> Callable[[Tensor, Tensor, Tensor | None], Sampled]:
    """A world in the ensemble's place in which obs is how far one came and the reward, too; it ends at ``end_at``."""

    def step(obs: Tensor, action: Tensor, member: Tensor | None = None) -> Sampled:
        next_obs = obs + 1.0
        scale = 1.0 if member is None else 1.0 + member
        return Sampled(next_obs, scale * next_obs[:, 0], (next_obs[:, 0] >= end_at).float())

    monkeypatch.setattr(agent, "_step", step)
    return step


def test_imagined_episodes_end_and_begin_as_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_of(horizon=5, imagined_steps=10)
    counting(agent, monkeypatch, end_at=3.0)
    batch = agent.imagine(ORIGIN)
    assert batch.obs.shape == (5, 2, 2)
    assert batch.obs[:, 0, 0].tolist() == [0, 1, 2, 0, 1]
    assert batch.time[:, 0].tolist() == [0, 1, 2, 0, 1]
    assert batch.reward[:, 0].tolist() == [1, 2, 3, 1, 2]
    assert batch.terminated[:, 0].tolist() == [False, False, True, False, False]
    assert not batch.truncated.any()
    assert batch.last_obs[0].tolist() == [2, 2]
    assert batch.last_time.tolist() == [2, 2]
    counting(agent, monkeypatch)
    batch = agent.imagine(ORIGIN)
    assert batch.truncated[:, 0].tolist() == [False, False, False, False, True]
    assert batch.last_time.tolist() == [0, 0]


def test_a_prediction_that_is_not_finite_cuts_the_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_of(horizon=3, imagined_steps=6)
    counting(agent, monkeypatch)
    step = agent._step

    def diverging(obs: Tensor, action: Tensor, member: Tensor | None = None) -> Sampled:
        found = step(obs, action, member)
        return found._replace(next_obs=torch.where(found.next_obs == 2.0, torch.inf, found.next_obs))

    monkeypatch.setattr(agent, "_step", diverging)
    batch = agent.imagine(ORIGIN)
    assert batch.obs[:, 0, 0].tolist() == [0, 1, 0]
    assert batch.reward[:, 0].tolist() == [1, 0, 1]
    assert batch.truncated[:, 0].tolist() == [False, True, False]


def test_validation_is_each_members_own_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewards 1, 2, 3, 4 times the member's number; from the third step on nothing counts."""
    agent = agent_of(horizon=4, discount=0.5)
    counting(agent, monkeypatch)
    whole = 1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 4
    torch.testing.assert_close(agent.validate(torch.zeros(5, 2)), torch.tensor([whole, 2 * whole, 3 * whole]))
    counting(agent, monkeypatch, end_at=2.0)
    torch.testing.assert_close(agent.validate(torch.zeros(5, 2)), torch.tensor([2.0, 4.0, 6.0]))


def test_a_member_in_which_the_policy_diverges_counts_as_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_of()
    monkeypatch.setattr(agent, "_step", lambda obs, action, member: Sampled(obs, obs[:, 0] / member, member * 0.0))
    assert agent.validate(torch.ones(5, 2))[0] == -torch.inf
    assert agent.validate(torch.zeros(5, 2))[0] == -torch.inf  # 0 / 0


def test_imagination_is_kept_to_twice_the_reach_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = train(agent_of(), linear, 30)
    data = {name: column[:25] for name, column in agent.replay.tensors().items()}  # as of the last training
    least = torch.minimum(data["obs"].amin(0), data["next_obs"].amin(0))
    most = torch.maximum(data["obs"].amax(0), data["next_obs"].amax(0))
    far = lambda sign: lambda obs, *_: Sampled(obs + sign * 1e9, sign * torch.full((len(obs),), 1e9), obs[:, 0] * 0.0)
    monkeypatch.setattr(agent.ensemble, "sample", far(1.0))
    found = agent._step(torch.zeros(1, 2), torch.zeros(1, 2))
    torch.testing.assert_close(found.next_obs[0], most + (most - least))
    assert float(found.reward[0]) == float(data["reward"].max())
    monkeypatch.setattr(agent.ensemble, "sample", far(-1.0))
    found = agent._step(torch.zeros(1, 2), torch.zeros(1, 2))
    torch.testing.assert_close(found.next_obs[0], least - (most - least))
    assert float(found.reward[0]) == float(data["reward"].min())


def test_every_imagined_step_goes_through_a_random_member() -> None:
    agent = train(agent_of(members=4), linear, 30)
    same = torch.ones(300, 2)
    found = agent._step(same, torch.zeros(300, 2)).next_obs
    assert len(found.unique(dim=0)) == 4
    members = torch.arange(4)
    one = agent._step(same[:4], torch.zeros(4, 2), members).next_obs
    assert len({tuple(row) for row in one.tolist()} | {tuple(row) for row in found.unique(dim=0).tolist()}) == 4


@pytest.mark.parametrize(("starts", "number"), [("episodes", 3), ("any", 30)])
def test_imagined_episodes_begin_where_real_ones_did(starts: str, number: int) -> None:
    agent = train(agent_of(starts=starts), linear, 30)
    drawn = agent._drawn(agent.start_states(), 2000)
    assert len(drawn.unique(dim=0)) == number
    held = agent.replay.tensors()["obs"]
    allowed = held[::10] if starts == "episodes" else held
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in allowed.tolist()}


def test_parameters_are_perturbed_in_proportion_to_their_last_change() -> None:
    agent = agent_of(param_noise=3.0)
    agent._perturb()
    assert torch.equal(parameters_of(agent.explorer), parameters_of(agent.policy_net))
    agent.change[2:] = torch.linspace(0.0, 1.0, len(agent.change) - 2)
    drawn = []
    for _ in range(800):
        agent._perturb()
        drawn.append(parameters_of(agent.explorer) - parameters_of(agent.policy_net))
    torch.testing.assert_close(torch.stack(drawn).std(0), 3.0 * agent.change, rtol=0.1, atol=1e-6)


def test_noise_on_the_mean_action_is_an_option() -> None:
    quiet, loud = agent_of(action_noise=0.0), agent_of(action_noise=3.0)
    obs = np.ones(2, np.float32)
    assert np.array_equal(quiet.explore(obs), quiet.policy("mode").act(obs))
    drawn = np.stack([loud.explore(obs) for _ in range(400)])
    assert (np.abs(drawn) == 1.0).mean() > 0.3  # cut at the bounds
    assert np.abs(drawn).max() <= 1.0


def test_granted_rewards_and_ends_take_the_place_of_learned_ones() -> None:
    problem = problem_of(
        linear(),
        100,
        reward=lambda obs, action, next_obs: torch.full((len(obs),), 2.0),
        termination=lambda obs, action, next_obs: torch.ones(len(obs), dtype=torch.bool),
    )
    agent = train(make(problem, 0, **SMALL), linear, 30)
    assert not agent.ensemble.reward
    assert not agent.ensemble.termination
    batch = agent.imagine(ORIGIN)
    assert bool((batch.reward == 2.0).all())
    assert bool(batch.terminated.all())
    torch.testing.assert_close(agent.validate(torch.zeros(4, 2)), torch.full((3,), 2.0))


@pytest.mark.parametrize("stop", [0, 13, 24, 25, 26, 50])
def test_an_interrupted_trial_ends_as_one_that_ran_through(stop: int, tmp_path: Path) -> None:
    (tmp_path / "stopped").mkdir()
    whole = tensors(train(agent_of(budget=60), linear, 60), tmp_path / "whole")
    resumed = train_interrupted(lambda: agent_of(budget=60), linear, 60, stop, tmp_path / "stopped")
    again = tensors(resumed, tmp_path / "again")
    assert again["policy_updates"] == whole["policy_updates"] > 0
    torch.testing.assert_close(again, whole, rtol=0.0, atol=0.0)


def test_the_model_is_offered_once_it_was_fitted() -> None:
    agent = agent_of()
    assert agent.world_model() is None
    model = train(agent, linear, 30).world_model()
    sequences = Sequences(
        obs=np.zeros((2, 4, 2), np.float32),
        action=np.zeros((2, 3, 2), np.float32),
        reward=np.zeros((2, 3)),
        terminated=np.zeros((2, 3), bool),
        valid=np.ones((2, 3), bool),
        context=1,
    )
    assert model.predict(sequences, 0).obs.shape == (2, 2, 2)
    returns, lengths = model.imagined_returns(np.zeros((3, 2), np.float32), 5, 0)
    assert len(returns) == 3
    assert lengths == [5, 5, 5]


def test_in_its_dreams_the_mean_acts_as_in_evaluations() -> None:
    problem = problem_of(linear(), 100, reward=lambda obs, action, next_obs: action.sum(1))
    agent = train(make(problem, 0, **SMALL), linear, 30)
    model, starts = agent.world_model(), np.ones((3, 2), np.float32)
    assert model is not None
    returns, _ = model.imagined_returns(starts, 1, 0)
    assert returns == pytest.approx([float(agent.policy("mode").act(obs).sum()) for obs in starts], rel=1e-5)


def test_what_it_cannot_do_is_said() -> None:
    env = linear()
    with pytest.raises(ValueError, match="steps_per_iteration"):
        make(problem_of(env, 2999), 0)
    with pytest.raises(ValueError, match="validate_every of at least 1 update, found 0"):
        make(problem_of(env, 100), 0, **{**SMALL, "validate_every": 0})
    with pytest.raises(ValueError, match="share"):
        make(problem_of(env, 100), 0, **SMALL, share=0.0)
    env.action_space = Discrete(2)
    with pytest.raises(ValueError, match="continuous actions"):
        make(problem_of(env, 100), 0, **SMALL)
    env = linear()
    env.observation_space = Box(0, 255, (8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="one-dimensional"):
        make(problem_of(env, 100), 0, **SMALL)


def test_it_learns_to_bring_a_linear_system_to_rest() -> None:
    settings = {"steps_per_iteration": 100, "hidden": (32,), "model_epochs": 80, "horizon": 10, "imagined_steps": 500}
    settings |= {"tolerance": 6, "max_updates": 20, "validation_starts": 10, "max_kl": 0.05, "init_std": 0.5}
    agent = agent_of(budget=201, **settings)
    before = float(np.mean(play(agent, linear(), 20)))
    train(agent, linear, 201)
    after = float(np.mean(play(agent, linear(), 20)))
    assert after > 0.4 * before  # -3.8 and -0.8
