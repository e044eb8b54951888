"""Environments with known answers, each isolating one ability that an agent must have.

Each probe isolates one ability, so that a failing agent says where to look: an agent that cannot value
a constant has a broken value update; one that can, but cannot tell two observations apart, has a broken
input; and so on upwards. ``discrete=True`` gives the observations of a table instead of a vector.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

DISCOUNT = 0.95  # the discount that the answers below are given for, where they need one


class Probe(gym.Env[Any, Any]):
    """What the probes of a few steps share: an observation that is a small whole number."""

    num_states = 2
    num_actions = 2

    def __init__(self, discrete: bool = False) -> None:
        self.discrete = discrete
        n = self.num_states
        self.observation_space = Discrete(n) if discrete else Box(0.0, float(max(n - 1, 1)), (1,), np.float32)
        self.action_space = Discrete(self.num_actions)

    def observe(self, state: int) -> Any:
        return state if self.discrete else np.array([state], np.float32)


class ConstantReward(Probe):
    """One step, one observation, reward 1: the value of everything is 1, whatever is done."""

    num_states = 1
    value = 1.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.observe(0), {}

    def step(self, action: Any) -> Any:
        return self.observe(0), 1.0, True, False, {}


class RewardByObservation(Probe):
    """One step, reward +1 or -1 as the observation, drawn at reset, is 1 or 0."""

    value = (-1.0, 1.0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(2))
        return self.observe(self.state), {}

    def step(self, action: Any) -> Any:
        return self.observe(self.state), self.value[self.state], True, False, {}


class DelayedReward(Probe):
    """Two steps through observations 0 and 1, reward 1 at the end: values ``DISCOUNT`` and 1."""

    value = (DISCOUNT, 1.0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state = 0
        return self.observe(0), {}

    def step(self, action: Any) -> Any:
        self.state += 1
        ended = self.state == 2
        return self.observe(min(self.state, 1)), float(ended), ended, False, {}


class ActionMatters(Probe):
    """One step: the action equal to the observation, 0 or 1, gives +1 and the other -1.

    ``continuous=True`` asks for a sign instead: the reward is the action (in [-1, 1]) for observation 1
    and its negative for 0, so the best action is +1 or -1.
    """

    def __init__(self, discrete: bool = False, continuous: bool = False) -> None:
        super().__init__(discrete)
        self.continuous = continuous
        if continuous:
            self.action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(2))
        return self.observe(self.state), {}

    def step(self, action: Any) -> Any:
        towards_one = float(action[0]) if self.continuous else 2.0 * int(action) - 1.0
        return self.observe(self.state), towards_one * (2 * self.state - 1), True, False, {}


class LinearSystem(gym.Env[Any, Any]):
    """s' = A s + B a, a damped rotation that is pushed along two axes; reward -|s'|^2.

    Everything is linear but the reward, so a network of state differences can be right to 1e-3, and a
    planner that is right pushes the state towards the origin. Ends by a time limit only.
    """

    A = np.array([[0.95, 0.10], [-0.10, 0.95]])
    B = np.array([[0.10, 0.00], [0.00, 0.20]])

    def __init__(self, time_limit: int = 50) -> None:
        self.time_limit = time_limit
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state, self.time = self.np_random.uniform(-1.0, 1.0, 2), 0
        return self.state.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.state = self.A @ self.state + self.B @ np.asarray(action, np.float64)
        self.time += 1
        reward = -float(self.state @ self.state)
        return self.state.astype(np.float32), reward, False, self.time >= self.time_limit, {}


class ImageMemory(gym.Env[Any, Any]):
    """An image to be remembered: the left or right half is lit at first, then all is dark.

    After ``delay`` dark images the action that names the half (0 left, 1 right) gives +1, the other -1;
    earlier actions do nothing. Without memory no policy has a mean return other than 0; the best has 1.
    """

    def __init__(self, size: int = 64, delay: int = 3) -> None:
        self.size, self.delay = size, delay
        self.observation_space = Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.side, self.time = int(self.np_random.integers(2)), 0
        image = self.dark()
        half = self.size // 2
        image[:, half * self.side : half * (self.side + 1)] = 255
        return image, {}

    def step(self, action: Any) -> Any:
        self.time += 1
        ended = self.time > self.delay
        reward = (1.0 if int(action) == self.side else -1.0) if ended else 0.0
        return self.dark(), reward, ended, False, {}

    def dark(self) -> np.ndarray:
        return np.zeros((self.size, self.size, 3), np.uint8)


class Sides(gym.Env[Any, Any]):
    """Pictures: one half is bright, left or right by chance at each step; the action of the same side is right.

    ``deadly``: the wrong action ends the episode, and each step pays 1. Else the right action pays 1, the wrong one 0.
    Either way the best return of an episode is ``steps``; a uniform policy's is about 2, or half of them.
    """

    def __init__(self, steps: int = 8, deadly: bool = False) -> None:
        self.limit, self.deadly = steps, deadly
        self.observation_space = Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        # A stream of its own: a random policy that is seeded like the episode would draw the very same sides.
        self.sides = np.random.default_rng(self.np_random.integers(2**62, size=4))
        self.elapsed = 0
        return self._look(), {}

    def step(self, action: Any) -> Any:
        right = int(action) == self.side
        self.elapsed += 1
        reward = 1.0 if self.deadly else float(right)
        terminated = self.deadly and not right
        return self._look(), reward, terminated, self.elapsed >= self.limit and not terminated, {}

    def _look(self) -> Any:
        self.side = int(self.sides.integers(2))
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[:, 32 * self.side : 32 * (self.side + 1)] = 220
        return frame
