"""Measures CarRacing's drawing: steps and resets of gymnasium's environment and of ours, in turn, in one run.

Run it as ``python -m tests.bench_carracing``. All play the same seeded episodes in blocks of 50 frames, one after the
other, because a machine's speed drifts; each block and each reset gives one ratio, the median counts. First a random
walk in the exact environment's options; then, with `carracing_fast`, episodes that follow the road, at action repeat
1 and 2, where gymnasium's environment draws every frame.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from suites.envs import carracing, carracing_fast

EPISODES, BLOCKS, BLOCK = 4, 10, 50  # seeds; blocks in an episode; frames in a block
Act = Callable[[], NDArray[np.float32]]


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


def chauffeur(game: Any) -> Act:
    """Follows the road in the middle, slower where it bends: a lap in about 1,100 frames."""

    def act() -> NDArray[np.float32]:
        track, hull = np.array(game.track)[:, 2:], game.car.hull
        nearest = int(np.square(track - tuple(hull.position)).sum(axis=1).argmin())
        ahead = hull.GetLocalPoint(track[(nearest + 7) % len(track)].tolist())
        steer = min(max(1.5 * math.atan2(ahead[0], ahead[1]), -1.0), 1.0)
        speed, wanted = math.hypot(*hull.linearVelocity), 45 * (1 - min(abs(steer), 0.6))
        return np.array([steer, 0.6 * (speed < wanted), 0.3 * (speed > wanted + 10)], np.float32)

    return act


def drive_along(seed: int) -> list[NDArray[np.float32]]:
    """The chauffeur's actions on a track, each held for two frames."""
    env: Any = carracing_fast.make()
    env.reset(seed=seed)
    act, actions = chauffeur(env.unwrapped), []
    for _ in range(BLOCKS * BLOCK // 2):
        actions.append(act())
        env.hold(actions[-1], 2)
    return [action for action in actions for _ in range(2)]


def seconds_of_hold(env: Any, actions: list[NDArray[np.float32]]) -> float:
    """The same with every second action held for two frames, undrawn in between where the environment can."""
    if not hasattr(env, "hold"):
        return seconds_of_step(env, actions)
    start = time.perf_counter()
    for action in actions[::2]:
        env.hold(action, 2)
    return (time.perf_counter() - start) / len(actions)


def line(title: str, name: str, stock: list[float], ours: list[float]) -> str:
    ratios = sorted(theirs / own for theirs, own in zip(stock, ours, strict=True))
    return (
        f"{title:38} {name:31} {1 / median(ours):7.1f}/s  x{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def random_walks() -> None:
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
        for name, ours in times.items():
            print(line(title, name, times["gymnasium"], ours))


def along_the_road() -> None:
    """Frames per second with `carracing_fast`; whole episodes are given at the length of a time limit of 1000."""
    names = {"gymnasium": "gymnasium", "exact": "exact, 64x64", "fast": "fast, 64x64"}
    envs: dict[str, Any] = {
        "gymnasium": gym.make("CarRacing-v3", disable_env_checker=True).unwrapped,
        "exact": carracing.make(),
        "fast": carracing_fast.make(),
    }
    for repeat, measure in ((1, seconds_of_step), (2, seconds_of_hold)):
        zooming: dict[str, list[float]] = {name: [] for name in envs}
        driving: dict[str, list[float]] = {name: [] for name in envs}
        whole: dict[str, list[float]] = {name: [] for name in envs}
        resets: dict[str, list[float]] = {name: [] for name in envs}
        for seed in range(EPISODES - 1):
            actions = drive_along(seed)
            for name, env in envs.items():
                resets[name].append(seconds_of_reset(env, seed))
            for block in range(BLOCKS):
                held = actions[block * BLOCK : (block + 1) * BLOCK]
                for name, env in envs.items():
                    (driving if block else zooming)[name].append(measure(env, held))
            for name in envs:
                after = median(driving[name][1 - BLOCKS :])
                whole[name].append((resets[name][-1] + BLOCK * zooming[name][-1] + (1000 - BLOCK) * after) / 1000)
        kinds = {"frames after the zoom-in": driving, "frames of the zoom-in": zooming, "frames, reset included": whole}
        for title, times in kinds.items():
            for name, ours in times.items():
                print(line(f"{title}, repeat {repeat}", names[name], times["gymnasium"], ours))
        if repeat == 1:
            for name, ours in resets.items():
                print(line("resets", names[name], resets["gymnasium"], ours))


def main() -> None:
    random_walks()
    along_the_road()


if __name__ == "__main__":
    main()
