"""PPO (Schulman et al. 2017, 1707.06347) by stable-baselines3, with the settings published for each environment.

Deviations from stable-baselines3: the budget ends the run inside a rollout, which is then not learned from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from stable_baselines3 import PPO

from agents.protocol import Agent, Problem
from baselines import published
from baselines.sb3 import Sb3Agent
from baselines.sb3_policy import actor_critic

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("discrete", "vector", "image")


@dataclass(frozen=True, kw_only=True)
class Config:
    """None stands for the published setting of the environment: `baselines.published`, PPO."""

    n_envs: int | None = None  # environments stepped together
    n_steps: int | None = None  # steps of each environment in a rollout
    batch_size: int | None = None  # transitions of a gradient step
    n_epochs: int | None = None  # passes over each rollout
    learning_rate: float | None = None  # Adam
    anneal_learning_rate: bool | None = None  # linearly, to 0 at the end of the budget
    clip_range: float | None = None  # of the probability ratio
    anneal_clip_range: bool | None = None  # linearly, to 0 at the end of the budget
    gamma: float | None = None  # discount per step
    gae_lambda: float | None = None  # trace weight of the advantage
    ent_coef: float | None = None  # weight of the entropy
    vf_coef: float | None = None  # weight of the value loss
    max_grad_norm: float | None = None
    clip_reward: bool | None = None  # the learner sees only its sign
    normalize_obs: bool | None = None  # by running mean and deviation
    normalize_reward: bool | None = None  # by the running deviation of the discounted return
    use_sde: bool | None = None  # state-dependent exploration (2005.05719)
    sde_sample_freq: int | None = None  # steps between noise matrices; -1 is once per rollout
    hidden: tuple[int, ...] | None = None  # units per layer, after the convolutions where there are pixels
    activation: Literal["tanh", "relu", "gelu"] | None = None
    log_std_init: float | None = None  # logarithm of the first deviation of continuous actions
    ortho_init: bool | None = None  # orthogonal first weights


ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "gelu": torch.nn.GELU}


def make(problem: Problem, seed: int, **config: Any) -> Agent:
    published.require(problem, "PPO", ACTIONS, OBSERVATIONS)
    filled = published.fill(Config(**config), published.PPO, problem)
    c = asdict(filled)
    published.require_rollout(problem, c["n_envs"], c["n_steps"])

    def build(env: Any) -> PPO:
        return PPO(
            "CnnPolicy" if published.is_image(problem.observation_space) else "MlpPolicy",
            env,
            learning_rate=published.schedule(c["learning_rate"], c["anneal_learning_rate"]),
            n_steps=c["n_steps"],
            batch_size=c["batch_size"],
            n_epochs=c["n_epochs"],
            gamma=c["gamma"],
            gae_lambda=c["gae_lambda"],
            clip_range=published.schedule(c["clip_range"], c["anneal_clip_range"]),
            ent_coef=c["ent_coef"],
            vf_coef=c["vf_coef"],
            max_grad_norm=c["max_grad_norm"],
            use_sde=c["use_sde"],
            sde_sample_freq=c["sde_sample_freq"],
            policy_kwargs={
                "net_arch": list(c["hidden"]),
                "activation_fn": ACTIVATIONS[c["activation"]],
                "log_std_init": c["log_std_init"],
                "ortho_init": c["ortho_init"],
            },
            device=problem.device,
        )

    return Sb3Agent(
        problem,
        filled,
        seed,
        build,
        actor_critic,
        num_envs=c["n_envs"],
        normalize=published.normalization(c),
        clip_reward=c["clip_reward"],
    )
