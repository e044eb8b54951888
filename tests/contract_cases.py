"""Every entrant on every family that it supports, small enough to be killed and resumed many times in a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from suites.spec import TrialSpec

HALF = "bfloat16" if torch.backends.cpu.get_cpu_capability() == "AVX512" else "float32"  # elsewhere it takes minutes


@dataclass(frozen=True, kw_only=True)
class World:
    """An environment in the size of a test: its episodes end within the budget, which is odd."""

    env: str
    options: dict[str, Any] = field(default_factory=dict)
    budget: int = 101
    telling: bool = True  # whether so few steps of two agents differ in returns and lengths


WORLDS = {
    "maze": World(env="maze", options={"time_limit": 17}, budget=157, telling=False),
    "changing-maze": World(
        env="maze", options={"name": "blocking", "change_at": 50, "time_limit": 17}, budget=157, telling=False
    ),
    "exam": World(env="exam", options={"digits": 3}),
    "cartpole": World(env="classic", options={"id": "CartPole-v1"}, budget=157),
    "pendulum": World(env="classic", options={"id": "Pendulum-v1"}, budget=223),  # an episode has 200 steps
    "hopper": World(env="mujoco", options={"id": "Hopper-v5"}),
    "hopper-velocity": World(env="mujoco_velocity", options={"id": "Hopper-v5"}),
    "breakout": World(env="tests.short_breakout", telling=False),
    "carracing": World(env="carracing", options={"time_limit": 25}),
    "carracing-discrete": World(env="carracing", options={"time_limit": 25, "continuous": False}),
    "carracing-fast": World(env="carracing_fast", options={"time_limit": 25}),
    "pond": World(env="pond"),
    "waypoint": World(env="waypoint", options={"change_at": 50}),
    "take-cover": World(env="take_cover", options={"time_limit": 30}, telling=False),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One entrant in one world. ``save_every`` counts reports; a kill in between makes work to be repeated."""

    agent: str
    world: str
    config: dict[str, Any] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    save_every: int = 9
    learns: bool = True
    draws: bool = True  # whether its seed is of any consequence to the agent itself

    @property
    def name(self) -> str:
        envs = self.config.get("n_envs", 1)
        said = "".join(f"-{self.config[name]}" for name in ("learner", "rounds") if name in self.config)
        return f"{self.agent.rpartition('.')[2]}-{self.world}{said}" + (f"-{envs}-envs" if envs > 1 else "")

    @property
    def budget(self) -> int:
        return WORLDS[self.world].budget

    def trial(self, seed: int = 0, budget: int | None = None) -> TrialSpec:
        world = WORLDS[self.world]
        return TrialSpec.model_validate(
            {
                "suite": "contract",
                "task": self.world,
                "entrant": self.agent.rpartition(".")[2].replace("_", "-"),
                "seed": seed,
                "env": world.env,
                "options": world.options,
                "budget": budget or world.budget,
                "evaluate": {"every": 60, "episodes": 1, "final_episodes": 2, "policy": "sample"},
                "agent": self.agent,
                "config": self.config,
                "known": self.known,
            }
        )


def dyna_q(world: str, **config: Any) -> Case:
    return Case(agent="agents.dyna_q", world=world, config={"planning_steps": 5, **config})


def mb_mpc(world: str, known: tuple[str, ...] = ()) -> Case:
    config = {"random_steps": 30, "steps_per_round": 20, "horizon": 4, "candidates": 16, "hidden": [16], "epochs": 2}
    return Case(agent="agents.mb_mpc", world=world, config={**config, "batch_size": 16}, known=known)


def mbpo(world: str, **config: Any) -> Case:
    small = {"random_steps": 30, "update_from": 30, "epoch_steps": 40, "model_every": 20, "model_hidden": [8, 8, 8, 8]}
    small |= {"members": 3, "elites": 2, "model_batch_size": 16, "model_epochs": 2, "rollouts": 30, "updates": 2}
    small |= {"schedule": [0, 2, 1, 3], "batch_size": 20, "hidden": [8]}
    return Case(agent="agents.mbpo", world=world, config={**small, **config}, known=("termination",))


def pets(world: str, known: tuple[str, ...] = (), **config: Any) -> Case:
    small = {"trial_steps": 30, "hidden": [8], "weight_decay": 1e-5, "epochs": 2, "candidates": 12, "elites": 4}
    small |= {"iterations": 2, "horizon": 3, "particles": 5}
    return Case(agent="agents.pets", world=world, config={**small, **config}, known=known)


def mve(world: str, **config: Any) -> Case:
    small = {"random_steps": 30, "model_from": 20, "interval": 10, "updates": 1, "model_updates": 1, "batch_size": 8}
    small |= {"model_batch_size": 8, "hidden": [8], "model_hidden": [8], "horizon": 2}
    return Case(agent="agents.mve", world=world, config={**small, **config})


def steve(world: str, **config: Any) -> Case:
    small = {"random_steps": 30, "model_pretraining": 3, "updates": 1, "batch_size": 8, "target_every": 7}
    small |= {"hidden": [8], "model_hidden": [8], "judge_hidden": [8], "horizon": 2}
    return Case(agent="agents.steve", world=world, config={**small, **config})


def svg(world: str, known: tuple[str, ...] = (), **config: Any) -> Case:
    small = {"random_steps": 30, "model_from": 20, "normalise_every": 10, "batch_size": 8, "model_batch_size": 8}
    small |= {"model_updates": 1, "hidden": [8], "model_hidden": [8], "horizon": 2}
    return Case(agent="agents.svg", world=world, config={**small, **config}, known=known)


def me_trpo(world: str, known: tuple[str, ...] = ()) -> Case:
    small = {"steps_per_iteration": 20, "members": 3, "hidden": [8], "model_batch_size": 16, "model_epochs": 3}
    small |= {"policy_hidden": [8], "horizon": 6, "imagined_steps": 60, "validate_every": 2, "validation_starts": 4}
    return Case(agent="agents.me_trpo", world=world, config={**small, "tolerance": 2, "max_updates": 4}, known=known)


def mbmf(world: str, known: tuple[str, ...] = ()) -> Case:
    small = {"random_steps": 15, "steps_per_round": 8, "rounds": 2, "horizon": 4, "candidates": 16, "hidden": [16]}
    small |= {"epochs": 2, "batch_size": 16, "expert_steps": 10, "aggregations": 2, "aggregation_steps": 9}
    small |= {"imitation_epochs": 2, "imitation_batch": 8, "policy_hidden": [8], "rollout_steps": 7}
    return Case(agent="agents.mbmf", world=world, config={**small, "tuning_batch": 4, "tuning_epochs": 2}, known=known)


def dyna(world: str) -> Case:
    small = {"random_steps": 30, "interval": 10, "updates": 2, "batch_size": 8, "hidden": [8], "model_hidden": [8]}
    small |= {"model_updates": 2, "model_batch_size": 8, "rollout": 2, "planning": 2}
    return Case(agent="agents.dyna", world=world, config=small)


def predictor(world: str) -> Case:
    small = {"fit_every": 20, "members": 2, "hidden": [8], "weight_decay": 1e-5, "batch_size": 8, "max_epochs": 2}
    return Case(agent="agents.predictor", world=world, config=small)


def world_models(world: str, **config: Any) -> Case:
    small = {"latent": 4, "hidden": 8, "vision_epochs": 1, "vision_batch": 10, "memory_updates": 3, "memory_batch": 4}
    small |= {"sequence": 8, "population": 4, "rollouts": 2, "generations": 3, "games": 3, "time_limit": 20}
    if world == "take-cover":  # a game takes a third of a second to open
        small["games"] = 2
    if world == "carracing" and "learn_in" not in config:
        small |= {"random_steps": 27, "generations": 1000}
    return Case(agent="agents.world_models", world=world, config={**small, **config}, save_every=7)


def ppo(world: str, n_envs: int = 1, **config: Any) -> Case:
    small = {"n_envs": n_envs, "n_steps": 6, "batch_size": 6, "n_epochs": 2, "hidden": [8]}
    return Case(agent="baselines.ppo", world=world, config={**small, **config}, save_every=3)


def a2c(world: str, n_envs: int = 1, **config: Any) -> Case:
    small = {"n_envs": n_envs, "n_steps": 5, "hidden": [8]}
    return Case(agent="baselines.a2c", world=world, config={**small, **config}, save_every=3)


def sac(world: str, **config: Any) -> Case:
    small = {"learning_starts": 20, "batch_size": 8, "train_freq": 3, "hidden": [8]}
    return Case(agent="baselines.sac", world=world, config={**small, **config}, save_every=7)


def dqn(world: str, **config: Any) -> Case:
    small = {"learning_starts": 20, "batch_size": 8, "train_freq": 3, "gradient_steps": 1, "hidden": [8]}
    explore = {"target_update_interval": 10, "exploration_fraction": 0.5, "exploration_final_eps": 0.3}
    return Case(agent="baselines.dqn", world=world, config={**small, **explore, **config}, save_every=7)


def uniform(world: str) -> Case:
    return Case(agent="baselines.uniform", world=world, learns=False)


def scripted(world: str, *script: list[Any]) -> Case:
    return Case(agent="baselines.scripted", world=world, config={"script": list(script)}, learns=False, draws=False)


CASES = [
    dyna_q("maze"),
    dyna_q("changing-maze", bonus=0.001),
    dyna_q("exam"),
    mb_mpc("cartpole"),
    mb_mpc("pendulum", known=("reward", "termination")),
    mb_mpc("hopper", known=("termination",)),
    mb_mpc("waypoint"),
    mb_mpc("hopper-velocity", known=("reward", "termination")),
    Case(agent="agents.tabular_planner", world="exam", config={"random_steps": 40}),
    mbpo("pendulum"),
    mbpo("hopper"),
    pets("pendulum", known=("reward", "termination")),
    pets("hopper"),
    pets("pond", known=("cost",), cost_limit=0.0),
    mve("pendulum", learner="sac"),
    mve("hopper"),
    steve("hopper"),
    svg("pendulum", residual=True),
    svg("hopper", known=("termination",)),
    me_trpo("pendulum", known=("reward", "termination")),
    me_trpo("hopper"),
    mbmf("pendulum", known=("reward", "termination")),
    mbmf("hopper"),
    dyna("cartpole"),
    predictor("hopper"),
    world_models("carracing", test_every=2, test_rollouts=3),
    world_models(
        "carracing",
        learn_in="dream",
        reward=True,
        reward_weight=0.1,
        learner="ppo",
        dream_steps=33_000,
        vision_precision=HALF,
        recorders=2,
    ),
    world_models("take-cover", rounds=2, curious_generations=1, finetune_steps=30),
    ppo("maze", n_envs=3),
    ppo("exam"),
    ppo("cartpole", n_envs=3),
    ppo("pendulum", use_sde=True, sde_sample_freq=4),
    ppo("hopper", n_envs=3),
    ppo("breakout", n_envs=3, batch_size=18),
    ppo("carracing"),
    ppo("carracing-fast", n_envs=3),
    ppo("take-cover"),
    a2c("maze"),
    a2c("exam", n_envs=3),
    a2c("cartpole"),
    a2c("pendulum", use_sde=True),
    a2c("hopper"),
    a2c("breakout"),
    a2c("carracing", n_envs=3),
    a2c("take-cover", n_envs=3),
    sac("pendulum"),
    sac("hopper"),
    sac("carracing", train_freq=10),
    dqn("maze"),
    dqn("exam"),
    dqn("cartpole"),
    dqn("breakout", train_freq=10),
    dqn("carracing-discrete", train_freq=10),
    dqn("take-cover", train_freq=10),
    uniform("maze"),
    uniform("exam"),
    uniform("cartpole"),
    uniform("pendulum"),
    uniform("hopper"),
    uniform("breakout"),
    uniform("carracing"),
    uniform("take-cover"),
    scripted("pendulum", [[2.0], 3], [[-0.5], 4]),
    scripted("take-cover", [2, 5], [0, 10], [2, 5]),
]
