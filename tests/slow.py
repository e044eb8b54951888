"""Environments that take their time, so that a short trial lasts long enough to be killed in many places."""

from __future__ import annotations

import os
import time
from typing import Any, Literal

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

from suites.envs import classic, maze

FAMILY, PACKAGES, EXTRA = "vector", ("gymnasium",), None
SECONDS = float(os.environ.get("SLOW_SECONDS", "0"))  # per step; no option, because options are in the protocol


class Slow(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> Any:
        time.sleep(SECONDS)
        return super().step(action)


def make(*, of: Literal["maze", "cartpole"] = "maze", time_limit: int = 60) -> gym.Env[Any, Any]:
    made: gym.Env[Any, Any] = (
        maze.make(time_limit=time_limit) if of == "maze" else TimeLimit(classic.make(), time_limit)
    )
    return Slow(made) if SECONDS else made


def card(*, of: str = "maze", time_limit: int = 60) -> dict[str, Any]:
    return {**(maze.card() if of == "maze" else classic.card()), "time_limit": time_limit}
