"""What the runner asks of an agent and tells it: Problem, Door, Report, Policy, Agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, overload, runtime_checkable

import gymnasium as gym
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What an agent may know before its first step, and nothing else.

    ``known`` holds the functions of the environment that the suite grants to this entrant, by name
    (``"reward"``, ``"termination"``, ``"cost"``). Each takes torch tensors ``obs [B D]``, ``action [B A]`` and
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
    workspace: Path | None = None  # a folder of this trial's own that outlives kills, for what is too large to `save`


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
    def open(self, num_envs: int, *, autoreset: bool = True) -> gym.vector.VectorEnv[Any, Any, Any]: ...

    def open(self, num_envs: int | None = None, *, autoreset: bool = True) -> Any:
        """One environment, or ``num_envs`` of them stepped together.

        A vector resets an environment in the step that ends its episode (gymnasium's SAME_STEP): the
        observation returned is the new episode's first, the old one's last is ``infos["final_obs"][i]``.

        With ``autoreset=False`` (gymnasium's DISABLED) an environment whose episode has ended waits, and so does one
        that was not reset yet: `step` leaves it alone, charges nothing, and repeats its last observation with reward 0
        and no end. ``reset(options={"reset_mask": mask})`` begins episodes where ``mask [num_envs]`` is true.

        ``reset(options={"episode_seed": k})``, for a vector an array ``[num_envs]``, begins the k-th of this trial's
        common episodes: the same one in whatever environment it is played, as often as it is asked for.

        In a resumed trial the first ``reset()`` of what was open continues the running episode, whatever its options:
        it returns the observation at which the checkpoint was taken. So ``learn`` begins the same way in a fresh and
        in a resumed trial: ``obs, _ = env.reset()``.
        """

    def recall(self, phase: str, key: Mapping[str, Any]) -> Path | None:
        """The folder that an earlier trial left for a phase that this one would only repeat, or None.

        ``key``: all settings (JSON values) that this and the earlier phases depend on; task, seed, agent and code are
        added by the runner. Where one is found, the door goes on as if the phase had been lived through here: its
        steps are charged, its episodes are in the record, and the record says that they were taken over. To be asked
        when nothing is open, at the phase's beginning.
        """

    def remember(self, phase: str, key: Mapping[str, Any], write: Callable[[Path], None]) -> None:
        """Leave what ``write`` puts into an empty folder for other trials to `recall`; when nothing is open."""


class Phase(NamedTuple):
    """How far a phased agent is, for progress bars: ``done`` of ``total`` of the phase called ``name``."""

    name: str
    done: float
    total: float


@runtime_checkable
class Report(Protocol):
    """A point at which the agent may be evaluated, saved, or stopped. O(1); may come every step.

    Everything that ``learn`` needs to go on must be in the agent (``save`` writes it) or in the last
    observation of what it opened (``reset`` gives it back).
    """

    def __call__(
        self, metrics: Mapping[str, float] | None = None, *, phase: Phase | None = None, unchanged: bool = False
    ) -> None:
        """``metrics``: numbers by name; one called ``loss/...`` that is not finite ends the trial.
        ``unchanged``: the policy is as it was at the last evaluation, so another one would tell nothing new."""


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


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Real sequences that no agent was trained on, batch first, as the environment gave them."""

    obs: np.ndarray  # [B, T + 1, *obs_shape]
    action: np.ndarray  # [B, T, *action_shape], in the environment's form
    reward: np.ndarray  # [B, T]
    terminated: np.ndarray  # [B, T]
    valid: np.ndarray  # [B, T]: whether the episode got so far; beyond it the rows mean nothing
    context: int  # the first steps, which a model with memory may observe before it predicts the other H = T - context


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of the steps after the context, from the actions alone; None where it has no such part."""

    obs: np.ndarray  # [B, H, *obs_shape], in the units of the observation
    obs_std: np.ndarray | None = None  # [B, H, *obs_shape], the standard deviation that it expects of its error
    reward: np.ndarray | None = None  # [B, H]
    termination: np.ndarray | None = None  # [B, H], the probability of a true end
    reconstruction: np.ndarray | None = None  # [B, *obs_shape], of the last observation that it saw


@runtime_checkable
class WorldModel(Protocol):
    """A learned model, measured by the runner beside every evaluation. Changes nothing in the agent."""

    def predict(self, sequences: Sequences, seed: int) -> Prediction:
        """Open-loop prediction of held-out sequences."""

    def imagined_returns(self, first_obs: np.ndarray, steps: int, seed: int) -> tuple[list[float], list[int]] | None:
        """Returns and lengths of the agent's ``policy("mode")``, played in the model from ``first_obs [B, ...]``.

        The mode also where the agent learns from samples: evaluations are by the mode, and a gap between the two is to
        be the model's, not the noise's. For at most ``steps`` steps. None: the model has no reward or no notion of
        acting.
        """


@runtime_checkable
class Pictures(Protocol):
    """A world model of images that can show what it sees; frames are uint8 ``[T, height, width, 3]``."""

    def reconstruct(self, obs: np.ndarray) -> np.ndarray:
        """What is left of ``obs [T, ...]`` after the model's bottleneck."""

    def dream(self, first_obs: np.ndarray, steps: int, temperature: float, seed: int) -> np.ndarray:
        """Frames of a dream that begins at one observation, with the agent's own policy acting."""


@runtime_checkable
class Pathwise(Protocol):
    """A world model through which the agent's policy can be differentiated along its path."""

    def gradients(self, obs: np.ndarray, horizons: Sequence[int], seed: int) -> list[float]:
        """For each of ``horizons`` how much the state so many steps after ``obs [B, ...]`` depends on it.

        The norm of that gradient with states in their standard deviations, along a random direction; 1 at horizon 0.
        """


@runtime_checkable
class HasWorldModel(Protocol):
    """An agent whose learned model can be measured against real sequences."""

    def world_model(self) -> WorldModel | None:
        """The model as it is now; None while nothing was fitted."""
