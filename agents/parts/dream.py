"""Dreams: M's world in place of the real one, many at a time, for generations of controllers or as environments.

Ha & Schmidhuber 2018, section 4: the next z is drawn from M's mixture at a temperature, the dream ends where M's done
logit is above 0, each step pays 1 unless M has learned the reward, and there are 2,100 steps at most.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from agents.parts.mdn_rnn import MDNRNN, MIXTURES

TIME_LIMIT = 2100  # steps; section 4
ROUND = 16  # steps between the looks for dreams that have ended
Act = Callable[[Float[Tensor, "M F"], Int[Tensor, " M"]], Float[Tensor, "M A"]]  # see `play`


class Dreaming:
    """N dreams stepped together from a copy of M's weights as they are now. No gradients; lives on M's device.

    A row is one dream: action, restart, 1, z, h, c. The LSTM is fed the columns up to h, a controller sees those from z
    on; every result is written where the next step reads it. Temperature and reward unit are in the copied weights.
    """

    def __init__(self, model: MDNRNN, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"expected a temperature above 0, found {temperature}")
        self.model, self._first = model, model.actions + model.done + 1  # _first: z's first column
        fed, h = model.cell.detach().tensor_split([-model.hidden], 1)  # fed: z, action, restart, 1
        self._cell = torch.cat([fed.roll(-model.latent, 1), h], 1)
        self._output, self._bias = model.output.detach().clone(), model.output_bias.detach().clone()
        size, unit = MIXTURES * model.latent, model.reward_unit if model.reward else 1.0
        for part in (self._output, self._bias):
            part[:size] /= temperature
            part[-1] *= unit
        self._bias[2 * size : 3 * size] += 0.5 * log(temperature)

    def reset(self, z: Float[Tensor, "R Z"], generator: Generator, candidates: int = 1) -> None:
        """Begin ``N = candidates * R`` dreams, the n-th at ``z[n % R]``.

        Noise is drawn for R dreams in each step, whether or not they have ended: the n-th has that of ``n % R``, so all
        candidates dream with common random numbers.
        """
        model, self.generator = self.model, generator
        self._noise = z.new_empty(2, *z.shape)
        count = candidates * len(z)
        self.rows = z.new_zeros(count, self._first + model.latent + 2 * model.hidden)
        self._gates = z.new_empty(count, len(self._cell))
        self._out = z.new_empty(count, len(self._output))
        self.index = torch.arange(count, device=z.device)  # which dreams the rows are
        self._rollout = None if candidates == 1 else self.index % len(z)  # whose noise the rows have; None: their own
        self.begin(slice(None), z.repeat(candidates, 1))

    def begin(self, rows: Any, z: Float[Tensor, "M Z"]) -> None:
        """A new dream in each of ``rows`` (a slice or indices)."""
        self.rows[rows] = 0.0
        self.rows[rows, self.model.actions : self._first] = 1.0
        self.rows[rows, self._first : self._first + self.model.latent] = z

    def keep(self, chosen: Bool[Tensor, " M"]) -> None:
        """Go on with these rows alone."""
        self.index, self.rows = self.index[chosen], self.rows[chosen]
        self._rollout, count = self.index % self._noise.shape[1], len(self.index)
        self._gates, self._out = self._gates[:count], self._out[:count]

    @property
    def features(self) -> Float[Tensor, "M F"]:
        """What a controller may see: columns z, h, c. A view, which the next step changes."""
        return self.rows[:, self._first :]

    @torch.no_grad()
    def step(self, action: Float[Tensor, "M A"]) -> tuple[Float[Tensor, " M"], Bool[Tensor, " M"]]:
        """Rewards, and whether M says that the dream is over."""
        model, rows, gates, out, size = self.model, self.rows, self._gates, self._out, self.model.hidden
        rows[:, : model.actions] = action
        torch.mm(rows[:, :-size], self._cell.t(), out=gates)
        rows[:, model.actions : self._first - 1] = 0.0
        i, f, o = gates[:, : 3 * size].sigmoid_().chunk(3, 1)
        h, c = rows[:, -2 * size : -size], rows[:, -size:]
        c.mul_(f).addcmul_(i, gates[:, 3 * size :].tanh_())
        torch.mul(o, torch.tanh(c, out=i), out=h)
        torch.addmm(self._bias, h, self._output.t(), out=out)
        self._draw(out[:, : model.gaussians].view(-1, 3, MIXTURES, model.latent))
        done = out[:, model.gaussians] > 0 if model.done else torch.zeros_like(self.index, dtype=torch.bool)
        return out[:, -1].clone() if model.reward else torch.ones_like(out[:, -1]), done

    def _draw(self, mixtures: Float[Tensor, "M 3 K Z"]) -> None:
        """The next z. Exponentials are taken of the weights and of one standard deviation each."""
        share, noise = self._noise
        share.uniform_(generator=self.generator)
        noise.normal_(generator=self.generator)
        if self._rollout is not None:
            share, noise = self._noise.index_select(1, self._rollout)
        odds, drawn = mixtures[:, 0], mixtures[:, 1:, 0]
        odds.sub_(odds.amax(1, keepdim=True)).exp_()
        for k in range(1, MIXTURES):
            odds[:, k] += odds[:, k - 1]
        share *= odds[:, -1]
        for k in range(1, MIXTURES):
            drawn = torch.where((share > odds[:, k - 1])[:, None], mixtures[:, 1:, k], drawn)
        torch.addcmul(drawn[:, 0], drawn[:, 1].exp(), noise, out=self.rows[:, self._first : -2 * self.model.hidden])


def play(
    model: MDNRNN,
    act: Act,
    starts: Float[Tensor, "R Z"],
    generator: Generator,
    *,
    candidates: int = 1,
    temperature: float = 1.0,
    time_limit: int = TIME_LIMIT,
) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
    """Returns and lengths of ``N = candidates * R`` whole dreams; dream ``p * R + r`` is candidate p's r-th.

    ``act(features [M F], index [M])`` gives the actions that M is told ``[M A]`` in the dreams ``index`` that are still
    on; features are the columns z, h, c. ``index`` is the same object until dreams were left out. The step that ends a
    dream counts, as it does in the real environment. The r-th rollouts of all candidates share start and noise.
    """
    dreams = Dreaming(model, temperature)
    dreams.reset(starts, generator, candidates)
    on = torch.ones_like(dreams.index, dtype=torch.bool)
    returns, lengths = starts.new_zeros(len(on)), torch.zeros_like(dreams.index)
    for step in range(1, time_limit + 1):
        reward, done = dreams.step(act(dreams.features, dreams.index))
        returns.index_add_(0, dreams.index, torch.where(on, reward, 0.0))
        lengths.index_add_(0, dreams.index, on.long())
        on &= ~done
        if step % ROUND == 0 and not on.all():
            dreams.keep(on)
            on = on[on]
            if len(on) == 0:
                break
    return returns, lengths


class DreamVector(gym.vector.VectorEnv[np.ndarray, Any, Any]):
    """``num_envs`` dreams as environments stepped together; a finished one begins anew in the same step (SAME_STEP).

    M's done terminates, the time limit truncates. All draw from one random stream, so that a seed is one int.
    """

    def __init__(
        self,
        model: MDNRNN,
        mean: Float[Tensor, "S Z"],
        logvar: Float[Tensor, "S Z"],
        num_envs: int,
        *,
        temperature: float = 1.0,
        time_limit: int = TIME_LIMIT,
        cell: bool = False,
        action_space: gym.Space[Any] | None = None,
        told: Callable[[np.ndarray], Tensor] | None = None,
    ) -> None:
        """Dreams begin at a draw from one of S posteriors. ``cell``: c is observed, too, after z and h. ``told`` makes
        of actions ``[N ...]`` of ``action_space`` what M is told of them, ``[N A]``; default: -1 to 1, as they are.
        """
        self.mean, self.logvar, self.num_envs, self.time_limit, self.told = mean, logvar, num_envs, time_limit, told
        self.seen = model.latent + model.hidden * (1 + cell)
        self.single_observation_space = Box(-np.inf, np.inf, (self.seen,), np.float32)
        self.single_action_space = action_space or Box(-1.0, 1.0, (model.actions,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {"render_modes": [], "autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        self.dreams, self.generator = Dreaming(model, temperature), Generator(mean.device)
        self.dreams.reset(mean.new_zeros(num_envs, model.latent), self.generator)
        self.steps = np.zeros(num_envs, np.int64)  # of the running dreams
        self.seeded = False

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Without a ``seed`` the random stream goes on."""
        super().reset(seed=seed)
        if seed is not None or not self.seeded:
            self.generator.manual_seed(int(self.np_random.integers(2**62)))
            self.seeded = True
        self._begin(np.arange(self.num_envs))
        return self.observe(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        obs, reward, terminated, truncated = self.advance(np.asarray(actions))
        infos: dict[str, Any] = {}
        if (over := terminated | truncated).any():
            infos = {"final_obs": np.full(self.num_envs, None, dtype=object), "_final_obs": over}
            for i in (ended := np.flatnonzero(over)):
                infos["final_obs"][i] = obs[i]
            self._begin(ended)
            obs = self.observe()
        return obs, reward, terminated, truncated, infos

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`step` that begins nothing anew."""
        told = torch.from_numpy(actions) if self.told is None else self.told(actions)
        reward, done = self.dreams.step(told.to(self.mean))
        self.steps += 1
        terminated = done.cpu().numpy()
        truncated = (self.steps >= self.time_limit) & ~terminated
        return self.observe(), reward.cpu().numpy().astype(np.float64), terminated, truncated

    def _begin(self, rows: np.ndarray) -> None:
        chosen = torch.randint(len(self.mean), (len(rows),), generator=self.generator, device=self.mean.device)
        mean, std = self.mean[chosen], (0.5 * self.logvar[chosen]).exp()
        z = mean + std * torch.empty_like(mean).normal_(generator=self.generator)
        self.dreams.begin(torch.from_numpy(rows).to(self.mean.device), z)
        self.steps[rows] = 0

    def observe(self) -> np.ndarray:
        return np.array(self.dreams.features[:, : self.seen].cpu(), np.float32)

    def state(self) -> dict[str, Tensor]:
        """All that `restore` needs to go on bit for bit in an environment made with the same weights and options."""
        steps, generator = torch.from_numpy(self.steps.copy()), self.generator.get_state()
        return {"rows": self.dreams.rows.clone(), "steps": steps, "generator": generator}

    def restore(self, state: dict[str, Tensor]) -> np.ndarray:
        """The observations at which ``state`` was taken."""
        self.dreams.rows.copy_(state["rows"])
        self.generator.set_state(state["generator"])
        self.steps, self.seeded = state["steps"].numpy().copy(), True
        return self.observe()


class Dream(gym.Env[np.ndarray, Any]):
    """One dream as an environment: promised to all other learners, no agent here needs it. ``vector`` has its state."""

    metadata = {"render_modes": []}

    def __init__(self, model: MDNRNN, mean: Float[Tensor, "S Z"], logvar: Float[Tensor, "S Z"], **options: Any) -> None:
        """``options``: those of `DreamVector`."""
        self.vector = DreamVector(model, mean, logvar, 1, **options)
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.vector.reset(seed=seed)[0][0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated = self.vector.advance(np.asarray(action)[None])
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}
