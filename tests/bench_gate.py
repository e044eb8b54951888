"""What the gate costs a step: a do-nothing environment with and without it, in alternation in one run."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

from suites.runner.gate import Gate

STEPS, ROUNDS, LENGTH = 100_000, 9, 500
TARGET = 3.0  # microseconds


class Nothing(gym.Env[Any, Any]):
    """Steps as fast as Python can: what is left of a step's time is the caller's."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (4,))
    action_space = gym.spaces.Box(-1.0, 1.0, (2,))

    def __init__(self) -> None:
        self.obs = np.zeros(4, np.float32)
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return self.obs, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.obs, 1.0, False, self.t >= LENGTH, {}


def seconds_per_step(env: gym.Env[Any, Any]) -> float:
    action = np.zeros(2, np.float32)
    env.reset()
    began = time.perf_counter()
    for _ in range(STEPS):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - began) / STEPS


def main() -> None:
    bare, gated = [], []
    for _ in range(ROUNDS):
        bare.append(seconds_per_step(Nothing()))
        gate = Gate(Nothing, task="bench", seed=0, budget=2 * STEPS, log=lambda row: None)
        gated.append(seconds_per_step(gate.open()))
    cost = [1e6 * (b - a) for a, b in zip(bare, gated, strict=True)]
    print(f"bare environment     {1e6 * np.median(bare):6.2f} us a step")
    print(
        f"through the gate     {1e6 * np.median(gated):6.2f} us a step, seeding of an episode every {LENGTH} included"
    )
    low, high = min(cost), max(cost)
    print(f"the gate costs       {np.median(cost):6.2f} us a step (from {low:.2f} to {high:.2f}; at most {TARGET:.0f})")


if __name__ == "__main__":
    main()
