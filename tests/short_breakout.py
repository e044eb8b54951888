"""Breakout whose episodes end after a few steps, so that a test of a hundred steps meets several ends."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

from suites.envs import atari

FAMILY, PACKAGES, EXTRA = atari.FAMILY, atari.PACKAGES, atari.EXTRA


def make(*, time_limit: int = 30) -> gym.Env[Any, Any]:
    return TimeLimit(atari.make(), time_limit)


def card(*, time_limit: int = 30) -> dict[str, Any]:
    return {**atari.card(), "time_limit": time_limit}
