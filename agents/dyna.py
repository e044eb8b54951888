"""Deep Dyna: DQN that also learns from short rollouts of a learned model, branched from replayed states.

The general recipe of Levine's lectures on model-based reinforcement learning ("Model-based RL with policies", CS 285),
which is Dyna (Sutton 1990) with networks in place of tables: repeat K times: draw a state that was lived through,
choose an action (the one taken there, the current policy's, or a random one), ask the model for reward and next state,
learn from that by the same model-free rule, and go on for N more steps if wished. The model-free rule is DQN's (Mnih et
al. 2015): with no planning it is DQN. The settings of DQN are rl-baselines3-zoo's for CartPole, as `baselines.dqn` has.

Deviations
----------
* The model is a deterministic residual network of states and reward with another for the probability of an end (which
  is heeded as soon as one end was seen, and drawn), trained on one-step errors; the lectures leave the model open.
  Rewards and ends are the suite's where granted. With ``members`` above 1 each imagined step takes one at random.
* A rollout that has ended, or whose state is not finite, goes on no more; its rows are left out of the mean.
* A time limit bootstraps. DQN's gradient is cut at norm 10, and its loss is Huber's, as in stable-baselines3.
* An input that never varied in the data has no say in the model until it does: its weights are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Bool, Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.actor_critic_networks import Networks
from agents.parts.adam import Adam
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.parts.replay import Replay
from agents.parts.spaces import observed_vector
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete",)
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """DQN's defaults: rl-baselines3-zoo for CartPole; planning's and the model's: ours, sized for classic control."""

    # Planning
    planning: int = 1  # K, batches of imagined rollouts per real batch; 0: DQN
    rollout: int = 1  # steps of each; the lectures' N more steps, and the first
    branch: Literal["replayed", "policy", "random"] = "policy"  # the first action; the policy is epsilon-greedy
    # DQN
    random_steps: int = 1_000  # steps of random actions before the first update
    interval: int = 256  # steps between trainings
    updates: int = 128  # real batches per training
    batch_size: int = 64  # transitions
    replay_size: int = 100_000  # transitions
    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer of Q
    learning_rate: float = 2.3e-3  # Adam
    gamma: float = 0.99  # discount per step
    target_every: int = 1  # trainings between copies of Q into its target; zoo: each 10 steps, so at every training
    exploration_share: float = 0.16  # of the budget, over which epsilon falls linearly from 1
    epsilon: float = 0.04  # the share of random actions from then on
    max_norm: float = 10.0  # of the gradient; stable-baselines3
    # The model
    members: int = 1  # networks
    model_hidden: tuple[int, ...] = (200, 200)  # units of each hidden layer
    model_learning_rate: float = 1e-3  # Adam
    model_batch_size: int = 256  # transitions
    model_updates: int = 256  # per training


class Dyna:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        self.budget = problem.budget
        obs_size = observed_vector(problem, "dyna", instead="dyna_q for a table, or an agent for images")
        self.actions = ActionVectors(problem.action_space, problem.device)
        # A stream for each purpose, so that the length of one never moves the others.
        self.acting, self.drawing, self.modelling, self.imagining, first = (
            torch.Generator(problem.device).manual_seed(5 * seed + i) for i in range(5)
        )
        self.q = Networks(1, [obs_size, *config.hidden, self.actions.size], first)
        self.target = self.q.copy()
        self.optimiser = Adam([(self.q.vector, self.q.gradient, 0.0)], config.learning_rate)
        self.model = Ensemble(
            obs_size,
            self.actions.size,
            EnsembleConfig(
                members=config.members,
                elites=config.members,
                hidden=config.model_hidden,
                probabilistic=False,
                learning_rate=config.model_learning_rate,
                weight_decay=0.0,
                normalise_targets=True,
                initial="glorot",
            ),
            self.modelling,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        self.replay = Replay(min(config.replay_size, problem.budget), (obs_size,), self.actions.size)
        self.trainings = self.q_updates = 0

    def learn(self, door: Door, report: Report) -> None:
        """Act, learn from what happened, train the model, learn from what would happen."""
        env = door.open()
        obs, _ = env.reset()
        metrics: dict[str, float] | None = None
        while True:
            report(metrics)
            vector = self.explore(self._tensor(obs)[None], self._epsilon(), self.acting)[0]
            action = self.actions.decode(vector)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, self.actions.encode(action), float(reward), next_obs, terminated)
            metrics = self.train() if self._is_due() else None
            obs = env.reset()[0] if terminated or truncated else next_obs

    def _is_due(self) -> bool:
        steps = self.replay.added
        return steps >= self.config.random_steps and steps % self.config.interval == 0

    def _epsilon(self) -> float:
        """The share of random actions at this step: all at first, then less, then `Config.epsilon`."""
        config, steps = self.config, self.replay.added
        if steps < config.random_steps:
            return 1.0
        done = min(steps / max(config.exploration_share * self.budget, 1.0), 1.0)
        return 1.0 + done * (config.epsilon - 1.0)

    def train(self) -> dict[str, float]:
        """The model first, then Q: after each real batch as many imagined ones as are planned; the last losses."""
        config = self.config
        if self.trainings % config.target_every == 0:
            self.target.vector.copy_(self.q.vector)
        self.trainings += 1
        found: dict[str, Tensor] = {}
        if config.planning > 0:
            self.model.normalise(self.replay.tensors())
            for _ in range(config.model_updates):
                found |= self.model.update(self.draw(config.model_batch_size, self.modelling))
        epsilon = self._epsilon()
        for _ in range(config.updates):
            found["q"] = self.update(self.draw(config.batch_size, self.drawing))
            for _ in range(config.planning):
                for rows in self.imagine(self.draw(config.batch_size, self.imagining), epsilon):
                    found["imagined_q"] = self.update(rows)
        return {f"loss/{name}": float(value) for name, value in found.items()}

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Replayed transitions, with replacement."""
        rows = torch.randint(len(self.replay), (size,), generator=generator, device=self.device).cpu()
        return {name: held[rows].to(self.device) for name, held in self.replay.tensors().items()}

    @torch.no_grad()
    def update(self, batch: Mapping[str, Tensor]) -> Tensor:
        """One step of Q towards `targets` on transitions, real or imagined; Huber's loss before it."""
        layers = self.q.forward(batch["obs"])
        error = (layers[-1][0] * batch["action"]).sum(1) - self.targets(batch)
        slope = error.clamp(-1.0, 1.0)
        self.q.backward(layers, (slope / len(error) * batch["action"].T).T[None])
        self.q.gradient *= (self.config.max_norm / (self.q.gradient.norm() + 1e-6)).clamp_(max=1.0)
        self.optimiser.step()
        self.q_updates += 1
        return (slope * (error - slope / 2)).mean()

    @torch.no_grad()
    def targets(self, batch: Mapping[str, Tensor]) -> Float[Tensor, " B"]:
        """r + gamma (1 - terminated) max Q'(s', a). A time limit is no true end and is not in ``terminated``."""
        cont = 1.0 - batch["terminated"].float()
        return batch["reward"] + self.config.gamma * cont * self.target.infer(batch["next_obs"])[0].amax(1)

    @torch.no_grad()
    def imagine(self, batch: Mapping[str, Tensor], epsilon: float) -> list[dict[str, Tensor]]:
        """Rollouts from the states of ``batch``: for each step the transitions of those that got there."""
        found: list[dict[str, Tensor]] = []
        obs, action = batch["obs"], batch["action"]
        for step in range(self.config.rollout):
            if step > 0 or self.config.branch == "policy":
                action = self.explore(obs, epsilon, self.imagining)
            elif self.config.branch == "random":
                action = self.explore(obs, 1.0, self.imagining)
            next_obs, reward, terminated = self.step(obs, action)
            finite = next_obs.isfinite().all(1) & reward.isfinite()
            rows = {"obs": obs, "action": action, "reward": reward, "next_obs": next_obs, "terminated": terminated}
            rows = {name: column[finite] for name, column in rows.items()}
            obs = rows["next_obs"][~rows["terminated"]]
            if len(rows["reward"]):
                found.append(rows)
            if not len(obs):
                break
        return found

    def step(
        self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"], Bool[Tensor, " B"]]:
        """The model's next observation, reward and end; the suite's reward and end where granted."""
        next_obs, reward, end = self.model.sample(obs, action, self.imagining)
        if "reward" in self.known:
            reward = self.known["reward"](obs, action, next_obs).float()
        assert reward is not None
        if "termination" in self.known:
            return next_obs, reward, self.known["termination"](obs, action, next_obs).bool()
        assert end is not None
        return next_obs, reward, torch.rand(len(obs), generator=self.imagining, device=obs.device) < end

    def explore(self, obs: Float[Tensor, "N D"], epsilon: float, generator: torch.Generator) -> Float[Tensor, "N A"]:
        """Epsilon-greedy actions, one-hot."""
        return chosen(self.q, obs, epsilon, generator)

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)

    @property
    def updates(self) -> int:
        return self.q_updates + self.model.updates

    def policy(self, mode: PolicyMode) -> QPolicy:
        """The mode is greedy; a sample is epsilon-greedy at the epsilon that was reached."""
        epsilon = self._epsilon() if mode == "sample" else 0.0
        return QPolicy(self.q.copy(), self.actions, epsilon, torch.Generator(self.device))

    def world_model(self) -> ImaginedWorld | None:
        """The network, in which the policy is greedy; None until it is fitted."""
        if self.model.updates == 0:
            return None
        act = lambda obs, generator: chosen(self.q, obs, 0.0, generator)
        return ImaginedWorld(self.model, self.actions, act=act, known=self.known)

    def save(self, folder: Path) -> None:
        state = {
            "q": self.q.vector,
            "target": self.target.vector,
            "optimiser": self.optimiser.state(),
            "model": self.model.state(),
            "replay": self.replay.state(),
            "generators": [self.acting, self.drawing, self.modelling, self.imagining],
            "counts": [self.trainings, self.q_updates],
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.q.vector.copy_(state["q"])
        self.target.vector.copy_(state["target"])
        self.optimiser.restore(state["optimiser"])
        self.model.restore(state["model"])
        self.replay.restore(state["replay"])
        generators = (self.acting, self.drawing, self.modelling, self.imagining)
        for generator, saved in zip(generators, state["generators"], strict=True):
            generator.set_state(saved)
        self.trainings, self.q_updates = state["counts"]


def chosen(q: Networks, obs: Float[Tensor, "N D"], epsilon: float, generator: torch.Generator) -> Float[Tensor, "N A"]:
    """The greedy actions, one-hot, or with probability ``epsilon`` uniform ones; without epsilon nothing is drawn."""
    values = q.infer(obs)[0]
    best = values.argmax(1)
    if epsilon > 0.0:
        random = torch.randint(values.shape[1], best.shape, generator=generator, device=obs.device)
        explores = torch.rand(best.shape, generator=generator, device=obs.device) < epsilon
        best = torch.where(explores, random, best)
    return (best[:, None] == torch.arange(values.shape[1], device=obs.device)).float()


class QPolicy:
    """Frozen Q with a random stream of its own; without epsilon it draws nothing."""

    def __init__(self, q: Networks, actions: ActionVectors, epsilon: float, generator: torch.Generator) -> None:
        self.q, self.actions, self.epsilon, self.generator = q, actions, epsilon, generator

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def act(self, obs: Any) -> Any:
        rows = torch.as_tensor(np.asarray(obs, np.float32), device=self.generator.device)[None]
        return self.actions.decode(chosen(self.q, rows, self.epsilon, self.generator)[0])


def make(problem: Problem, seed: int, **config: Any) -> Dyna:
    if not isinstance(problem.action_space, Discrete):
        raise ValueError(
            f"dyna learns a value for each action and needs a Discrete action space, but {problem.env_id} has "
            f"{problem.action_space}; take mbpo or svg for continuous actions"
        )
    settings = Config(**config)
    if settings.planning < 0 or settings.rollout < 1:
        raise ValueError(
            f"expected planning of 0 or more and a rollout of 1 or more steps, found planning: {settings.planning} "
            f"and rollout: {settings.rollout}; planning: 0 is DQN"
        )
    if max(settings.random_steps, settings.interval) >= problem.budget:
        raise ValueError(
            f"dyna would never train: expected random_steps and interval below the budget of {problem.budget} steps, "
            f"found {settings.random_steps} and {settings.interval}; lower them"
        )
    return Dyna(problem, seed, settings)
