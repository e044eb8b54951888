"""Published settings of the model-free baselines, by algorithm, then by environment family or environment.

Source, where no other is named: rl-baselines3-zoo, hyperparams/*.yml at 22e3ff2, tuned on earlier versions
(-v2 to -v4) of the same environments; "SB3" are the defaults of stable-baselines3 2.9.2. A row holds what
differs from the rows above it: default, then family, then environment. A learning rate or clip range "lin_x"
of the zoo is x here with ``anneal_...`` True. The families "tabular" and "take_cover" have no published
settings: the first takes those of CartPole, the zoo's smallest task, the second those of Atari, its other
discrete task from images. Units: steps are decisions of the agent, over all environments together unless
said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from agents.protocol import Problem

Rows = Mapping[str, Mapping[str, Any]]
C = TypeVar("C")

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
PPO: Rows = {
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

_A2C_ATARI = {"n_envs": 16, "ent_coef": 0.01, "vf_coef": 0.25, "tf_rmsprop": True, "clip_reward": True, "hidden": ()}
A2C: Rows = {
    "default": {  # SB3
        "n_envs": 1,
        "n_steps": 5,
        "learning_rate": 7e-4,
        "anneal_learning_rate": False,
        "gamma": 0.99,
        "gae_lambda": 1.0,
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "clip_reward": False,
        "tf_rmsprop": False,
        "normalize_obs": False,
        "normalize_reward": False,
        "use_sde": False,
        "hidden": (64, 64),
        "log_std_init": 0.0,
        "ortho_init": True,
    },
    "vector": _NORMALIZED,  # the zoo's MuJoCo defaults
    "tabular": {"n_envs": 8},
    "atari": _A2C_ATARI,
    "take_cover": _A2C_ATARI,
    "carracing": {**_A2C_ATARI, "clip_reward": False},  # none published; the zoo's only settings from images
    "CartPole": {"n_envs": 8, "normalize_obs": False, "normalize_reward": False},
    "Acrobot": {"n_envs": 16},
    "MountainCar": {"n_envs": 16},
    "Pendulum": {
        **_GSDE,
        "n_envs": 8,
        "n_steps": 8,
        "anneal_learning_rate": True,
        "gamma": 0.9,
        "gae_lambda": 0.9,
        "vf_coef": 0.4,
    },
    "Swimmer": {"gamma": 0.9999},
}

SAC: Rows = {
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
DQN: Rows = {
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


def fill(config: C, rows: Rows, problem: Problem) -> C:
    """``config`` with the published setting of ``problem`` wherever it says None."""
    found = published(rows, problem, n_envs=getattr(config, "n_envs", None))
    return replace(config, **{f.name: found[f.name] for f in fields(config) if getattr(config, f.name) is None})  # type: ignore[arg-type, type-var]


def published(rows: Rows, problem: Problem, n_envs: int | None = None) -> dict[str, Any]:
    """The settings for one environment, changed where the published ones cannot be run as they are."""
    family = problem.family
    if family not in rows:  # a reader's own environment
        family = "atari" if is_image(problem.observation_space) else "vector"
    name = problem.env_id.rsplit("-v", 1)[0]
    found = {**rows["default"], **rows.get(family, {}), **rows.get(name, {})}
    if isinstance(problem.action_space, Discrete) and "use_sde" in found:
        found["use_sde"] = False  # defined for continuous actions only
    if isinstance(problem.observation_space, Discrete) and "normalize_obs" in found:
        found["normalize_obs"] = False  # a one-hot vector has no scale
    if "n_envs" in found:
        # Whole rollouts only are learned from, so one at least must fit into the budget.
        found["n_steps"] = max(min(found["n_steps"], problem.budget // (n_envs or found["n_envs"])), 1)
    if "learning_starts" in found:
        # Published for 1e6 steps or more. Never over a tenth of the budget, and on Atari at most a hundredth
        # of it (as 100k of the zoo's 1e7) but not under the 1,600 of Data-Efficient Rainbow (1906.05243).
        starts = min(found["learning_starts"], problem.budget // 10)
        if starts > 1_600 and is_image(problem.observation_space):
            starts = max(1_600, min(starts, problem.budget // 100))
        found["learning_starts"] = starts
    return found


def is_image(space: Any) -> bool:
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3


def require(problem: Problem, name: str, actions: tuple[str, ...], observations: tuple[str, ...]) -> None:
    """Refuse a problem that ``name`` has no network for.

    Raises:
        ValueError: with the space that was found and those that are supported.
    """
    for what, space, supported in (
        ("action", problem.action_space, actions),
        ("observation", problem.observation_space, observations),
    ):
        if isinstance(space, Discrete):
            kind = "discrete"
            if space.start != 0:
                raise ValueError(
                    f"{name}: expected {what}s counted from 0, found {space}; shift them in the environment"
                )
        elif isinstance(space, Box):
            kind = "continuous" if what == "action" else "image" if is_image(space) else "vector"
        else:
            kind = type(space).__name__
        if kind not in supported:
            raise ValueError(f"{name}: expected {what}s that are {' or '.join(supported)}, found {space}")
        if kind == "continuous" and isinstance(space, Box) and not space.is_bounded():
            raise ValueError(f"{name}: expected bounded actions, found {space}; rescale them in the environment")


def require_rollout(problem: Problem, n_envs: int, n_steps: int) -> None:
    """Refuse rollouts that the budget ends before the first is complete: nothing would ever be learned.

    Raises:
        ValueError: with the steps that one rollout takes.
    """
    if n_envs * n_steps > problem.budget:
        raise ValueError(
            f"expected n_envs * n_steps <= {problem.budget}, the budget, "
            f"found {n_envs} * {n_steps} = {n_envs * n_steps}; shorten the rollouts"
        )


def schedule(value: float, anneal: bool) -> Any:
    """``value``, or falling from it to 0 with the budget that is left."""
    return (lambda left: left * value) if anneal else value


def normalization(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of `VecNormalize`, or None where neither observation nor reward is normalised."""
    obs, reward = settings["normalize_obs"], settings["normalize_reward"]
    return {"norm_obs": obs, "norm_reward": reward, "gamma": settings["gamma"]} if obs or reward else None
