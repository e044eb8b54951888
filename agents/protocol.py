"""What the runner asks of an agent and tells it: Problem, Door, Report, Policy, Agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, overload, runtime_checkable

import gymnasium as gym


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What an agent may know before its first step, and nothing else.

    ``known`` holds the functions of the environment that the suite grants to this entrant, by name
    (``"reward"``, ``"termination"``). Each takes torch tensors ``obs [B D]``, ``action [B A]`` and
    ``next_obs [B D]`` and returns ``[B]``: the reward as float, the termination as bool. Whatever is
    granted is printed beside the score.
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    budget: int  # steps, an agent's decisions
    family: str  # "tabular" | "vector" | "atari" | "carracing" | "take_cover": picks published settings
    env_id: str  # the environment as its module's card names it, e.g. "Hopper-v5"
    device: str = "cpu"
    known: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


class BudgetSpent(Exception):
    """Raised by a gated environment that is asked for one step more than the budget allows.

    The runner catches it. An agent neither catches nor mentions it.
    """


@runtime_checkable
class Door(Protocol):
    """The one way to real experience. Everything opened through it draws on one budget."""

    @property
    def steps(self) -> int:
        """Steps taken so far, over all environments opened here."""

    @property
    def budget(self) -> int:
        """Steps allowed in all."""

    @overload
    def open(self) -> gym.Env[Any, Any]: ...

    @overload
    def open(self, num_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]: ...

    def open(self, num_envs: int | None = None) -> Any:
        """One environment, or ``num_envs`` of them stepped together.

        A vector resets an environment in the step that ends its episode (gymnasium's SAME_STEP): the
        observation returned is the new episode's first, the old one's last is ``infos["final_obs"][i]``.

        In a resumed trial the first ``reset()`` of what was open continues the running episode: it
        returns the observation at which the checkpoint was taken. So ``learn`` begins the same way
        in a fresh and in a resumed trial: ``obs, _ = env.reset()``.
        """


@runtime_checkable
class Report(Protocol):
    """A point at which the agent may be evaluated, saved, or stopped. O(1); may come every step.

    Everything that ``learn`` needs to go on must be in the agent (``save`` writes it) or in the last
    observation of what it opened (``reset`` gives it back).
    """

    def __call__(self, metrics: Mapping[str, float] | None = None) -> None: ...


@runtime_checkable
class Policy(Protocol):
    """Frozen behaviour for evaluation; holds its own recurrent state and its own random stream."""

    def reset(self, seed: int) -> None:
        """Begin an episode. All that the policy draws in it follows from ``seed``."""

    def act(self, obs: Any) -> Any:
        """The action for one observation (no batch axis), in the form that the action space has."""


PolicyMode = Literal["mode", "sample"]


@runtime_checkable
class Agent(Protocol):
    """A method under test. It owns its loop; the door owns the budget."""

    config: Any  # a frozen keyword-only dataclass; goes into the record's header

    @property
    def updates(self) -> int:
        """Gradient (or table) updates so far, for the record's last row."""

    def learn(self, door: Door, report: Report) -> None:
        """Learn until done or until the budget is spent."""

    def policy(self, mode: PolicyMode) -> Policy:
        """Behaviour as it is now: the ``mode`` of the action distribution, or a ``sample`` of it.

        A method with one behaviour only (a planner, a greedy table) returns it for both.
        """

    def save(self, folder: Path) -> None:
        """Write into the empty ``folder`` all that ``load`` needs to go on from the last report.

        Draws no random number and changes nothing in the agent.
        """

    def load(self, folder: Path) -> None:
        """Become the agent that wrote ``folder``; called before ``learn``, in a new process."""


@runtime_checkable
class HasWorldModel(Protocol):
    """An agent whose learned model can be measured against real sequences."""

    def world_model(self) -> Any: ...
