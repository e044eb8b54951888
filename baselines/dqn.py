"""DQN (Mnih et al. 2015, Nature 518) by stable-baselines3, with published settings.

The mode of its behaviour is the greedy action; a sample of it is epsilon-greedy at the epsilon it has reached.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from agents.protocol import Agent, Problem
from baselines import published
from baselines.published import Rows
from baselines.sb3 import Sb3Agent
from baselines.sb3_policy import Choose
from baselines.sb3_replay import FrameReplay

ACTIONS = ("discrete",)
OBSERVATIONS = ("discrete", "vector", "image")


@dataclass(frozen=True, kw_only=True)
class Config:
    """None stands for the published setting of the environment: `PUBLISHED`, below."""

    learning_rate: float | None = None  # Adam
    buffer_size: int | None = None  # transitions kept
    learning_starts: int | None = None  # steps before the first update
    batch_size: int | None = None  # transitions of a gradient step
    gamma: float | None = None  # discount per step
    train_freq: int | None = None  # steps between updates
    gradient_steps: int | None = None  # gradient steps of an update; -1 is as many as steps since the last
    target_update_interval: int | None = None  # steps between copies of the network into its target
    exploration_fraction: float | None = None  # of the budget, over which epsilon falls linearly from 1
    exploration_final_eps: float | None = None  # epsilon from then on
    max_grad_norm: float | None = None
    clip_reward: bool | None = None  # the learner sees only its sign
    hidden: tuple[int, ...] | None = None  # units per layer, after the convolutions where there are pixels


def choose(model: BaseAlgorithm, generator: torch.Generator | None) -> Choose:
    network: Any = model.policy.q_net
    epsilon = 0.0 if generator is None else model.exploration_rate  # type: ignore[attr-defined]
    num_actions = int(model.action_space.n)  # type: ignore[attr-defined]

    def act(obs: Tensor) -> Tensor:
        if generator is not None:
            draw = torch.rand((), generator=generator, device=obs.device)
            if draw < epsilon:
                return torch.randint(num_actions, (1,), generator=generator, device=obs.device)
        return network(obs).argmax(dim=1)  # type: ignore[no-any-return]

    return act


# Published settings; `baselines.published` says how a row is found and where they come from.
_DQN_CARTPOLE = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "hidden": (256, 256),
}
_DQN_ATARI = {
    "buffer_size": 100_000,
    "learning_starts": 100_000,
    "target_update_interval": 1_000,
    "exploration_final_eps": 0.01,
    "clip_reward": True,
    "hidden": (),
}
PUBLISHED: Rows = {
    "default": {  # SB3
        "learning_rate": 1e-4,
        "buffer_size": 1_000_000,
        "learning_starts": 100,
        "batch_size": 32,
        "gamma": 0.99,
        "train_freq": 4,
        "gradient_steps": 1,
        "target_update_interval": 10_000,
        "exploration_fraction": 0.1,
        "exploration_final_eps": 0.05,
        "max_grad_norm": 10.0,
        "clip_reward": False,
        "hidden": (64, 64),
    },
    "vector": {},
    "tabular": _DQN_CARTPOLE,
    "atari": _DQN_ATARI,
    "take_cover": _DQN_ATARI,
    "carracing": {**_DQN_ATARI, "clip_reward": False},  # with discrete actions
    "CartPole": _DQN_CARTPOLE,
    "MountainCar": {
        "learning_rate": 4e-3,
        "batch_size": 128,
        "buffer_size": 10_000,
        "learning_starts": 1_000,
        "gamma": 0.98,
        "target_update_interval": 600,
        "train_freq": 16,
        "gradient_steps": 8,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.07,
        "hidden": (256, 256),
    },
    "Acrobot": {
        "learning_rate": 6.3e-4,
        "batch_size": 128,
        "buffer_size": 50_000,
        "learning_starts": 0,
        "target_update_interval": 250,
        "gradient_steps": -1,  # as many as steps since the last update
        "exploration_fraction": 0.12,
        "exploration_final_eps": 0.1,
        "hidden": (256, 256),
    },
}


def make(problem: Problem, seed: int, **config: Any) -> Agent:
    published.require(problem, "DQN", ACTIONS, OBSERVATIONS)
    filled = published.fill(Config(**config), PUBLISHED, problem)
    c = asdict(filled)
    pixels = published.is_image(problem.observation_space)

    def build(env: Any) -> DQN:
        return DQN(
            "CnnPolicy" if pixels else "MlpPolicy",
            env,
            learning_rate=c["learning_rate"],
            buffer_size=min(c["buffer_size"], problem.budget),  # no more than the budget is ever stored
            learning_starts=c["learning_starts"],
            batch_size=c["batch_size"],
            gamma=c["gamma"],
            train_freq=c["train_freq"],
            gradient_steps=c["gradient_steps"],
            replay_buffer_class=FrameReplay if pixels else None,
            target_update_interval=c["target_update_interval"],
            exploration_fraction=c["exploration_fraction"],
            exploration_final_eps=c["exploration_final_eps"],
            max_grad_norm=c["max_grad_norm"],
            policy_kwargs={"net_arch": list(c["hidden"])},
            device=problem.device,
        )

    return Sb3Agent(problem, filled, seed, build, choose, clip_reward=c["clip_reward"])
