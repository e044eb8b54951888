"""Four classic control tasks as gymnasium ships them, with their rewards and terminations as functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

FAMILY = "vector"
PACKAGES = ("gymnasium",)
EXTRA = None

TASKS: dict[str, tuple[str, str, int]] = {  # observation, action, time limit in steps
    "CartPole-v1": ("float32[4]", "Discrete(2)", 500),
    "Pendulum-v1": ("float32[3]", "float32[1] in [-2, 2]", 200),
    "MountainCarContinuous-v0": ("float32[2]", "float32[1] in [-1, 1]", 999),
    "Acrobot-v1": ("float32[6]", "Discrete(3)", 500),
}


def cartpole_termination(
    obs: Float[Tensor, "*B 4"], action: Int[Tensor, "*B"], next_obs: Float[Tensor, "*B 4"]
) -> Bool[Tensor, "*B"]:
    """The cart beyond 2.4 or the pole beyond 12 degrees."""
    x, theta = next_obs[..., 0], next_obs[..., 2]
    return (x.abs() > 2.4) | (theta.abs() > math.radians(12))


def cartpole_reward(
    obs: Float[Tensor, "*B 4"], action: Int[Tensor, "*B"], next_obs: Float[Tensor, "*B 4"]
) -> Float[Tensor, "*B"]:
    """1 for every step, the one that ends the episode included."""
    return next_obs[..., 0].new_ones(next_obs.shape[:-1])


def pendulum_termination(
    obs: Float[Tensor, "*B 3"], action: Float[Tensor, "*B 1"], next_obs: Float[Tensor, "*B 3"]
) -> Bool[Tensor, "*B"]:
    """Never; the time limit truncates."""
    return _never(next_obs)


def pendulum_reward(
    obs: Float[Tensor, "*B 3"], action: Float[Tensor, "*B 1"], next_obs: Float[Tensor, "*B 3"]
) -> Float[Tensor, "*B"]:
    """Minus the cost of the state *before* the step and of the torque as the motor clips it."""
    theta = obs[..., 1].atan2(obs[..., 0])
    torque = action[..., 0].clamp(-2.0, 2.0)
    return -(theta.square() + 0.1 * obs[..., 2].square() + 0.001 * torque.square())


def mountain_car_termination(
    obs: Float[Tensor, "*B 2"], action: Float[Tensor, "*B 1"], next_obs: Float[Tensor, "*B 2"]
) -> Bool[Tensor, "*B"]:
    """At the flag, 0.45, and not rolling back."""
    return (next_obs[..., 0] >= 0.45) & (next_obs[..., 1] >= 0.0)


def mountain_car_reward(
    obs: Float[Tensor, "*B 2"], action: Float[Tensor, "*B 1"], next_obs: Float[Tensor, "*B 2"]
) -> Float[Tensor, "*B"]:
    """100 at the flag, less a tenth of the squared action as it was given (not as the motor clips it)."""
    bonus = 100.0 * mountain_car_termination(obs, action, next_obs).to(next_obs.dtype)
    return bonus - 0.1 * action[..., 0].square()


def acrobot_termination(
    obs: Float[Tensor, "*B 6"], action: Int[Tensor, "*B"], next_obs: Float[Tensor, "*B 6"]
) -> Bool[Tensor, "*B"]:
    """The tip higher than one link above the joint: -cos(t1) - cos(t1 + t2) > 1."""
    cos1, sin1, cos2, sin2 = (next_obs[..., i] for i in range(4))
    return -cos1 - (cos1 * cos2 - sin1 * sin2) > 1.0


def acrobot_reward(
    obs: Float[Tensor, "*B 6"], action: Int[Tensor, "*B"], next_obs: Float[Tensor, "*B 6"]
) -> Float[Tensor, "*B"]:
    """-1 for every step but the one that gets there."""
    return acrobot_termination(obs, action, next_obs).to(next_obs.dtype) - 1.0


def _never(next_obs: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B"]:
    import torch

    return next_obs.new_zeros(next_obs.shape[:-1], dtype=torch.bool)


def _check(id: str) -> None:
    if id not in TASKS:
        raise ValueError(f"expected a classic control task of {', '.join(TASKS)}, found {id!r}")


def known(*, id: str = "CartPole-v1") -> dict[str, Callable[..., Any]]:
    """Reward and termination in torch; equal to the simulator's up to float32 rounding of the observation.

    The termination is exact except for a state within about 1e-7 of a threshold, the reward to 1e-5.
    """
    _check(id)
    return {
        "CartPole-v1": {"reward": cartpole_reward, "termination": cartpole_termination},
        "Pendulum-v1": {"reward": pendulum_reward, "termination": pendulum_termination},
        "MountainCarContinuous-v0": {"reward": mountain_car_reward, "termination": mountain_car_termination},
        "Acrobot-v1": {"reward": acrobot_reward, "termination": acrobot_termination},
    }[id]


def card(*, id: str = "CartPole-v1") -> dict[str, Any]:
    """The facts of the protocol, for the record's header."""
    _check(id)
    observation, action, time_limit = TASKS[id]
    return {
        "env_id": id,
        "observation": observation,
        "action": action,
        "wrappers": ["TimeLimit"],
        "frame_skip": 1,
        "sticky": 0.0,
        "life_loss": None,
        "noops": 0,
        "time_limit": time_limit,
    }


def make(
    *,
    id: Literal["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Acrobot-v1"] = "CartPole-v1",
) -> gym.Env[Any, Any]:
    """The task with gymnasium's own time limit."""
    _check(id)
    return gym.make(id, disable_env_checker=True)
