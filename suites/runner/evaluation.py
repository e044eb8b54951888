"""Plays evaluation episodes in environments of their own, leaving no trace in the agent; keeps the first of them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from agents.protocol import Policy
from suites.runner.seeds import evaluation_seed, policy_seed

KEPT = 8  # episodes of an evaluation that a recorder keeps whole
ROOM = 64 * 2**20  # bytes that they may take; 5 laps of CarRacing at 64 x 64 take 59 MiB


@dataclass
class Episode:
    """What happened in an episode, or in its beginning where there was no room for the rest."""

    obs: list[np.ndarray]  # one more than there are steps
    action: list[np.ndarray] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    terminated: bool = False  # whether the last step was a true end


class Recorder:
    """Keeps the first episodes of an evaluation, for the models that are to predict them, and how all of them began."""

    def __init__(self) -> None:
        self.episodes: list[Episode] = []
        self.first_obs: list[np.ndarray] = []  # of every episode
        self._room = ROOM

    def begin(self, obs: Any) -> None:
        first = np.array(obs)  # a copy: environments may write into the array that they returned
        self.first_obs.append(first)
        if len(self.first_obs) <= KEPT:
            self.episodes.append(Episode([first]))

    def step(self, action: Any, obs: Any, reward: float, terminated: bool) -> None:
        if len(self.first_obs) > KEPT or self._room <= 0:
            return
        episode, seen = self.episodes[-1], np.array(obs)
        self._room -= seen.nbytes
        episode.obs.append(seen)
        episode.action.append(np.array(action))
        episode.reward.append(reward)
        episode.terminated = terminated


def play(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    task: str,
    seed: int,
    episodes: int,
    steps: int,
    tick: Callable[[], None],
    recorder: Recorder | None = None,
) -> tuple[list[float], list[int]]:
    """Undiscounted returns and lengths of ``episodes`` episodes; the k-th is the same for every entrant of the cell.

    ``steps`` is the training step, for environments that change with it. ``tick`` is called after each step;
    ``recorder`` is told of all that happens.
    """
    returns, lengths = [], []
    for episode in range(episodes):
        obs, _ = env.reset(seed=evaluation_seed(task, seed, episode), options={"steps": steps})
        policy.reset(policy_seed(task, seed, episode))
        if recorder is not None:
            recorder.begin(obs)
        total, length, over = 0.0, 0, False
        while not over:
            action = policy.act(obs)
            obs, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            length += 1
            over = terminated or truncated
            if recorder is not None:
                recorder.step(action, obs, float(reward), bool(terminated))
            tick()
        returns.append(total)
        lengths.append(length)
    return returns, lengths


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Put the global generators back as they were: some libraries draw from them when a policy acts."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what is guarded
    torch = sys.modules.get("torch")
    tensor = torch.get_rng_state() if torch else None
    device = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch:
            torch.set_rng_state(tensor)
            if device:
                torch.cuda.set_rng_state_all(device)


def seed_globals(seed: int) -> None:
    """Seed the global generators, which nothing of ours draws from but libraries may."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
