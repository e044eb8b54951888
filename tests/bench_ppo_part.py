"""How fast our PPO learns from a rollout and acts, beside stable-baselines3's on equal data, in alternation in one run.

Run as ``python -m tests.bench_ppo_part``. Ours takes the whole `update`: GAE, the last value and all minibatches. Of
stable-baselines3 only ``train`` is timed, its minibatches. Times are this process's, on one thread: other work on the
machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO as Theirs
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.parts.ppo import PPO as Ours
from agents.parts.ppo import PPOConfig
from suites.runner.processor import settle

ROUNDS, TARGET = 5, 1.3
CASES = {  # observations, actions, steps, environments, config
    "SB3's defaults at Hopper's sizes": (11, 3, 2048, 1, {"epochs": 3}),
    "World Models' z and h, linear": (288, 3, 256, 8, {"epochs": 3, "hidden": ()}),
    "Take Cover's dream, batch 1,024": (576, 1, 64, 128, {"epochs": 3, "batch_size": 1024}),
    "HalfCheetah, 2 x 256": (17, 6, 512, 1, {"epochs": 3, "hidden": (256, 256), "value_hidden": (256, 256)}),
}


class Shape(gym.Env[Any, Any]):
    """Only spaces: nothing is ever played."""

    def __init__(self, obs: int, actions: int) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (obs,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (actions,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(self.observation_space.shape, np.float32), {}


def pair(obs: int, actions: int, steps: int, envs: int, given: dict[str, Any]) -> tuple[Ours, Any, dict[str, Any]]:
    """Both learners in one shape, and a rollout ``[T N ...]`` for both."""
    config = PPOConfig(rollout_steps=steps, **given)
    ours = Ours(obs, actions, config, torch.Generator().manual_seed(0))
    nets = {"pi": list(config.hidden), "vf": list(config.value_hidden)}
    theirs = Theirs(
        "MlpPolicy",
        DummyVecEnv([lambda: Shape(obs, actions)] * envs),
        n_steps=steps,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        policy_kwargs={"net_arch": nets},
        device="cpu",
        seed=0,
    )
    theirs.set_logger(configure(None, []))
    generator = torch.Generator().manual_seed(1)
    seen = torch.randn(steps, envs, obs, generator=generator)
    action, log_prob, value = (torch.stack(column) for column in zip(*map(ours.act, seen), strict=True))
    reward = torch.randn(steps, envs, generator=generator)
    data = {"obs": seen, "action": action, "log_prob": log_prob, "value": value, "reward": reward}
    return ours, theirs, data


def fill(ours: Ours, theirs: Any, data: dict[str, Any]) -> None:
    no_end = torch.zeros(data["reward"].shape[1], dtype=torch.bool)
    buffer = theirs.rollout_buffer
    buffer.reset()
    for obs, action, log_prob, value, reward in zip(*data.values(), strict=True):
        ours.store(obs, action, log_prob, value, reward, no_end, no_end)
        buffer.add(obs.numpy(), action.numpy(), reward.numpy(), no_end.numpy(), value, log_prob)
    buffer.compute_returns_and_advantage(data["value"][-1], no_end.numpy())


def seconds(call: Callable[[], Any], times: int = 1) -> float:
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times


def main() -> None:
    settle()
    for title, (obs, actions, steps, envs, given) in CASES.items():
        ours, theirs, data = pair(obs, actions, steps, envs, given)
        last, times = data["obs"][-1], []
        minibatches = ours.config.epochs * -(-steps * envs // ours.config.batch_size)
        for _ in range(ROUNDS + 1):  # the first one warms up
            fill(ours, theirs, data)
            learn = seconds(lambda: ours.update(last)), seconds(theirs.train)  # noqa: B023
            with torch.no_grad():
                acts = seconds(lambda: ours.act(last), 100), seconds(lambda: theirs.policy(last), 100)  # noqa: B023
            times.append((*learn, *acts))
        ours_update, theirs_update, ours_act, theirs_act = np.median(times[1:], 0)
        ratios = [row[1] / row[0] for row in times[1:]]
        print(
            f"{title:34} update {1e6 * ours_update / minibatches:6.0f} us a minibatch, SB3 "
            f"{1e6 * theirs_update / minibatches:6.0f}: {np.median(ratios):4.1f} times as fast "
            f"(from {min(ratios):.1f} to {max(ratios):.1f}; at least {TARGET}); "
            f"acting {1e6 * ours_act:5.0f} us, SB3 {1e6 * theirs_act:5.0f}: {theirs_act / ours_act:4.1f} times"
        )


if __name__ == "__main__":
    main()
