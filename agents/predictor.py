"""A model and nothing else: acts at random and learns to predict what comes of it, so that models can be compared.

Whoever plans or learns a policy in a model chooses what the model is asked about; two models of two such agents are
never asked the same. Here data and questions come from a uniform policy whatever the model is: one network or an
ensemble, deterministic or probabilistic (Nagabandi et al. 2017, 1708.02596, section IV, and Chua et al. 2018,
1805.12114, section 4, compare such models). The runner measures the errors on episodes that nobody was trained on; how
they grow with the horizon is what the bounds on compounding errors speak of (Ross & Bagnell 2010; Levine's lecture on
model-based policies: O(epsilon T^2) in the worst case).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.parts.replay import Replay
from agents.parts.spaces import observed_vector
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The defaults are MBPO's networks (Janner et al. 2019), all of them asked."""

    fit_every: int = 1_000  # steps between two trainings, each on all data so far
    members: int = 5  # networks; all are elites
    probabilistic: bool = True  # Gaussian likelihood; else squared error
    hidden: tuple[int, ...] = (200, 200, 200, 200)  # units of each hidden layer, swish
    learning_rate: float = 1e-3  # Adam
    weight_decay: float | tuple[float, ...] = (
        2.5e-5,
        5e-5,
        7.5e-5,
        7.5e-5,
        1e-4,
    )  # of each layer's weights, or of all's
    batch_size: int = 256  # transitions per network
    holdout: float = 0.2  # share of the data kept aside to stop by
    max_epochs: int | None = None  # of a training
    normalise_targets: bool = False  # to deviation 1, as inputs are


class Predictor:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        obs_size = observed_vector(problem, "predictor")
        self.actions = ActionVectors(problem.action_space, problem.device)
        # Two streams: what is tried in the environment is the same for every model.
        self.acting = torch.Generator(problem.device).manual_seed(2 * seed)
        self.training = torch.Generator(problem.device).manual_seed(2 * seed + 1)
        self.ensemble = Ensemble(
            obs_size,
            self.actions.size,
            EnsembleConfig(
                members=config.members,
                elites=config.members,
                probabilistic=config.probabilistic,
                hidden=config.hidden,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                batch_size=config.batch_size,
                holdout=config.holdout,
                max_epochs=config.max_epochs,
                bootstrap=config.members > 1,
                normalise_targets=config.normalise_targets,
            ),
            self.training,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        self.replay = Replay(problem.budget, (obs_size,), self.actions.size)

    @property
    def updates(self) -> int:
        return self.ensemble.updates

    def learn(self, door: Door, report: Report) -> None:
        env = door.open()
        obs, _ = env.reset()
        metrics = None
        while True:
            report(metrics)
            action = self.actions.decode(self.actions.draw(1, 1, self.acting)[0, :, 0])
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, self.actions.encode(action), float(reward), next_obs, terminated)
            metrics = None
            if self.replay.added % self.config.fit_every == 0:
                metrics = self.ensemble.fit(self.replay.tensors())
            obs = env.reset()[0] if terminated or truncated else next_obs

    def policy(self, mode: PolicyMode) -> RandomPolicy:
        """Uniform in either mode."""
        return RandomPolicy(self.actions, torch.Generator(self.device))

    def world_model(self) -> ImaginedWorld | None:
        if not self.ensemble.updates:
            return None
        return ImaginedWorld(self.ensemble, self.actions, known=self.known, act=self._act)

    def _act(self, obs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.actions.draw(1, len(obs), generator)[0].T

    def save(self, folder: Path) -> None:
        saving.write(
            folder,
            {
                "ensemble": self.ensemble.state(),
                "replay": self.replay.state(),
                "acting": self.acting,
                "training": self.training,
            },
        )

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.ensemble.restore(state["ensemble"])
        self.replay.restore(state["replay"])
        self.acting.set_state(state["acting"])
        self.training.set_state(state["training"])


class RandomPolicy:
    def __init__(self, actions: ActionVectors, generator: torch.Generator) -> None:
        self.actions, self.generator = actions, generator

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def act(self, obs: Any) -> Any:
        return self.actions.decode(self.actions.draw(1, 1, self.generator)[0, :, 0])


def make(problem: Problem, seed: int, **config: Any) -> Predictor:
    settings = Config(**config)
    if settings.fit_every > problem.budget:
        raise ValueError(
            f"predictor would never learn: expected fit_every of at most the budget of {problem.budget} steps, "
            f"found {settings.fit_every}; lower fit_every"
        )
    if settings.holdout <= 0.0 and settings.max_epochs is None:
        raise ValueError("a training without a hold-out part never stops: set holdout above 0, or max_epochs")
    return Predictor(problem, seed, settings)
