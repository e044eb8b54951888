"""Trust-region policy optimisation of a Gaussian policy (Schulman et al. 2015, 1502.05477), and its linear baseline.

Details after rllab, which ME-TRPO and MBMF were run with: conjugate gradient, then a backtracking line search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.gaussian_policy import GaussianPolicy

Product = Callable[[Float[Tensor, " P"]], Float[Tensor, " P"]]


@dataclass(frozen=True, kw_only=True)
class TRPOConfig:
    """Defaults: rllab's, which are ME-TRPO's."""

    max_kl: float = 0.01  # delta of eq. 14, nats, the mean over observations
    cg_iterations: int = 10  # of the conjugate gradient
    damping: float = 1e-5  # times the identity, added to the Fisher matrix
    shrink: float = 0.8  # of the step at each backtracking
    backtracks: int = 15  # steps that are tried at most


def parameters_of(policy: GaussianPolicy) -> Float[Tensor, " P"]:
    """All parameters in one vector, a copy, in the order of ``policy.parameters()``."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in policy.parameters()])


@torch.no_grad()
def set_parameters(policy: GaussianPolicy, vector: Float[Tensor, " P"]) -> None:
    """The reverse of `parameters_of`."""
    for parameter, part in zip(policy.parameters(), parted(policy, vector), strict=True):
        parameter.copy_(part)


def parted(policy: GaussianPolicy, vector: Float[Tensor, " P"]) -> list[Tensor]:
    """Views of a vector such as `parameters_of` gives, one of each parameter's shape."""
    parameters = list(policy.parameters())
    pieces = torch.split(vector, [parameter.numel() for parameter in parameters])
    return [piece.view(parameter.shape) for piece, parameter in zip(pieces, parameters, strict=True)]


def _joined(gradients: Sequence[Tensor]) -> Float[Tensor, " P"]:
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


@torch.no_grad()
def conjugate_gradient(
    product: Product, target: Float[Tensor, " P"], iterations: int, tolerance: float = 1e-10
) -> Float[Tensor, " P"]:
    """x with A x = ``target``, A symmetric and positive, known by its ``product`` with vectors; begins at 0.

    Stops early when the squared residual is below ``tolerance``.
    """
    found, residual = torch.zeros_like(target), target.clone()
    direction, squared = residual.clone(), residual @ residual
    for _ in range(iterations):
        if float(squared) < tolerance:
            break
        along = product(direction)
        length = squared / (direction @ along)
        found += length * direction
        residual -= length * along
        before, squared = squared, residual @ residual
        direction = residual + (squared / before) * direction
    return found


class Fisher:
    """Products with the Fisher matrix of a policy on ``obs [B D]``: the Hessian of the mean divergence where it is 0.

    For N(mean(s), std^2): J' diag(1 / std^2) J / B for the network's parameters, J being the derivative of the means,
    and 2 for each log-std (appendix C.1). So a product is one tangent pass and one backward pass, without autograd.
    """

    @torch.no_grad()
    def __init__(self, policy: GaussianPolicy, obs: Float[Tensor, "B D"], damping: float = 0.0) -> None:
        self.policy, self.damping = policy, damping
        self.layers = policy.net.layers(obs)
        if policy.tanh_mean:
            self.layers[-1] = self.layers[-1].tanh()
        self.weight = (-2.0 * policy.log_std).exp() / len(obs)

    @torch.no_grad()
    def __call__(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        log_std, *parts = parted(self.policy, vector)
        slope = self._tangent(parts) * self.weight
        if self.policy.tanh_mean:
            slope = torch.ops.aten.tanh_backward(slope, self.layers[-1])
        return _joined([2.0 * log_std, *self.policy.net.backward(self.layers, slope)]).add_(vector, alpha=self.damping)

    def _tangent(self, parts: list[Tensor]) -> Float[Tensor, "B A"]:
        """How the means move if the network's parameters (weight and bias of each layer) move along ``parts``."""
        net, layers = self.policy.net, self.layers
        moved: Tensor | None = None
        for i, linear in enumerate(net.linears):
            change = torch.addmm(parts[2 * i + 1], layers[i], parts[2 * i].t())
            if moved is not None:
                change = change.addmm_(moved, linear.weight.t())
            hidden = i < len(net.linears) - 1
            if (hidden and net.activation == "tanh") or (not hidden and self.policy.tanh_mean):
                change = torch.ops.aten.tanh_backward(change, layers[i + 1])
            elif hidden:
                change = torch.ops.aten.threshold_backward(change, layers[i + 1], 0)
            moved = change
        assert moved is not None
        return moved


@torch.no_grad()
def divergence(
    old_mean: Float[Tensor, "B A"],
    old_log_std: Float[Tensor, " A"],
    mean: Float[Tensor, "B A"],
    log_std: Float[Tensor, " A"],
) -> Float[Tensor, ""]:
    """KL(old || new), the mean over observations, in nats."""
    apart = (old_mean - mean).square().mean(0) + (2.0 * old_log_std).exp()
    return (log_std - old_log_std + 0.5 * apart * (-2.0 * log_std).exp() - 0.5).sum()


@torch.no_grad()
def trust_region_step(
    policy: GaussianPolicy,
    obs: Float[Tensor, "B D"],
    action: Float[Tensor, "B A"],
    advantage: Float[Tensor, " B"],
    config: TRPOConfig,
) -> dict[str, float]:
    """Move ``policy`` to a better mean of ratio x advantage, at most ``max_kl`` from itself (eq. 14, appendix C).

    ``obs`` and ``action`` are what this very policy saw and did. The longest step within the divergence, in the
    direction F^-1 g, is shortened until the surrogate improves and the divergence keeps its bound; if no try does both,
    the policy stays as it was. Returns ``kl``, the surrogate's ``improvement``, and ``step``, the share of the longest
    step that was taken, 0 if none was.
    """
    start = parameters_of(policy)
    old_log_std = policy.log_std.clone()
    layers, noise = policy.layers(obs, action)
    old_mean, old_log_prob = layers[-1].clone(), policy.density(noise)
    gradient = _joined(policy.backward(layers, noise, advantage / len(advantage), 0.0))
    before = advantage.mean()

    fisher = Fisher(policy, obs, config.damping)
    direction = conjugate_gradient(fisher, gradient, config.cg_iterations)
    curvature = float(direction @ fisher(direction))
    refused = {"kl": 0.0, "improvement": 0.0, "step": 0.0}
    if not 0.0 < curvature < float("inf"):
        return refused
    longest = direction * sqrt(2.0 * config.max_kl / curvature)
    for tried in range(config.backtracks):
        share = config.shrink**tried
        set_parameters(policy, start + share * longest)
        mean = policy.forward(obs)
        kl = float(divergence(old_mean, old_log_std, mean, policy.log_std))
        log_prob = policy.density((action - mean) * (-policy.log_std).exp())
        improvement = float(((log_prob - old_log_prob).exp() * advantage).mean() - before)
        if improvement > 0.0 and kl <= config.max_kl:
            return {"kl": kl, "improvement": improvement, "step": share}
    set_parameters(policy, start)
    return refused


class LinearBaseline:
    """A value linear in features of observation and time, fitted by least squares (rllab's LinearFeatureBaseline).

    Features: obs cut at +-10, its square, t / 100 to the powers 1 to 3, and 1. Before the first fit it is 0.
    """

    def __init__(self, obs_size: int, device: torch.device | str = "cpu") -> None:
        self.weights = torch.zeros(2 * obs_size + 4, dtype=torch.float64, device=device)

    def _features(self, obs: Float[Tensor, "*B D"], time: Float[Tensor, "*B"]) -> Float[Tensor, "*B F"]:
        cut, t = obs.double().clamp(-10.0, 10.0), time.double()[..., None] / 100.0
        return torch.cat([cut, cut.square(), t, t.square(), t**3, torch.ones_like(t)], -1)

    @torch.no_grad()
    def __call__(self, obs: Float[Tensor, "*B D"], time: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """``time``: steps since the episode's beginning."""
        return (self._features(obs, time) @ self.weights).float()

    @torch.no_grad()
    def fit(self, obs: Float[Tensor, "*B D"], time: Float[Tensor, "*B"], return_: Float[Tensor, "*B"]) -> None:
        features = self._features(obs, time).flatten(0, -2)
        square = features.T @ features
        ridge = torch.eye(len(square), dtype=torch.float64, device=square.device)
        for strength in (1e-5, 1e-3, 1e-1, 10.0):
            found, _ = torch.linalg.solve_ex(square + strength * ridge, features.T @ return_.double().flatten())
            if bool(found.isfinite().all()):
                self.weights = found
                return

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights.clone()}

    def restore(self, state: dict[str, Any]) -> None:
        self.weights = state["weights"].clone().to(self.weights.device)
