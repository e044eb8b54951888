"""stable-baselines3's view of what a door opens: its `VecEnv`, with as little as possible done per step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from agents.protocol import Door


class DoorEnv(VecEnv):
    """Stands in for the environments until `connect` opens them; the algorithm is built before there is a door.

    A single environment is opened plain and reset here, which is faster than a vector of one. A step whose info
    says ``life_lost`` ends an episode for the learner, as DQN (Nature, Methods) has it; the game goes on.
    """

    def __init__(
        self, observation_space: gym.Space, action_space: gym.Space, num_envs: int, clip_reward: bool = False
    ) -> None:
        """``clip_reward``: the learner sees only the sign of each reward."""
        super().__init__(num_envs, observation_space, action_space)
        self._dtype = observation_space.dtype
        self._clip = clip_reward
        self._quiet: list[dict[str, Any]] = [{} for _ in range(num_envs)]  # shared: nobody writes into it
        self._env: Any = None
        self._actions: Any = None

    def connect(self, door: Door) -> None:
        """Open through ``door`` what `reset` and `step` act on from now on."""
        self._env = door.open() if self.num_envs == 1 else door.open(self.num_envs)

    def reset(self) -> Any:
        obs, _ = self._env.reset()
        return self._row(obs) if self.num_envs == 1 else np.asarray(obs, self._dtype)

    def step_async(self, actions: Any) -> None:
        self._actions = actions

    def step_wait(self) -> Any:
        return self._step_one() if self.num_envs == 1 else self._step_many()

    def _step_one(self) -> Any:
        obs, reward, terminated, truncated, info = self._env.step(self._actions[0])
        infos = self._quiet
        lost = info.get("life_lost", False)
        if over := terminated or truncated or lost:
            infos = [ended(self._copy(obs), terminated or lost, truncated)]
            if terminated or truncated:
                obs, _ = self._env.reset()
        return self._row(obs), self._seen(np.array([reward])), np.array([over]), infos

    def _step_many(self) -> Any:
        obs, rewards, terminations, truncations, info = self._env.step(self._actions)
        over = terminations | truncations
        lost = np.array([each.get("life_lost", False) for each in info["each"]])
        dones = over | lost
        infos = self._quiet
        if dones.any():
            infos = [
                ended(
                    self._copy(info["final_obs"][i] if over[i] else obs[i]), terminations[i] or lost[i], truncations[i]
                )
                if done
                else {}
                for i, done in enumerate(dones)
            ]
        return np.asarray(obs, self._dtype), self._seen(rewards), dones, infos

    def _seen(self, rewards: Any) -> Any:
        return (np.sign(rewards) if self._clip else rewards).astype(np.float32)

    def _copy(self, obs: Any) -> Any:
        """A copy, because an environment may write its next observation into the same array."""
        return np.array(obs, self._dtype)

    def _row(self, obs: Any) -> Any:
        return np.array(obs, self._dtype)[None]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """What stable-baselines3 asks of an environment: how it renders. Behind a door it does not."""
        if attr_name != "render_mode":
            raise AttributeError(f"expected render_mode, found {attr_name!r}: a door hides the environment")
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"cannot set {attr_name!r}: a door hides the environment")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise AttributeError(f"cannot call {method_name!r}: a door hides the environment")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        return [False] * self.num_envs

    def close(self) -> None:
        """The door's owner closes what the door opened."""


def ended(obs: Any, terminated: bool, truncated: bool) -> dict[str, Any]:
    """What stable-baselines3 reads at an episode's end. It values the last state only after a time limit."""
    return {"terminal_observation": obs, "TimeLimit.truncated": bool(truncated and not terminated)}
