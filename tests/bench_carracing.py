"""Measures CarRacing's drawing: steps and resets of gymnasium's environment and of ours, in turn, in one run.

Run it as ``python -m tests.bench_carracing``. All play the same seeded episodes in blocks of 50 steps, one after the
other, because a machine's speed drifts; each block and each reset gives one ratio, the median counts.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from suites.envs import carracing

EPISODES, BLOCKS, BLOCK = 4, 10, 50  # seeds; blocks in an episode; steps in a block


def contestants() -> dict[str, gym.Env[Any, Any]]:
    """gymnasium's environment comes first; its own frames are 96 x 96."""
    native = carracing.make(size=96, crop_hud=False)
    return {
        "gymnasium": gym.make("CarRacing-v3", disable_env_checker=True).unwrapped,
        "ours, same frames": native,
        "ours, 64x64 without indicators": carracing.make(),
    }


def drive(seed: int) -> list[NDArray[np.float32]]:
    """A random walk of steering, gas and brake."""
    rng = np.random.default_rng(seed)
    walk, actions = np.array([0.0, 0.5, 0.0]), []
    for _ in range(BLOCKS * BLOCK):
        walk = np.clip(walk + rng.normal(size=3) * [0.3, 0.3, 0.1], [-1, 0, 0], [1, 1, 0.3])
        actions.append(walk.astype(np.float32))
    return actions


def seconds_of_reset(env: gym.Env[Any, Any], seed: int) -> float:
    start = time.perf_counter()
    env.reset(seed=seed)
    return time.perf_counter() - start


def seconds_of_step(env: gym.Env[Any, Any], actions: list[NDArray[np.float32]]) -> float:
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    return (time.perf_counter() - start) / len(actions)


def main() -> None:
    envs = contestants()
    resets: dict[str, list[float]] = {name: [] for name in envs}
    steps: dict[str, list[float]] = {name: [] for name in envs}
    for seed in range(EPISODES):
        actions = drive(seed)
        for name, env in envs.items():
            resets[name].append(seconds_of_reset(env, seed))
        for block in range(BLOCKS):
            held = actions[block * BLOCK : (block + 1) * BLOCK]
            for name, env in envs.items():
                steps[name].append(seconds_of_step(env, held))
    for title, times in (("step", steps), ("reset", resets)):
        stock = times["gymnasium"]
        for name, ours in times.items():
            ratios = sorted(theirs / own for theirs, own in zip(stock, ours, strict=True))
            rate = 1 / median(ours)
            print(f"{title:5} {name:31} {rate:7.1f}/s  x{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
