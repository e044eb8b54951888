"""Tabular Dyna-Q and Dyna-Q+: learning, a table model and planning with one update rule (Sutton 1990).

Told after Sutton & Barto, "Reinforcement Learning" (2nd ed.), section 8.2 (the box "Tabular Dyna-Q") and
section 8.3 (Dyna-Q+, the exploration bonus). After every real step there is one Q-learning update from
what happened and ``planning_steps`` more from what the model says would happen; with no planning steps
it is Q-learning. The model is deterministic: the last outcome seen of each state and action.

Deviations
----------
* A terminal state is worth zero; a time limit is no terminal state and is bootstrapped over (the book's
  mazes have no limit).
* For Dyna-Q+ the book leaves open since when an action that was never tried counts as untried: here
  since the start of the trial.
* ``policy("sample")`` is the epsilon-greedy behaviour of training, ``policy("mode")`` the greedy one.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from gymnasium.spaces import Discrete

from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete",)
OBSERVATIONS = ("discrete",)

TERMINAL = -1  # as an index it names the last row of the value table, which is zero for ever

# What the model knows of one state and action: state, action, reward, next state, when last tried.
Outcome = list[Any]


@dataclass(frozen=True, kw_only=True)
class Config:
    planning_steps: int = 50  # model updates per real step; Fig. 8.2 shows 0, 5 and 50
    learning_rate: float = 0.1  # alpha, share of the error; Example 8.1
    epsilon: float = 0.1  # probability of a random action; Example 8.1
    discount: float = 0.95  # gamma, per step; Example 8.1
    bonus: float = 0.0  # kappa, reward per square root of a step; section 8.3: Dyna-Q+ if above zero

    def __post_init__(self) -> None:
        if self.planning_steps < 0 or self.bonus < 0:
            raise ValueError(
                "expected planning_steps and bonus to be at least 0, found "
                f"planning_steps={self.planning_steps}, bonus={self.bonus}; 0 switches either off"
            )


class DynaQ:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        states, actions = problem.observation_space, problem.action_space
        assert isinstance(states, Discrete)
        assert isinstance(actions, Discrete)
        self.config = config
        self.first_state, self.first_action = int(states.start), int(actions.start)
        self.num_actions = int(actions.n)
        self.rng = random.Random(int(seed))
        self.time = 0  # real steps learnt from
        self.planned = 0  # updates from the model
        self.values = [[0.0] * self.num_actions for _ in range(int(states.n))] + [[0.0]]  # last: TERMINAL
        self.model: list[list[Outcome]] = []  # a list per state that was acted in, as first visited
        self.known: dict[int, list[Outcome]] = {}  # the same lists by state

    @property
    def updates(self) -> int:
        return self.time + self.planned

    def learn(self, door: Door, report: Report) -> None:
        env = door.open()
        obs, _ = env.reset()
        while True:
            report()
            state = int(obs) - self.first_state
            action = choose(self.values[state], self.config.epsilon, self.rng)
            obs, reward, terminated, truncated, _ = env.step(action + self.first_action)
            next_state = TERMINAL if terminated else int(obs) - self.first_state
            self.learn_from(state, action, float(reward), next_state)
            self.plan()
            if terminated or truncated:
                obs, _ = env.reset()

    def learn_from(self, state: int, action: int, reward: float, next_state: int) -> None:
        """Steps (d) and (e) of the box: Q-learning from one real transition, then the model takes it in."""
        self.time += 1
        row = self.values[state]
        target = reward + self.config.discount * max(self.values[next_state])
        row[action] += self.config.learning_rate * (target - row[action])
        outcome = self._outcome(state, action)
        outcome[2:] = reward, next_state, self.time

    def plan(self) -> None:
        """Step (f): Q-learning from the model, at states and actions drawn at random.

        First a state that was acted in, then one of the actions tried there, as the box has it; uniform
        over pairs would be another distribution. This loop is nearly all that a trial computes.
        """
        steps = self.config.planning_steps
        if not steps:
            return
        values, draw, now = self.values, self.rng.random, self.time
        rate, discount, bonus = self.config.learning_rate, self.config.discount, self.config.bonus
        for outcomes in self.rng.choices(self.model, k=steps):
            state, action, reward, next_state, tried = outcomes[int(draw() * len(outcomes))]
            if bonus:
                reward += bonus * sqrt(now - tried)  # r + kappa sqrt(tau), section 8.3
            row = values[state]
            row[action] += rate * (reward + discount * max(values[next_state]) - row[action])
        self.planned += steps

    def _outcome(self, state: int, action: int) -> Outcome:
        """The model's entry for a pair, made when it is first asked for."""
        outcomes = self.known.get(state)
        if outcomes is None:
            # Dyna-Q+ also plans untried actions: they lead back to the same state for nothing.
            untried = range(self.num_actions if self.config.bonus else 0)
            outcomes = self.known[state] = [[state, other, 0.0, state, 0] for other in untried]
            self.model.append(outcomes)
        for outcome in outcomes:
            if outcome[1] == action:
                return outcome
        outcomes.append([state, action, 0.0, state, 0])
        return outcomes[-1]

    def policy(self, mode: PolicyMode) -> TablePolicy:
        epsilon = self.config.epsilon if mode == "sample" else 0.0
        return TablePolicy([row.copy() for row in self.values], epsilon, self.first_state, self.first_action)

    def save(self, folder: Path) -> None:
        state = {
            "values": self.values,
            "model": self.model,
            "time": self.time,
            "planned": self.planned,
            "rng": self.rng.getstate(),
        }
        (folder / "dyna_q.json").write_text(json.dumps(state))  # JSON keeps every bit of a Python float

    def load(self, folder: Path) -> None:
        state = json.loads((folder / "dyna_q.json").read_text())
        self.values, self.model = state["values"], state["model"]
        self.time, self.planned = state["time"], state["planned"]
        self.known = {outcomes[0][0]: outcomes for outcomes in self.model}
        version, words, gauss = state["rng"]
        self.rng.setstate((version, tuple(words), gauss))


class TablePolicy:
    """Greedy, or epsilon-greedy, in a copy of the values; ties are broken at random."""

    def __init__(self, values: list[list[float]], epsilon: float, first_state: int, first_action: int) -> None:
        self.values, self.epsilon = values, epsilon
        self.first_state, self.first_action = first_state, first_action
        self.rng = random.Random(0)

    def reset(self, seed: int) -> None:
        self.rng.seed(seed)

    def act(self, obs: Any) -> int:
        return choose(self.values[int(obs) - self.first_state], self.epsilon, self.rng) + self.first_action


def choose(row: list[float], epsilon: float, rng: random.Random) -> int:
    """An epsilon-greedy action; among equally good ones each is as likely."""
    if epsilon and rng.random() < epsilon:
        return int(rng.random() * len(row))
    best = max(row)
    ties = [action for action, value in enumerate(row) if value == best]
    return ties[0] if len(ties) == 1 else ties[int(rng.random() * len(ties))]


def make(problem: Problem, seed: int, **config: Any) -> DynaQ:
    for name, space in (("observation", problem.observation_space), ("action", problem.action_space)):
        if not isinstance(space, Discrete):
            raise ValueError(
                f"dyna_q keeps a table and needs a Discrete {name} space, but {problem.env_id} has {space}; "
                "take an environment with discrete spaces, or an agent with networks such as agents.mb_mpc"
            )
    return DynaQ(problem, seed, Config(**config))
