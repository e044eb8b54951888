"""The MuJoCo tasks that pay for the distance covered in x, with the velocity in x observed: so the reward is known.

Hopper, Walker2d, HalfCheetah and Swimmer of `mujoco`, and in front of their observation the mean velocity in x over
the last step, in m/s, 0 at a reset, as PETS' own HalfCheetah has it (Chua et al. 2018). What they pay is made of it,
which the usual observation leaves out. x itself would do, too (`mujoco`'s ``x_in_obs``), but it grows for as long as
one runs: a network that sees it soon leaves the data that it learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from suites.envs import mujoco
from suites.envs.mujoco_known import hopper_falls, never_ends, walker_falls

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

FAMILY = "vector"
PACKAGES = ("gymnasium", "mujoco")
EXTRA = mujoco.EXTRA
_ENDS: dict[str, Callable[..., Any]] = {
    "Hopper-v5": partial(hopper_falls, first=1),
    "Walker2d-v5": partial(walker_falls, first=1),
    "HalfCheetah-v5": never_ends,
    "Swimmer-v5": never_ends,
}
_COSTS = {"Hopper-v5": 1e-3, "Walker2d-v5": 1e-3, "HalfCheetah-v5": 0.1, "Swimmer-v5": 1e-4}  # of squared actions
_STANDING = ("Hopper-v5", "Walker2d-v5")  # paid 1 for a step after which they stand


def known(*, id: str = "Hopper-v5") -> dict[str, Callable[..., Any]]:
    """Reward and termination, exact; see `mujoco_known` for their form."""
    ends = _ENDS[id]
    return {"reward": partial(reward, ends=ends, cost=_COSTS[id], standing=id in _STANDING), "termination": ends}


def reward(
    obs: Float[Tensor, "*B D"],
    action: Float[Tensor, "*B A"],
    next_obs: Float[Tensor, "*B D"],
    *,
    ends: Callable[..., Any],
    cost: float,
    standing: bool,
) -> Float[Tensor, "*B"]:
    """The velocity that is now observed, minus the control cost, and 1 for those that have to stand and do."""
    paid = next_obs[..., 0] - cost * action.square().sum(-1)
    return paid + (~ends(obs, action, next_obs)).to(paid.dtype) if standing else paid


def card(*, id: str = "Hopper-v5") -> dict[str, Any]:
    """The facts of the protocol, for the record's header."""
    return {
        **mujoco.card(id=id),
        "observation": f"float64[{mujoco.TASKS[id].obs + 1}]",
        "wrappers": ["TimeLimit", "VelocityInFront"],
        "known_reward": "exact",
    }


def make(*, id: Literal["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Swimmer-v5"] = "Hopper-v5") -> gym.Env[Any, Any]:
    """The task with gymnasium's own time limit."""
    if id not in _ENDS:
        raise ValueError(f"expected one of {', '.join(_ENDS)}, which pay for the distance in x, found {id!r}")
    return VelocityInFront(mujoco.make(id=id))


class VelocityInFront(gym.Wrapper[Any, Any, Any, Any]):
    """``x_velocity`` of the last step's info in front of the observation; 0 at a reset."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, Box)
        self.observation_space = Box(-np.inf, np.inf, (space.shape[0] + 1,), np.float64)

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**given)
        return np.concatenate([[0.0], obs]), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, paid, terminated, truncated, info = self.env.step(action)
        return np.concatenate([[info["x_velocity"]], obs]), paid, terminated, truncated, info
