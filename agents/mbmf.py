"""MBMF: a policy that imitates a model-predictive controller, fine-tuned without the model (Nagabandi et al. 2017).

"Neural Network Dynamics for Model-Based Deep Reinforcement Learning with Model-Free Fine-Tuning", arXiv 1708.02596;
numbers after the authors' code, anagabandi/nn_dynamics at b76a62f. First the model-based learner of section IV (see
`agents.mb_mpc`): random steps, then rounds of training a model and acting by random shooting in it. Then section V: a
Gaussian policy learns the controller's actions by squared error; DAgger lets the policy act, asks the controller what
it would have done in each state that comes, and trains the policy on all of that. At last the policy is improved by
model-free learning, from exactly the imitated weights and with a wide deviation.

Deviations
----------
* The fine-tuning is PPO (`agents.parts.ppo`); the paper's is TRPO with batches of 50,000 steps. For its first updates
  it fits the value alone (``value_first``), which knows nothing of a policy that came from outside.
* The first pairs to imitate are ``expert_steps`` of the trained controller, without action noise. DAgger is counted in
  steps, not in rollouts. All pairs are trained on; none are kept aside for validation.
* What the model of section IV deviates in: `agents.mb_mpc`. The model is not trained again after its last round.
* Biases of the policy begin at zero, weights orthogonal (as PPO's), and no weight is decayed.
* Actions must be continuous.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.gaussian_actor import GaussianActor, UnitActions
from agents.parts.imagined import ImaginedWorld
from agents.parts.model_predictive import ModelPredictiveConfig, ModelTraining
from agents.parts.planners import planner
from agents.parts.planning import ControllerPolicy
from agents.parts.ppo import PPO, PPOConfig
from agents.parts.replay import Replay
from agents.parts.spaces import bounded_actions, observed_vector
from agents.protocol import Door, Policy, PolicyMode, Problem, Report, WorldModel

ACTIONS = ("continuous",)
OBSERVATIONS = ("vector",)

Stage = Literal["model", "expert", "dagger", "tuning"]


@dataclass(frozen=True, kw_only=True)
class Config(ModelPredictiveConfig):
    """Defaults: the authors' code for HalfCheetah; those of PPO are the project's own."""

    rounds: int = 7  # of training the model and acting by it, after the random steps; code
    # Imitation (section V, eq. 6 and appendix)
    expert_steps: int = 10_000  # of the trained controller, which are imitated first
    aggregations: int = 3  # times that DAgger lets the policy act and trains it again; code
    aggregation_steps: int = 2_000  # real steps each; code: 2 rollouts of 1000
    imitation_epochs: int = 300  # passes over all pairs each time; code
    imitation_batch: int = 512  # pairs; code
    imitation_rate: float = 1e-3  # Adam; code
    policy_hidden: tuple[int, ...] = (64, 64)  # units, tanh; paper and code
    # Fine-tuning
    std: float = 0.5  # of half the action range; code (Hopper 1.0)
    rollout_steps: int = 2_048  # real steps of a rollout
    tuning_batch: int = 64  # transitions
    tuning_epochs: int = 10  # passes over each rollout
    tuning_rate: float = 3e-4  # Adam
    gamma: float = 0.995  # discount per step; code
    lam: float = 0.95  # trace weight of the advantage
    target_kl: float | None = 0.05  # nats; an update stops at 1.5 times this; the code's step size
    value_first: int = 1  # first updates, of the value alone

    @property
    def model_steps(self) -> int:
        return self.random_steps + self.rounds * self.steps_per_round

    @property
    def pairs(self) -> int:
        """States in all for which the controller is imitated."""
        return self.expert_steps + self.aggregations * self.aggregation_steps

    def stage(self, steps: int) -> Stage:
        """Which stage the step after ``steps`` steps belongs to."""
        if steps < self.model_steps:
            return "model"
        if steps < self.model_steps + self.expert_steps:
            return "expert"
        return "dagger" if steps < self.model_steps + self.pairs else "tuning"


class MBMF:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        obs_size = observed_vector(problem, "mbmf")
        bounded_actions(problem, "mbmf", "policy is Gaussian")
        self.actions = ActionVectors(problem.action_space, problem.device)
        self.scale = UnitActions(self.actions)
        # A stream for each purpose, so that the length of one never moves the others.
        self.acting, self.training, self.imitating, tuning = (
            torch.Generator(problem.device).manual_seed(4 * seed + i) for i in range(4)
        )
        self.dynamics = ModelTraining(obs_size, self.actions.size, config, self.training, self.known)
        self.planner = planner(self.actions, config)
        self.controller = self.dynamics.controller(self.actions)
        self.replay = Replay(problem.budget, (obs_size,), self.actions.size)
        self.ppo = PPO(obs_size, self.actions.size, _ppo(config), tuning)
        self.optimiser = torch.optim.Adam(
            self.ppo.policy.net.parameters(), config.imitation_rate, fused=problem.device == "cpu" or None
        )
        self.pairs = Pairs(config.pairs, obs_size, self.actions.size, problem.device)
        self.imitation_updates = 0

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 1, then section V: imitation, DAgger, fine-tuning."""
        env = door.open()
        obs, _ = env.reset()
        metrics = None
        while True:
            report(metrics)
            seen = self._tensor(obs)
            stage = self.config.stage(self.replay.added)
            chosen = self.choose(stage, obs, seen)
            action = self.actions.decode(chosen.action)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, action, float(reward), next_obs, terminated)
            if stage == "tuning":
                metrics = self.tune(chosen, seen, float(reward), next_obs, bool(terminated), bool(truncated))
            else:
                metrics = self.train()
            if terminated or truncated:
                self.planner.forget()
                next_obs, _ = env.reset()
            obs = next_obs

    def choose(self, stage: Stage, obs: Any, seen: Float[Tensor, " D"]) -> Chosen:
        """Who acts in which stage; and the controller's action into the pairs to imitate."""
        if stage == "tuning":
            raw, log_prob, value = self.ppo.act(seen[None])
            return Chosen(self.scale.bounded(raw[0]), raw, log_prob, value)
        planned = self.controller.plan(obs, self.planner, self.acting)
        if stage == "model":
            noise = self.config.action_noise if self.dynamics.fitted else 0.0
            return Chosen(self.actions.disturb(planned, noise, self.acting))
        self.pairs.add(seen, self.scale.unit(planned))
        return Chosen(planned if stage == "expert" else self.scale.bounded(self.ppo.mean_action(seen[None])[0]))

    def train(self) -> dict[str, float] | None:
        """What is due after so many steps: the model, the policy, or nothing."""
        config, steps = self.config, self.replay.added
        since = steps - config.random_steps
        if 0 <= since <= config.rounds * config.steps_per_round and since % config.steps_per_round == 0:
            metrics = self.dynamics.fit(self.replay.tensors())
            self.controller = self.dynamics.controller(self.actions)
            return metrics
        since = steps - config.model_steps - config.expert_steps
        if 0 <= since <= config.aggregations * config.aggregation_steps and since % config.aggregation_steps == 0:
            return self.imitate()
        return None

    def imitate(self) -> dict[str, float]:
        """Section V, eq. 6: the squared error between the policy's mean and the controller's action, on all pairs."""
        config = self.config
        obs, wanted = self.pairs.held()
        error = torch.zeros((), device=self.device)
        for _ in range(config.imitation_epochs):
            order = torch.randperm(len(obs), generator=self.imitating, device=self.device)
            error.zero_()
            for rows in torch.split(order, config.imitation_batch):
                apart = self._step_towards(obs[rows], wanted[rows])
                error += apart.square().mean() * (len(rows) / len(obs))
                self.imitation_updates += 1
        return {"loss/imitation": float(error), "pairs": float(len(obs))}

    @torch.no_grad()
    def _step_towards(self, obs: Float[Tensor, "B D"], wanted: Float[Tensor, "B A"]) -> Float[Tensor, "B A"]:
        """One step of Adam; how far the policy's mean was from ``wanted`` before."""
        net = self.ppo.policy.net
        layers = net.layers(obs)
        apart = layers[-1] - wanted
        gradients = net.backward(layers, apart * (2.0 / apart.numel()))
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        return apart

    def tune(
        self,
        chosen: Chosen,
        seen: Float[Tensor, " D"],
        reward: float,
        next_obs: Any,
        terminated: bool,
        truncated: bool,
    ) -> dict[str, float] | None:
        """Model-free: PPO learns from the policy's own steps; a time limit is followed by a value."""
        assert chosen.raw is not None
        assert chosen.log_prob is not None
        assert chosen.value is not None
        following = self._tensor(next_obs)[None]
        self.ppo.store(
            seen[None],
            chosen.raw,
            chosen.log_prob,
            chosen.value,
            torch.tensor([reward], device=self.device),
            torch.tensor([terminated], device=self.device),
            torch.tensor([truncated], device=self.device),
            self.ppo.value(following) if truncated else None,
        )
        if not self.ppo.full:
            return None
        return {f"tuning/{name}": value for name, value in self.ppo.update(following).items()}

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)

    @property
    def updates(self) -> int:
        return self.dynamics.updates + self.imitation_updates + int(self.ppo.numbers.steps)

    def policy(self, mode: PolicyMode) -> Policy:
        """What would act now: the controller while the model is learned, for either mode, then the policy."""
        if not self.imitation_updates:
            own = planner(self.actions, self.config)
            return ControllerPolicy(self.dynamics.controller(self.actions), own, torch.Generator(self.device))
        return GaussianActor(self.ppo.policy, self.scale, mode == "sample")

    def world_model(self) -> WorldModel | None:
        """Imagined returns are the policy's, once there is one: planning in every step of them would cost too much."""
        if not self.dynamics.fitted:
            return None
        model, ends = self.dynamics.model, self.dynamics.heeds_ends
        if not self.imitation_updates:
            return ImaginedWorld(model, self.actions, known=self.known, ends=ends)
        act = lambda obs, generator: self.scale.bounded(self.ppo.mean_action(obs))
        return ImaginedWorld(model, self.actions, act=act, known=self.known, ends=ends)

    def save(self, folder: Path) -> None:
        state = {
            "dynamics": self.dynamics.state(),
            "planner": self.planner.state(),
            "replay": self.replay.state(),
            "ppo": self.ppo.state(),
            "optimiser": self.optimiser.state_dict(),
            "pairs": list(self.pairs.held()),
            "imitation_updates": self.imitation_updates,
            "generators": [self.acting, self.training, self.imitating],
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.dynamics.restore(state["dynamics"])
        self.controller = self.dynamics.controller(self.actions)
        self.planner.restore(state["planner"])
        self.replay.restore(state["replay"])
        self.ppo.restore(state["ppo"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.pairs.restore(*state["pairs"])
        self.imitation_updates = state["imitation_updates"]
        for generator, saved in zip((self.acting, self.training, self.imitating), state["generators"], strict=True):
            generator.set_state(saved)


def _ppo(config: Config) -> PPOConfig:
    return PPOConfig(
        hidden=config.policy_hidden,
        value_hidden=config.policy_hidden,
        log_std=log(config.std),
        rollout_steps=config.rollout_steps,
        batch_size=config.tuning_batch,
        epochs=config.tuning_epochs,
        learning_rate=config.tuning_rate,
        gamma=config.gamma,
        lam=config.lam,
        target_kl=config.target_kl,
        value_first=config.value_first,
    )


@dataclass(frozen=True)
class Chosen:
    """An action in the environment's units; from the policy in tuning also what PPO needs to learn from it."""

    action: Float[Tensor, " A"]
    raw: Float[Tensor, "1 A"] | None = None
    log_prob: Float[Tensor, " 1"] | None = None
    value: Float[Tensor, " 1"] | None = None


class Pairs:
    """DAgger's data: states, whoever acted in them, and what the controller would do there, in [-1, 1]."""

    def __init__(self, capacity: int, obs_size: int, action_size: int, device: str) -> None:
        self.obs = torch.zeros(capacity, obs_size, device=device)
        self.wanted = torch.zeros(capacity, action_size, device=device)
        self.count = 0

    def add(self, obs: Float[Tensor, " D"], wanted: Float[Tensor, " A"]) -> None:
        self.obs[self.count], self.wanted[self.count] = obs, wanted
        self.count += 1

    def held(self) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N A"]]:
        return self.obs[: self.count], self.wanted[: self.count]

    def restore(self, obs: Float[Tensor, "N D"], wanted: Float[Tensor, "N A"]) -> None:
        self.count = len(obs)
        self.obs[: self.count], self.wanted[: self.count] = obs, wanted


def make(problem: Problem, seed: int, **config: Any) -> MBMF:
    settings = Config(**config)
    for name in ("random_steps", "steps_per_round", "expert_steps", "aggregation_steps", "imitation_epochs"):
        if getattr(settings, name) < 1:
            raise ValueError(f"expected {name} of at least 1, found {getattr(settings, name)}")
    imitated = settings.model_steps + settings.expert_steps
    if imitated >= problem.budget:
        raise ValueError(
            f"mbmf would never have a policy: expected random_steps + rounds * steps_per_round + expert_steps below "
            f"the budget of {problem.budget} steps, found {imitated}; lower these"
        )
    return MBMF(problem, seed, settings)
