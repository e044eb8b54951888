"""How a baseline finds the published setting for an environment; the settings stand in each baseline's file.

Source, where no other is named: rl-baselines3-zoo, hyperparams/*.yml at 22e3ff2, tuned on earlier versions
(-v2 to -v4) of the same environments; "SB3" are the defaults of stable-baselines3 2.9.2. A row holds what
differs from the rows above it: default, then family, then environment. A learning rate or clip range "lin_x"
of the zoo is x here with ``anneal_...`` True. The families "tabular" and "take_cover" have no published
settings: the first takes those of CartPole, the zoo's smallest task, the second those of Atari, its other
discrete task from images. Units: steps are decisions of the agent, over all environments together unless
said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from agents.protocol import Problem

Rows = Mapping[str, Mapping[str, Any]]
C = TypeVar("C")


def fill(config: C, rows: Rows, problem: Problem) -> C:
    """``config`` with the published setting of ``problem`` wherever it says None."""
    found = published(rows, problem, n_envs=getattr(config, "n_envs", None))
    return replace(config, **{f.name: found[f.name] for f in fields(config) if getattr(config, f.name) is None})  # type: ignore[arg-type, type-var]


def published(rows: Rows, problem: Problem, n_envs: int | None = None) -> dict[str, Any]:
    """The settings for one environment, changed where the published ones cannot be run as they are."""
    family = problem.family
    if family not in rows:  # a reader's own environment
        family = "atari" if is_image(problem.observation_space) else "vector"
    name = problem.env_id.rsplit("-v", 1)[0]
    found = {**rows["default"], **rows.get(family, {}), **rows.get(name, {})}
    if isinstance(problem.action_space, Discrete) and "use_sde" in found:
        found["use_sde"] = False  # defined for continuous actions only
    if isinstance(problem.observation_space, Discrete) and "normalize_obs" in found:
        found["normalize_obs"] = False  # a one-hot vector has no scale
    if "n_envs" in found:
        # Whole rollouts only are learned from, so one at least must fit into the budget.
        found["n_steps"] = max(min(found["n_steps"], problem.budget // (n_envs or found["n_envs"])), 1)
    if "learning_starts" in found:
        # Published for 1e6 steps or more. Never over a tenth of the budget, and on Atari at most a hundredth
        # of it (as 100k of the zoo's 1e7) but not under the 1,600 of Data-Efficient Rainbow (1906.05243).
        starts = min(found["learning_starts"], problem.budget // 10)
        if starts > 1_600 and is_image(problem.observation_space):
            starts = max(1_600, min(starts, problem.budget // 100))
        found["learning_starts"] = starts
    return found


def is_image(space: Any) -> bool:
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3


def require(problem: Problem, name: str, actions: tuple[str, ...], observations: tuple[str, ...]) -> None:
    """Refuse a problem that ``name`` has no network for.

    Raises:
        ValueError: with the space that was found and those that are supported.
    """
    for what, space, supported in (
        ("action", problem.action_space, actions),
        ("observation", problem.observation_space, observations),
    ):
        if isinstance(space, Discrete):
            kind = "discrete"
            if space.start != 0:
                raise ValueError(
                    f"{name}: expected {what}s counted from 0, found {space}; shift them in the environment"
                )
        elif isinstance(space, Box):
            kind = "continuous" if what == "action" else "image" if is_image(space) else "vector"
        else:
            kind = type(space).__name__
        if kind not in supported:
            raise ValueError(f"{name}: expected {what}s that are {' or '.join(supported)}, found {space}")
        if kind == "continuous" and isinstance(space, Box) and not space.is_bounded():
            raise ValueError(f"{name}: expected bounded actions, found {space}; rescale them in the environment")


def require_rollout(problem: Problem, n_envs: int, n_steps: int) -> None:
    """Refuse rollouts that the budget ends before the first is complete: nothing would ever be learned.

    Raises:
        ValueError: with the steps that one rollout takes.
    """
    if n_envs * n_steps > problem.budget:
        raise ValueError(
            f"expected n_envs * n_steps <= {problem.budget}, the budget, "
            f"found {n_envs} * {n_steps} = {n_envs * n_steps}; shorten the rollouts"
        )


def schedule(value: float, anneal: bool) -> Any:
    """``value``, or falling from it to 0 with the budget that is left."""
    return (lambda left: left * value) if anneal else value


def normalization(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of `VecNormalize`, or None where neither observation nor reward is normalised."""
    obs, reward = settings["normalize_obs"], settings["normalize_reward"]
    return {"norm_obs": obs, "norm_reward": reward, "gamma": settings["gamma"]} if obs or reward else None
