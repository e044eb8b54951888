"""The waypoint: a point that is to reach a goal, and one day the goal is another one.

A point with momentum is pushed over a plane from the middle to a goal on the right; from a number of steps on, counted
over all episodes, the goal is as far to the left. Nothing else changes: the dynamics are the same, and the reward is
minus the distance to the goal that is observed. Whoever plans in a model of the dynamics with the reward granted
follows at once; a policy has learnt one goal by heart.

As the change is a number of steps over all episodes, and an environment here is a function of its reset seed and its
actions since, ``reset(options={"steps": n})`` says that n steps were taken before this episode (0 when not given).

Observations: x, y, the velocities per step, and the goal's x, y. Actions: the push in x and y, in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from suites.envs.point_mass import PointMass

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

FAMILY = "vector"
PACKAGES = ()  # every rule of this environment is in this file and in point_mass.py
EXTRA = None

DISTANCE = 8.0  # of either goal from the middle, in metres
SPREAD = 2.0  # half the width of the uniform start, in x and y
TIME_LIMIT = 40  # steps


def reward(
    obs: Float[Tensor, "*B 6"], action: Float[Tensor, "*B 2"], next_obs: Float[Tensor, "*B 6"]
) -> Float[Tensor, "*B"]:
    """Minus the distance to the goal after the step. The goal is where it was observed before it."""
    return -(next_obs[..., :2] - obs[..., 4:]).square().sum(-1).sqrt()


def termination(
    obs: Float[Tensor, "*B 6"], action: Float[Tensor, "*B 2"], next_obs: Float[Tensor, "*B 6"]
) -> Bool[Tensor, "*B"]:
    """Never; the time limit truncates."""
    import torch

    return next_obs.new_zeros(next_obs.shape[:-1], dtype=torch.bool)


class Waypoint(gym.Env[Any, Any]):
    def __init__(self, change_at: int | None, noise: float) -> None:
        self.change_at, self.point = change_at, PointMass(noise)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._goal = (DISTANCE, 0.0)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        before = int((options or {}).get("steps", 0))
        changed = self.change_at is not None and before >= self.change_at
        self._goal = (-DISTANCE if changed else DISTANCE, 0.0)
        self.point.place(*self.np_random.uniform(-SPREAD, SPREAD, 2))
        self._steps = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.point.push(action, self.np_random)
        self._steps += 1
        obs = self._obs()
        paid = -math.hypot(obs[0] - self._goal[0], obs[1] - self._goal[1])
        return obs, paid, False, self._steps >= TIME_LIMIT, {}

    def _obs(self) -> np.ndarray:
        return np.array([*self.point.state, *self._goal], np.float32)


def known(*, change_at: int | None = None, noise: float = 0.05) -> dict[str, Callable[..., Any]]:
    """Reward and termination in torch."""
    return {"reward": reward, "termination": termination}


def card(*, change_at: int | None = None, noise: float = 0.05) -> dict[str, Any]:
    """The facts of the protocol, for the record's header."""
    return {
        "env_id": "waypoint",
        "observation": "float32[6]",
        "action": "float32[2] in [-1, 1]",
        "wrappers": [],
        "frame_skip": 1,
        "sticky": 0.0,
        "life_loss": None,
        "noops": 0,
        "time_limit": TIME_LIMIT,
        "change_at": change_at,
        "noise": noise,
    }


def make(
    *,
    change_at: int | None = None,  # steps over all episodes from which on episodes have the other goal; None: never
    noise: float = 0.05,  # standard deviation added to each velocity per step; a full push gives 0.4
) -> gym.Env[Any, Any]:
    """The waypoint, cut after 40 steps."""
    if noise < 0.0 or (change_at is not None and change_at < 0):
        raise ValueError(f"expected noise >= 0 and change_at >= 0 or none, found {noise} and {change_at}")
    return Waypoint(change_at, noise)
