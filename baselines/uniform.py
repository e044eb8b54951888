"""Uniformly random actions: the score of knowing nothing, and the zero of many normalised scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("discrete", "vector", "image")

Draw = Callable[[np.random.Generator], Any]


@dataclass(frozen=True, kw_only=True)
class Config:
    """There is nothing to set."""


class Uniform:
    """Acts at random until the budget is spent."""

    updates = 0

    def __init__(self, draw: Draw, seed: int) -> None:
        self.config = Config()
        self._draw = draw
        self._rng = np.random.default_rng(seed)

    def learn(self, door: Door, report: Report) -> None:
        env = door.open()
        env.reset()
        while True:
            report()
            _, _, terminated, truncated, _ = env.step(self._draw(self._rng))
            if terminated or truncated:
                env.reset()

    def policy(self, mode: PolicyMode) -> UniformPolicy:
        return UniformPolicy(self._draw)

    def save(self, folder: Path) -> None:
        (folder / "generator.json").write_text(json.dumps(self._rng.bit_generator.state))

    def load(self, folder: Path) -> None:
        self._rng.bit_generator.state = json.loads((folder / "generator.json").read_text())


class UniformPolicy:
    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.reset(0)

    def reset(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, obs: Any) -> Any:
        return self._draw(self._rng)


def make(problem: Problem, seed: int, **config: Any) -> Uniform:
    Config(**config)
    space = problem.action_space
    if isinstance(space, Discrete):
        start, end = int(space.start), int(space.start + space.n)
        return Uniform(lambda rng: int(rng.integers(start, end)), seed)
    if isinstance(space, Box) and space.is_bounded():
        low, high, dtype = space.low, space.high, space.dtype
        return Uniform(lambda rng: rng.uniform(low, high).astype(dtype), seed)
    raise ValueError(f"uniform: expected discrete or bounded continuous actions, found {space}")
