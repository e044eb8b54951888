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
from baselines.published import Rows
from baselines.sb3 import Sb3Agent
from baselines.sb3_policy import Choose
from baselines.sb3_replay import FrameReplay

ACTIONS = ("continuous",)
OBSERVATIONS = ("discrete", "vector", "image")


@dataclass(frozen=True, kw_only=True)
class Config:
    """None stands for the published setting of the environment: `PUBLISHED`, below."""

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


# Published settings; `baselines.published` says how a row is found and where they come from.
PUBLISHED: Rows = {
    "default": {  # SB3
        "learning_rate": 3e-4,
        "buffer_size": 1_000_000,
        "learning_starts": 100,
        "batch_size": 256,
        "tau": 0.005,
        "gamma": 0.99,
        "train_freq": 1,
        "gradient_steps": 1,
        "hidden": (256, 256),
    },
    "vector": {"learning_starts": 10_000},  # the zoo's MuJoCo defaults
    # None published from images (the zoo's CarRacing acts on a pre-trained autoencoder): SB3's, with a
    # smaller buffer, because 1e6 transitions of 64x64x3 pixels are 25 GB.
    "carracing": {"learning_starts": 1_000, "buffer_size": 50_000},
    "Pendulum": {"learning_starts": 100, "learning_rate": 1e-3},
    "Swimmer": {"gamma": 0.9999},
}


def make(problem: Problem, seed: int, **config: Any) -> Agent:
    published.require(problem, "SAC", ACTIONS, OBSERVATIONS)
    filled = published.fill(Config(**config), PUBLISHED, problem)
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
