"""Planning by fixed action sequences in a table model: open loop, or as model-predictive control.

After Levine's lectures on planning (CS 285): a plan that is fixed before its first step is worth the *mean* over all
that may happen of what its actions bring, so it cannot count on what will be seen on the way. Open loop (``control:
open_loop``) makes one plan per episode and carries it out; model-predictive control (``mpc``) plans anew in every step,
yet each plan is as blind as before. Both decline where only an answer to what is seen pays: suites/envs/exam.py.

The model is a table of counts: how often each state and action led where, brought what on the mean, and ended. The best
plan of ``horizon`` actions is found exactly, by following the distribution over states under every sequence.

Deviations
----------
* What was never tried is taken to bring nothing and to end the episode.
* A plan that has run out before its episode is followed by a new one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Discrete

from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete",)
OBSERVATIONS = ("discrete",)

MOST_PLANS = 200_000  # that are compared in one step
WORTH = 1e-9  # of the largest return, a difference that counts; less is rounding


@dataclass(frozen=True, kw_only=True)
class Config:
    control: Literal["open_loop", "mpc"] = "mpc"
    random_steps: int = 4000  # steps of random actions first, which fill the table
    horizon: int = 2  # actions of a plan; all sequences of so many are compared
    discount: float = 1.0  # per planned step


class TableModel:
    """Counts of what followed each state and action; S states, A actions."""

    def __init__(self, states: int, actions: int) -> None:
        self.tried = np.zeros((states, actions), np.int64)
        self.led_to = np.zeros((states, actions, states), np.int64)  # true ends not among them
        self.reward_sum = np.zeros((states, actions))
        self.share = np.zeros((states, actions, states))  # led_to / tried
        self.reward = np.zeros((states, actions))  # reward_sum / tried

    def learn_from(self, state: int, action: int, reward: float, next_state: int, terminated: bool) -> None:
        self.tried[state, action] += 1
        self.led_to[state, action, next_state] += not terminated
        self.reward_sum[state, action] += reward
        self._divide(state, action)

    def _divide(self, state: Any, action: Any) -> None:
        tried = np.maximum(self.tried[state, action], 1)
        self.share[state, action] = self.led_to[state, action] / np.expand_dims(tried, -1)
        self.reward[state, action] = self.reward_sum[state, action] / tried

    def values(self, state: int, horizon: int, discount: float) -> np.ndarray:
        """Expected returns of all action sequences from ``state``, ``[A, ..., A]`` with ``horizon`` axes."""
        states, actions = self.reward.shape
        belief, values = np.zeros((1, states)), np.zeros(1)
        belief[0, state] = 1.0
        for step in range(horizon):
            values = (values[:, None] + discount**step * (belief @ self.reward)).ravel()
            if step + 1 < horizon:
                belief = np.tensordot(belief, self.share, 1).reshape(-1, states)
        return values.reshape((actions,) * horizon)

    def plan(self, state: int, config: Config, rng: np.random.Generator) -> list[int]:
        """The best sequence from ``state``; among equally good ones each is as likely."""
        values = self.values(state, config.horizon, config.discount)
        best = np.argwhere(values >= values.max() - WORTH * np.abs(values).max())
        return [int(action) for action in best[rng.integers(len(best))]]

    def save(self, path: Path) -> None:
        np.savez(path, tried=self.tried, led_to=self.led_to, reward_sum=self.reward_sum)

    def load(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as found:
            self.tried[:], self.led_to[:], self.reward_sum[:] = found["tried"], found["led_to"], found["reward_sum"]
        self._divide(slice(None), slice(None))


class Control:
    """Open loop: the rest of the plan as long as there is one. MPC: a new plan in every step."""

    def __init__(self, model: TableModel, config: Config, rng: np.random.Generator) -> None:
        self.model, self.config, self.rng = model, config, rng
        self.rest: list[int] = []  # actions of the running plan that are still to come

    def act(self, state: int) -> int:
        if not self.rest or self.config.control == "mpc":
            self.rest = self.model.plan(state, self.config, self.rng)
        return self.rest.pop(0)


class TabularPlanner:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        states, actions = problem.observation_space, problem.action_space
        assert isinstance(states, Discrete)
        assert isinstance(actions, Discrete)
        self.config = config
        self.first_state, self.first_action = int(states.start), int(actions.start)
        self.rng = np.random.default_rng(seed)
        self.model = TableModel(int(states.n), int(actions.n))
        self.control = Control(self.model, config, self.rng)
        self.updates = 0  # real steps learnt from

    def learn(self, door: Door, report: Report) -> None:
        env = door.open()
        obs, _ = env.reset()
        while True:
            report()
            state = int(obs) - self.first_state
            if self.updates < self.config.random_steps:
                action = int(self.rng.integers(self.model.tried.shape[1]))
            else:
                action = self.control.act(state)
            obs, reward, terminated, truncated, _ = env.step(action + self.first_action)
            self.model.learn_from(state, action, float(reward), int(obs) - self.first_state, terminated)
            self.updates += 1
            if terminated or truncated:
                self.control.rest = []
                obs, _ = env.reset()

    def policy(self, mode: PolicyMode) -> TablePolicy:
        """The same plans for either mode; in a copy of the table."""
        model = TableModel(*self.model.tried.shape)
        model.share[:], model.reward[:] = self.model.share, self.model.reward
        return TablePolicy(Control(model, self.config, np.random.default_rng(0)), self.first_state, self.first_action)

    def save(self, folder: Path) -> None:
        state = {"updates": self.updates, "rest": self.control.rest, "rng": self.rng.bit_generator.state}
        (folder / "tabular_planner.json").write_text(json.dumps(state))
        self.model.save(folder / "table.npz")

    def load(self, folder: Path) -> None:
        state = json.loads((folder / "tabular_planner.json").read_text())
        self.updates, self.control.rest = state["updates"], state["rest"]
        self.rng.bit_generator.state = state["rng"]
        self.model.load(folder / "table.npz")


class TablePolicy:
    """A control with a random stream of its own, which breaks ties."""

    def __init__(self, control: Control, first_state: int, first_action: int) -> None:
        self.control, self.first_state, self.first_action = control, first_state, first_action

    def reset(self, seed: int) -> None:
        self.control.rng = np.random.default_rng([seed, 1])  # by the seed alone it would be the environment's stream
        self.control.rest = []

    def act(self, obs: Any) -> int:
        return self.control.act(int(obs) - self.first_state) + self.first_action


def make(problem: Problem, seed: int, **config: Any) -> TabularPlanner:
    for name, space in (("observation", problem.observation_space), ("action", problem.action_space)):
        if not isinstance(space, Discrete):
            raise ValueError(
                f"tabular_planner keeps a table and needs a Discrete {name} space, but {problem.env_id} has {space}; "
                "take an environment with discrete spaces, or an agent with networks such as agents.mb_mpc"
            )
    settings = Config(**config)
    assert isinstance(problem.action_space, Discrete)
    plans = int(problem.action_space.n) ** settings.horizon
    if settings.horizon < 1 or plans > MOST_PLANS:
        raise ValueError(
            f"tabular_planner compares all action sequences: expected between 1 and {MOST_PLANS:,} of them, found "
            f"{plans:,} of {settings.horizon} actions; change horizon"
        )
    return TabularPlanner(problem, seed, settings)
