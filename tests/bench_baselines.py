"""Measures what the adapter costs: PPO and SAC behind the gate against plain stable-baselines3, in turn.

Run it as ``python -m tests.bench_baselines``. Both sides train with the same settings on Hopper-v5. The order
changes from round to round, because a machine's speed drifts; each round gives one ratio of processor times,
the median counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from agents.protocol import Problem
from baselines import ppo, sac
from suites.runner.processor import settle
from tests.in_process import train

ENV = "Hopper-v5"
ROUNDS = 7
PPO_STEPS, SAC_STEPS = 4_096, 400
PPO_SETTINGS: dict[str, Any] = {"n_steps": 512, "batch_size": 64, "n_epochs": 1}  # few epochs: the env side counts
SAC_SETTINGS: dict[str, Any] = {"learning_starts": 100}


def make_env() -> gym.Env[Any, Any]:
    return gym.make(ENV)


def ours(module: Any, steps: int, config: dict[str, Any]) -> float:
    env = make_env()
    problem = Problem(
        observation_space=env.observation_space,
        action_space=env.action_space,
        budget=steps,
        family="vector",
        env_id="unlisted-v0",  # no row of its own: stable-baselines3's defaults
    )
    agent = module.make(problem, 0, **config)
    return timed(lambda: train(agent, make_env, steps))


def plain_ppo(num_envs: int) -> float:
    env = VecNormalize(make_vec_env(ENV, num_envs))
    settings = {**PPO_SETTINGS, "n_steps": PPO_SETTINGS["n_steps"] // num_envs}
    model = PPO("MlpPolicy", env, seed=0, device="cpu", **settings)
    return timed(lambda: model.learn(PPO_STEPS))


def plain_sac() -> float:
    model = SAC("MlpPolicy", make_vec_env(ENV, 1), seed=0, device="cpu", **SAC_SETTINGS)
    return timed(lambda: model.learn(SAC_STEPS))


def timed(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(name: str, ours: Callable[[], float], plain: Callable[[], float], steps: int) -> None:
    pairs = []
    for turn in range(ROUNDS):
        if turn % 2:
            seconds = ours()
            pairs.append((seconds, plain()))
        else:
            seconds = plain()
            pairs.append((ours(), seconds))
    ratios = sorted(theirs / own for own, theirs in pairs)
    own, theirs = (steps / median(side) for side in zip(*pairs, strict=True))
    print(
        f"{name}: {own:.0f} steps per processor second, plain {theirs:.0f}, "
        f"ratio {median(ratios):.3f} (rounds {ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def main() -> None:
    settle()
    for num_envs in (1, 8):
        config = {**PPO_SETTINGS, "n_envs": num_envs, "n_steps": PPO_SETTINGS["n_steps"] // num_envs}
        compare(
            f"PPO, {num_envs} environments",
            lambda config=config: ours(ppo, PPO_STEPS, config),
            lambda num_envs=num_envs: plain_ppo(num_envs),
            PPO_STEPS,
        )
    compare("SAC", lambda: ours(sac, SAC_STEPS, SAC_SETTINGS), plain_sac, SAC_STEPS)


if __name__ == "__main__":
    main()
