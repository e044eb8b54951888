"""MBPO: soft actor-critic on short rollouts of a learned ensemble, branched from real states (Janner et al. 2019).

"When to Trust Your Model: Model-Based Policy Optimization", arXiv 1906.08253; numbers after the authors' code,
jannerm/mbpo at ac694ff. Every so many steps the model is trained further on all that was lived through (algorithm 2,
line 3) and rolled out for k steps with the current policy from states drawn out of it (lines 6 to 8); after each real
step the policy takes many gradient steps on batches that are mostly imagined (lines 9 and 10). How far to trust the
model is k, which grows with the epochs on a schedule of each task's own (section 4.2, appendix C).

Deviations
----------
* As in the code, the rollouts of all steps until the next training are made at once, by the policy of that moment.
* The termination is the suite's where it is granted, as the authors' hand-written ones. Else the model predicts the
  logit of a true end beside state and reward, and an end is drawn with its probability.
* Budgets below 50,000 steps: of the published random steps no more than a tenth of the budget is taken, and the first
  update waits for no more transitions than that. The code waits for 1,000, also on InvertedPendulum.
* An environment that the authors have no settings for gets those of their template (examples/config/custom), with
  half an action's size as target entropy, which is what Walker2d, HalfCheetah and Ant have.
* The model sees actions in the environment's units (theirs are in [-1, 1]; both are normalised by the data, here by
  the rows that are held out, too).
* An imagined state that is not finite is dropped.
* When rollouts become longer the buffer grows and its rows keep their age. (The code forgets which was the oldest.)
* The order of an update's steps and other details of the parts: `soft_actor_critic`, `ensemble`.
* An input that never varied in the data has no say in the model until it does: its weights are 0.

A save does not hold the imagined rows but what each training's rollouts were made of; `load` makes them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.actor_policy import ActorPolicy
from agents.parts.branched import Columns, Rows, branch, mixed_batches, rollout_length
from agents.parts.captured import Captured
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.imagined import ImaginedWorld
from agents.parts.soft_actor_critic import SAC, SACConfig
from agents.parts.spaces import bounded_actions, observed_vector
from agents.protocol import Door, PolicyMode, Problem, Report, WorldModel

ACTIONS = ("continuous",)
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """None stands for the published setting of the environment, see `Task`. Other defaults: the authors' code."""

    random_steps: int | None = None
    update_from: int | None = None
    epoch_steps: int | None = None
    model_every: int | None = None
    model_hidden: tuple[int, ...] | None = None
    schedule: tuple[int, int, int, int] | None = None
    retain_epochs: int | None = None
    updates: int | None = None
    target_entropy: float | None = None
    # The model
    members: int = 7  # networks
    elites: int = 5  # those with the least hold-out error, of which each imagined step takes one at random
    model_learning_rate: float = 1e-3  # Adam
    model_weight_decay: float | tuple[float, ...] = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)  # of each layer, or of all
    model_batch_size: int = 256  # transitions per member
    patience: int = 5  # training ends when for more epochs than this no member's hold-out error fell by 1 %
    model_epochs: int | None = None  # of a training at most
    rollouts: int = 100_000  # branched from real states after each training of the model
    # The policy
    batch_size: int = 256  # transitions
    real_ratio: float = 0.05  # share of real transitions in a batch; 1: no model at all, which is SAC
    hidden: tuple[int, ...] = (256, 256)  # units of actor and critics
    learning_rate: float = 3e-4  # of actor, critics and temperature; Adam
    gamma: float = 0.99  # discount per step
    tau: float = 0.005  # share of the critics that their targets take over per update


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the authors set for each environment; defaults: examples/config/custom and examples/development/base.py."""

    random_steps: int = 5_000  # steps of uniform actions first
    update_from: int = 1_000  # transitions there must be before the first update of the policy
    epoch_steps: int = 1_000  # steps of an epoch, the unit of the schedule and of the buffer
    model_every: int = 250  # steps between trainings of the model; rollouts follow each
    model_hidden: tuple[int, ...] = (200, 200, 200, 200)  # units of each hidden layer
    schedule: tuple[int, int, int, int] = (20, 150, 1, 15)  # rollout length k: from epoch, to epoch, least, most steps
    retain_epochs: int = 1  # epochs whose rollouts, had none ended early, the buffer holds
    updates: int = 20  # G, of the policy per real step
    target_entropy: float | None = None  # nats, of the action in [-1, 1]; None: minus half of its size


ONE_STEP = (20, 150, 1, 1)
TASKS = {  # examples/config/*/0.py
    "InvertedPendulum": Task(random_steps=500, epoch_steps=250, schedule=ONE_STEP, updates=10, target_entropy=-0.05),
    "InvertedDoublePendulum": Task(random_steps=500, epoch_steps=250, schedule=ONE_STEP, target_entropy=-0.5),
    "Hopper": Task(target_entropy=-1.0),
    "Walker2d": Task(schedule=ONE_STEP, target_entropy=-3.0),
    "HalfCheetah": Task(schedule=ONE_STEP, updates=40, target_entropy=-3.0),
    "Ant": Task(schedule=(20, 100, 1, 25), target_entropy=-4.0),
    "Humanoid": Task(
        model_every=1_000,
        model_hidden=(400, 400, 400, 400),
        schedule=(20, 300, 1, 25),
        retain_epochs=5,
        target_entropy=-2.0,
    ),
}


def task_of(problem: Problem, config: Config) -> Task:
    """The published settings of an environment, with what ``config`` says in their place."""
    task = TASKS.get(problem.env_id.rsplit("-v", 1)[0], Task())
    tenth = max(problem.budget // 10, 5)
    entropy = task.target_entropy
    if entropy is None:
        entropy = -0.5 * float(np.prod(problem.action_space.shape or ()))
    task = replace(
        task,
        random_steps=min(task.random_steps, tenth),
        update_from=min(task.update_from, tenth),
        target_entropy=entropy,
    )
    said = {f.name: getattr(config, f.name) for f in fields(task)}
    return replace(task, **{name: value for name, value in said.items() if value is not None})


class MBPO:
    def __init__(self, problem: Problem, seed: int, config: Config, task: Task) -> None:
        self.config, self.task = replace(config, **asdict(task)), task
        self.known, self.budget, self.device = dict(problem.known), problem.budget, problem.device
        obs_size = observed_vector(problem, "mbpo")
        space = bounded_actions(problem, "mbpo", "policy is a squashed Gaussian")
        self.actions = ActionVectors(space, problem.device)
        # A stream for each purpose, so that the length of one never moves the others.
        self.acting, self.fitting, self.imagining, self.drawing, learning = (
            torch.Generator(problem.device).manual_seed(5 * seed + i) for i in range(5)
        )
        self.ensemble = Ensemble(
            obs_size,
            self.actions.size,
            EnsembleConfig(  # what is not said here is the authors' too
                members=config.members,
                elites=config.elites,
                hidden=task.model_hidden,
                learning_rate=config.model_learning_rate,
                weight_decay=config.model_weight_decay,
                batch_size=config.model_batch_size,
                patience=config.patience,
                max_epochs=config.model_epochs,
            ),
            self.fitting,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in (space.low, space.high))
        self.sac = SAC(
            obs_size,
            low,
            high,
            SACConfig(
                hidden=config.hidden,
                learning_rate=config.learning_rate,
                gamma=config.gamma,
                tau=config.tau,
                target_entropy=task.target_entropy,
                initial="glorot",
            ),
            learning,
        )
        self.update = Captured(self._update, [learning])
        self.columns = Columns(obs_size, self.actions.size)
        self.real = Rows(problem.budget, self.columns.width, problem.device)
        self.imagined = Rows(self._capacity(0), self.columns.width, problem.device)
        self.recipes: list[dict[str, Any]] = []  # of all rollouts of which `imagined` still holds a row
        self.policy_updates = 0

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 2, after the random steps of the code."""
        env = door.open()
        obs, _ = env.reset()
        metrics: dict[str, float] | None = None
        while True:
            report(metrics)
            action = self.actions.decode(self.explore(obs))
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.remember(obs, action, reward, next_obs, terminated)
            found = self.improve_policy()
            metrics = None
            if self._model_is_due():
                metrics = {f"loss/{name}": float(value) for name, value in found.items()} | self.fit_model()
                self.imagine()
            obs = env.reset()[0] if terminated or truncated else next_obs

    def explore(self, obs: Any) -> Float[Tensor, " A"]:
        """The action in the environment: uniform at first, then a sample of the policy."""
        if self.real.added < self.task.random_steps:
            return self.actions.draw(1, 1, self.acting)[0, :, 0]
        return self.sac.act(self._tensor(obs)[None], True, self.acting)[0]

    def remember(self, obs: Any, action: Any, reward: Any, next_obs: Any, terminated: bool) -> None:
        row = np.concatenate([obs, action, [reward], next_obs, [terminated]], dtype=np.float32)
        self.real.add(torch.from_numpy(row)[None].to(self.device))

    def improve_policy(self) -> dict[str, Tensor]:
        """Lines 9 and 10: G updates on batches of which a share is real; the last one's losses."""
        config, steps = self.config, self.real.added
        if steps <= self.task.random_steps or steps < self.task.update_from:
            return {}
        batches = mixed_batches(
            self.real.held(),
            self.imagined.held(),
            self.task.updates,
            config.batch_size,
            int(config.batch_size * config.real_ratio),
            self.drawing,
        )
        found: dict[str, Tensor] = {}
        for rows in batches.unbind(0):
            found = self.update(rows)
        self.policy_updates += len(batches)
        return found

    def _update(self, rows: Float[Tensor, "B W"]) -> dict[str, Tensor]:
        return self.sac.update(self.columns.split(rows))

    def _model_is_due(self) -> bool:
        since = self.real.added - self.task.random_steps
        due = since >= 0 and since % self.task.model_every == 0
        return due and self.config.real_ratio < 1.0 and self.real.added < self.budget

    def fit_model(self) -> dict[str, float]:
        """Line 3: train the ensemble on all real transitions, from the weights that it has."""
        found = self.ensemble.fit(self.columns.split(self.real.held()))
        return {f"model/{name}": value for name, value in found.items()}

    def imagine(self) -> None:
        """Lines 6 to 8: rollouts of the current policy, as long as the epoch allows, into the buffer."""
        epoch = (self.real.added - self.task.random_steps) // self.task.epoch_steps
        model = self.ensemble.state()
        del model["optimiser"]
        recipe: dict[str, Any] = {
            "first": self.imagined.added,
            "real": len(self.real),
            "length": rollout_length(epoch, self.task.schedule),
            "generator": self.imagining.get_state(),
            "actor": self.sac.actor.vector.clone(),
            "model": model,
        }
        self.imagined.lay_out(self._capacity(epoch))
        for rows in self._rollouts(recipe):
            self.imagined.add(rows)
        recipe["end"] = self.imagined.added
        if not len(self.imagined):
            raise FloatingPointError(
                f"every state that the model predicts from {self.config.rollouts} real ones is infinite or not a "
                "number; look at the losses beside the record, and at the observations for such numbers"
            )
        self.recipes = [one for one in [*self.recipes, recipe] if one["end"] > self.imagined.oldest]

    def _rollouts(self, recipe: dict[str, Any]) -> Iterator[Float[Tensor, "B W"]]:
        """With the policy and the model as they are."""
        columns, generator = self.columns, self.imagining
        start = torch.randint(recipe["real"], (self.config.rollouts,), generator=generator, device=self.device)
        obs = self.real.rows[:, columns.places["obs"]][start]
        act = lambda obs, generator: self.sac.act(obs, True, generator)
        return branch(columns, obs, act, self.ensemble.sample, self.known, recipe["length"], generator)

    def _capacity(self, epoch: int) -> int:
        """Rows that the rollouts of the retained epochs have if none ends early."""
        per_epoch = self.config.rollouts * self.task.epoch_steps / self.task.model_every
        return int(self.task.retain_epochs * int(rollout_length(epoch, self.task.schedule) * per_epoch))

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)

    @property
    def updates(self) -> int:
        return self.policy_updates + self.ensemble.updates

    def policy(self, mode: PolicyMode) -> ActorPolicy:
        return ActorPolicy(self.sac, self.actions, mode == "sample")

    def world_model(self) -> WorldModel | None:
        """The ensemble, in which the policy plays its mode; None until it is fitted."""
        if self.ensemble.updates == 0:
            return None
        act = lambda obs, generator: self.sac.act(obs, False, generator)
        return ImaginedWorld(self.ensemble, self.actions, act=act, known=self.known)

    def save(self, folder: Path) -> None:
        state = {
            "sac": self.sac.state(),
            "ensemble": self.ensemble.state(),
            "real": self.real.held(),
            "recipes": self.recipes,
            "layout": [self.imagined.capacity, self.imagined.begin],
            "generators": [self.acting, self.fitting, self.imagining, self.drawing],
            "policy_updates": self.policy_updates,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.real.add(state["real"].to(self.device))
        self.recipes = state["recipes"]
        if self.recipes:
            self._imagine_again(*state["layout"], optimiser=state["ensemble"]["optimiser"])
        self.sac.restore(state["sac"])
        self.ensemble.restore(state["ensemble"])
        for generator, saved in zip(
            (self.acting, self.fitting, self.imagining, self.drawing), state["generators"], strict=True
        ):
            generator.set_state(saved)
        self.policy_updates = state["policy_updates"]

    def _imagine_again(self, capacity: int, begin: int, optimiser: Any) -> None:
        """Every rollout that is still held, with the policy, the model and the random numbers that it was made with."""
        first = self.recipes[0]["first"]
        self.imagined = Rows(capacity, self.columns.width, self.device, begin=begin, first=first)
        for recipe in self.recipes:
            self.ensemble.restore({**recipe["model"], "optimiser": optimiser})
            self.sac.actor.vector.copy_(recipe["actor"])
            self.imagining.set_state(recipe["generator"])
            for rows in self._rollouts(recipe):
                self.imagined.add(rows)


def make(problem: Problem, seed: int, **config: Any) -> MBPO:
    settings = Config(**config)
    task = task_of(problem, settings)
    if not 5 <= task.random_steps < problem.budget:
        raise ValueError(
            f"expected at least 5 random steps, of which the model keeps a fifth aside, and fewer than the budget of "
            f"{problem.budget} steps, found random_steps: {task.random_steps}"
        )
    decay, layers = settings.model_weight_decay, len(task.model_hidden) + 1
    if isinstance(decay, tuple) and len(decay) != layers:
        raise ValueError(
            f"expected one model_weight_decay for all or for each of the model's {layers} layers, found {list(decay)}; "
            "set it beside model_hidden"
        )
    if not 0.0 <= settings.real_ratio <= 1.0:
        raise ValueError(f"expected a real_ratio from 0 to 1, found {settings.real_ratio}")
    return MBPO(problem, seed, settings, task)
