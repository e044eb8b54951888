"""An environment that counts, and fails, hangs, or takes its process down when its action says so."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import gymnasium as gym
import numpy as np

FAIL, HANG, SEGFAULT, EXIT, BAD_INFO = -1.0, -2.0, -3.0, -4.0, -5.0


class Unruly(gym.Env[Any, Any]):
    """Its observation is its process's number and how often it was stepped; an episode takes three steps."""

    observation_space = gym.spaces.Box(0, 2**31, (2,), np.int64)
    action_space = gym.spaces.Box(-5.0, 1.0, (1,), np.float32)

    def __init__(self, nap: float) -> None:
        self.nap = nap

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        time.sleep(self.nap)
        return self._obs(), {"seed": seed, "options": options}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == FAIL:
            raise KeyError("the bridge is out")
        if action == HANG:
            time.sleep(3600)
        if action == SEGFAULT:
            ctypes.string_at(0)
        if action == EXIT:
            os._exit(7)
        self.steps += 1
        info = {"bad": lambda: 0} if action == BAD_INFO else {"type": type(action).__name__}
        return self._obs(), float(action[0]), self.steps == 3, False, info

    def _obs(self) -> Any:
        return np.array([os.getpid(), self.steps])


def make(*, refuse: bool = False, nap: float = 0.0) -> Unruly:
    """``nap``: seconds that a reset takes."""
    if refuse:
        raise ImportError("no such simulator: pip install it")
    return Unruly(nap)
