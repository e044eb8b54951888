"""A learned model of vectors as the runner measures it: open-loop predictions, and the policy's returns inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.actions import ActionVectors
from agents.parts.dynamics import DynamicsModel
from agents.parts.ensemble import Ensemble
from agents.protocol import Prediction, Sequences

Act = Callable[[Float[Tensor, "B D"], torch.Generator], Float[Tensor, "B A"]]  # actions as vectors
PARTICLES = 8  # for each elite and window, by which the spread of open-loop predictions is found


class Step(NamedTuple):
    """One step of a batch of imagined episodes; None where neither the model nor the suite says it."""

    next_obs: Float[Tensor, "B D"]
    reward: Float[Tensor, " B"] | None
    termination: Float[Tensor, " B"] | None  # the probability of a true end


class ImaginedWorld:
    """`agents.protocol.WorldModel` of an `Ensemble` or a `DynamicsModel`.

    ``actions`` turns the environment's actions into vectors. ``act``: what the agent's ``policy("mode")`` does on a
    batch of observations, as vectors; None where acting inside the model is unaffordable. ``known``: what the suite
    granted (`Problem.known`). ``ends``: whether a `DynamicsModel` is to be believed about ends (an ensemble knows
    itself).
    """

    def __init__(
        self,
        model: Ensemble | DynamicsModel,
        actions: ActionVectors,
        *,
        act: Act | None = None,
        known: Mapping[str, Callable[..., Any]] | None = None,
        ends: bool = True,
    ) -> None:
        self.model, self.actions, self.act, self.known, self.ends = model, actions, act, dict(known or {}), ends

    @torch.no_grad()
    def predict(self, sequences: Sequences, seed: int) -> Prediction:
        """The mean prediction fed back step by step; its spread is that of particles, see `Spread`."""
        actions = self._vectors(sequences.action[:, sequences.context :])
        obs = self._tensor(sequences.obs[:, sequences.context])
        generator = torch.Generator(obs.device).manual_seed(seed)
        spread = Spread(self.model, obs, generator) if isinstance(self.model, Ensemble) else None
        steps: list[Step] = []
        deviations: list[Tensor] = []
        for action in actions.unbind(1):
            steps.append(self._mean_step(obs, action))
            obs = steps[-1].next_obs
            if spread is not None and spread.defined:
                deviations.append(spread.step(action, obs))
        return Prediction(
            obs=_stacked([step.next_obs for step in steps]),
            obs_std=_stacked(deviations) if deviations else None,
            reward=None if steps[0].reward is None else _stacked([step.reward for step in steps]),
            termination=None if steps[0].termination is None else _stacked([step.termination for step in steps]),
        )

    @torch.no_grad()
    def imagined_returns(self, first_obs: np.ndarray, steps: int, seed: int) -> tuple[list[float], list[int]] | None:
        """A random elite moves each episode in each step, sampled; ends are drawn with their probability.

        An episode whose state is no longer finite stops there; its return is nan.
        """
        if self.act is None:
            return None
        obs = self._tensor(first_obs)
        generator = torch.Generator(obs.device).manual_seed(seed)
        returns = torch.zeros(len(obs), dtype=torch.float64, device=obs.device)
        lengths = torch.zeros(len(obs), dtype=torch.long, device=obs.device)
        alive = torch.arange(len(obs), device=obs.device)
        for _ in range(steps):
            action = self.act(obs, generator)
            step = self._sampled_step(obs, action, generator)
            if step.reward is None:
                return None
            returns[alive] += step.reward
            lengths[alive] += 1
            finite = step.next_obs.isfinite().all(1)
            returns[alive[~finite]] = torch.nan
            going = finite
            if step.termination is not None:
                drawn = torch.rand(len(obs), generator=generator, device=obs.device)
                going = finite & (drawn >= step.termination)
            alive, obs = alive[going], step.next_obs[going]
            if not len(alive):
                break
        return returns.tolist(), lengths.tolist()

    def _mean_step(self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]) -> Step:
        model = self.model
        if isinstance(model, DynamicsModel):
            return self._granted(obs, action, self._deterministic_step(model, obs, action))
        moments = model.predict(obs, action)
        mean = moments.mean[model.elites].mean(0)
        ends = None
        if moments.termination is not None:
            ends = moments.termination[model.elites].sigmoid().mean(0) * model.end_seen
        step = Step(mean[:, : model.obs_size], mean[:, -1] if model.reward else None, ends)
        return self._granted(obs, action, step)

    def _sampled_step(self, obs: Tensor, action: Tensor, generator: torch.Generator) -> Step:
        model = self.model
        if isinstance(model, DynamicsModel):
            return self._granted(obs, action, self._deterministic_step(model, obs, action))
        return self._granted(obs, action, Step(*model.sample(obs, action, generator)))

    def _deterministic_step(self, model: DynamicsModel, obs: Tensor, action: Tensor) -> Step:
        found = model.predict(obs, action)
        ends = found["termination"].sigmoid() * self.ends if model.termination else None
        return Step(found["next_obs"], found.get("reward"), ends)

    def _granted(self, obs: Tensor, action: Tensor, step: Step) -> Step:
        """What the suite granted in place of what the model says."""
        for name in ("reward", "termination"):
            if name in self.known:
                step = step._replace(**{name: self.known[name](obs, action, step.next_obs).float()})
        return step

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.actions.device)

    def _vectors(self, action: np.ndarray) -> Float[Tensor, "B T A"]:
        """Encoded one by one: a Discrete action is a number, a Box action an array."""
        rows = [[self.actions.encode(one) for one in episode] for episode in action]
        return self._tensor(np.asarray(rows))


class Spread:
    """The standard deviation to be expected of an ensemble's mean prediction, by particles that keep to one elite each.

    Law of total variance over the particles of a window: the variance that their members predict, and how far the
    members' means lie from the mean prediction. So the first step is exactly moment matching over the elites.
    """

    def __init__(self, ensemble: Ensemble, obs: Float[Tensor, "B D"], generator: torch.Generator) -> None:
        self.folded, self.elites, self.generator = ensemble.folded(), ensemble.elites.tolist(), generator
        self.defined = ensemble.config.probabilistic or len(self.elites) > 1
        self.copies = len(self.elites) * (PARTICLES if ensemble.config.probabilistic else 1)
        self.states = obs.T.repeat(1, self.copies)  # [D CB], the particles of each elite side by side

    def step(self, action: Float[Tensor, "B A"], mean: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """After ``action``, about the prediction ``mean``."""
        size, columns = self.states.shape
        x = torch.cat([self.states, action.T.repeat(1, self.copies), self.states.new_ones(1, columns)])
        out = self.folded.run(x, self.elites, [columns // len(self.elites)] * len(self.elites))
        self.states = self.states + out[:size]
        squares = (self.states - mean.T.repeat(1, self.copies)).square()
        if self.folded.probabilistic:
            std = self.folded.deviation(out)[:size]
            squares += std.square()
            self.states.addcmul_(std, torch.randn(std.shape, generator=self.generator, device=std.device))
        return squares.view(size, self.copies, -1).mean(1).sqrt().T


def _stacked(steps: list[Any]) -> np.ndarray:
    """Steps ``[B ...]`` as an array ``[B H ...]``."""
    found: np.ndarray = torch.stack(steps, 1).cpu().numpy()
    return found
