"""Real rollouts of many candidate controllers: games stepped together, V and M batched over them, exactly resumable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from agents.parts.controllers import ActionMap, Controller
from agents.parts.mind import Mind

MIND = ("z", "h", "c", "restart")


class Games:
    """Plays every candidate in every episode of a generation, as many games at a time as there are environments.

    The environments are a vector without autoreset: a game that is over takes the next job, and one for which there
    is none waits. All candidates meet the same episodes (common random numbers).
    """

    def __init__(self, mind: Callable[[int], Mind], controller: Controller, actions: ActionMap) -> None:
        self.new_mind, self.controller, self.actions = mind, controller, actions
        self.under_way: dict[str, np.ndarray] = {}
        self.mind: Mind | None = None

    def play(
        self,
        candidates: np.ndarray,
        seeds: np.ndarray,
        env: gym.vector.VectorEnv[Any, Any, Any],
        report: Callable[[], None],
        generator: torch.Generator,
        *,
        surprise: bool = False,
        enough: Callable[[int], bool] = lambda playing: False,
    ) -> np.ndarray | None:
        """Returns ``[P R]`` of ``candidates [P n]`` in the common episodes ``seeds [R]``. Reports before every step.

        ``surprise``: rewarded is what M did not foresee of the next latent, in nats. None, and all games broken off,
        where ``enough`` says so before a step, being told how many games that step would charge.
        """
        count, rollouts = env.num_envs, len(seeds)
        job, dealt, sums, returns = self._dealt(len(candidates) * rollouts, count)
        mind = self.mind
        assert mind is not None
        obs, _ = env.reset(options={"reset_mask": job >= 0, "episode_seed": seeds[job % rollouts]})
        while (job >= 0).any():
            report()
            playing = np.flatnonzero(job >= 0)
            if enough(len(playing)):
                self.under_way, self.mind = {}, None
                return None
            features = mind.look(obs[playing], playing, generator)
            outputs = self.controller.act(candidates, features, job[playing] // rollouts)
            mind.remember(self.actions.tell(outputs), playing)
            actions = self.actions.actions(outputs, playing, count)
            obs, rewards, terminations, truncations, _ = env.step(actions)
            if surprise:
                rewards = np.zeros(count)
                rewards[playing] = mind.surprise(obs[playing], playing)
            sums += rewards
            over = np.flatnonzero(terminations | truncations)
            if len(over) == 0:
                continue
            returns[job[over]], sums[over] = sums[over], 0.0
            following = dealt[0] + np.arange(len(over))
            job[over] = np.where(following < len(returns), following, -1)
            dealt[0] += len(over)
            mind.begin(over)
            begins = np.isin(np.arange(count), over) & (job >= 0)
            if begins.any():
                obs, _ = env.reset(options={"reset_mask": begins, "episode_seed": seeds[job % rollouts]})
        self.under_way, self.mind = {}, None
        return returns.reshape(len(candidates), rollouts)

    def _dealt(self, total: int, count: int) -> list[np.ndarray]:
        """Each game's job (-1: none), how many are dealt, each game's rewards so far, each job's return."""
        self.mind = self.new_mind(count)
        if not self.under_way:
            job = np.arange(count)
            self.under_way = {
                "job": np.where(job < total, job, -1),
                "dealt": np.array([min(count, total)]),
                "sums": np.zeros(count),
                "returns": np.zeros(total),
            }
        elif "z" in self.under_way:
            self.mind.restore({name: torch.from_numpy(self.under_way.pop(name)) for name in MIND})
        return [self.under_way[name] for name in ("job", "dealt", "sums", "returns")]

    def state(self) -> dict[str, torch.Tensor]:
        """Also in the middle of a generation."""
        state = {name: torch.from_numpy(array.copy()) for name, array in self.under_way.items()}
        return state | self.mind.state() if self.mind is not None else state

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.under_way = {name: tensor.cpu().numpy() for name, tensor in state.items()}


class SeenThrough(gym.vector.VectorEnv[Any, Any, Any]):
    """Real games as V and M see them: observations are what C sees, actions what C puts out, in [-1, 1]."""

    def __init__(self, env: Any, mind: Mind, actions: ActionMap, generator: torch.Generator, features: int) -> None:
        self.env, self.mind, self.actions, self.generator = env, mind, actions, generator
        self.num_envs, self.metadata = env.num_envs, env.metadata
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (features,), np.float32)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (actions.size,), np.float32)
        self.seen: np.ndarray | None = None  # restored, so that nothing is drawn a second time for it

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """In a resumed trial, goes on with the running episodes."""
        obs, _infos = self.env.reset()
        if self.seen is None:
            self.seen = self._look(obs)
        return self.seen, {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, Any, Any, Any, dict[str, Any]]:
        outputs = torch.from_numpy(np.asarray(actions, np.float32))
        self.mind.remember(self.actions.tell(outputs), slice(None))
        obs, rewards, terminations, truncations, infos = self.env.step(self.actions.actions(outputs))
        over = np.flatnonzero(terminations | truncations)
        found: dict[str, Any] = {}
        if len(over):
            final = self.mind.look(np.stack(list(infos["final_obs"][over])), over, self.generator)
            found["final_obs"] = np.full(self.num_envs, None, dtype=object)
            for place, game in enumerate(over):
                found["final_obs"][game] = final[place].cpu().numpy()
            self.mind.begin(over)
        self.seen = self._look(obs)
        return self.seen, rewards, terminations, truncations, found

    def _look(self, obs: np.ndarray) -> np.ndarray:
        features: np.ndarray = self.mind.look(obs, slice(None), self.generator).cpu().numpy()
        return features

    def state(self) -> dict[str, torch.Tensor]:
        assert self.seen is not None
        return self.mind.state() | {"seen": torch.from_numpy(self.seen)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.mind.restore({name: state[name] for name in MIND})
        self.seen = state["seen"].cpu().numpy()
