"""Plays evaluation episodes in environments of their own, leaving no trace in the agent."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from agents.protocol import Policy
from suites.runner.seeds import evaluation_seed


def play(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    task: str,
    seed: int,
    episodes: int,
    steps: int,
    tick: Callable[[], None],
) -> tuple[list[float], list[int]]:
    """Undiscounted returns and lengths of ``episodes`` episodes; the k-th is the same for every entrant of the cell.

    ``steps`` is the training step, for environments that change with it. ``tick`` is called after each step.
    """
    returns, lengths = [], []
    for episode in range(episodes):
        episode_seed = evaluation_seed(task, seed, episode)
        obs, _ = env.reset(seed=episode_seed, options={"steps": steps})
        policy.reset(episode_seed)
        total, length, over = 0.0, 0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(policy.act(obs))
            total += float(reward)
            length += 1
            over = terminated or truncated
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
