"""Real agents with a bug planted in them, for the gate to find; a trial names this module as it names any agent."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym

from agents.protocol import Agent, Door, PolicyMode, Problem, Report
from suites.spec import TrialSpec

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("discrete", "vector", "image")

Bug = Literal["none", "flipped-reward", "ignored-model"]


def planted(trial: TrialSpec, bug: Bug) -> TrialSpec:
    """The same trial by its agent with the bug: under the same name, with the same settings."""
    return trial.model_copy(update={"agent": __name__, "config": {**trial.config, "agent": trial.agent, "bug": bug}})


class Planted:
    """The agent ``inner``, which sees ``flipped`` rewards or not; its other bugs were planted in itself."""

    def __init__(self, inner: Agent, flipped: bool) -> None:
        self.inner, self.config, self.flipped = inner, inner.config, flipped

    @property
    def updates(self) -> int:
        return self.inner.updates

    def learn(self, door: Door, report: Report) -> None:
        self.inner.learn(FlippingDoor(door) if self.flipped else door, report)

    def policy(self, mode: PolicyMode) -> Any:
        return self.inner.policy(mode)

    def save(self, folder: Path) -> None:
        self.inner.save(folder)

    def load(self, folder: Path) -> None:
        self.inner.load(folder)


class FlippingDoor:
    """A door whose environment tells the agent that it lost what it gained; the record is written behind it."""

    def __init__(self, door: Door) -> None:
        self.door, self.budget = door, door.budget

    @property
    def steps(self) -> int:
        return self.door.steps

    def open(self, num_envs: int | None = None) -> Any:
        if num_envs is not None:
            raise ValueError(f"expected an agent that opens one environment, found one that opens {num_envs}")
        return gym.wrappers.TransformReward(self.door.open(), lambda reward: -float(reward))


def make(problem: Problem, seed: int, *, agent: str, bug: Bug, **config: Any) -> Planted:
    module: Any = importlib.import_module(agent)
    if bug == "ignored-model":
        ignore_model(module)
    return Planted(module.make(problem, seed, **config), flipped=bug == "flipped-reward")


def ignore_model(module: Any) -> None:
    """Learn the model still, and make nothing of it. Changes the module: a trial is a process of its own."""
    if hasattr(module, "DynaQ"):
        module.DynaQ.plan = lambda self: None
    elif hasattr(module, "ModelTraining"):
        # All candidates are worth the same: the first of the random ones is taken.
        part: Any = importlib.import_module("agents.parts.model_predictive")
        part.Controller.returns = lambda self, start, sequences: 0.0 * sequences[0, 0]
    else:
        raise ValueError(f"expected an agent with a model that can be ignored, found {module.__name__}")
