"""How each environment is made: one module per family, met by name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, SupportsFloat

import gymnasium as gym

# Read when OpenCV is imported, which is later. A frame is too small to be shared out: a second thread makes nothing
# faster and takes nearly half a core from the trial beside this one.
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")


def module(env: str) -> ModuleType:
    """The module that makes ``env``: one of this package by its bare name, or a reader's by its dotted path."""
    return importlib.import_module(env if "." in env else f"suites.envs.{env}")


def build(env: str, options: Mapping[str, Any], action_repeat: int = 1) -> gym.Env[Any, Any]:
    """The environment that a task names, each action held for ``action_repeat`` of its own steps."""
    made: gym.Env[Any, Any] = module(env).make(**options)
    return made if action_repeat == 1 else ActionRepeat(made, action_repeat)


class ActionRepeat(gym.Wrapper[Any, Any, Any, Any]):
    """Holds each action for a number of steps, adds up the rewards, and stops where the episode stops.

    An environment that can hold an action itself (``hold(action, times)``) does: it need not draw what nobody sees.
    """

    def __init__(self, env: gym.Env[Any, Any], times: int) -> None:
        super().__init__(env)
        self.times = times
        self._hold = getattr(env, "hold", None)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        if self._hold is not None:
            held: tuple[Any, SupportsFloat, bool, bool, dict[str, Any]] = self._hold(action, self.times)
            return held
        total = 0.0
        for _ in range(self.times):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info
