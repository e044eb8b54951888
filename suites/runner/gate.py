"""The one door to real experience: counts every step, seeds every reset, and can restore what was running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from agents.protocol import BudgetSpent
from suites.runner.seeds import training_seed


class Gate:
    """Opens environments that all draw on one budget. What `agents.protocol.Door` promises, this keeps."""

    def __init__(
        self,
        make: Callable[[], gym.Env[Any, Any]],
        *,
        task: str,
        seed: int,
        budget: int,
        log: Callable[[dict[str, Any]], None],
    ) -> None:
        """``log`` takes one ``episode`` row for each training episode that ends."""
        self.steps = 0
        self.budget = budget
        self.task = task
        self.seed = seed
        self.log = log
        self._make = make
        self._slots: list[GatedEnv | None] = []
        self._episodes: list[int] = []  # episodes begun in each slot, also after its environment was closed
        self._waiting: dict[int, dict[str, Any]] = {}  # slots to be restored when they are opened again

    def open(self, num_envs: int | None = None) -> Any:
        """One environment, or a vector of ``num_envs``; see `agents.protocol.Door.open`."""
        if num_envs is None:
            return self._open_one()
        if num_envs < 1:
            raise ValueError(f"expected num_envs >= 1, found {num_envs}; leave it out for one plain environment")
        return GatedVector(self, [self._open_one() for _ in range(num_envs)])

    def _open_one(self) -> GatedEnv:
        index = min(self._waiting, default=None)
        if index is None:
            index = next((i for i, slot in enumerate(self._slots) if slot is None), len(self._slots))
        if index == len(self._slots):
            self._slots.append(None)
            self._episodes.append(0)
        env = GatedEnv(self, self._make(), index)
        self._slots[index] = env
        if (running := self._waiting.pop(index, None)) is not None:
            env.restore(running)
        return env

    def begin_episode(self, index: int) -> tuple[int, int]:
        """The seed of the next episode in slot ``index``, and the steps taken before it."""
        episode = self._episodes[index]
        self._episodes[index] = episode + 1
        return training_seed(self.task, self.seed, index, episode), self.steps

    def close_slot(self, index: int) -> None:
        self._slots[index] = None

    def close(self) -> None:
        """Close every environment that is still open."""
        for env in self._slots:
            if env is not None:
                env.close()

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as JSON values and, under ``actions``, numpy arrays."""
        return {
            "steps": self.steps,
            "episodes": list(self._episodes),
            "running": {
                **{str(i): running for i, running in self._waiting.items()},
                **{str(i): env.state() for i, env in enumerate(self._slots) if env is not None},
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``; an environment is rebuilt when the agent opens it, by replaying its episode."""
        self.steps = state["steps"]
        self._episodes = list(state["episodes"])
        self._slots = [None] * len(self._episodes)
        self._waiting = {int(index): running for index, running in state["running"].items()}


class GatedEnv(gym.Env[Any, Any]):
    """One environment behind the gate. It wraps, but is no `gym.Wrapper`: ``unwrapped`` ends here."""

    def __init__(self, gate: Gate, env: gym.Env[Any, Any], index: int) -> None:
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.metadata = env.metadata
        self.index = index
        self._gate = gate
        self._env_reset = env.reset  # bound methods only: the simulator itself is not handed on
        self._env_step = env.step
        self._env_close = env.close
        self._seed = 0
        self._steps_before = 0
        self._actions: list[Any] = []
        self._return = 0.0
        self._running = False
        self._resumed: tuple[Any, dict[str, Any]] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode; its seed is the gate's, ``seed`` and ``options`` are left aside.

        The first call in a resumed trial returns the observation of the episode that was running.
        """
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            return resumed
        if self._running and self._actions:
            self._end(cut=True)
        self._seed, self._steps_before = self._gate.begin_episode(self.index)
        self._actions.clear()
        self._return = 0.0
        self._running = True
        return self._env_reset(seed=self._seed, options={"steps": self._steps_before})

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One decision, charged to the budget.

        Raises:
            BudgetSpent: the budget is used up; nothing was done.
            gymnasium.error.ResetNeeded: the episode is over, or none was begun.
        """
        gate = self._gate
        if gate.steps >= gate.budget:
            raise BudgetSpent
        if not self._running:
            raise gym.error.ResetNeeded("expected reset() before step(): no episode is running in this environment")
        obs, reward, terminated, truncated, info = self._env_step(action)
        gate.steps += 1
        self._actions.append(action.copy() if type(action) is np.ndarray else action)
        self._return += float(reward)  # a float32 would make the sum one, too
        if terminated or truncated:
            self._end()
        return obs, reward, terminated, truncated, info  # type: ignore[return-value]

    def _end(self, cut: bool = False) -> None:
        self._running = False
        row = {
            "kind": "episode",
            "step": self._gate.steps,
            "return": float(self._return),
            "length": len(self._actions),
            "env": self.index,
        }
        self._gate.log({**row, "cut": True} if cut else row)

    def close(self) -> None:
        """Give the slot back: the next environment opened takes it and goes on with its episode count."""
        self._env_close()
        self._running = False
        self._gate.close_slot(self.index)

    def state(self) -> dict[str, Any]:
        if not self._running:
            return {"running": False}
        return {
            "running": True,
            "seed": self._seed,
            "steps_before": self._steps_before,
            "actions": np.asarray(self._actions),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Play the episode again up to the checkpoint. Costs simulator steps, no budget."""
        if not state["running"]:
            return
        self._seed, self._steps_before = state["seed"], state["steps_before"]
        obs, info = self._env_reset(seed=self._seed, options={"steps": self._steps_before})
        for action in state["actions"]:
            obs, reward, _, _, info = self._env_step(action)
            self._actions.append(action)
            self._return += float(reward)
        self._running = True
        self._resumed = obs, info


class GatedVector(gym.vector.VectorEnv[Any, Any, Any]):
    """Several gated environments stepped one after the other; a finished one is reset in the same step.

    ``infos["final_obs"][i]`` is the last observation of an episode that ended, where ``infos["_final_obs"][i]``.
    ``infos["each"]`` holds the environments' own infos, unbatched: batching all their keys costs more than a step.
    """

    def __init__(self, gate: Gate, envs: Sequence[GatedEnv]) -> None:
        self.num_envs = len(envs)
        self.single_observation_space = envs[0].observation_space
        self.single_action_space = envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {**envs[0].metadata, "autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        self._gate = gate
        self._envs = envs

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in each environment, or go on with the running ones in a resumed trial."""
        begun = [env.reset() for env in self._envs]
        return np.stack([obs for obs, _ in begun]), {"each": [info for _, info in begun]}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One decision in each environment.

        Raises:
            BudgetSpent: fewer steps than environments are left. The first environments take what is left.
        """
        left = self._gate.budget - self._gate.steps
        if left < self.num_envs:
            for env, action in zip(self._envs[:left], actions, strict=False):
                env.step(action)
            raise BudgetSpent
        observations: list[Any] = []
        each: list[dict[str, Any]] = []
        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = {"each": each}
        for i, env in enumerate(self._envs):
            obs, rewards[i], terminations[i], truncations[i], info = env.step(actions[i])
            if terminations[i] or truncations[i]:
                if "final_obs" not in infos:
                    infos["final_obs"] = np.full(self.num_envs, None, dtype=object)
                    infos["_final_obs"] = np.zeros(self.num_envs, dtype=np.bool_)
                infos["final_obs"][i], infos["_final_obs"][i] = obs, True
                obs, _ = env.reset()
            observations.append(obs)
            each.append(info)
        return np.stack(observations), rewards, terminations, truncations, infos

    def close(self, **kwargs: Any) -> None:
        for env in self._envs:
            env.close()
