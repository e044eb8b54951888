"""The rewards and terminations of the MuJoCo tasks that the observation determines, in torch.

Every function takes ``obs [*B D]``, ``action [*B A]``, ``next_obs [*B D]`` and returns ``[*B]``. What is
here equals the simulator: terminations exactly, rewards to 1e-6 times max(1, |reward|) on float64 tensors
(the simulator itself sums some action costs in float32). On float32 tensors a velocity made of two
positions loses about |x| * 1.2e-7 / dt, so 1e-3 at 50 m with a step of 8 ms.

What is not a function of the observation is not here, not even approximately:

- the rewards of Hopper, Walker2d, HalfCheetah and Swimmer are made of the distance covered in x, which
  the usual observation leaves out (the velocity it has is the one at the end of the step, not the mean
  over it); with ``x_in_obs`` they are exact;
- Ant takes x from the body's frame and Humanoid from the mass centre, which MuJoCo last updated in the
  last substep's Runge-Kutta stages: not the observed positions, not even with ``x_in_obs``;
- InvertedDoublePendulum judges the height of its tip by that same stale frame: up to 4 mm off what the
  observed angles give, which turned the termination around in 11 of 150,000 measured steps.

Hopper is also unhealthy when a joint velocity reaches 100, which its observation, clipped at 10, can't
show; the largest seen in 10,000 steps of strong random torques was 21.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

Known = Callable[..., Any]


def termination(id: str, first: int) -> Known | None:
    """Whether the episode ends, or None; ``first`` positions of the root stand before its height."""
    functions: dict[str, Known] = {
        "InvertedPendulum-v5": pendulum_falls,
        "Hopper-v5": partial(hopper_falls, first=first),
        "Walker2d-v5": partial(walker_falls, first=first),
        "Ant-v5": partial(ant_falls, first=first),
        "Humanoid-v5": partial(humanoid_falls, first=first),
        "Reacher-v5": never_ends,
        "Pusher-v5": never_ends,
        "HalfCheetah-v5": never_ends,
        "Swimmer-v5": never_ends,
        "HumanoidStandup-v5": never_ends,
    }
    return functions.get(id)


def reward(id: str, first: int) -> Known | None:
    """The reward, or None where the observation does not determine it."""
    always: dict[str, Known] = {
        "InvertedPendulum-v5": pendulum_reward,
        "Reacher-v5": reacher_reward,
        "Pusher-v5": pusher_reward,
        "HumanoidStandup-v5": partial(standup_reward, first=first),
    }
    with_x: dict[str, Known] = {
        "Hopper-v5": hopper_reward,
        "Walker2d-v5": walker_reward,
        "HalfCheetah-v5": partial(forward_reward, dt=0.05, cost=0.1),
        "Swimmer-v5": partial(forward_reward, dt=0.04, cost=1e-4),
    }
    return always.get(id) or (with_x.get(id) if first else None)


def never_ends(
    obs: Float[Tensor, "*B D"], action: Float[Tensor, "*B A"], next_obs: Float[Tensor, "*B D"]
) -> Bool[Tensor, "*B"]:
    """Only the time limit ends these tasks, and that truncates."""
    import torch

    return next_obs.new_zeros(next_obs.shape[:-1], dtype=torch.bool)


def pendulum_falls(
    obs: Float[Tensor, "*B 4"], action: Float[Tensor, "*B 1"], next_obs: Float[Tensor, "*B 4"]
) -> Bool[Tensor, "*B"]:
    """The pole beyond 0.2 rad, or a number that is none."""
    return ~next_obs.isfinite().all(-1) | (next_obs[..., 1].abs() > 0.2)


def hopper_falls(
    obs: Float[Tensor, "*B D"], action: Float[Tensor, "*B 3"], next_obs: Float[Tensor, "*B D"], *, first: int
) -> Bool[Tensor, "*B"]:
    """Too low, leaning by 0.2 rad or more, or any angle or velocity out of +-100."""
    height, angle = next_obs[..., first], next_obs[..., first + 1]
    bounded = (next_obs[..., first + 1 :].abs() < 100.0).all(-1)
    return ~(bounded & (height > 0.7) & (angle.abs() < 0.2) & height.isfinite())


def walker_falls(
    obs: Float[Tensor, "*B D"], action: Float[Tensor, "*B 6"], next_obs: Float[Tensor, "*B D"], *, first: int
) -> Bool[Tensor, "*B"]:
    """Too low, too high, or leaning by 1 rad or more."""
    height, angle = next_obs[..., first], next_obs[..., first + 1]
    return ~((height > 0.8) & (height < 2.0) & (angle.abs() < 1.0))


def ant_falls(
    obs: Float[Tensor, "*B D"], action: Float[Tensor, "*B 8"], next_obs: Float[Tensor, "*B D"], *, first: int
) -> Bool[Tensor, "*B"]:
    """The torso out of 0.2 .. 1.0, bounds included, or a number that is none."""
    height = next_obs[..., first]
    return ~(next_obs.isfinite().all(-1) & (height >= 0.2) & (height <= 1.0))


def humanoid_falls(
    obs: Float[Tensor, "*B D"], action: Float[Tensor, "*B 17"], next_obs: Float[Tensor, "*B D"], *, first: int
) -> Bool[Tensor, "*B"]:
    """The torso out of 1.0 .. 2.0."""
    height = next_obs[..., first]
    return ~((height > 1.0) & (height < 2.0))


def pendulum_reward(
    obs: Float[Tensor, "*B 4"], action: Float[Tensor, "*B 1"], next_obs: Float[Tensor, "*B 4"]
) -> Float[Tensor, "*B"]:
    """1 while it stands."""
    return 1.0 - pendulum_falls(obs, action, next_obs).to(next_obs.dtype)


def reacher_reward(
    obs: Float[Tensor, "*B 10"], action: Float[Tensor, "*B 2"], next_obs: Float[Tensor, "*B 10"]
) -> Float[Tensor, "*B"]:
    """Minus the distance of finger tip and target (both move in one plane), minus the squared action."""
    return -_distance(next_obs[..., 8:10]) - action.square().sum(-1)


def pusher_reward(
    obs: Float[Tensor, "*B 23"], action: Float[Tensor, "*B 7"], next_obs: Float[Tensor, "*B 23"]
) -> Float[Tensor, "*B"]:
    """Minus object to goal, minus half of arm to object, minus a tenth of the squared action."""
    arm, thing, goal = next_obs[..., 14:17], next_obs[..., 17:20], next_obs[..., 20:23]
    reach, push = _distance(thing - arm), _distance(thing - goal)
    return -push - 0.5 * reach - 0.1 * action.square().sum(-1)


def standup_reward(
    obs: Float[Tensor, "*B D"], action: Float[Tensor, "*B 17"], next_obs: Float[Tensor, "*B D"], *, first: int
) -> Float[Tensor, "*B"]:
    """Height per simulator tick of 3 ms, minus control, minus impact (at most 10), plus 1."""
    impact = (0.5e-6 * next_obs[..., -78:].square().sum(-1)).clamp(max=10.0)  # 13 bodies, 6 forces each
    return next_obs[..., first] / 0.003 - 0.1 * action.square().sum(-1) - impact + 1.0


def forward_reward(
    obs: Float[Tensor, "*B D"],
    action: Float[Tensor, "*B A"],
    next_obs: Float[Tensor, "*B D"],
    *,
    dt: float,
    cost: float,
) -> Float[Tensor, "*B"]:
    """Mean velocity in x over the step minus the control cost; x stands first in the observation."""
    return (next_obs[..., 0] - obs[..., 0]) / dt - cost * action.square().sum(-1)


def hopper_reward(
    obs: Float[Tensor, "*B 12"], action: Float[Tensor, "*B 3"], next_obs: Float[Tensor, "*B 12"]
) -> Float[Tensor, "*B"]:
    """Forward, and 1 while it stands."""
    stands = ~hopper_falls(obs, action, next_obs, first=1)
    return forward_reward(obs, action, next_obs, dt=0.008, cost=1e-3) + stands.to(next_obs.dtype)


def walker_reward(
    obs: Float[Tensor, "*B 18"], action: Float[Tensor, "*B 6"], next_obs: Float[Tensor, "*B 18"]
) -> Float[Tensor, "*B"]:
    """Forward, and 1 while it stands."""
    stands = ~walker_falls(obs, action, next_obs, first=1)
    return forward_reward(obs, action, next_obs, dt=0.008, cost=1e-3) + stands.to(next_obs.dtype)


def _distance(difference: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
    import torch

    # The gradient of a norm is 0 at 0; that of a square root would be nan.
    distance: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return distance
