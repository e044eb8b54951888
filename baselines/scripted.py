"""A fixed sequence of actions, whatever is seen: what is reached without looking, the floor under claims of skill."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("discrete", "vector", "image")


@dataclass(frozen=True, kw_only=True)
class Config:
    script: tuple[tuple[int | tuple[float, ...], int], ...]  # pairs of an action and its steps; again from the first


class Scripted:
    """Acts by its script until the budget is spent, from the script's beginning in each episode."""

    updates = 0

    def __init__(self, config: Config, actions: list[Any]) -> None:
        self.config, self._actions = config, actions
        self._acting = ScriptedPolicy(actions)

    def learn(self, door: Door, report: Report) -> None:
        env = door.open()
        obs, _ = env.reset()
        while True:
            report()
            obs, _, terminated, truncated, _ = env.step(self._acting.act(obs))
            if terminated or truncated:
                self._acting.reset(0)
                obs, _ = env.reset()

    def policy(self, mode: PolicyMode) -> ScriptedPolicy:
        return ScriptedPolicy(self._actions)

    def save(self, folder: Path) -> None:
        (folder / "step.json").write_text(json.dumps(self._acting.step))

    def load(self, folder: Path) -> None:
        self._acting.step = json.loads((folder / "step.json").read_text())


class ScriptedPolicy:
    def __init__(self, actions: list[Any]) -> None:
        self._actions, self.step = actions, 0  # of one round; steps since the episode began

    def reset(self, seed: int) -> None:
        self.step = 0

    def act(self, obs: Any) -> Any:
        action = self._actions[self.step % len(self._actions)]
        self.step += 1
        return action.copy() if isinstance(action, np.ndarray) else action


def make(problem: Problem, seed: int, **config: Any) -> Scripted:
    settings, actions = Config(**config), []
    for action, steps in settings.script:
        if steps < 1:
            raise ValueError(
                f"script: expected pairs of an action and 1 or more steps, found {steps} steps of {action}"
            )
        actions += [_action(problem.action_space, action)] * steps
    if not actions:
        raise ValueError("script: expected pairs of an action and its steps, found none")
    return Scripted(settings, actions)


def _action(space: gym.Space[Any], given: Any) -> Any:
    """In the environment's form."""
    action = np.asarray(given, space.dtype) if isinstance(space, Box) else given
    known = isinstance(space, Discrete) or (isinstance(space, Box) and np.shape(given) == space.shape)
    if not known or not space.contains(action):
        raise ValueError(f"script: expected actions of {space}, found {given}")
    return action
