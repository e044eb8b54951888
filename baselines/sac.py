"""SAC with learned temperature (Haarnoja et al. 2018, 1812.05905) by stable-baselines3, with published settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from agents.protocol import Agent, Problem
from baselines import published
from baselines.sb3 import Sb3Agent
from baselines.sb3_policy import Choose
from baselines.sb3_replay import FrameReplay

ACTIONS = ("continuous",)
OBSERVATIONS = ("discrete", "vector", "image")


@dataclass(frozen=True, kw_only=True)
class Config:
    """None stands for the published setting of the environment: `baselines.published`, SAC."""

    learning_rate: float | None = None  # Adam; of actor, critics and temperature
    buffer_size: int | None = None  # transitions kept
    learning_starts: int | None = None  # steps of uniformly random actions before the first update
    batch_size: int | None = None  # transitions of a gradient step
    tau: float | None = None  # weight of the new critic in its target, per gradient step
    gamma: float | None = None  # discount per step
    train_freq: int | None = None  # steps between updates
    gradient_steps: int | None = None  # gradient steps of an update; -1 is as many as steps since the last
    hidden: tuple[int, ...] | None = None  # units per layer, after the convolutions where there are pixels


def choose(model: BaseAlgorithm, generator: torch.Generator | None) -> Choose:
    actor: Any = model.policy.actor

    def act(obs: Tensor) -> Tensor:
        mean, log_std, _ = actor.get_action_dist_params(obs)
        if generator is not None:
            mean = mean + log_std.exp() * torch.randn(mean.shape, generator=generator, device=mean.device)
        return torch.tanh(mean)

    return act


def make(problem: Problem, seed: int, **config: Any) -> Agent:
    published.require(problem, "SAC", ACTIONS, OBSERVATIONS)
    filled = published.fill(Config(**config), published.SAC, problem)
    c = asdict(filled)
    pixels = published.is_image(problem.observation_space)

    def build(env: Any) -> SAC:
        return SAC(
            "CnnPolicy" if pixels else "MlpPolicy",
            env,
            learning_rate=c["learning_rate"],
            buffer_size=min(c["buffer_size"], problem.budget),  # no more than the budget is ever stored
            learning_starts=c["learning_starts"],
            batch_size=c["batch_size"],
            tau=c["tau"],
            gamma=c["gamma"],
            train_freq=c["train_freq"],
            gradient_steps=c["gradient_steps"],
            replay_buffer_class=FrameReplay if pixels else None,
            policy_kwargs={"net_arch": list(c["hidden"])},
            device=problem.device,
        )

    return Sb3Agent(problem, filled, seed, build, choose)
