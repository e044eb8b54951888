"""Promises of the waypoint: one day the goal is another one, nothing else is, and its functions equal the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from suites.envs import pond, waypoint


def walk(env: Any, seed: int, before: int, count: int = 40) -> list[tuple[np.ndarray, float, bool]]:
    """First observation, then observation, reward and truncation of each step under seeded actions."""
    rng = np.random.default_rng(seed)
    steps = [(env.reset(seed=seed, options={"steps": before})[0], 0.0, False)]
    for _ in range(count):
        obs, paid, terminated, truncated, _ = env.step(rng.uniform(-1.5, 1.5, 2).astype(np.float32))
        assert not terminated
        steps.append((obs, paid, truncated))
    return steps


def test_the_goal_changes_for_episodes_that_begin_after_so_many_steps_and_only_the_goal():
    env = waypoint.make(change_at=100)
    early, running, late = (walk(env, 3, before) for before in (0, 99, 100))
    assert {tuple(obs[4:]) for obs, *_ in (*early, *running)} == {(8.0, 0.0)}
    assert {tuple(obs[4:]) for obs, *_ in late} == {(-8.0, 0.0)}
    assert all(np.array_equal(a[0][:4], b[0][:4]) for a, b in zip(early, late, strict=True))
    assert [cut for *_, cut in early] == [False] * 40 + [True]
    assert {tuple(obs[4:]) for obs, *_ in walk(waypoint.make(), 3, 10**9)} == {(8.0, 0.0)}


def test_it_pays_minus_the_distance_to_the_goal_that_is_observed():
    env = waypoint.make(change_at=1, noise=0.0)
    env.reset(seed=0, options={"steps": 1})
    obs, paid, *_ = env.step(np.array([1.0, 0.0], np.float32))
    assert paid == pytest.approx(-np.hypot(obs[0] + 8.0, obs[1]), rel=1e-6)


@pytest.mark.parametrize("before", [0, 50])
def test_the_known_functions_equal_the_simulator(before):
    env, rng, rows = waypoint.make(change_at=50), np.random.default_rng(0), []
    for episode in range(10):
        obs, _ = env.reset(seed=episode, options={"steps": before})
        for _ in range(40):
            push = rng.uniform(-1, 1, 2).astype(np.float32)
            next_obs, paid, *_ = env.step(push)
            rows.append((obs, push, next_obs, paid))
            obs = next_obs
    obs, action, next_obs, paid = (torch.as_tensor(np.asarray(column)) for column in zip(*rows, strict=True))
    known = waypoint.known()
    assert (known["reward"](obs, action, next_obs) - paid).abs().max() < 1e-5
    assert not known["termination"](obs, action, next_obs).any()


def test_its_point_moves_as_the_ponds_does():
    point, pool = waypoint.make(noise=0.0), pond.make(noise=0.0)
    start, _ = point.reset(seed=0)
    begin, _ = pool.reset(seed=0)
    for push in ([1.0, 0.0], [0.3, -2.0], [-1.0, 0.5]):
        ours, theirs = (env.step(np.array(push, np.float32))[0] for env in (point, pool))
        assert ours[:2] - start[:2] == pytest.approx(theirs[:2] - begin[:2], abs=1e-5)
        assert ours[2:4] == pytest.approx(theirs[2:], abs=1e-6)


def test_the_card_says_what_the_environment_has():
    env, card = waypoint.make(), waypoint.card()
    assert card["observation"] == f"{env.observation_space.dtype}[{env.observation_space.shape[0]}]"  # type: ignore[index]
    assert card["time_limit"] == len(walk(env, 0, 0)) - 1
    assert waypoint.card(change_at=5) != card


@pytest.mark.parametrize("options", [{"noise": -0.1}, {"change_at": -1}])
def test_other_options_are_refused(options):
    with pytest.raises(ValueError, match="expected noise >= 0 and change_at >= 0 or none"):
        waypoint.make(**options)
