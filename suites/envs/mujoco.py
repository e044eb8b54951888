"""Gymnasium's MuJoCo locomotion and pendulum tasks, version 5, and MBPO's short observations of two.

Observations stay float64 and actions float32 with each task's own bounds, as gymnasium declares them;
what an agent makes of them is its own affair. Two options change the observation, both by gymnasium's own
constructor arguments, so the physics and the reward stay those of version 5:

``truncated_obs`` gives the observations of MBPO (Janner et al. 2019), positions without x and y followed
by velocities and nothing else. Ant-v5: 13 + 14 = 27, without the 78 contact forces. Humanoid-v5:
22 + 23 = 45, without body inertias, body velocities, actuator forces and contact forces.

``x_in_obs`` puts the root's x (and y where the task has it) in front of the observation, which makes the
reward of Hopper, Walker2d, HalfCheetah and Swimmer a function of it. ``known`` then offers that reward;
``mujoco_known`` says what is offered for which task and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym

from suites.envs import mujoco_known

FAMILY = "vector"
PACKAGES = ("gymnasium", "mujoco")
EXTRA = "pip install 'gymnasium[mujoco]'"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the card says of one task; tests compare it with the simulator."""

    obs: int  # numbers in the usual observation
    actions: int
    bound: float  # actions are in [-bound, bound]
    frame_skip: int  # simulator ticks in a step
    time_limit: int = 1000  # steps
    hidden: int = 0  # root positions that the usual observation leaves out
    short: int | None = None  # numbers in MBPO's observation


TASKS = {
    "InvertedPendulum-v5": Task(obs=4, actions=1, bound=3.0, frame_skip=2),
    "InvertedDoublePendulum-v5": Task(obs=9, actions=1, bound=1.0, frame_skip=5),
    "Reacher-v5": Task(obs=10, actions=2, bound=1.0, frame_skip=2, time_limit=50),
    "Pusher-v5": Task(obs=23, actions=7, bound=2.0, frame_skip=5, time_limit=100),
    "Hopper-v5": Task(obs=11, actions=3, bound=1.0, frame_skip=4, hidden=1),
    "Walker2d-v5": Task(obs=17, actions=6, bound=1.0, frame_skip=4, hidden=1),
    "HalfCheetah-v5": Task(obs=17, actions=6, bound=1.0, frame_skip=5, hidden=1),
    "Swimmer-v5": Task(obs=8, actions=2, bound=1.0, frame_skip=4, hidden=2),
    "Ant-v5": Task(obs=105, actions=8, bound=1.0, frame_skip=5, hidden=2, short=27),
    "Humanoid-v5": Task(obs=348, actions=17, bound=0.4, frame_skip=5, hidden=2, short=45),
    "HumanoidStandup-v5": Task(obs=348, actions=17, bound=0.4, frame_skip=5, hidden=2),
}
_EXTRAS = {  # what gymnasium appends to positions and velocities; the short observation leaves it out
    "Ant-v5": ("cfrc_ext",),
    "Humanoid-v5": ("cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
}


def known(
    *, id: str = "Hopper-v5", truncated_obs: bool = False, x_in_obs: bool = False
) -> dict[str, Callable[..., Any]]:
    """The reward and termination that this observation determines exactly; see ``mujoco_known``."""
    task = _task(id, truncated_obs, x_in_obs)
    first = task.hidden if x_in_obs else 0
    functions = {"reward": mujoco_known.reward(id, first), "termination": mujoco_known.termination(id, first)}
    return {name: function for name, function in functions.items() if function is not None}


def card(*, id: str = "Hopper-v5", truncated_obs: bool = False, x_in_obs: bool = False) -> dict[str, Any]:
    """The facts of the protocol, for the record's header."""
    task = _task(id, truncated_obs, x_in_obs)
    size = (task.short if truncated_obs else task.obs + (task.hidden if x_in_obs else 0)) or 0
    return {
        "env_id": id,
        "observation": f"float64[{size}]",
        "action": f"float32[{task.actions}] in [-{task.bound:g}, {task.bound:g}]",
        "wrappers": ["TimeLimit"],
        "frame_skip": task.frame_skip,
        "sticky": 0.0,
        "life_loss": None,
        "noops": 0,
        "time_limit": task.time_limit,
        "truncated_obs": truncated_obs,
        "x_in_obs": x_in_obs,
        "known_reward": _known_reward(id, x_in_obs),
        "known_termination": "no: judged by a body frame that is not observed"
        if id == "InvertedDoublePendulum-v5"
        else "exact",
    }


def _known_reward(id: str, x_in_obs: bool) -> str:
    if "reward" in known(id=id, x_in_obs=x_in_obs):
        return "exact"
    if id in ("Ant-v5", "Humanoid-v5", "InvertedDoublePendulum-v5"):
        return "no: made of a body frame that is not observed"
    return "no: made of the change of x, which is not observed without x_in_obs"


def _task(id: str, truncated_obs: bool, x_in_obs: bool) -> Task:
    if id not in TASKS:
        raise ValueError(f"expected a MuJoCo task of {', '.join(TASKS)}, found {id!r}")
    task = TASKS[id]
    if truncated_obs and task.short is None:
        raise ValueError(
            f"expected truncated_obs only with Ant-v5 or Humanoid-v5, whose observations MBPO shortens, "
            f"found it with {id}; leave it out"
        )
    if x_in_obs and not task.hidden:
        raise ValueError(f"expected x_in_obs only where gymnasium hides x, found it with {id}; leave it out")
    if truncated_obs and x_in_obs:
        raise ValueError("expected truncated_obs or x_in_obs, found both; MBPO's observation has no x")
    return task


def make(
    *,
    id: Literal[
        "InvertedPendulum-v5",
        "InvertedDoublePendulum-v5",
        "Reacher-v5",
        "Pusher-v5",
        "Hopper-v5",
        "Walker2d-v5",
        "HalfCheetah-v5",
        "Swimmer-v5",
        "Ant-v5",
        "Humanoid-v5",
        "HumanoidStandup-v5",
    ] = "Hopper-v5",
    truncated_obs: bool = False,  # MBPO's 27 and 45 numbers; Ant-v5 and Humanoid-v5 only
    x_in_obs: bool = False,  # the root's x (and y) in front of the observation
) -> gym.Env[Any, Any]:
    """The task with gymnasium's own time limit."""
    _task(id, truncated_obs, x_in_obs)
    arguments: dict[str, bool] = {}
    if truncated_obs:
        arguments = {f"include_{part}_in_observation": False for part in _EXTRAS[id]}
    if x_in_obs:
        arguments["exclude_current_positions_from_observation"] = False
    return gym.make(id, disable_env_checker=True, **arguments)
