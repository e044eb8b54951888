"""Ensembles of dynamics networks, probabilistic or not: fitted with hold-out stopping, asked for moments or samples.

Chua et al. 2018 (PETS, 1805.12114, section 4 and appendix A.1) and Janner et al. 2019 (MBPO, 1906.08253, appendix A and
C), details after the codes kchua/handful-of-trials and jannerm/mbpo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.parts.adam import Adam
from agents.parts.dynamics import Normaliser, never_varied
from agents.parts.ensemble_fit import fit_networks
from agents.parts.ensemble_heads import Ends, Heads
from agents.parts.ensemble_inference import Folded
from agents.parts.ensemble_networks import Activation, Initial, MemberNetworks


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Defaults: MBPO's code. One deterministic network: ``members=1, elites=1, probabilistic=False``."""

    members: int = 7  # E, networks
    elites: int = 5  # those of them with the least hold-out error, which `sample` draws from; PETS: all of 5
    hidden: Sequence[int] = (200, 200, 200, 200)  # units of each hidden layer
    activation: Activation = "swish"
    probabilistic: bool = True  # Gaussian likelihood; else squared error
    learning_rate: float = 1e-3  # Adam
    weight_decay: float | Sequence[float] = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)  # of each layer's weights, or of all's
    batch_size: int = 256  # transitions per member; PETS: 32
    holdout: float = 0.2  # share of the data kept aside; 0: none, as PETS
    max_holdout: int = 5000  # transitions kept aside at most
    patience: int = 5  # stop when for more epochs than this no member's hold-out error fell by 1 %
    max_epochs: int | None = None  # per fit
    bootstrap: bool = True  # each member's data drawn with replacement, once per fit; False: each has all of it
    logvar_bounds: tuple[float, float] = (-10.0, 0.5)  # where the learned bounds of the log-variance begin
    bounds_weight: float = 0.01  # of their distance in the loss
    normalise_targets: bool = False  # to deviation 1, as inputs are; MBPO and PETS: False; ME-TRPO and MVE: True
    initial: Initial = "truncated"  # see `MemberNetworks`; for many or ReLU layers: glorot
    end_hidden: Sequence[int] = (128, 128)  # units of the networks of ends; STEVE's code


class Moments(NamedTuple):
    """What each member says of a step, in the environment's units. O = D, and one more for the reward at the end."""

    mean: Float[Tensor, "E B O"]  # next_obs, then the reward
    var: Float[Tensor, "E B O"]  # 0 where the members are deterministic
    termination: Float[Tensor, "E B"] | None  # the logit of a true end


class Sampled(NamedTuple):
    """One sampled step for each row."""

    next_obs: Float[Tensor, "B D"]
    reward: Float[Tensor, " B"] | None
    termination: Float[Tensor, " B"] | None  # the probability of a true end; 0 as long as no end was ever trained on


class Ensemble:
    """E networks that predict (s' - s, r) from normalised (s, a), and others for the logit of a true end.

    ``reward``, ``termination``: whether they are predicted. Draws from ``generator`` and lives on its device.
    ``elites [n]`` are members in order of their hold-out error, ``updates`` counts gradient steps.
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        config: EnsembleConfig,
        generator: torch.Generator,
        *,
        reward: bool,
        termination: bool,
    ) -> None:
        if not 1 <= config.elites <= config.members:
            raise ValueError(f"expected 1 to {config.members} elites, as many as members, found {config.elites}")
        self.config, self.generator = config, generator
        self.obs_size, self.reward, self.termination = obs_size, reward, termination
        device = generator.device
        self.heads = Heads(
            obs_size + reward,
            probabilistic=config.probabilistic,
            bounds=config.logvar_bounds,
            weight=config.bounds_weight,
            device=device,
        )
        sizes = [obs_size + action_size, *config.hidden, self.heads.size]
        self.networks = MemberNetworks(config.members, sizes, config.activation, generator, initial=config.initial)
        self.ends = Ends(config.members, sizes[0], config.end_hidden, generator) if termination else None
        groups = [*self.networks.groups(config.weight_decay), (self.heads.bounds, self.heads.bounds_slope, 0.0)]
        groups += self.ends.networks.groups(0.0) if self.ends else []
        self.optimiser = Adam(groups, config.learning_rate)
        self.inputs = Normaliser.identity(sizes[0], str(device))
        self.targets = Normaliser.identity(self.heads.regressed, str(device))
        self.elites = torch.arange(config.elites, device=device)
        self.updates, self.end_seen = 0, False
        self._folded: Folded | None = None

    def fit(self, data: Mapping[str, Tensor], *, epochs: int | None = None) -> dict[str, float]:
        """Train on ``data``: obs, action, next_obs and, if they are predicted, reward and terminated, ``[N ...]``.

        Goes on from the weights and the optimiser's state that there are, with new normalisers, hold-out part and
        bootstraps; stops as the config says, or after exactly ``epochs``; where something was held out, every member's
        best weights are restored and the elites chosen. Returns ``loss/...`` (last epoch, per member),
        ``holdout_error`` (`errors`, the elites' mean; nan without hold-out) and ``epochs``. Raises
        `FloatingPointError` where a loss is infinite or not a number.
        """
        self.normalise(data)
        return fit_networks(self, *self._normal(data), epochs=epochs)

    def normalise(self, data: Mapping[str, Tensor]) -> None:
        """Set the normalisers by ``data``. `fit` does so; for those who use `update` alone.

        An input that never varied has no say until it does: its weights are 0.
        """
        inputs, targets, _ = self._raw(data)
        constant = never_varied(inputs)
        for networks in (self.networks, self.ends and self.ends.networks):
            if networks:
                networks.weights[0][:, constant] = 0.0
        self.inputs, self._folded = Normaliser.fit(inputs), None
        if self.config.normalise_targets:
            self.targets = Normaliser.fit(targets)

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One gradient step on a batch ``[B ...]`` for all members or ``[E B ...]``, one for each; see `step`."""
        inputs, targets, ends = self._normal(batch)
        members = self.config.members
        if inputs.ndim == 2:
            inputs, targets = inputs.expand(members, -1, -1), targets.expand(members, -1, -1)
            ends = None if ends is None else ends.expand(members, -1)
        return self.step(inputs, targets, ends)

    def step(
        self, inputs: Float[Tensor, "E B I"], targets: Float[Tensor, "E B R"], ends: Float[Tensor, "E B"] | None
    ) -> dict[str, Tensor]:
        """One gradient step on normalised data; the losses before it, summed over members."""
        layers = self.networks.forward(inputs)
        losses, slope = self.heads.losses_and_slope(layers[-1], targets)
        self.networks.backward(layers, slope)
        if self.ends is not None and ends is not None:
            losses["termination"] = self.ends.loss(inputs, ends)
        self.optimiser.step()
        self.updates += 1
        self._folded = None
        return losses

    def errors(self, inputs: Float[Tensor, "N I"], targets: Float[Tensor, "N R"]) -> Float[Tensor, " E"]:
        """Each member's squared error on normalised data, averaged over columns: what hold-out stopping watches."""
        return (self.networks.infer(inputs)[..., : self.heads.regressed] - targets).square().mean((1, 2))

    def _raw(self, data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs, regression targets and ends, in the environment's units."""
        device = self.generator.device
        columns = {name: column.to(device, torch.float32) for name, column in data.items()}
        targets = columns["next_obs"] - columns["obs"]
        if self.reward:
            targets = torch.cat([targets, columns["reward"][..., None]], -1)
        return torch.cat([columns["obs"], columns["action"]], -1), targets, columns.get("terminated")

    def _normal(self, data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        inputs, targets, ends = self._raw(data)
        if self.ends is None:
            ends = None
        elif not self.end_seen:
            assert ends is not None
            self.end_seen = bool(ends.any())
        return self.inputs(inputs), self.targets(targets), ends

    def predict(self, obs: Float[Tensor, "*E B D"], action: Float[Tensor, "*E B A"]) -> Moments:
        """All members' moments, of the same rows ``[B ...]`` or of each member's own ``[E B ...]``.

        Differentiable by ``obs`` and ``action`` (for MVE, SVG), not by the weights.
        """
        inputs, r = self.inputs(torch.cat([obs, action], -1)), self.heads.regressed
        out = self.networks(inputs)
        change = self.targets.inverse(out[..., :r])
        mean = torch.cat([obs + change[..., : self.obs_size], change[..., self.obs_size :]], -1)
        var = torch.zeros_like(mean)
        if self.heads.probabilistic:
            var = self.heads.variance(out[..., r:]) * self.targets.std.square()
        return Moments(mean, var, None if self.ends is None else self.ends.networks(inputs)[..., 0])

    def folded(self) -> Folded:
        """The networks for many rows without gradients; a frozen copy, made anew after each change."""
        if self._folded is None:
            self._folded = Folded(self)
        return self._folded

    @torch.no_grad()
    def sample(
        self,
        obs: Float[Tensor, "B D"],
        action: Float[Tensor, "B A"],
        generator: torch.Generator,
        member: Int[Tensor, " B"] | None = None,
    ) -> Sampled:
        """A step of each row through one member: a random elite for each row, unless ``member`` says which.

        Next observation and reward are drawn from the member's Gaussian; the means if members are deterministic.
        """
        if member is None:
            member = self.elites[torch.randint(len(self.elites), (len(obs),), generator=generator, device=obs.device)]
        step, ends = self.folded().sample(obs, action, member, generator)
        if ends is None and self.termination:
            ends = obs.new_zeros(len(obs))
        return Sampled(step[:, : self.obs_size], step[:, -1] if self.reward else None, ends)

    @torch.no_grad()
    def disagreement(self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Epistemic uncertainty: the deviation of the elites' mean next observations from each other.

        In units of each dimension's deviation in the data, root mean square over dimensions.
        """
        means = self.folded().means(obs, action, self.elites.tolist())[:, : self.obs_size]
        deviation = means.std(0, correction=0) / self.inputs.std[: self.obs_size, None]
        return deviation.square().mean(0).sqrt()

    def state(self) -> dict[str, Any]:
        """Copies of all that fits and predictions depend on, the generator excepted: its owner saves it."""
        normalisers = (self.inputs.mean, self.inputs.std, self.targets.mean, self.targets.std)
        return {
            "vector": self.networks.vector.clone(),
            "ends": None if self.ends is None else self.ends.networks.vector.clone(),
            "bounds": self.heads.bounds.clone(),
            "optimiser": self.optimiser.state(),
            "normalisers": [values.clone() for values in normalisers],
            "elites": self.elites.clone(),
            "updates": self.updates,
            "end_seen": self.end_seen,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.networks.vector.copy_(state["vector"])
        if self.ends is not None:
            self.ends.networks.vector.copy_(state["ends"])
        self.heads.bounds.copy_(state["bounds"])
        self.optimiser.restore(state["optimiser"])
        device = self.generator.device
        mean, std, target_mean, target_std = (values.to(device) for values in state["normalisers"])
        self.inputs, self.targets = Normaliser(mean, std), Normaliser(target_mean, target_std)
        self.elites = state["elites"].to(device)
        self.updates, self.end_seen, self._folded = state["updates"], state["end_seen"], None
