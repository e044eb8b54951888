"""Train an agent in this process behind the true gate; stop it at a report and go on with another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from agents.protocol import BudgetSpent, Problem
from suites.runner.gate import Gate


class Stopped(Exception):
    """The trial was interrupted at a report, as if it had been killed there."""


def problem_of(env: gym.Env[Any, Any], budget: int = 1000, **granted: Callable[..., Any]) -> Problem:
    return Problem(
        observation_space=env.observation_space,
        action_space=env.action_space,
        budget=budget,
        family="vector",
        env_id=type(env).__name__,
        known=granted,
    )


class Alone(Gate):
    """The gate as a door, where no other trial has left anything."""

    def recall(self, phase: str, key: Mapping[str, Any]) -> None:
        return None

    def remember(self, phase: str, key: Mapping[str, Any], write: Callable[[Path], None]) -> None:
        pass


def gate_to(make: Callable[[], gym.Env[Any, Any]], budget: int) -> Alone:
    return Alone(make, task="test", seed=0, budget=budget, log=lambda row: None)


def train(agent: Any, make: Callable[[], gym.Env[Any, Any]], budget: int) -> Any:
    """Spend the whole budget; the agent, for chaining."""
    spend(agent, gate_to(make, budget), lambda metrics=None, **_: None)
    return agent


def train_interrupted(
    fresh: Callable[[], Any], make: Callable[[], gym.Env[Any, Any]], budget: int, stop: int, folder: Path
) -> Any:
    """Stop at the first report from step ``stop`` on, save, and let a second new agent spend what is left."""
    first, door = fresh(), gate_to(make, budget)
    state: dict[str, Any] = {}

    def report(metrics: Mapping[str, float] | None = None, **_: Any) -> None:
        if door.steps >= stop:
            first.save(folder)
            state.update(door.state())
            raise Stopped

    try:
        first.learn(door, report)
    except Stopped:
        pass
    else:
        raise AssertionError(f"expected a report at or after step {stop}, found none before the end")
    second, door = fresh(), gate_to(make, budget)
    second.load(folder)
    door.restore(state)
    spend(second, door, lambda metrics=None: None)
    return second


def spend(agent: Any, door: Gate, report: Any) -> None:
    try:
        agent.learn(door, report)
    except BudgetSpent:
        assert door.steps == door.budget


def play(agent: Any, env: gym.Env[Any, Any], episodes: int, seed: int = 1000) -> list[float]:
    """The returns of the agent's mode in episodes of its own."""
    policy, returns = agent.policy("mode"), []
    for episode in range(episodes):
        policy.reset(seed + episode)
        obs, _ = env.reset(seed=seed + episode)
        total, ended = 0.0, False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(policy.act(obs))
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    return returns
