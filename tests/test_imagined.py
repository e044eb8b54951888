"""Promises of the shared world model of vectors: open-loop predictions, their spread, and returns inside the model."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from agents.parts.actions import ActionVectors
from agents.parts.dynamics import DynamicsModel, Normaliser
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.protocol import Sequences, WorldModel
from suites.runner.evaluation import Episode
from suites.runner.model_quality import HORIZONS, model_rows
from tests.probes import LinearSystem

A, B = torch.tensor(LinearSystem.A).float(), torch.tensor(LinearSystem.B).float()
ACTIONS = ActionVectors(Box(-1.0, 1.0, (2,), np.float32))
WIDE = (-60.0, 60.0)  # bounds so far apart that a log-variance stays what it is


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(members: int = 2, *, log_var: float | None = None, reward: bool = True) -> Ensemble:
    """Members without hidden layers that know the linear system, a reward of 2 s_0 + a_1 and one variance for all."""
    config = EnsembleConfig(
        members=members, elites=members, hidden=(), weight_decay=0.0, probabilistic=log_var is not None,
        logvar_bounds=WIDE,
    )  # fmt: skip
    made = Ensemble(2, 2, config, seeded(), reward=reward, termination=False)
    made.networks.vector.zero_()
    weight, bias = made.networks.weights[0], made.networks.biases[0]
    weight[:, :2, :2], weight[:, 2:, :2] = A.T - torch.eye(2), B.T
    if reward:
        weight[:, 0, 2], weight[:, 3, 2] = 2.0, 1.0
    if log_var is not None:
        bias[:, :, made.heads.regressed :] = log_var
    return made


def movers(pushes: list[float], **heads: Any) -> Ensemble:
    """Deterministic members, of which the e-th adds ``pushes[e]`` to both dimensions; the reward is s_0 before."""
    count = len(pushes)
    config = EnsembleConfig(
        members=count, elites=count, hidden=(), end_hidden=(), weight_decay=0.0, probabilistic=False
    )
    made = Ensemble(2, 2, config, seeded(), **{"reward": True, "termination": False} | heads)
    made.networks.vector.zero_()
    made.networks.biases[0][:, 0, :2] = torch.tensor(pushes)[:, None]
    if made.reward:
        made.networks.weights[0][:, 0, 2] = 1.0
    if made.ends is not None:
        made.ends.networks.vector.zero_()
    return made


def world(model: Ensemble | DynamicsModel, **options: Any) -> ImaginedWorld:
    return ImaginedWorld(model, options.pop("actions", ACTIONS), **options)


def rest(obs: Tensor, generator: torch.Generator) -> Tensor:
    """A policy that does nothing."""
    return torch.zeros(len(obs), 2)


def episodes(count: int, length: int, noise: float = 0.0) -> list[Episode]:
    """Of the linear system under random actions; the reward is 2 s_0 + a_1."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        episode = Episode([rng.uniform(-1, 1, 2).astype(np.float32)])
        for _ in range(length):
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            last = episode.obs[-1]
            drawn = LinearSystem.A @ last + LinearSystem.B @ action + noise * rng.standard_normal(2)
            episode.obs.append(drawn.astype(np.float32))
            episode.action.append(action)
            episode.reward.append(float(2 * last[0] + action[1]))
        found.append(episode)
    return found


def asked(kept: list[Episode], context: int = 0) -> Sequences:
    columns = {
        "obs": np.stack([np.stack(one.obs) for one in kept]),
        "action": np.stack([np.stack(one.action) for one in kept]),
        "reward": np.stack([np.array(one.reward) for one in kept]),
    }
    shape = columns["reward"].shape
    return Sequences(**columns, terminated=np.zeros(shape, np.bool_), valid=np.ones(shape, np.bool_), context=context)


def test_it_is_a_world_model_to_the_runner():
    assert isinstance(world(linear()), WorldModel)


@pytest.mark.parametrize("log_var", [None, -50.0])
def test_a_perfect_linear_model_errs_at_no_horizon(log_var):
    rows = {row["horizon"]: row for row in model_rows(world(linear(log_var=log_var)), episodes(2, 80), 0)}
    assert list(rows) == list(HORIZONS)
    for row in rows.values():
        assert row["error"] < 1e-5
        assert row["reward_error"] < 1e-5
        assert row["reward_correlation"] == pytest.approx(1.0)


def test_the_steps_of_the_context_are_not_predicted():
    kept = episodes(3, 12)
    whole, later = asked(kept), asked(kept, context=4)
    found = world(linear()).predict(later, 0)
    assert found.obs.shape == (3, 8, 2)
    np.testing.assert_allclose(found.obs, whole.obs[:, 5:], atol=1e-5)
    np.testing.assert_allclose(found.reward, whole.reward[:, 4:], atol=1e-5)


def test_the_predicted_deviation_is_that_of_the_errors_at_every_horizon():
    noise = 0.1
    model = world(linear(5, log_var=2 * float(np.log(noise))))
    sequences = asked(episodes(300, 50, noise))
    found = model.predict(sequences, 0)
    np.testing.assert_allclose(found.obs_std[:, 0], noise, rtol=1e-4)  # no particle was needed for the first step
    covariance = np.zeros((2, 2))
    for step in range(50):
        covariance = LinearSystem.A @ covariance @ LinearSystem.A.T + noise**2 * np.eye(2)
        mean = np.sqrt((found.obs_std[:, step] ** 2).mean(0))
        np.testing.assert_allclose(mean, np.sqrt(np.diag(covariance)), rtol=0.05)
    sizes = np.abs(found.obs - sequences.obs[:, 1:]) / found.obs_std
    for step in (0, 4, 24, 49):
        assert (sizes[:, step] <= 1).mean() == pytest.approx(0.683, abs=0.07)
        assert (sizes[:, step] <= 2).mean() == pytest.approx(0.954, abs=0.04)


def test_members_that_differ_are_moment_matched():
    model = movers([1.0, 4.0])
    kept = episodes(1, 3)
    found = world(model).predict(asked(kept), 0)
    start = kept[0].obs[0]
    # the mean prediction moves by 2.5 a step; after n steps the members are n and 4 n away from the start
    np.testing.assert_allclose(found.obs[0], start + 2.5 * np.arange(1, 4)[:, None], rtol=1e-5)
    np.testing.assert_allclose(found.obs_std[0], 1.5 * np.arange(1, 4)[:, None].repeat(2, 1), rtol=1e-5)
    np.testing.assert_allclose(found.reward[0], start[0] + 2.5 * np.arange(3), rtol=1e-5)
    model.elites = torch.tensor([1])
    found = world(model).predict(asked(kept), 0)
    np.testing.assert_allclose(found.obs[0], start + 4.0 * np.arange(1, 4)[:, None], rtol=1e-5)
    assert found.obs_std is None  # one deterministic member has no notion of its error


def test_noise_and_disagreement_add_up_in_the_first_step():
    model = linear(2, log_var=float(np.log(0.25)))
    model.networks.biases[0][0, 0, :2] = 2.0
    found = world(model).predict(asked(episodes(4, 1)), 0)
    np.testing.assert_allclose(found.obs_std, np.sqrt(0.25 + 1.0), rtol=1e-4)


def test_ends_are_the_elites_mean_probability():
    model = movers([0.0, 0.0, 0.0], termination=True)
    model.ends.networks.biases[0][:, 0, 0] = torch.tensor([0.0, 100.0, -100.0])
    sequences = asked(episodes(2, 4))
    assert (world(model).predict(sequences, 0).termination == 0.0).all()  # no end was seen
    model.end_seen = True
    np.testing.assert_allclose(world(model).predict(sequences, 0).termination, 0.5)
    model.elites = torch.tensor([1, 2, 0])[:2]
    np.testing.assert_allclose(world(model).predict(sequences, 0).termination, 0.5)
    model.elites = torch.tensor([1, 0])
    np.testing.assert_allclose(world(model).predict(sequences, 0).termination, 0.75)


def test_what_the_suite_granted_stands_in_for_the_models_word():
    known = {
        "reward": lambda obs, action, next_obs: 10 * obs[:, 0] + next_obs[:, 0],
        "termination": lambda obs, action, next_obs: next_obs[:, 0] > 3.5,
    }
    model = movers([1.0], reward=False)
    sequences = asked(episodes(1, 4))
    sequences.obs[0, 0] = [0.0, 0.0]
    found = world(model, known=known).predict(sequences, 0)
    assert found.reward.tolist() == [[1.0, 12.0, 23.0, 34.0]]
    assert found.termination.tolist() == [[0.0, 0.0, 0.0, 1.0]]
    returns, lengths = world(model, known=known, act=rest).imagined_returns(np.zeros((1, 2)), 100, 0)
    assert (returns, lengths) == ([70.0], [4])


def test_imagined_returns_are_worked_out_by_hand():
    model = movers([1.0])
    returns, lengths = world(model, act=rest).imagined_returns(np.array([[0.0, 0.0], [5.0, 0.0]]), 4, 0)
    assert returns == [0.0 + 1 + 2 + 3, 5.0 + 6 + 7 + 8]
    assert lengths == [4, 4]


def test_the_policy_acts_on_what_is_imagined():
    model = linear()
    met: list[Tensor] = []

    def act(obs: Tensor, generator: torch.Generator) -> Tensor:
        met.append(obs)
        return -obs

    returns, _ = world(model, act=act).imagined_returns(np.array([[1.0, -1.0]]), 3, 0)
    obs, total = torch.tensor([1.0, -1.0]), 0.0
    for seen in met:
        torch.testing.assert_close(seen[0], obs)
        total += float(2 * obs[0] - obs[1])
        obs = A @ obs - B @ obs
    assert returns == [pytest.approx(total)]


def test_in_imagined_episodes_a_random_elite_moves_each_step():
    model = movers([1.0, 3.0])
    returns, _ = world(model, act=rest).imagined_returns(np.zeros((4000, 2)), 3, 0)
    # rewards 0, x, x + y with x, y from {1, 3}: 3, 5, 7, 9, a quarter of the episodes each
    counts = {value: returns.count(value) for value in (3.0, 5.0, 7.0, 9.0)}
    assert sum(counts.values()) == 4000
    assert all(count == pytest.approx(1000, abs=120) for count in counts.values())


def test_imagined_noise_is_drawn_with_the_predicted_variance():
    model = linear(1, log_var=float(np.log(0.09)))
    model.networks.weights[0][:, :, :3] = 0.0
    returns, _ = world(model, act=rest).imagined_returns(np.zeros((5000, 2)), 1, 0)
    assert np.mean(returns) == pytest.approx(0.0, abs=0.02)
    assert np.std(returns) == pytest.approx(0.3, rel=0.04)


def test_imagined_episodes_end_with_the_predicted_probability():
    models = [movers([0.0], termination=True) for _ in range(2)]
    for model, seen in zip(models, (False, True), strict=True):
        model.ends.networks.biases[0][:] = float(np.log(0.25 / 0.75))
        model.end_seen = seen
    first = np.ones((4000, 2))
    assert world(models[0], act=rest).imagined_returns(first[:2], 50, 0)[1] == [50, 50]  # no end was seen
    returns, lengths = world(models[1], act=rest).imagined_returns(first, 200, 0)
    assert np.mean(lengths) == pytest.approx(4.0, rel=0.05)  # of a geometric distribution
    assert np.mean(np.array(lengths) == 1) == pytest.approx(0.25, abs=0.03)
    assert returns == [float(length) for length in lengths]  # reward 1 a step, the last included


def test_an_episode_that_diverges_stops_and_has_no_return():
    model = movers([0.0])
    model.networks.weights[0][:, 0, 0] = 1e12
    returns, lengths = world(model, act=rest).imagined_returns(np.array([[1.0, 0.0], [0.0, 0.0]]), 50, 0)
    assert isnan(returns[0])
    assert lengths[0] == 4  # 1e12, 1e24, 1e36 and then beyond single precision
    assert (returns[1], lengths[1]) == (0.0, 50)


def test_the_same_seed_gives_the_same_answers_and_the_model_is_left_alone():
    model = linear(3, log_var=-2.0)
    model.elites = torch.tensor([2, 0])
    before, drawn = model.networks.vector.clone(), model.generator.get_state()
    first = np.zeros((4, 2))
    one, other = (world(model, act=rest).imagined_returns(first, 20, 7) for _ in range(2))
    assert one == other != world(model, act=rest).imagined_returns(first, 20, 8)
    predictions = [world(model).predict(asked(episodes(3, 8)), seed).obs_std for seed in (7, 7, 8)]
    assert np.array_equal(predictions[0], predictions[1])
    assert not np.array_equal(predictions[0], predictions[2])
    assert torch.equal(model.networks.vector, before)
    assert torch.equal(model.generator.get_state(), drawn)


def test_without_a_policy_or_a_reward_there_are_no_returns():
    assert world(linear()).imagined_returns(np.zeros((1, 2)), 5, 0) is None
    assert world(linear(reward=False), act=rest).imagined_returns(np.zeros((1, 2)), 5, 0) is None
    assert world(linear(reward=False)).predict(asked(episodes(1, 3)), 0).reward is None


def test_a_deterministic_dynamics_model_is_asked_step_after_step():
    model = DynamicsModel(2, 3, (6,), seeded(), reward=True, termination=True)
    generator = seeded(1)
    model.inputs = Normaliser(torch.randn(5, generator=generator), torch.rand(5, generator=generator) + 0.5)
    actions = ActionVectors(Discrete(3, start=-1))
    chosen = np.array([[0, 1, -1], [-1, 0, 1]])
    sequences = Sequences(
        obs=np.random.default_rng(0).normal(size=(2, 4, 2)), action=chosen, reward=np.zeros((2, 3)),
        terminated=np.zeros((2, 3), np.bool_), valid=np.ones((2, 3), np.bool_), context=0,
    )  # fmt: skip
    found = world(model, actions=actions).predict(sequences, 0)
    obs = torch.tensor(sequences.obs[:, 0]).float()
    for step in range(3):
        vectors = torch.eye(3)[torch.tensor(chosen[:, step]) + 1]
        said = model.predict(obs, vectors)
        obs = said["next_obs"]
        np.testing.assert_allclose(found.obs[:, step], obs, rtol=1e-5)
        np.testing.assert_allclose(found.reward[:, step], said["reward"], rtol=1e-5)
        np.testing.assert_allclose(found.termination[:, step], said["termination"].sigmoid(), rtol=1e-5)
    assert found.obs_std is None
    assert (world(model, actions=actions, ends=False).predict(sequences, 0).termination == 0.0).all()
