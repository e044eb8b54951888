"""The one door to real experience: counts every step, seeds every reset, and can restore what was running."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from math import isnan
from typing import Any

import gymnasium as gym
import numpy as np

from agents.protocol import BudgetSpent
from suites.runner.seeds import common_seed, training_seed
from suites.runner.simulators import Recipe, RemoteEnv, Simulators, play
from suites.runner.vector import GatedVector


class Gate:
    """Opens environments that all draw on one budget. What `agents.protocol.Door` promises, this keeps."""

    def __init__(
        self,
        make: Recipe | Callable[[], gym.Env[Any, Any]],
        *,
        task: str,
        seed: int,
        budget: int,
        log: Callable[[dict[str, Any]], None],
        simulators: int = 0,
    ) -> None:
        """``log`` takes one ``episode`` row for each training episode that ends.

        ``simulators``: so many child processes hold the environments of vectors, which are then stepped all at once;
        0 keeps them in this process. The results are the same. It takes a `Recipe` for ``make``.
        """
        if simulators and not isinstance(make, Recipe):
            raise TypeError(f"expected a Recipe for environments in {simulators} other processes, found {make!r}")
        self.steps = 0
        self.budget = budget
        self.task = task
        self.seed = seed
        self.log = log
        self._make = make
        self._simulators = Simulators(make, simulators) if isinstance(make, Recipe) and simulators else None
        self._slots: list[GatedEnv | None] = []
        self._episodes: list[int] = []  # episodes begun in each slot, also after its environment was closed
        self._waiting: dict[int, dict[str, Any]] = {}  # slots to be restored when they are opened again

    def open(self, num_envs: int | None = None, *, autoreset: bool = True) -> Any:
        """One environment, or a vector of ``num_envs``; see `agents.protocol.Door.open`."""
        if num_envs is None:
            return self._gated(self._make())
        if num_envs < 1:
            raise ValueError(f"expected num_envs >= 1, found {num_envs}; leave it out for one plain environment")
        remotes = self._simulators.open(num_envs) if self._simulators else []
        made = remotes or [self._make() for _ in range(num_envs)]
        envs = [self._gated(env, waits=not autoreset) for env in made]
        return GatedVector(self, envs, autoreset=autoreset, remotes=remotes)

    def _gated(self, env: gym.Env[Any, Any] | RemoteEnv, waits: bool = False) -> GatedEnv:
        index = min(self._waiting, default=None)
        if index is None:
            index = next((i for i, slot in enumerate(self._slots) if slot is None), len(self._slots))
        if index == len(self._slots):
            self._slots.append(None)
            self._episodes.append(0)
        gated = self._slots[index] = GatedEnv(self, env, index, waits)
        if (saved := self._waiting.pop(index, None)) is not None:
            gated.restore(saved)
        return gated

    def begin_episode(self, index: int, common: int | None) -> tuple[int, int]:
        """The seed of the next episode in slot ``index``, and the steps taken before it.

        Or that of the trial's ``common``-th common episode: it belongs to no slot, so no slot's count goes on.
        """
        if common is not None:
            if operator.index(common) < 0:
                raise ValueError(f"episode_seed: expected 0 or more, found {common}")
            return common_seed(self.task, self.seed, int(common)), self.steps
        episode = self._episodes[index]
        self._episodes[index] = episode + 1
        return training_seed(self.task, self.seed, index, episode), self.steps

    def close_slot(self, index: int) -> None:
        self._slots[index] = None

    def close(self) -> None:
        """Close every environment that is still open, and end the processes that held some."""
        if self._simulators:
            self._simulators.close()
        for env in self._slots:
            if env is not None:
                env.close()

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as JSON values and, under ``actions``, numpy arrays."""
        return {
            "steps": self.steps,
            "episodes": list(self._episodes),
            "running": {
                **{str(i): saved for i, saved in self._waiting.items()},
                **{str(i): env.state() for i, env in enumerate(self._slots) if env is not None},
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``; an episode is played again when the agent has opened its environment and resets it."""
        self.steps = state["steps"]
        self._episodes = list(state["episodes"])
        self._slots = [None] * len(self._episodes)
        self._waiting = {int(index): saved for index, saved in state["running"].items()}


class GatedEnv(gym.Env[Any, Any]):
    """One environment behind the gate. It wraps, but is no `gym.Wrapper`: ``unwrapped`` ends here."""

    def __init__(self, gate: Gate, env: gym.Env[Any, Any] | RemoteEnv, index: int, waits: bool) -> None:
        """``waits``: at its episode's end it shows its last observation until it is reset; see `GatedVector`."""
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.metadata = env.metadata
        self.index = index
        self.running = False
        self.restored = False  # and not begun or looked at since
        self._gate = gate
        self._waits = waits
        self._closed = False
        self._over = False  # of what was restored: whether the episode had ended
        self._env_play = env.play if isinstance(env, RemoteEnv) else partial(play, env)
        self._env_step = env.step  # bound methods only: the simulator itself is not handed on
        self._env_close = env.close
        self._seed = 0
        self._steps_before = 0
        self._actions: list[Any] = []
        self._return = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode; its seed is the gate's, ``seed`` is left aside, and so are options but episode_seed.

        The first call in a resumed trial returns the observation of the episode that was running.
        """
        self.begin((options or {}).get("episode_seed"))
        return self.show()

    @property
    def resumes(self) -> bool:
        """Whether the next `begin` goes on with the episode in which a checkpoint was taken."""
        return self.restored and not self._over

    def begin(self, common: int | None = None) -> None:
        """Settle what `show` shows: the episode to be resumed, or a new one."""
        if not self.resumes:
            if self.running and self._actions:
                self._end(cut=True)
            self._seed, self._steps_before = self._gate.begin_episode(self.index, common)
            self._actions = []
        self.running = True
        self.restored = False

    def wait_again(self) -> None:
        """Settle that `show` shows the end of the episode after which a checkpoint was taken."""
        self.restored = False

    def order(self) -> tuple[int, int, list[Any]]:
        """What the simulator has to play for `show`, as `suites.runner.simulators.play` takes it."""
        return self._seed, self._steps_before, self._actions

    def show(self) -> tuple[Any, dict[str, Any]]:
        """The observation in which the agent has to act next. To get back to one costs simulator steps, no budget."""
        obs, info, self._return = self._env_play(*self.order())
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One decision, charged to the budget.

        Raises:
            BudgetSpent: the budget is used up; nothing was done.
            gymnasium.error.ResetNeeded: the episode is over, or none was begun.
            FloatingPointError: the action holds a nan, with which a simulator would go on as if it were none.
        """
        gate = self._gate
        if gate.steps >= gate.budget:
            raise BudgetSpent
        if not self.running:
            raise gym.error.ResetNeeded("expected reset() before step(): no episode is running in this environment")
        if type(action) is np.ndarray and action.dtype.kind == "f" and isnan(np.vdot(action, action)):
            raise FloatingPointError(
                f"expected an action of finite numbers, found {action.tolist()} after {gate.steps:,} steps: what the "
                "agent acts by has diverged; look at its losses, or lower its learning rates"
            )
        obs, reward, terminated, truncated, info = self._env_step(action)
        gate.steps += 1
        self._actions.append(action.copy() if type(action) is np.ndarray else action)
        self._return += float(reward)  # a float32 would make the sum one, too
        if terminated or truncated:
            self._end()
        return obs, reward, terminated, truncated, info  # type: ignore[return-value]

    def _end(self, cut: bool = False) -> None:
        self.running = False
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
        if self._closed:
            return
        self._closed = True
        self.running = False
        self._gate.close_slot(self.index)
        self._env_close()

    def state(self) -> dict[str, Any]:
        """The episode that has to be played again, one that is over too where its end is still shown."""
        over = not (self.running or self.resumes)
        if over and not (self._waits and self._actions):
            return {"running": False}
        return {
            "running": True,
            **({"over": True} if over else {}),
            "seed": self._seed,
            "steps_before": self._steps_before,
            "actions": np.asarray(self._actions),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave; nothing is played before `begin` or `wait_again`, and `show`."""
        if not state["running"]:
            return
        self._seed, self._steps_before = state["seed"], state["steps_before"]
        self._actions = list(state["actions"])
        self._over = state.get("over", False)
        self.restored = True
