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
from baselines.published import Rows
from baselines.sb3 import Sb3Agent
from baselines.sb3_policy import actor_critic

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("discrete", "vector", "image")


@dataclass(frozen=True, kw_only=True)
class Config:
    """None stands for the published setting of the environment: `PUBLISHED`, below."""

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


# Published settings; `baselines.published` says how a row is found and where they come from.
_NORMALIZED = {"normalize_obs": True, "normalize_reward": True}
_TUNED_NET = {"hidden": (256, 256), "activation": "relu", "log_std_init": -2.0, "ortho_init": False}
_GSDE = {"use_sde": True, "log_std_init": -2.0, "ortho_init": False}

_PPO_CARTPOLE = {
    "n_envs": 8,
    "n_steps": 32,
    "batch_size": 256,
    "n_epochs": 20,
    "learning_rate": 1e-3,
    "anneal_learning_rate": True,
    "clip_range": 0.2,
    "anneal_clip_range": True,
    "gamma": 0.98,
    "gae_lambda": 0.8,
}
_PPO_ATARI = {
    "n_envs": 8,
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 4,
    "learning_rate": 2.5e-4,
    "anneal_learning_rate": True,
    "clip_range": 0.1,
    "anneal_clip_range": True,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
    "clip_reward": True,  # as AtariWrapper does
    "hidden": (),
}
PUBLISHED: Rows = {
    "default": {  # SB3
        "n_envs": 1,
        "n_steps": 2048,
        "batch_size": 64,
        "n_epochs": 10,
        "learning_rate": 3e-4,
        "anneal_learning_rate": False,
        "clip_range": 0.2,
        "anneal_clip_range": False,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "clip_reward": False,
        "normalize_obs": False,
        "normalize_reward": False,
        "use_sde": False,
        "sde_sample_freq": -1,
        "hidden": (64, 64),
        "activation": "tanh",
        "log_std_init": 0.0,
        "ortho_init": True,
    },
    "vector": _NORMALIZED,  # the zoo's MuJoCo defaults
    "tabular": _PPO_CARTPOLE,
    "atari": _PPO_ATARI,
    "take_cover": _PPO_ATARI,
    "carracing": {
        **_GSDE,
        "n_envs": 8,
        "n_steps": 512,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "anneal_learning_rate": True,
        "normalize_reward": True,
        "sde_sample_freq": 4,
        "hidden": (256,),
        "activation": "gelu",
    },
    "CartPole": {**_PPO_CARTPOLE, "normalize_obs": False, "normalize_reward": False},
    "Pendulum": {
        "n_envs": 4,
        "n_steps": 1024,
        "learning_rate": 1e-3,
        "gamma": 0.9,
        "use_sde": True,
        "sde_sample_freq": 4,
        "normalize_obs": False,
        "normalize_reward": False,
    },
    "Acrobot": {"n_envs": 16, "n_steps": 256, "n_epochs": 4, "gae_lambda": 0.94},
    "MountainCar": {"n_envs": 16, "n_steps": 16, "n_epochs": 4, "gae_lambda": 0.98},
    "HalfCheetah": {
        **_TUNED_NET,
        "n_steps": 512,
        "n_epochs": 20,
        "learning_rate": 2.0633e-5,
        "clip_range": 0.1,
        "gamma": 0.98,
        "gae_lambda": 0.92,
        "ent_coef": 4.01762e-4,
        "vf_coef": 0.58096,
        "max_grad_norm": 0.8,
    },
    "Hopper": {
        **_TUNED_NET,
        "n_steps": 512,
        "batch_size": 32,
        "n_epochs": 5,
        "learning_rate": 9.80828e-5,
        "gamma": 0.999,
        "gae_lambda": 0.99,
        "ent_coef": 2.29519e-3,
        "vf_coef": 0.835671,
        "max_grad_norm": 0.7,
    },
    "Walker2d": {
        **_TUNED_NET,
        "n_steps": 512,
        "batch_size": 32,
        "n_epochs": 20,
        "learning_rate": 5.05041e-5,
        "clip_range": 0.1,
        "ent_coef": 5.85045e-4,
        "vf_coef": 0.871923,
        "max_grad_norm": 1.0,
    },
    "Humanoid": {
        **_TUNED_NET,
        "n_steps": 512,
        "batch_size": 256,
        "n_epochs": 5,
        "learning_rate": 3.56987e-5,
        "clip_range": 0.3,
        "gamma": 0.95,
        "gae_lambda": 0.9,
        "ent_coef": 2.38306e-3,
        "vf_coef": 0.431892,
        "max_grad_norm": 2.0,
    },
    "Swimmer": {
        "n_envs": 4,
        "n_steps": 1024,
        "batch_size": 256,
        "learning_rate": 6e-4,
        "gamma": 0.9999,
        "gae_lambda": 0.98,
    },
    "InvertedPendulum": {
        "n_steps": 32,
        "n_epochs": 5,
        "learning_rate": 2.22425e-4,
        "clip_range": 0.4,
        "gamma": 0.999,
        "gae_lambda": 0.9,
        "ent_coef": 1.37976e-7,
        "vf_coef": 0.19816,
        "max_grad_norm": 0.3,
    },
    "InvertedDoublePendulum": {
        "n_steps": 128,
        "batch_size": 512,  # the zoo's; larger than a rollout of 128, so it is the whole rollout
        "learning_rate": 1.55454e-4,
        "clip_range": 0.4,
        "gamma": 0.98,
        "gae_lambda": 0.8,
        "ent_coef": 1.05057e-6,
        "vf_coef": 0.695929,
    },
    "Reacher": {
        "n_steps": 512,
        "batch_size": 32,
        "n_epochs": 5,
        "learning_rate": 1.04019e-4,
        "clip_range": 0.3,
        "gamma": 0.9,
        "gae_lambda": 1.0,
        "ent_coef": 7.52585e-8,
        "vf_coef": 0.950368,
        "max_grad_norm": 0.9,
    },
}


def make(problem: Problem, seed: int, **config: Any) -> Agent:
    published.require(problem, "PPO", ACTIONS, OBSERVATIONS)
    filled = published.fill(Config(**config), PUBLISHED, problem)
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
