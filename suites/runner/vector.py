"""Several gated environments stepped together: an ended one begins anew in the same step, or waits to be reset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from agents.protocol import BudgetSpent
from suites.runner.simulators import RemoteEnv, fetch

if TYPE_CHECKING:
    from suites.runner.gate import Gate, GatedEnv


class GatedVector(gym.vector.VectorEnv[Any, Any, Any]):
    """Several gated environments behind one `step`; in ``infos``:

    ``each``: the environments' own infos, unbatched: batching all their keys costs more than a step.
    ``final_obs``, with autoreset: in entry i the last observation of an episode that ended, where ``_final_obs[i]``.
    ``active``, without autoreset: which environments were stepped; after a reset, which have an episode running.
    """

    def __init__(
        self, gate: Gate, envs: Sequence[GatedEnv], *, autoreset: bool = True, remotes: Sequence[RemoteEnv] = ()
    ) -> None:
        """``remotes``: what stands behind ``envs``, where that is in other processes."""
        self.num_envs = len(envs)
        self.single_observation_space = envs[0].observation_space
        self.single_action_space = envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
        self.metadata = {**envs[0].metadata, "autoreset_mode": mode}
        self._gate = gate
        self._envs = envs
        self._remotes = remotes
        self._autoreset = autoreset
        never_seen = np.zeros(self.single_observation_space.shape or (), self.single_observation_space.dtype)
        self._last: list[Any] = [never_seen] * self.num_envs

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in each environment, or where ``options["reset_mask"]`` is true; return all observations.

        In a resumed trial the first call goes on with the running episodes. The environments that waited beside them
        wait again, unless a mask says otherwise.
        """
        mask, common = self._asked(options or {})
        if mask is None:
            mask = np.full(self.num_envs, self._autoreset or not any(env.resumes for env in self._envs))
        shown = []
        for i, env in enumerate(self._envs):
            if mask[i] or env.resumes:
                env.begin(None if common is None else common[i])
            elif env.restored:
                env.wait_again()
            else:
                continue
            shown.append(i)
        infos: dict[str, Any] = {"each": self._show(shown)}
        if not self._autoreset:
            infos["active"] = np.array([env.running for env in self._envs])
        return np.stack(self._last), infos

    def _asked(self, options: dict[str, Any]) -> tuple[Any, Any]:
        """``reset_mask`` and ``episode_seed`` as arrays, each None where it was not given."""
        mask, common = options.get("reset_mask"), options.get("episode_seed")
        if mask is not None:
            if self._autoreset:
                raise ValueError("reset_mask: these environments begin anew by themselves; open with autoreset=False")
            mask = np.asarray(mask)
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
                raise ValueError(f"reset_mask: expected bool [{self.num_envs}], found {mask.dtype} {list(mask.shape)}")
        if common is not None:
            common = np.asarray(common)
            if common.shape != (self.num_envs,) or common.dtype.kind not in "iu":
                found = f"{common.dtype} {list(common.shape)}"
                raise ValueError(f"episode_seed: expected integers [{self.num_envs}], found {found}")
        return mask, common

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One decision in each environment; without autoreset in each that has an episode running.

        Raises:
            BudgetSpent: fewer steps are left than would be taken. The first environments take what is left.
        """
        envs, last = self._envs, self._last
        acting: Sequence[int] = range(self.num_envs)
        if not self._autoreset:
            acting = [i for i in acting if envs[i].running]
        left = self._gate.budget - self._gate.steps
        if left < len(acting):
            for i in acting[:left]:
                envs[i].step(actions[i])
            raise BudgetSpent
        if self._remotes:
            fetch({self._remotes[i]: ("step", actions[i]) for i in acting if envs[i].running})
        each: list[dict[str, Any]] = [{} for _ in envs]
        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = {"each": each}
        ended = []
        for i in acting:
            env = envs[i]
            last[i], rewards[i], terminations[i], truncations[i], each[i] = env.step(actions[i])
            if self._autoreset and not env.running:
                env.begin()  # here, because its reset is told the steps that were taken before it
                ended.append(i)
        if not self._autoreset:
            infos["active"] = np.zeros(self.num_envs, dtype=np.bool_)
            infos["active"][acting] = True
        elif ended:
            infos["final_obs"] = np.full(self.num_envs, None, dtype=object)
            infos["_final_obs"] = np.zeros(self.num_envs, dtype=np.bool_)
            for i in ended:
                infos["final_obs"][i], infos["_final_obs"][i] = last[i], True
            self._show(ended)
        return np.stack(last), rewards, terminations, truncations, infos

    def _show(self, indices: Iterable[int]) -> list[dict[str, Any]]:
        """Put what these environments show into the observations; their infos, by environment."""
        if self._remotes:
            fetch({self._remotes[i]: ("play", *self._envs[i].order()) for i in indices})
        infos: list[dict[str, Any]] = [{} for _ in self._envs]
        for i in indices:
            self._last[i], infos[i] = self._envs[i].show()
        return infos

    def close(self, **kwargs: Any) -> None:
        for env in self._envs:
            env.close()
