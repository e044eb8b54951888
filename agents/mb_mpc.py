"""MB-MPC: a network of the dynamics and model-predictive control by random shooting (Nagabandi et al. 2017).

"Neural Network Dynamics for Model-Based Deep Reinforcement Learning with Model-Free Fine-Tuning",
arXiv 1708.02596; numbers after the authors' code, anagabandi/nn_dynamics, where paper and code differ.
Random rollouts train f(s, a), which predicts the state difference (section IV-A); a controller draws
action sequences at random, rolls them through s' = s + f(s, a), takes the first action of the best and
plans anew in the next step (IV-C); what it lives through is added to the data and f is trained further,
round after round (IV-D, Algorithm 1). The model-free fine-tuning of section V is not part of this agent.

Deviations
----------
* Beside random shooting (the default, as published) the controller may search by CEM, iCEM or MPPI; such a planner
  begins with the plan of the step before, from an episode's first step on with none. A cost that the suite grants may
  be limited (``cost_limit``).
* The paper's reward is a known function of the state. Here that holds if the suite grants ``reward``;
  else the reward is one more output of the network, normalised and fitted like a state difference.
* The paper ignores that episodes end. Here a granted ``termination`` is used, else the probability of a
  true end is one more output (cross-entropy), heeded as soon as one end was seen: without it CartPole's
  candidates are all alike. A planned reward counts as much as it is likely to be reached.
* A Discrete action is a one-hot vector, drawn uniformly.
* Rounds are counted in steps, not in rollouts, and all rollouts are trained on (the code keeps one of ten
  aside for validation).
* An epoch draws as many samples as there are transitions, with replacement. (The code permutes the random
  data only, so that with a tenth of each batch from there its later epochs hold more batches.)
* Noise on the training data is drawn anew for every batch, in units of each column's standard deviation.
  (The code draws once, in units of a column's mean where that is positive.)
* The executed action is recorded, noise included. (The code records the action before the noise.)
* Biases begin at zero. (The code draws them like weights.)
* An input that never varied in the data has no say in the model until it does: its weights are 0, and no noise is
  added to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.imagined import ImaginedWorld
from agents.parts.model_predictive import ModelPredictiveConfig, ModelTraining
from agents.parts.planners import planner
from agents.parts.planning import ControllerPolicy
from agents.parts.replay import Replay
from agents.parts.spaces import observed_vector
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config(ModelPredictiveConfig):
    horizon: int = 20  # H, steps of a plan; code
    candidates: int = 1000  # K, action sequences per plan; code (swimmer 5000)


class MBMPC:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.device = config, problem.device
        obs_size = observed_vector(problem, "mb_mpc")
        self.actions = ActionVectors(problem.action_space, problem.device)
        # Two streams, so that the length of a training never moves what is tried in the environment.
        self.acting = torch.Generator(problem.device).manual_seed(2 * seed)
        self.training = torch.Generator(problem.device).manual_seed(2 * seed + 1)
        self.dynamics = ModelTraining(obs_size, self.actions.size, config, self.training, problem.known)
        self.replay = Replay(problem.budget, (obs_size,), self.actions.size)
        self.planner = planner(self.actions, config)
        self.controller = self.dynamics.controller(self.actions)

    @property
    def updates(self) -> int:
        return self.dynamics.updates

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 1: random rollouts, then rounds of training and acting."""
        env = door.open()
        obs, _ = env.reset()
        metrics = None
        while True:
            report(metrics)
            vector = self.controller.plan(obs, self.planner, self.acting)
            if self.dynamics.fitted:
                vector = self.actions.disturb(vector, self.config.action_noise, self.acting)
            action = self.actions.decode(vector)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, self.actions.encode(action), float(reward), next_obs, terminated)
            metrics = self.fit() if self._round_ends() else None
            if terminated or truncated:
                self.planner.forget()
                next_obs, _ = env.reset()
            obs = next_obs

    def _round_ends(self) -> bool:
        since = self.replay.added - self.config.random_steps
        return since >= 0 and since % self.config.steps_per_round == 0

    def fit(self) -> dict[str, float]:
        """Train on all data so far, starting from the weights that there are; the mean losses."""
        losses = self.dynamics.fit(self.replay.tensors())
        self.controller = self.dynamics.controller(self.actions)
        return losses

    def policy(self, mode: PolicyMode) -> ControllerPolicy:
        """The controller without action noise, for either mode: it has no distribution to sample from."""
        own = planner(self.actions, self.config)
        return ControllerPolicy(self.dynamics.controller(self.actions), own, torch.Generator(self.device))

    def world_model(self) -> ImaginedWorld | None:
        """Of no use for imagined returns: planning in every step of them would cost more than the trial."""
        if not self.dynamics.fitted:
            return None
        known = self.dynamics.known
        return ImaginedWorld(self.dynamics.model, self.actions, known=known, ends=self.dynamics.heeds_ends)

    def save(self, folder: Path) -> None:
        state = {
            "dynamics": self.dynamics.state(),
            "replay": self.replay.state(),
            "planner": self.planner.state(),
            "acting": self.acting,
            "training": self.training,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.dynamics.restore(state["dynamics"])
        self.replay.restore(state["replay"])
        self.planner.restore(state["planner"])
        self.acting.set_state(state["acting"])
        self.training.set_state(state["training"])
        self.controller = self.dynamics.controller(self.actions)


def make(problem: Problem, seed: int, **config: Any) -> MBMPC:
    settings = Config(**config)
    if settings.random_steps >= problem.budget:
        raise ValueError(
            f"mb_mpc would act at random to the end: expected random_steps below the budget of "
            f"{problem.budget} steps, found {settings.random_steps}; lower random_steps (and steps_per_round)"
        )
    return MBMPC(problem, seed, settings)
