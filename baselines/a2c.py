"""A2C (the synchronous form of A3C, Mnih et al. 2016, 1602.01783) by stable-baselines3, with published settings.

Deviations from stable-baselines3: the budget ends the run inside a rollout, which is then not learned from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stable_baselines3 import A2C
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

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
    n_steps: int | None = None  # steps of each environment in a rollout, which is one gradient step
    learning_rate: float | None = None  # RMSprop
    anneal_learning_rate: bool | None = None  # linearly, to 0 at the end of the budget
    gamma: float | None = None  # discount per step
    gae_lambda: float | None = None  # trace weight of the advantage
    ent_coef: float | None = None  # weight of the entropy
    vf_coef: float | None = None  # weight of the value loss
    max_grad_norm: float | None = None
    clip_reward: bool | None = None  # the learner sees only its sign
    tf_rmsprop: bool | None = None  # RMSprop as TensorFlow computes it: epsilon inside the root, first square 1
    normalize_obs: bool | None = None  # by running mean and deviation
    normalize_reward: bool | None = None  # by the running deviation of the discounted return
    use_sde: bool | None = None  # state-dependent exploration (2005.05719), one noise matrix per rollout
    hidden: tuple[int, ...] | None = None  # units per layer, after the convolutions where there are pixels
    log_std_init: float | None = None  # logarithm of the first deviation of continuous actions
    ortho_init: bool | None = None  # orthogonal first weights


# Published settings; `baselines.published` says how a row is found and where they come from.
_NORMALIZED = {"normalize_obs": True, "normalize_reward": True}
_GSDE = {"use_sde": True, "log_std_init": -2.0, "ortho_init": False}

_A2C_ATARI = {"n_envs": 16, "ent_coef": 0.01, "vf_coef": 0.25, "tf_rmsprop": True, "clip_reward": True, "hidden": ()}
PUBLISHED: Rows = {
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


def make(problem: Problem, seed: int, **config: Any) -> Agent:
    published.require(problem, "A2C", ACTIONS, OBSERVATIONS)
    filled = published.fill(Config(**config), PUBLISHED, problem)
    c = asdict(filled)
    published.require_rollout(problem, c["n_envs"], c["n_steps"])
    net: dict[str, Any] = {
        "net_arch": list(c["hidden"]),
        "log_std_init": c["log_std_init"],
        "ortho_init": c["ortho_init"],
    }
    if c["tf_rmsprop"]:
        net |= {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}  # the zoo's

    def build(env: Any) -> A2C:
        return A2C(
            "CnnPolicy" if published.is_image(problem.observation_space) else "MlpPolicy",
            env,
            learning_rate=published.schedule(c["learning_rate"], c["anneal_learning_rate"]),
            n_steps=c["n_steps"],
            gamma=c["gamma"],
            gae_lambda=c["gae_lambda"],
            ent_coef=c["ent_coef"],
            vf_coef=c["vf_coef"],
            max_grad_norm=c["max_grad_norm"],
            use_sde=c["use_sde"],
            policy_kwargs=net,
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
