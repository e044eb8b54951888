"""Promises of the pond: known functions equal the simulator, it pays what it is asked to, and around is longer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from suites.envs import pond


def walk(env: Any, seed: int, pushes: list[tuple[float, float]]) -> list[tuple[np.ndarray, float, float]]:
    """Observation, payment and cost of each step."""
    env.reset(seed=seed)
    steps = []
    for push in pushes:
        obs, paid, terminated, truncated, info = env.step(np.array(push, np.float32))
        assert not terminated
        steps.append((obs, paid, info["cost"]))
        assert truncated == (len(steps) == pond.TIME_LIMIT)
    return steps


STRAIGHT = [(1.0, 0.0)] * 40
AROUND = [(0.3, 1.0)] * 9 + [(1.0, -0.2)] * 31


def test_the_known_functions_equal_the_simulator():
    env, rng = pond.make(), np.random.default_rng(0)
    rows = []
    for episode in range(25):
        obs, _ = env.reset(seed=episode)
        for _ in range(40):
            push = rng.uniform(-0.5, 1.0, 2).astype(np.float32) * np.array([2.0, 1.0], np.float32)
            next_obs, paid, _, _, info = env.step(push)
            rows.append((obs, push, next_obs, paid, info["cost"]))
            obs = next_obs
    obs, action, next_obs, paid, cost = (torch.as_tensor(np.asarray(column)) for column in zip(*rows, strict=True))
    known = pond.known()
    assert (known["reward"](obs, action, next_obs) - paid).abs().max() < 1e-5
    assert torch.equal(known["cost"](obs, action, next_obs), cost.float())
    assert 50 < float(cost.sum()) < 900
    assert not known["termination"](obs, action, next_obs).any()


def test_the_short_way_leads_through_the_pond_and_the_way_around_pays_less():
    straight, around = walk(pond.make(), 0, STRAIGHT), walk(pond.make(), 0, AROUND)
    assert sum(cost for *_, cost in straight) >= 6
    assert sum(cost for *_, cost in around) == 0
    nearest = [next(i for i, (obs, *_) in enumerate(way) if obs[0] > 8) for way in (straight, around)]
    assert nearest[0] < nearest[1]


def test_it_pays_the_reward_or_counts_the_violations_and_is_the_same_world_in_both():
    rewarded, counted = walk(pond.make(), 3, STRAIGHT), walk(pond.make(pays="violations"), 3, STRAIGHT)
    assert [paid for _, paid, _ in counted] == [-cost for *_, cost in rewarded]
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(rewarded, counted, strict=True))
    assert pond.known(pays="violations") == pond.known()


def test_without_noise_a_full_push_is_what_its_equations_say():
    steps = walk(pond.make(noise=0.0), 0, [(1.0, 0.0), (0.0, -2.0)])
    assert steps[0][0][[0, 2]] == pytest.approx([-9.6, 0.4])
    assert steps[1][0][[0, 2, 3]] == pytest.approx([-9.32, 0.28, -0.4])  # a push beyond 1 is a push of 1


def test_the_card_says_what_the_environment_has():
    env, card = pond.make(), pond.card()
    assert card["observation"] == f"{env.observation_space.dtype}[{env.observation_space.shape[0]}]"  # type: ignore[index]
    assert card["time_limit"] == len(walk(env, 0, STRAIGHT))
    assert pond.card(pays="violations") != card


@pytest.mark.parametrize("options", [{"noise": -0.1}, {"pays": "cost"}])
def test_other_options_are_refused(options):
    with pytest.raises(ValueError, match="expected noise >= 0 and pays reward or violations"):
        pond.make(**options)
