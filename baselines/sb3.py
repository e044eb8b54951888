"""The one adapter to stable-baselines3: its algorithms behind the gate, resumed to the bit, never overspent.

Only the public API of stable-baselines3 is used, but for the private counters listed in ``COUNTERS``.
Its own ``save`` and ``load`` are never called: they run code from the file.

Where a run ends. stable-baselines3 finishes the rollout it is in and so spends more than it was given
(PPO asked for 1,000 steps takes 2,048). Here the gate ends the run in the middle of that last rollout, and
what was collected of it is not learned from. Schedules anneal over the budget.

Why a resumed run is exact. stable-baselines3 calls ``on_rollout_start`` where everything but the generators,
the last observation, the normalisation and the exploration noise is at rest. That is the point of every
report, thus of every save. A resumed ``learn`` lets the library go through its start-up, which resets and
draws what it likes, and puts all of it back at the first ``on_rollout_start``.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from agents.protocol import Door, PolicyMode, Problem, Report
from baselines.sb3_door import DoorEnv
from baselines.sb3_policy import Chooser, Sb3Policy
from baselines.sb3_replay import load_replay, save_replay

# Plain numbers that a stable-baselines3 algorithm goes on from; each has some of them.
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",
    "_n_calls",  # DQN: steps since the start, which say when its target network is due
    "exploration_rate",  # DQN: epsilon
)

Build = Callable[[Any], BaseAlgorithm]  # stable-baselines3's VecEnv -> the algorithm over it


class Sb3Agent:
    """A stable-baselines3 algorithm as an `agents.protocol.Agent`."""

    def __init__(
        self,
        problem: Problem,
        config: Any,
        seed: int,
        build: Build,
        chooser: Chooser,
        *,
        num_envs: int = 1,
        normalize: dict[str, Any] | None = None,
        clip_reward: bool = False,
    ) -> None:
        """``normalize`` holds `VecNormalize`'s arguments, or is None to leave observation and reward alone."""
        self.config = config
        self._budget = problem.budget
        self._chooser = chooser
        self._door_env = DoorEnv(
            copy.deepcopy(problem.observation_space), copy.deepcopy(problem.action_space), num_envs, clip_reward
        )
        self._normalize = VecNormalize(self._door_env, **normalize) if normalize else None
        _seed_generators(seed, self._door_env.action_space, problem.device)
        self.model = build(self._normalize or self._door_env)
        self.model.set_logger(Logger(folder=None, output_formats=[]))  # its default makes a folder in /tmp
        # What learning begins from, whatever is drawn or loaded between now and then.
        self._begin: dict[str, Any] | None = {"generators": self._generators()}

    def learn(self, door: Door, report: Report) -> None:
        left = self._budget - self.model.num_timesteps
        if left <= 0:
            return
        self._door_env.connect(door)
        if self._begin is not None:
            self._set_generators(self._begin["generators"])  # the start-up draws exploration noise
        self.model._last_obs = None  # makes the library reset what was opened, in a resumed trial too
        self.model.learn(
            left,
            callback=_Reporter(self._on_rollout_start, report),
            log_interval=self._budget + 1,  # never: metrics go through the report
            reset_num_timesteps=False,
        )

    def _on_rollout_start(self) -> None:
        if self._begin is not None and "parameters" in self._begin:  # resumed: undo the start-up
            self._restore(self._begin)
        self._begin = None

    @property
    def updates(self) -> int:
        """As stable-baselines3 counts: gradient steps (A2C, SAC, DQN), or passes over a rollout (PPO)."""
        return int(self.model._n_updates)

    def policy(self, mode: PolicyMode) -> Sb3Policy:
        """Acts with the live network, so it is to be used before learning goes on."""
        return Sb3Policy(self.model, self._normalize, self._chooser, sample=mode == "sample")

    def save(self, folder: Path) -> None:
        torch.save(self._state(), folder / "sb3.pt")
        if (replay := getattr(self.model, "replay_buffer", None)) is not None:
            save_replay(replay, folder)

    def load(self, folder: Path) -> None:
        self._begin = torch.load(folder / "sb3.pt", weights_only=True, map_location=self.model.device)
        self._restore(self._begin)
        if (replay := getattr(self.model, "replay_buffer", None)) is not None:
            load_replay(replay, folder)

    def _state(self) -> dict[str, Any]:
        model: Any = self.model
        state: dict[str, Any] = {
            "parameters": model.get_parameters(),
            "counters": {name: _plain(getattr(model, name)) for name in COUNTERS if hasattr(model, name)},
            "metrics": {name: _plain(value) for name, value in model.logger.name_to_value.items()},
            "generators": self._generators() if self._begin is None else self._begin["generators"],
        }
        if getattr(model, "log_ent_coef", None) is not None:  # SAC's temperature is no part of its policy
            state["log_ent_coef"] = model.log_ent_coef.detach()
        if model._last_obs is not None:
            # Not left to the door: with normalisation it depends on the statistics. Strides are kept.
            state["last_obs"] = torch.from_numpy(model._last_obs)
            state["last_episode_starts"] = torch.from_numpy(np.asarray(model._last_episode_starts))
        if (noise := _exploration_noise(model)) is not None:
            state["noise"] = {name: getattr(noise, name).detach() for name in _NOISE}
        if self._normalize is not None:
            state["normalize"] = _normalization(self._normalize)
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        """Put back all that ``state`` holds, the generators last: what comes before may draw from them."""
        model: Any = self.model
        model.set_parameters(state["parameters"], device=model.device)
        for name, value in state["counters"].items():
            setattr(model, name, value)
        model.logger.name_to_value.update(state["metrics"])
        if "log_ent_coef" in state:
            model.log_ent_coef.data.copy_(state["log_ent_coef"])
        if "last_obs" in state:
            model._last_obs = state["last_obs"].cpu().numpy()
            model._last_episode_starts = state["last_episode_starts"].cpu().numpy()
        if "noise" in state:
            noise = _exploration_noise(model)
            for name in _NOISE:
                setattr(noise, name, state["noise"][name])
        if self._normalize is not None and "normalize" in state:
            _normalize_as(self._normalize, state["normalize"])
        self._set_generators(state["generators"])

    def _generators(self) -> dict[str, Any]:
        """The generators that stable-baselines3 draws from: four global ones and the action space's."""
        numpy: Any = np.random.get_state()  # noqa: NPY002 - the library uses it
        _, keys, position, has_gauss, cached = numpy
        state = {
            "python": random.getstate(),
            "numpy": [torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "actions": self._door_env.action_space.np_random.bit_generator.state,
        }
        if self.model.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.model.device)
        return state

    def _set_generators(self, state: dict[str, Any]) -> None:
        random.setstate(state["python"])
        keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state(  # noqa: NPY002
            ("MT19937", keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached)
        )
        torch.set_rng_state(state["torch"].cpu())
        self._door_env.action_space.np_random.bit_generator.state = state["actions"]
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"].cpu(), self.model.device)


class _Reporter(BaseCallback):
    """Passes the start of each rollout on: first to the agent, then as the report."""

    def __init__(self, begin: Callable[[], None], report: Report) -> None:
        super().__init__()
        self._begin = begin
        self._report = report

    def _on_rollout_start(self) -> None:
        self._begin()
        self._report(self.model.logger.name_to_value)

    def _on_step(self) -> bool:
        return True


_NOISE = ("exploration_mat", "exploration_matrices")


def _exploration_noise(model: Any) -> Any:
    """Where generalised state-dependent exploration keeps its noise matrices, or None without it."""
    return model.policy.action_dist if model.use_sde else None


def _normalization(normalize: VecNormalize) -> dict[str, Any]:
    state: dict[str, Any] = {"returns": torch.from_numpy(normalize.returns), "ret_rms": _moments(normalize.ret_rms)}
    return {**state, "obs_rms": _moments(normalize.obs_rms)} if normalize.norm_obs else state


def _normalize_as(normalize: VecNormalize, state: dict[str, Any]) -> None:
    normalize.returns = state["returns"].cpu().numpy().copy()
    for name in ("ret_rms", "obs_rms"):
        if name in state:
            mean, var, count = state[name]
            rms = getattr(normalize, name)
            rms.mean, rms.var, rms.count = mean.cpu().numpy().copy(), var.cpu().numpy().copy(), count


def _moments(rms: Any) -> list[Any]:
    return [torch.from_numpy(np.array(rms.mean)), torch.from_numpy(np.array(rms.var)), float(rms.count)]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _seed_generators(seed: int, action_space: Any, device: str) -> None:
    """Independent streams for the generators that stable-baselines3 draws from; one seed for all would tie them."""
    python, numpy, torch_, actions = (int(word) for word in np.random.SeedSequence(seed).generate_state(4))
    random.seed(python)
    np.random.seed(numpy)  # noqa: NPY002
    torch.manual_seed(torch_)
    action_space.seed(actions)
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
