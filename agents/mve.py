"""MVE: a critic taught by short imagined rollouts, on DDPG or SAC (Feinberg et al. 2018).

"Model-Based Value Estimation for Efficient Model-Free Reinforcement Learning", arXiv 1803.00101; numbers after the
authors' code, vlad17/mve, experiments/hc5.yaml. A network of the dynamics is trained on all that was lived through.
From the end of each replayed transition the target policy is followed through it for H steps; the rewards on the way
and the target critic's value behind them make the critic's target (section 3). The critic is taught that target not
only at the transition but at every imagined state on the way, each with what is left of the rollout, so that it knows
the states that it is asked about: the TD-k trick. Actor, exploration and all else are the learner's.

Deviations
----------
* The paper's reward is a known function of the state. Here that holds if the suite grants ``reward``; else it is one
  more output of the network.
* The authors' model never ends an episode. Here a granted ``termination`` is used, else a network beside the model
  says the probability of a true end, heeded as soon as one end was seen: it cuts the values behind it off, and
  imagined states count as much as they are likely to be reached.
* A time limit bootstraps. (Their replay marks an episode's last step as an end, whatever ended it.)
* The first steps are uniformly random; their untrained actor acts from the beginning.
* On SAC: ours is the later kind with twin critics and an automatic temperature; theirs has a value network, which has
  a TD-k loss of its own, and the temperature 1. The expanded value is soft in both: every imagined action adds
  minus alpha times its log-probability.
* Details of the learners: `deterministic_actor_critic`, `soft_actor_critic`.
* An input that never varied in the data has no say in the model until it does: its weights are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.actor_policy import ActorPolicy
from agents.parts.deterministic_actor_critic import DDPG, DDPGConfig
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.parts.replay import Replay
from agents.parts.soft_actor_critic import SAC, SACConfig
from agents.parts.spaces import bounded_actions, observed_vector
from agents.parts.value_expansion import q_targets
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("continuous",)
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Defaults: the authors' experiment on HalfCheetah. None stands for the learner's own setting, see its part."""

    learner: Literal["ddpg", "sac"] = "ddpg"  # what is expanded; published for both, most of it for DDPG
    horizon: int = 5  # H, imagined steps; 0: the learner alone, without a model
    td_k: bool = True  # whether imagined states are lessons too; code: not drop_tdk
    random_steps: int = 10_000  # steps before the learner's first update; code: ddpg_min_buf_size
    model_from: int = 5_000  # steps before the model's first update; code: dyn_min_buf_size
    interval: int = 100  # steps between trainings, first of the model, then of the learner; code: sample_interval
    updates: int = 4  # of the learner per step
    batch_size: int | None = None  # transitions; None: 64 for DDPG, as in the code, and 256 for SAC
    replay_size: int = 1_000_000  # transitions
    gamma: float = 0.99  # discount per step
    # The learner
    hidden: tuple[int, ...] | None = None  # units of actor and critics; DDPG 64, 64; SAC 256, 256
    learning_rate: float | None = None  # of actor and critics; DDPG 1e-3, on Walker2d 1e-4; SAC 3e-4
    actor_learning_rate: float | None = None  # of DDPG's actor if it has one of its own; on Swimmer 1e-4
    tau: float | None = None  # share that targets take over per update; DDPG 0.01, on Walker2d 0.001; SAC 0.005
    noise: float = 0.4  # of DDPG's exploration, in half-ranges; code: .2 of the range
    saturation: float = 0.0  # weight of DDPG's mean squared action before its tanh in the actor's loss; STEVE: 0.001
    # The model
    model_hidden: tuple[int, ...] = (128,) * 8  # units of each hidden layer
    model_learning_rate: float = 1e-3  # Adam
    model_batch_size: int = 512  # transitions
    model_updates: int = 4  # per step


class Lesson(NamedTuple):
    """What the critics are taught in one step: B real rows, then B imagined ones for each imagined state."""

    obs: Float[Tensor, "R D"]
    action: Float[Tensor, "R A"]
    targets: Float[Tensor, " R"]
    weight: Float[Tensor, " R"] | None  # None: all rows count alike


class MVE:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        obs_size = observed_vector(problem, "mve")
        space = bounded_actions(problem, "mve", "actor squashes its actions")
        self.actions = ActionVectors(space, problem.device)
        # A stream for each purpose, so that the length of one never moves the others.
        self.acting, self.drawing, self.modelling, learning = (
            torch.Generator(problem.device).manual_seed(4 * seed + i) for i in range(4)
        )
        self.learner = learner(obs_size, space, config, learning)
        self.batch_size = config.batch_size or (64 if config.learner == "ddpg" else 256)
        self.model = Ensemble(
            obs_size,
            self.actions.size,
            model_config(config),
            self.modelling,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        self.replay = Replay(min(config.replay_size, problem.budget), (obs_size,), self.actions.size)
        self.learner_updates = 0

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 1, in the rounds of the code."""
        env = door.open()
        obs, _ = env.reset()
        metrics: dict[str, float] | None = None
        while True:
            report(metrics)
            action = self.actions.decode(self.explore(obs))
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, action, float(reward), next_obs, terminated)
            metrics = self.train() if self.replay.added % self.config.interval == 0 else None
            obs = env.reset()[0] if terminated or truncated else next_obs

    def explore(self, obs: Any) -> Float[Tensor, " A"]:
        """The action in the environment: uniform at first, then the learner's exploration."""
        if self.replay.added < self.config.random_steps:
            return self.actions.draw(1, 1, self.acting)[0, :, 0]
        rows = torch.as_tensor(np.asarray(obs, np.float32), device=self.device)[None]
        return self.learner.act(rows, True, self.acting)[0]

    def train(self) -> dict[str, float]:
        """As many updates as an interval's steps are worth; the losses of the last ones."""
        config, steps = self.config, self.replay.added
        found: dict[str, Tensor] = {}
        if config.horizon > 0 and steps >= config.model_from:
            self.model.normalise(self.replay.tensors())
            for _ in range(config.interval * config.model_updates):
                found |= self.model.update(self.draw(config.model_batch_size, self.modelling))
        if steps >= config.random_steps:
            for _ in range(config.interval * config.updates):
                found |= self.update(self.draw(self.batch_size, self.drawing))
        return {f"loss/{name}": float(value) for name, value in found.items()}

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Replayed transitions, with replacement."""
        rows = torch.randint(len(self.replay), (size,), generator=generator, device=self.device).cpu()
        return {name: held[rows].to(self.device) for name, held in self.replay.tensors().items()}

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of the learner, whose critics learn from expanded values. With H = 0 it is the learner's own."""
        found = self.learner.update_critics(*self.expand(batch))
        found |= self.learner.update_actor(batch["obs"])
        if isinstance(self.learner, DDPG):
            self.learner.follow_targets(self.learner.config.tau)
        else:
            self.learner.follow_targets()
        self.learner_updates += 1
        return found

    @torch.no_grad()
    def expand(self, batch: Mapping[str, Tensor]) -> Lesson:
        """Section 3: follow the policy through the model from next_obs on, for H steps, and look back on them."""
        obs, action = [batch["obs"]], [batch["action"]]
        rewards, conts = [batch["reward"]], [1.0 - batch["terminated"].float()]
        bonuses: list[Tensor] = []
        state = batch["next_obs"]
        for _ in range(self.config.horizon):
            obs.append(state)
            action.append(self.act(state, bonuses))
            state, reward, cont = self.step(state, action[-1])
            rewards.append(reward)
            conts.append(cont)
        targets = q_targets(rewards, conts, self.learner.value(state), self.config.gamma, bonuses)
        if len(targets) == 1 or not self.config.td_k:
            return Lesson(obs[0], action[0], targets[0], None)
        return Lesson(torch.cat(obs), torch.cat(action), torch.cat(targets), reached(conts))

    def act(self, obs: Float[Tensor, "B D"], bonuses: list[Tensor]) -> Float[Tensor, "B A"]:
        """The policy whose value is estimated: the target actor's action, or SAC's, with what its entropy adds."""
        if isinstance(self.learner, DDPG):
            return self.learner.action(obs, target=True)
        action, log_prob = self.learner.sample(obs)
        bonuses.append(-self.learner.log_temperature.exp() * log_prob)
        return action

    def step(
        self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"], Float[Tensor, " B"]]:
        """The model's next observation, its reward, and the probability that the episode goes on."""
        mean, _, logit = self.model.predict(obs, action)
        next_obs = mean[0, :, : obs.shape[1]]
        reward = mean[0, :, -1]
        if "reward" in self.known:
            reward = self.known["reward"](obs, action, next_obs).float()
        if "termination" in self.known:
            return next_obs, reward, 1.0 - self.known["termination"](obs, action, next_obs).float()
        assert logit is not None
        return next_obs, reward, 1.0 - logit[0].sigmoid() * self.model.end_seen

    @property
    def updates(self) -> int:
        return self.learner_updates + self.model.updates

    def policy(self, mode: PolicyMode) -> ActorPolicy:
        """DDPG's actor draws nothing and is the same in both modes."""
        return ActorPolicy(self.learner, self.actions, mode == "sample" and isinstance(self.learner, SAC))

    def world_model(self) -> ImaginedWorld | None:
        """The network, in which the policy plays its mode; None until it is fitted."""
        if self.model.updates == 0:
            return None
        act = lambda obs, generator: self.learner.act(obs, False)
        return ImaginedWorld(self.model, self.actions, act=act, known=self.known)

    def save(self, folder: Path) -> None:
        state = {
            "learner": self.learner.state(),
            "model": self.model.state(),
            "replay": self.replay.state(),
            "generators": [self.acting, self.drawing, self.modelling],
            "learner_updates": self.learner_updates,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.learner.restore(state["learner"])
        self.model.restore(state["model"])
        self.replay.restore(state["replay"])
        for generator, saved in zip((self.acting, self.drawing, self.modelling), state["generators"], strict=True):
            generator.set_state(saved)
        self.learner_updates = state["learner_updates"]


def reached(conts: list[Tensor]) -> Float[Tensor, " R"]:
    """The weight of each row of a lesson: a sum over states of means over the rollouts that reach them.

    ``conts [B]`` of each step: a state is reached if all steps before it went on. The learners' loss is a mean over
    all rows, hence the factor.
    """
    alive = torch.stack([torch.ones_like(conts[0]), *conts[:-1]]).cumprod(0)  # [S B]
    return (alive / alive.sum(1, keepdim=True).clamp_min(1e-8)).flatten() * alive.numel()


def learner(obs_size: int, space: Box, config: Config, generator: torch.Generator) -> DDPG | SAC:
    """What is expanded, with its own settings wherever ``config`` says None."""
    low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in (space.low, space.high))
    own: dict[str, Any] = {"hidden": config.hidden, "tau": config.tau, "gamma": config.gamma}
    if config.learner == "ddpg":
        own["critic_learning_rate"] = config.learning_rate
        own["actor_learning_rate"] = config.actor_learning_rate or config.learning_rate
        own |= {"noise": config.noise, "saturation": config.saturation}
    else:
        own["learning_rate"] = config.learning_rate
    own = {name: value for name, value in own.items() if value is not None}
    if config.learner == "ddpg":
        return DDPG(obs_size, low, high, DDPGConfig(**own), generator)
    return SAC(obs_size, low, high, SACConfig(**own), generator)


def model_config(config: Config) -> EnsembleConfig:
    return EnsembleConfig(
        members=1,
        elites=1,
        hidden=config.model_hidden,
        activation="relu",
        probabilistic=False,
        learning_rate=config.model_learning_rate,
        weight_decay=0.0,
        normalise_targets=True,
        initial="glorot",
    )


def make(problem: Problem, seed: int, **config: Any) -> MVE:
    settings = Config(**config)
    if settings.horizon < 0 or settings.interval < 1:
        raise ValueError(
            f"expected a horizon of 0 or more and an interval of 1 or more steps, found horizon: {settings.horizon} "
            f"and interval: {settings.interval}"
        )
    if settings.random_steps >= problem.budget or settings.interval > problem.budget:
        raise ValueError(
            f"mve would act at random to the end: expected random_steps below the budget of {problem.budget} steps and "
            f"an interval of at most that, found random_steps: {settings.random_steps} and interval: "
            f"{settings.interval}; lower them (and model_from)"
        )
    ours = {name for name in ("actor_learning_rate", "noise", "saturation") if name in config}
    if settings.learner == "sac" and ours:
        raise ValueError(f"expected settings of learner: sac, found {', '.join(sorted(ours))}, which DDPG alone has")
    if settings.horizon and settings.model_from > settings.random_steps:
        raise ValueError(
            f"the learner would be taught by an untrained model: expected model_from of at most random_steps "
            f"({settings.random_steps}), found {settings.model_from}"
        )
    return MVE(problem, seed, settings)
