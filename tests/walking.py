"""An environment that adds up its actions, and gates around it, for the tests of the gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from hypothesis import settings

from suites.runner import checkpoint
from suites.runner.gate import Gate
from suites.runner.seeds import training_seed

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


class Walk(gym.Env[Any, Any]):
    """Adds up its actions; how long an episode is follows from the reset seed, and so does its reward."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    taken = 0  # steps of all of them
    asked: list[tuple[int | None, Any]] = []  # seed and options of each reset

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        Walk.asked.append((seed, options))
        self.place, self.left = float(seed or 0), 1 + (seed or 0) % 9
        return np.array([self.place, self.left]), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if not np.isfinite(action).all():
            raise ValueError("expected a number")
        Walk.taken += 1
        self.place += float(action[0])
        self.left -= 1
        reward = float(action[0]) * self.np_random.random()
        return np.array([self.place, self.left]), reward, self.left == 0, False, {}


def gate_with(
    budget: int = 1000,
    make: Callable[[], Any] = Walk,
    seed: int = 0,
    rows: list[dict[str, Any]] | None = None,
) -> tuple[Gate, list[dict[str, Any]]]:
    rows = [] if rows is None else rows
    return Gate(make, task="walk", seed=seed, budget=budget, log=rows.append), rows


def action(rng: np.random.Generator) -> Any:
    return rng.uniform(-1, 1, 1).astype(np.float32)


def seed_where(enough: Callable[[list[int]], bool], slots: int) -> int:
    """A trial seed for which the lengths of the first episodes of ``slots`` slots are as a test needs them."""
    return next(s for s in range(10_000) if enough([1 + training_seed("walk", s, i, 0) % 9 for i in range(slots)]))


def through_a_checkpoint(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    checkpoint.write(folder, 1, {"gate": state}, b"", lambda agent: None)
    saved = checkpoint.newest(folder)
    assert saved is not None
    found: dict[str, Any] = saved.state()["gate"]
    return found
