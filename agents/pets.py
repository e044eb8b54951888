"""PETS: planning through an ensemble of probabilistic networks by trajectory sampling (Chua et al. 2018).

"Deep Reinforcement Learning in a Handful of Trials using Probabilistic Dynamics Models", arXiv 1805.12114; numbers
after the authors' code, kchua/handful-of-trials. A first trial acts at random. Then, trial after trial (Algorithm 1),
an ensemble of networks that predict a Gaussian of the state difference is trained on all data (section 4), and in every
step CEM searches for an action sequence (section 5): each candidate is tried with particles, moved by one network each
(TS-infinity) or by another one in every step (TS1), whose returns are averaged.

Deviations
----------
* The paper's reward is a known function of the state. Here that holds if the suite grants ``reward``; else the
  ensemble predicts the reward, too, and a planned reward is the mean of its Gaussian.
* The paper's tasks never end. Here a granted ``termination`` is heeded, else the probability of a true end is one more
  output of each network, heeded as soon as one end was seen. A planned reward counts as much as it is likely to be
  reached.
* The paper's trials are episodes of fixed length. Here a trial is as many episodes as it takes to live through
  ``trial_steps`` steps: one where episodes are that long, several where they end early.
* Observations are taken as the suite gives them: no sines and cosines of angles (the code has them for CartPole and
  HalfCheetah), and every target is a difference (the code predicts HalfCheetah's first observation, the velocity that
  it is paid for, itself, and does not show it to the networks).
* A Discrete action is a one-hot vector, and CEM moves the probabilities of each step's actions.
* A candidate one of whose particles diverges is a worst one. (The code counts such a particle as a cost of 1e6.)
* The other planners, and a limit on a cost that the suite grants, are options.
* An input that never varied in the data has no say in the model until it does: its weights are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.parts.objective import Objective
from agents.parts.particles import Mode, Particles
from agents.parts.planners import planner
from agents.parts.planning import ControllerPolicy, Planner, PlannerConfig, Search
from agents.parts.replay import Replay
from agents.parts.spaces import observed_vector
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config(PlannerConfig):
    """The defaults are the code's for its CartPole (dmbrl/config/cartpole.py), with the network of its HalfCheetah."""

    trial_steps: int = 200  # least steps of a trial, the random one included; code: the length of an episode
    epochs: int = 5  # passes over all data after each trial; code
    planner: Search = "cem"  # code
    horizon: int = 25  # H, steps of a plan; code
    candidates: int = 400  # per iteration of CEM; code
    particles: int = 20  # P, per candidate; code
    propagation: Mode = "TSinf"  # code; the paper finds TS1 as good
    discount: float = 1.0  # per planned step; the paper sums plain rewards
    members: int = 5  # B, networks; code
    hidden: tuple[int, ...] = (200, 200, 200, 200)  # units of each hidden layer, swish; code, HalfCheetah
    weight_decay: float | tuple[float, ...] = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)  # of each layer; code, HalfCheetah
    learning_rate: float = 1e-3  # Adam; code
    batch_size: int = 32  # transitions per network; code


# What the code sets apart for tasks like these; its Reacher and Pusher are arms of seven joints in space.
PUBLISHED: dict[str, dict[str, Any]] = {
    "HalfCheetah-v5": {"trial_steps": 1000, "horizon": 30, "candidates": 500, "elites": 50},
    "Reacher-v5": {
        "trial_steps": 150,
        "learning_rate": 7.5e-4,
        "weight_decay": (2.5e-4, 5e-4, 5e-4, 5e-4, 7.5e-4),
    },
    "Pusher-v5": {
        "trial_steps": 150,
        "candidates": 500,
        "elites": 50,
        "hidden": (200, 200, 200),
        "weight_decay": (2.5e-4, 5e-4, 5e-4, 7.5e-4),
    },
}


class PETS:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        obs_size = observed_vector(problem, "pets")
        self.actions = ActionVectors(problem.action_space, problem.device)
        # Two streams, so that the length of a training never moves what is tried in the environment.
        self.acting = torch.Generator(problem.device).manual_seed(2 * seed)
        self.training = torch.Generator(problem.device).manual_seed(2 * seed + 1)
        self.ensemble = Ensemble(
            obs_size,
            self.actions.size,
            EnsembleConfig(
                members=config.members,
                elites=config.members,
                hidden=config.hidden,
                weight_decay=config.weight_decay,
                learning_rate=config.learning_rate,
                batch_size=config.batch_size,
                holdout=0.0,
            ),
            self.training,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        self.replay = Replay(problem.budget, (obs_size,), self.actions.size)
        self.trained_on = 0  # transitions that there were at the last training
        self.planner = planner(self.actions, config)
        self.controller = self._controller()

    @property
    def updates(self) -> int:
        return self.ensemble.updates

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 1: a random trial; then train on all data, act by MPC for a trial, and so on."""
        env = door.open()
        obs, _ = env.reset()
        metrics = None
        while True:
            report(metrics)
            vector = self.controller.plan(obs, self.planner, self.acting)
            action = self.actions.decode(vector)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, self.actions.encode(action), float(reward), next_obs, terminated)
            obs, metrics = next_obs, None
            if terminated or truncated:
                self.planner.forget()
                if self.replay.added - self.trained_on >= self.config.trial_steps:
                    metrics = self.fit()
                obs, _ = env.reset()

    def fit(self) -> dict[str, float]:
        """Train the ensemble on all data so far, each network on a bootstrap of its own; the last epoch's losses."""
        metrics = self.ensemble.fit(self.replay.tensors(), epochs=self.config.epochs)
        self.trained_on = self.replay.added
        self.controller = self._controller()
        return metrics

    def _controller(self) -> Controller:
        config = self.config
        objective = Objective(
            known=self.known,
            discount=config.discount,
            heed_ends="termination" in self.known or self.ensemble.end_seen,
            cost_limit=config.cost_limit,
            cost_penalty=config.cost_penalty,
        )
        return Controller(Particles(self.ensemble) if self.trained_on else None, self.actions, objective, config)

    def policy(self, mode: PolicyMode) -> ControllerPolicy:
        """The controller, for either mode: it has no distribution to sample from."""
        own = planner(self.actions, self.config)
        return ControllerPolicy(self._controller(), own, torch.Generator(self.device))

    def world_model(self) -> ImaginedWorld | None:
        """Of no use for imagined returns: planning in every step of them would cost more than the trial."""
        return ImaginedWorld(self.ensemble, self.actions, known=self.known) if self.trained_on else None

    def save(self, folder: Path) -> None:
        state = {
            "ensemble": self.ensemble.state(),
            "replay": self.replay.state(),
            "planner": self.planner.state(),
            "acting": self.acting,
            "training": self.training,
            "trained_on": self.trained_on,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.ensemble.restore(state["ensemble"])
        self.replay.restore(state["replay"])
        self.planner.restore(state["planner"])
        self.acting.set_state(state["acting"])
        self.training.set_state(state["training"])
        self.trained_on = state["trained_on"]
        self.controller = self._controller()


class Controller:
    """Section 5: the first action of the best imagined sequence. Random until the ensemble was trained."""

    def __init__(
        self, particles: Particles | None, actions: ActionVectors, objective: Objective, config: Config
    ) -> None:
        self.particles, self.actions, self.objective, self.config = particles, actions, objective, config

    @torch.inference_mode()
    def plan(self, obs: Any, planner: Planner, generator: torch.Generator) -> Float[Tensor, " A"]:
        if self.particles is None:
            return self.actions.draw(1, 1, generator)[0, :, 0]
        start = torch.as_tensor(np.asarray(obs, np.float32), device=generator.device)
        return planner.plan(lambda sequences: self.returns(start, sequences, generator), generator)[0]

    def returns(
        self, start: Float[Tensor, " D"], sequences: Float[Tensor, "H A K"], generator: torch.Generator
    ) -> Float[Tensor, " K"]:
        """The sum of rewards, mean over a sequence's particles; rewards and ends are the suite's where granted."""
        assert self.particles is not None
        config = self.config
        found = self.particles.rollout(start, sequences, generator, particles=config.particles, mode=config.propagation)
        states = found.states.transpose(2, 3).flatten(2)
        rewards = None if found.rewards is None else found.rewards.transpose(1, 2).flatten(1)
        cont = None if found.termination is None else 1.0 - found.termination.transpose(1, 2).flatten(1)
        return self.objective.scores(states, sequences, rewards, cont)


def make(problem: Problem, seed: int, **config: Any) -> PETS:
    settings = Config(**{**PUBLISHED.get(problem.env_id, {}), **config})
    if settings.trial_steps >= problem.budget:
        raise ValueError(
            f"pets would act at random to the end: expected trial_steps below the budget of {problem.budget} steps, "
            f"found {settings.trial_steps}; lower trial_steps"
        )
    if settings.particles % settings.members:
        raise ValueError(
            f"pets shares a candidate's particles out evenly among its networks: expected particles to be a multiple "
            f"of members, found {settings.particles} and {settings.members}"
        )
    return PETS(problem, seed, settings)
