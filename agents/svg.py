"""SVG: the policy climbs the gradient of returns through a learned model (Heess et al. 2015, Amos et al. 2021).

By default SAC-SVG(H), "On the model-based stochastic value gradient for continuous reinforcement learning", arXiv
2008.12775; numbers after the authors' code, facebookresearch/svg. A deterministic network of the dynamics is trained on
all that was lived through. From replayed states the policy is followed through it for H steps; the rewards on the way,
the entropies and the critic's value behind them are one differentiable function of the policy's numbers, for actions
are drawn by reparameterisation (equation 5), and the actor climbs its gradient. Critics and temperature are those of
soft actor-critic; with H = 0 the actor is, too.

From "Learning Continuous Control Policies by Stochastic Value Gradients", arXiv 1510.09142, by options: SVG(1) is
``horizon=1, residual=True``, in which what the model missed at the replayed transition is inferred as its noise and
added to the imagined step (section 4.2); SVG(inf) is a long ``horizon`` with ``final_value=False``.

Deviations
----------
* The model is a residual feed-forward network, trained one step ahead on single transitions. The code's is a GRU that
  is unrolled, and trained, over as many steps as are imagined. Its target is in units of its standard deviation, and
  its activation is smooth, for its slopes are what the actor learns from.
* H counts the model's steps, as in the paper, where 0 is SAC. The code counts actions, and so one more.
* The reward is one more output of the network (in the code a network of its own), or the suite's where granted; the
  probability of an end is a network of its own, heeded as soon as one end was seen, or the suite's.
* An imagined entropy counts as much as its state is likely to be reached (in the code wholly), and the sum is not
  divided by its number of terms, which Adam would hardly notice.
* The model has trained for some steps before the actor meets it. Log-stds lie in [-20, 2] (code: [-5, 2]), the
  temperature has the actor's learning rate (code: 5e-4) and a constant target entropy.
* Of Heess et al.: the value is the critics' of SAC, where they have a network of V; the policy's noise is drawn anew
  instead of inferred, so no importance weights are needed; SVG(inf) follows imagined instead of recorded episodes.
* An input that never varied in the data has no say in the model until it does: its weights are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.actor_policy import ActorPolicy
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.parts.replay import Replay
from agents.parts.soft_actor_critic import SAC, SACConfig
from agents.parts.spaces import bounded_actions, observed_vector
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("continuous",)
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Defaults: the authors' code, config/train.yaml, unless said otherwise."""

    horizon: int = 3  # H, imagined steps before the critics' value; 0: soft actor-critic, without a model; paper
    residual: bool = False  # whether the first imagined step has the noise that the replayed one had; Heess: True
    final_value: bool = True  # whether the critics' value stands behind the last step; SVG(inf): False
    random_steps: int = 1_000  # steps of uniform actions before the policy's first update; code: num_seed_steps
    model_from: int = 500  # steps before the model's first update; ours
    batch_size: int = 1_024  # transitions for the critics, states for the actor; code: step_batch_size
    gamma: float = 0.99  # discount per step
    # The policy
    hidden: tuple[int, ...] = (512, 512, 512, 512)  # units of actor and critics
    learning_rate: float = 1e-4  # of actor, critics and temperature; Adam
    tau: float = 0.005  # share of the critics that their targets take over per update
    temperature: float = 1.0  # alpha at the beginning
    target_entropy: float | None = None  # nats, of the action in [-1, 1]; None: minus the number of its dimensions
    updates: int = 1  # of critics and actor per step
    # The model
    model_hidden: tuple[int, ...] = (512, 512)  # units of each hidden layer; code: those of the GRU
    model_learning_rate: float = 1e-3  # Adam
    model_batch_size: int = 512  # transitions; code: seq_batch_size
    model_updates: int = 4  # per step; code: model_update_repeat
    normalise_every: int = 100  # steps between fits of the model's normalisers to all data; ours


class Imagined(NamedTuple):
    """The policy's way through the model from B states: each of its H steps, and the state behind them."""

    rewards: list[Float[Tensor, " B"]]
    conts: list[Float[Tensor, " B"]]  # the probability that the episode goes on after the step
    log_probs: list[Float[Tensor, " B"]]  # of the actions, in [-1, 1]
    last: Float[Tensor, "B D"]


class SVG:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        self.obs_size = observed_vector(problem, "svg")
        space = bounded_actions(problem, "svg", "policy is a squashed Gaussian")
        self.actions = ActionVectors(space, problem.device)
        # A stream for each purpose, so that the length of one never moves the others.
        self.acting, self.drawing, self.modelling, learning = (
            torch.Generator(problem.device).manual_seed(4 * seed + i) for i in range(4)
        )
        low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in (space.low, space.high))
        self.sac = SAC(self.obs_size, low, high, policy_config(config), learning)
        self.model = Ensemble(
            self.obs_size,
            self.actions.size,
            model_config(config),
            self.modelling,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        self.replay = Replay(problem.budget, (self.obs_size,), self.actions.size)
        self.policy_updates = 0

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 1 of Amos et al.: act, then train the model, the critics and the actor."""
        env = door.open()
        obs, _ = env.reset()
        metrics: dict[str, float] | None = None
        while True:
            report(metrics)
            action = self.actions.decode(self.explore(obs))
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, action, float(reward), next_obs, terminated)
            found = self.train()
            logged = self.replay.added % self.config.normalise_every == 0
            metrics = {f"loss/{name}": float(value) for name, value in found.items()} if logged else None
            obs = env.reset()[0] if terminated or truncated else next_obs

    def explore(self, obs: Any) -> Float[Tensor, " A"]:
        """The action in the environment: uniform at first, then a sample of the policy."""
        if self.replay.added < self.config.random_steps:
            return self.actions.draw(1, 1, self.acting)[0, :, 0]
        return self.sac.act(self._tensor(obs)[None], True, self.acting)[0]

    def train(self) -> dict[str, Tensor]:
        """What a step's end brings; the last losses."""
        config, steps = self.config, self.replay.added
        found: dict[str, Tensor] = {}
        if config.horizon > 0 and steps >= config.model_from:
            if self.model.updates == 0 or steps % config.normalise_every == 0:
                self.model.normalise(self.replay.tensors())
            for _ in range(config.model_updates):
                found |= self.model.update(self.draw(config.model_batch_size, self.modelling))
        if steps >= config.random_steps:
            for _ in range(config.updates):
                found |= self.update(self.draw(config.batch_size, self.drawing))
        return found

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Replayed transitions, with replacement."""
        rows = torch.randint(len(self.replay), (size,), generator=generator, device=self.device).cpu()
        return {name: held[rows].to(self.device) for name, held in self.replay.tensors().items()}

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of the critics, of the actor and the temperature, and of the target critics."""
        found = self.sac.update_critics(batch["obs"], batch["action"], self.sac.targets(batch))
        found |= self.update_actor(batch)
        self.sac.follow_targets()
        self.policy_updates += 1
        return found

    def update_actor(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Up the gradient of the imagined value; alpha as in SAC, by the entropy in the replayed states."""
        sac = self.sac
        value, log_prob = self.value(batch)
        loss, log_prob = -value.mean(), log_prob.detach().mean()
        sac.actor.differentiate(loss)
        if sac.config.automatic:
            torch.sub(-sac.target_entropy, log_prob, out=sac.log_temperature_slope)
        alpha = sac.log_temperature.exp()
        sac.actor_optimiser.step()
        return {"actor": loss.detach(), "entropy": -log_prob, "alpha": alpha}

    def value(self, batch: Mapping[str, Tensor]) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """The H-step value of the replayed states, and the log-probabilities of the first actions.

        V(s_t) = r_t - alpha log pi(a_t | s_t) + gamma c_t V(s_t+1), from V(s_H) = min Q(s_H, a_H) - alpha log pi
        backwards (Amos et al. 2021, section 4); differentiable in the actor.
        """
        config, alpha = self.config, self.sac.log_temperature.exp()
        missed = self.missed(batch) if config.residual and config.horizon > 0 else None
        way = self.imagine(batch["obs"], missed)
        log_probs, value = list(way.log_probs), torch.zeros_like(batch["reward"])
        if config.final_value:
            action, log_prob = self.sac.sample(way.last)
            log_probs.append(log_prob)
            value = self.sac.critic(way.last, action).amin(0) - alpha * log_prob
        for reward, cont, log_prob in zip(*(part[::-1] for part in way[:3]), strict=True):
            value = reward - alpha * log_prob + config.gamma * cont * value
        return value, log_probs[0]

    def imagine(self, obs: Float[Tensor, "B D"], missed: Float[Tensor, "B D"] | None = None) -> Imagined:
        """Follow samples of the policy for H steps; ``missed`` is added to the first state that the model predicts."""
        way = Imagined([], [], [], obs)
        for _ in range(self.config.horizon):
            action, log_prob = self.sac.sample(way.last)
            next_obs, reward, cont = self.step(way.last, action, missed)
            way.rewards.append(reward)
            way.conts.append(cont)
            way.log_probs.append(log_prob)
            way, missed = way._replace(last=next_obs), None
        return way

    def step(
        self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"], missed: Float[Tensor, "B D"] | None = None
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"], Float[Tensor, " B"]]:
        """The model's next observation, its reward, and the probability that the episode goes on."""
        mean, _, logit = self.model.predict(obs, action)
        next_obs, reward = mean[0, :, : self.obs_size], mean[0, :, -1]
        if missed is not None:
            next_obs = next_obs + missed
        if "reward" in self.known:
            reward = self.known["reward"](obs, action, next_obs).float()
        if "termination" in self.known:
            return next_obs, reward, 1.0 - self.known["termination"](obs, action, next_obs).float()
        assert logit is not None
        return next_obs, reward, 1.0 - logit[0].sigmoid() * self.model.end_seen

    @torch.no_grad()
    def missed(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "B D"]:
        """The noise that explains each replayed transition: s' - f(s, a) (Heess et al. 2015, section 4.2)."""
        mean = self.model.predict(batch["obs"], batch["action"]).mean[0]
        return batch["next_obs"] - mean[:, : self.obs_size]

    def gradients(self, obs: Float[Tensor, "B D"], horizons: Sequence[int], seed: int) -> list[float]:
        """How a path's end depends on its beginning: the norm of d s_h / d s_0, the policy's mode followed in between.

        State in units of its deviation in the data, s_h along one random direction for each row, root mean square
        over rows; so it is 1 at h = 0, above where gradients through the model explode, below where they vanish.
        """
        std = self.model.inputs.std[: self.obs_size]
        generator = torch.Generator(obs.device).manual_seed(seed)
        along = torch.randn(obs.shape, generator=generator, device=obs.device)
        along /= along.norm(dim=1, keepdim=True)
        start = obs.clone().requires_grad_()
        state, found = start, {}
        for h in range(max(horizons) + 1):
            if h in horizons:
                (slope,) = torch.autograd.grad((state / std * along).sum(), start, retain_graph=True)
                found[h] = float((slope * std).square().sum(1).mean().sqrt())
            mean = self.sac.actor(state)[0, :, : self.actions.size]
            state = self.step(state, self.sac.bounds.outward(mean.tanh()))[0]
        return [found[h] for h in horizons]

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)

    @property
    def updates(self) -> int:
        return self.policy_updates + self.model.updates

    def policy(self, mode: PolicyMode) -> ActorPolicy:
        return ActorPolicy(self.sac, self.actions, mode == "sample")

    def world_model(self) -> PathwiseWorld | None:
        """The network, in which the policy plays its mode; None until it is fitted."""
        return PathwiseWorld(self) if self.model.updates else None

    def save(self, folder: Path) -> None:
        state = {
            "sac": self.sac.state(),
            "model": self.model.state(),
            "replay": self.replay.state(),
            "generators": [self.acting, self.drawing, self.modelling],
            "policy_updates": self.policy_updates,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.sac.restore(state["sac"])
        self.model.restore(state["model"])
        self.replay.restore(state["replay"])
        for generator, saved in zip((self.acting, self.drawing, self.modelling), state["generators"], strict=True):
            generator.set_state(saved)
        self.policy_updates = state["policy_updates"]


class PathwiseWorld(ImaginedWorld):
    """The model as it is measured, and how the policy's paths through it depend on their beginnings."""

    def __init__(self, agent: SVG) -> None:
        act = lambda obs, generator: agent.sac.act(obs, False)
        super().__init__(agent.model, agent.actions, act=act, known=agent.known)
        self.agent = agent

    def gradients(self, first_obs: np.ndarray, horizons: Sequence[int], seed: int) -> list[float]:
        """One norm for each horizon; see `SVG.gradients`."""
        return self.agent.gradients(self._tensor(first_obs), horizons, seed)


def policy_config(config: Config) -> SACConfig:
    return SACConfig(
        hidden=config.hidden,
        learning_rate=config.learning_rate,
        gamma=config.gamma,
        tau=config.tau,
        temperature=config.temperature,
        target_entropy=config.target_entropy,
    )


def model_config(config: Config) -> EnsembleConfig:
    return EnsembleConfig(
        members=1,
        elites=1,
        hidden=config.model_hidden,
        activation="swish",
        probabilistic=False,
        learning_rate=config.model_learning_rate,
        weight_decay=0.0,
        normalise_targets=True,
        initial="glorot",
    )


def make(problem: Problem, seed: int, **config: Any) -> SVG:
    settings = Config(**config)
    if settings.horizon < (0 if settings.final_value else 1):
        raise ValueError(
            f"expected a horizon of 0 or more, and of 1 or more without the final value, found horizon: "
            f"{settings.horizon} and final_value: {settings.final_value}"
        )
    if settings.normalise_every < 1:
        raise ValueError(f"expected normalise_every of at least 1 step, found {settings.normalise_every}")
    if settings.random_steps >= problem.budget:
        raise ValueError(
            f"svg would act at random to the end: expected random_steps below the budget of {problem.budget} steps, "
            f"found {settings.random_steps}; lower random_steps (and model_from)"
        )
    if settings.horizon and settings.model_from > settings.random_steps:
        raise ValueError(
            f"the policy would climb an untrained model: expected model_from of at most random_steps "
            f"({settings.random_steps}), found {settings.model_from}"
        )
    return SVG(problem, seed, settings)
