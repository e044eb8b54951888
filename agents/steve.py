"""STEVE: value expansion that trusts each horizon as far as ensembles agree about it (Buckman et al. 2018).

"Sample-Efficient Reinforcement Learning with Stochastic Ensemble Value Expansion", arXiv 1807.01675; numbers after the
authors' code, tensorflow/models, research/steve. DDPG with four critics, and ensembles of models of transitions,
rewards and terminations. From the end of each replayed transition the policy is followed for three steps through each
transition model. For every horizon 0 to 3 the rewards up to it and a target critic's value at it make a candidate for
the critics' target, one for each combination of transition model, reward model and critic; the candidates of a horizon
have a mean and a variance, and the target is the mean over horizons weighted with the inverse variances (section 3).

Deviations
----------
* A granted ``reward`` or ``termination`` takes the place of its models. Learned terminations are heeded as soon as one
  end was seen.
* One environment and one process: behaviour and targets use the newest actor and models. (The code acts in eight
  environments, refreshes the actor that acts when the target critics are, and the models likewise.)
* A batch is dealt out to the models evenly. (In the code each transition teaches a model drawn by lot.) The weight of
  the L2 term is multiplied so that its share in the gradient is the code's.
* The L2 term leaves the biases of the transition models alone.
* Details of the learner: `deterministic_actor_critic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.actor_critic_networks import Networks
from agents.parts.actor_policy import ActorPolicy
from agents.parts.adam import Adam
from agents.parts.deterministic_actor_critic import DDPG, DDPGConfig
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.parts.replay import Replay
from agents.parts.spaces import bounded_actions, observed_vector
from agents.parts.value_expansion import q_targets
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("continuous",)
OBSERVATIONS = ("vector",)
LEAST_VARIANCE = 1e-8  # added to every variance, in squared reward; the authors' code


@dataclass(frozen=True, kw_only=True)
class Config:
    """Defaults: the authors' code, config/core and config/algos/steve.json."""

    horizon: int = 3  # H, imagined steps; candidates bootstrap after 0 to H of them; 0: the learner alone
    random_steps: int = 10_000  # steps of uniform actions first
    updates: int = 4  # per step, of the learner and of the models
    batch_size: int = 512  # transitions, for the learner and for all models together
    replay_size: int = 1_000_000  # transitions
    gamma: float = 0.99  # discount per step
    # The learner
    hidden: tuple[int, ...] = (128, 128, 128)  # units of actor and critics
    critics: int = 4
    learning_rate: float = 3e-4  # of actor and critics; Adam
    target_every: int = 500  # updates of the learner between copies of the critics to their targets
    noise: float = 0.05  # chance per step and dimension that N(0, 1) is added to the action before its tanh
    saturation: float = 0.001  # weight of the mean squared action before its tanh in the actor's loss
    # The models
    members: int = 4  # models of each kind
    model_hidden: tuple[int, ...] = (512,) * 7  # units of the hidden layers of a transition model
    judge_hidden: tuple[int, ...] = (128, 128, 128)  # of a reward or termination model
    model_learning_rate: float = 3e-4  # Adam
    model_decay: float = 1e-4  # weight of the L2 term
    model_pretraining: int = 10_000  # updates of the models after the random steps


class STEVE:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        size = observed_vector(problem, "steve")
        space = bounded_actions(problem, "steve", "actor squashes its actions")
        self.actions = ActionVectors(space, problem.device)
        # A stream for each purpose, so that the length of one never moves the others.
        self.acting, self.drawing, self.modelling, learning = (
            torch.Generator(problem.device).manual_seed(4 * seed + i) for i in range(4)
        )
        low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in (space.low, space.high))
        self.learner = DDPG(size, low, high, learner_config(config), learning)
        self.transitions = Ensemble(
            size, self.actions.size, transition_config(config, size), self.modelling, reward=False, termination=False
        )
        inputs = 2 * size + self.actions.size
        self.rewards = Judges(inputs, config, self.modelling, logistic=False)
        self.ends = Judges(inputs, config, self.modelling, logistic=True)
        self.replay = Replay(min(config.replay_size, problem.budget), (size,), self.actions.size)
        self.end_seen = False
        self.learner_updates = 0

    def learn(self, door: Door, report: Report) -> None:
        env = door.open()
        obs, _ = env.reset()
        metrics: dict[str, float] | None = None
        while True:
            report(metrics)
            action = self.actions.decode(self.explore(obs))
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, action, float(reward), next_obs, terminated)
            self.end_seen = self.end_seen or bool(terminated)
            metrics = self.train()
            obs = env.reset()[0] if terminated or truncated else next_obs

    def explore(self, obs: Any) -> Float[Tensor, " A"]:
        """The action in the environment: uniform at first, then the actor's, now and then disturbed."""
        if self.replay.added < self.config.random_steps:
            return self.actions.draw(1, 1, self.acting)[0, :, 0]
        rows = torch.as_tensor(np.asarray(obs, np.float32), device=self.device)[None]
        return self.learner.act(rows, True, self.acting)[0]

    def train(self) -> dict[str, float] | None:
        """What one step is worth in updates; the losses of the last ones whenever targets are copied."""
        config, steps = self.config, self.replay.added
        if steps < config.random_steps:
            return None
        found: dict[str, Tensor] = {}
        if config.horizon > 0:
            pretraining = config.model_pretraining if steps == config.random_steps else 0
            for _ in range(pretraining + config.updates):
                found |= self.update_models()
        copied = False
        for _ in range(config.updates):
            found |= self.update(self.draw((config.batch_size,), self.drawing))
            copied = copied or self.learner_updates % config.target_every == 0
        return {f"loss/{name}": float(value) for name, value in found.items()} if copied else None

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> dict[str, Tensor]:
        """Replayed transitions, with replacement."""
        rows = torch.randint(len(self.replay), shape, generator=generator, device=self.device).cpu()
        return {name: held[rows].to(self.device) for name, held in self.replay.tensors().items()}

    def update_models(self) -> dict[str, Tensor]:
        """One step of all models, each on transitions of its own; their losses, summed over models."""
        batch = self.draw((self.config.members, self.config.batch_size // self.config.members), self.modelling)
        found = {"transition": self.transitions.update(batch)["dynamics"]}
        inputs = torch.cat([batch["next_obs"], batch["obs"], batch["action"]], -1)
        if "reward" not in self.known:
            found["reward"] = self.rewards.update(inputs, batch["reward"])
        if "termination" not in self.known:
            found["termination"] = self.ends.update(inputs, batch["terminated"].float())
        return found

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of critics and actor; every so often the target critics become what the critics are."""
        targets, weights = self.targets(batch)
        found = self.learner.update(batch, targets)
        self.learner_updates += 1
        if self.learner_updates % self.config.target_every == 0:
            self.learner.follow_targets(1.0)
        return found | {"model_use": 1.0 - weights[0].mean()}

    def targets(self, batch: Mapping[str, Tensor]) -> tuple[Float[Tensor, " B"], Float[Tensor, "S B"]]:
        """The candidates' mean over horizons, weighted with each one's inverse variance; and the weights. S = H + 1."""
        candidates = self.candidates(batch)
        means = torch.stack([each.mean(0) for each in candidates])
        weights = torch.stack([1.0 / (each.var(0, correction=0) + LEAST_VARIANCE) for each in candidates])
        weights /= weights.sum(0)
        return (weights * means).sum(0), weights

    @torch.no_grad()
    def candidates(self, batch: Mapping[str, Tensor]) -> list[Float[Tensor, "C B"]]:
        """For each horizon the target of every combination of N reward models, L critics and M transition models."""
        rewards, conts = [batch["reward"]], [1.0 - batch["terminated"].float()]
        obs = batch["next_obs"][None]  # the same for all models at first
        found: list[Tensor] = []
        while True:
            flat = obs.flatten(0, 1)
            action = self.learner.action(flat)
            inputs = torch.cat([flat, self.learner.bounds.inward(action)], 1)
            q = self.learner.target_critics.infer(inputs).view(-1, *obs.shape[:2])  # [L M B]
            found.append(q_targets(rewards, conts, q, self.config.gamma)[0].flatten(0, -2))
            if len(found) > self.config.horizon:
                return found
            action = action.view(*obs.shape[:2], -1)
            obs, reward, cont = self.step(*(rows.expand(self.config.members, -1, -1) for rows in (obs, action)))
            rewards.append(reward[:, None])  # [N 1 M B]
            conts.append(cont)

    def step(
        self, obs: Float[Tensor, "M B D"], action: Float[Tensor, "M B A"]
    ) -> tuple[Float[Tensor, "M B D"], Float[Tensor, "N M B"], Float[Tensor, "M B"]]:
        """Each transition model's next observation, every reward model's reward for it, and the probability, after the
        termination model of the same number, that the episode goes on."""
        next_obs = self.transitions.predict(obs, action).mean
        flat = obs.flatten(0, 1), action.flatten(0, 1), next_obs.flatten(0, 1)
        inputs = torch.cat([next_obs, obs, action], -1)
        if "reward" in self.known:
            reward = self.known["reward"](*flat).float()
        else:
            reward = self.rewards.predict(inputs.flatten(0, 1))
        if "termination" in self.known:
            end = self.known["termination"](*flat).float().view(obs.shape[:2])
        else:
            end = self.ends.predict(inputs) if self.end_seen else obs.new_zeros(obs.shape[:2])
        return next_obs, reward.view(-1, *obs.shape[:2]), 1.0 - end

    @property
    def updates(self) -> int:
        return self.learner_updates + self.transitions.updates

    def policy(self, mode: PolicyMode) -> ActorPolicy:
        """The actor, which draws nothing, for either mode."""
        return ActorPolicy(self.learner, self.actions, sample=False)

    def world_model(self) -> ImaginedWorld | None:
        """The transition models, judged by the others' mean, with the actor in them; None until they are fitted."""
        if self.transitions.updates == 0:
            return None
        judged = {"reward": self.mean_reward, "termination": self.mean_end, **self.known}
        act = lambda obs, generator: self.learner.act(obs, False)
        return ImaginedWorld(self.transitions, self.actions, act=act, known=judged)

    def mean_reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Float[Tensor, " B"]:
        return self.rewards.predict(torch.cat([next_obs, obs, action], -1)).mean(0)

    def mean_end(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Float[Tensor, " B"]:
        return self.ends.predict(torch.cat([next_obs, obs, action], -1)).mean(0) * self.end_seen

    def save(self, folder: Path) -> None:
        state = {
            "learner": self.learner.state(),
            "transitions": self.transitions.state(),
            "judges": [self.rewards.state(), self.ends.state()],
            "replay": self.replay.state(),
            "generators": [self.acting, self.drawing, self.modelling],
            "end_seen": self.end_seen,
            "learner_updates": self.learner_updates,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.learner.restore(state["learner"])
        self.transitions.restore(state["transitions"])
        for judges, saved in zip((self.rewards, self.ends), state["judges"], strict=True):
            judges.restore(saved)
        self.replay.restore(state["replay"])
        for generator, saved in zip((self.acting, self.drawing, self.modelling), state["generators"], strict=True):
            generator.set_state(saved)
        self.end_seen, self.learner_updates = state["end_seen"], state["learner_updates"]


class Judges:
    """The models of rewards, or with ``logistic`` of terminations: networks of (s', s, a) side by side."""

    def __init__(self, inputs: int, config: Config, generator: torch.Generator, *, logistic: bool) -> None:
        self.logistic = logistic
        self.networks = Networks(config.members, [inputs, *config.judge_hidden, 1], generator, initial="glorot")
        # Of the transitions over which the code takes its mean only a share teaches each model, but all of its L2 term.
        self.decay = config.model_decay * config.members
        self.optimiser = Adam([(self.networks.vector, self.networks.gradient, 0.0)], config.model_learning_rate)

    @torch.no_grad()
    def predict(self, inputs: Float[Tensor, "*E B I"]) -> Float[Tensor, "E B"]:
        """What each model says of the same rows, or of its own: rewards, or probabilities of a true end."""
        out = (self.networks.infer(inputs) if inputs.ndim == 2 else self.networks(inputs))[..., 0]
        return out.sigmoid() if self.logistic else out

    @torch.no_grad()
    def update(self, inputs: Float[Tensor, "E B I"], truth: Float[Tensor, "E B"]) -> Float[Tensor, ""]:
        """A step of each model on its own rows. Mean half squared errors or cross-entropies, summed over models."""
        layers = self.networks.forward(inputs)
        out = layers[-1][..., 0]
        if self.logistic:
            losses, slope = binary_cross_entropy_with_logits(out, truth, reduction="none"), out.sigmoid() - truth
        else:
            losses, slope = 0.5 * (out - truth).square(), out - truth
        self.networks.backward(layers, slope[..., None] / inputs.shape[1])
        self.networks.gradient.add_(self.networks.vector, alpha=self.decay)
        self.optimiser.step()
        return losses.mean(1).sum()

    def state(self) -> dict[str, Any]:
        return {"vector": self.networks.vector.clone(), "optimiser": self.optimiser.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.networks.vector.copy_(state["vector"])
        self.optimiser.restore(state["optimiser"])


def learner_config(config: Config) -> DDPGConfig:
    return DDPGConfig(
        hidden=config.hidden,
        normalise=False,
        actor_learning_rate=config.learning_rate,
        critic_learning_rate=config.learning_rate,
        gamma=config.gamma,
        tau=0.0,
        critics=config.critics,
        one_critic_per_row=True,
        target_actor=False,
        saturation=config.saturation,
        exploration="occasional",
        noise=config.noise,
    )


def transition_config(config: Config, obs_size: int) -> EnsembleConfig:
    """The code takes half the squared errors' sum over columns, `Ensemble` their mean; the decay goes with that."""
    return EnsembleConfig(
        members=config.members,
        elites=config.members,
        hidden=config.model_hidden,
        activation="relu",
        probabilistic=False,
        learning_rate=config.model_learning_rate,
        weight_decay=config.model_decay * config.members * 2.0 / obs_size,
        initial="glorot",
    )


def make(problem: Problem, seed: int, **config: Any) -> STEVE:
    settings = Config(**config)
    if settings.horizon < 0 or settings.members < 1 or settings.batch_size < settings.members:
        raise ValueError(
            f"expected a horizon of 0 or more, members of 1 or more and a batch_size of at least one transition for "
            f"each of them, found {settings.horizon}, {settings.members} and {settings.batch_size}"
        )
    if not 1 <= settings.random_steps < problem.budget:
        raise ValueError(
            f"steve would act at random to the end, or be taught without data: expected random_steps from 1 to below "
            f"the budget of {problem.budget} steps, found {settings.random_steps}; lower random_steps"
        )
    return STEVE(problem, seed, settings)
