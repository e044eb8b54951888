"""Steps per second of our Atari and Take Cover environments against the stock ones, in pairs.

`python -m tests.bench_envs [rounds]`. Both of a pair take turns in one process, whole episodes with their resets, and
the ratio of the medians is printed: on a busy machine the ratio says more than either speed.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import ale_py
import cv2
import gymnasium as gym
import numpy as np
import vizdoom.gymnasium_wrapper  # noqa: F401  # registers VizdoomTakeCover-v1
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TransformObservation

from suites.envs import atari, take_cover

SECONDS = 2.0  # per environment and round
Make = Callable[[], gym.Env[Any, Any]]


def speed(env: gym.Env[Any, Any], seed: int) -> float:
    """Steps per second under random actions, resets included."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(env.action_space.n, size=200_000).tolist()  # type: ignore[attr-defined]
    env.reset(seed=seed)
    began, steps = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < SECONDS:
        _, _, terminated, truncated, _ = env.step(actions[steps])
        steps += 1
        if terminated or truncated:
            env.reset(seed=seed + steps)
    return steps / spent


def stock_atari(game: str, obs: atari.View, sticky: float) -> gym.Env[Any, Any]:
    gym.register_envs(ale_py)
    rows, columns = atari.SIZES[obs]
    env = gym.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=sticky)
    env = AtariPreprocessing(env, screen_size=(columns, rows), grayscale_obs=obs == "grey84")
    return FrameStackObservation(env, 4) if obs == "grey84" else env


def stock_take_cover(resolution: str) -> gym.Env[Any, Any]:
    """The stock environment, cropped and shrunk to the same pixels."""
    env = gym.make("VizdoomTakeCover-v1", screen_resolution=resolution, max_episode_steps=2100)
    shown = int(resolution.split("X")[1]) * 5 // 6
    space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    return TransformObservation(env, lambda o: shrink(o["screen"][:shown]), space)


def shrink(screen: Any) -> Any:
    return cv2.resize(screen, (64, 64), interpolation=cv2.INTER_AREA)


PAIRS: dict[str, tuple[Make, Make]] = {
    "atari breakout grey84 x4": (
        lambda: atari.make(game="breakout"),
        lambda: stock_atari("Breakout", "grey84", 0.0),
    ),
    "atari pong grey84 x4": (lambda: atari.make(game="pong"), lambda: stock_atari("Pong", "grey84", 0.0)),
    "atari pong grey84 x4 sticky": (
        lambda: atari.make(game="pong", preset="ale-v5"),
        lambda: stock_atari("Pong", "grey84", 0.25),
    ),
    "atari pong rgb64": (
        lambda: atari.make(game="pong", obs="rgb64", stack=1),
        lambda: stock_atari("Pong", "rgb64", 0.0),
    ),
    "atari pong rgb105x80": (
        lambda: atari.make(game="pong", obs="rgb105x80", stack=1),
        lambda: stock_atari("Pong", "rgb105x80", 0.0),
    ),
    "take_cover against 320x240": (take_cover.make, lambda: stock_take_cover("RES_320X240")),
    "take_cover against 160x120": (take_cover.make, lambda: stock_take_cover("RES_160X120")),
}


def main(rounds: int) -> None:
    print(f"{'steps/s, medians of ' + str(rounds):32s} {'ours':>8s} {'stock':>8s} {'ratio':>6s}")
    for name, makes in PAIRS.items():
        envs = [make() for make in makes]
        found = [[speed(env, 100 * i) for env in envs] for i in range(rounds)]
        ours, stock = (statistics.median(speeds) for speeds in zip(*found, strict=True))
        print(f"{name:32s} {ours:8.0f} {stock:8.0f} {ours / stock:6.2f}", flush=True)
        for env in envs:
            env.close()


if __name__ == "__main__":
    # The stock engine leaves files where it is started.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
