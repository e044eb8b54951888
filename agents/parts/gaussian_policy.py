"""Gaussian policies and values: small networks whose gradients are taken by hand, and Adam on all their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import e, log, pi, sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adam import adam

Activation = Literal["tanh", "relu"]


class Mlp(nn.Module):
    """Linear layers of ``sizes`` with an activation between them; ``[D, A]`` is one linear layer.

    Weights are orthogonal with gain sqrt(2), in the last layer ``last_gain``, and biases 0 (the initialisation of
    openai/baselines and stable-baselines3), on ``generator``'s device.

    Calling it knows autograd. `layers` and `backward` under ``torch.no_grad`` take half of autograd's time at a batch
    of 64, where an operation's overhead is larger than its work.
    """

    def __init__(
        self, sizes: Sequence[int], generator: torch.Generator, *, activation: Activation, last_gain: float
    ) -> None:
        super().__init__()
        if activation not in ("tanh", "relu"):
            raise ValueError(f"expected the activation 'tanh' or 'relu', found {activation!r}")
        self.activation = activation
        self.linears: list[nn.Linear] = []
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            # On the meta device first: elsewhere the constructor would draw from torch's global generator.
            linear = nn.Linear(inputs, outputs, device="meta").to_empty(device=generator.device)
            nn.init.orthogonal_(linear.weight, last_gain if i == len(sizes) - 2 else sqrt(2.0), generator=generator)
            nn.init.zeros_(linear.bias)
            self.linears.append(linear)
        self.stack = nn.ModuleList(self.linears)

    def forward(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        return self.layers(x)[-1]

    def layers(self, x: Float[Tensor, "B I"]) -> list[Tensor]:
        """The input, then every layer's output, hidden ones after their activation."""
        found, last = [x], len(self.linears) - 1
        for i, linear in enumerate(self.linears):
            y = torch.addmm(linear.bias, found[-1], linear.weight.t())
            if i < last:
                y = y.tanh_() if self.activation == "tanh" else y.relu_()
            found.append(y)
        return found

    def backward(self, layers: list[Tensor], slope: Float[Tensor, "B O"]) -> list[Tensor]:
        """A loss's gradients by the parameters, in their order, from its gradient ``slope`` by the last layer."""
        found: list[Tensor] = []
        for i in reversed(range(len(self.linears))):
            found = [slope.t() @ layers[i], slope.sum(0), *found]
            if i > 0:
                slope = slope @ self.linears[i].weight
                if self.activation == "tanh":
                    slope = torch.ops.aten.tanh_backward(slope, layers[i])
                else:
                    slope = torch.ops.aten.threshold_backward(slope, layers[i], 0)
        return found


class GaussianPolicy(nn.Module):
    """pi(a | s) = N(mean(s), diag(std^2)): the mean a network, or its tanh; the standard deviation free of s."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        tanh_mean: bool = False,
        log_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.tanh_mean, self.action_size = tanh_mean, action_size
        self.log_std = nn.Parameter(torch.full((action_size,), log_std, device=generator.device))
        # The small last gain makes the first actions nearly independent of the observation.
        self.net = Mlp([obs_size, *hidden, action_size], generator, activation=activation, last_gain=0.01)

    def forward(self, obs: Float[Tensor, "B D"]) -> Float[Tensor, "B A"]:
        """The mean, which is also the mode."""
        mean: Tensor = self.net(obs)
        return mean.tanh() if self.tanh_mean else mean

    def sample(
        self, obs: Float[Tensor, "B D"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "B A"], Float[Tensor, " B"]]:
        """Actions, unbounded, and the logarithms of their densities."""
        mean = self(obs)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return torch.addcmul(mean, noise, self.log_std.exp()), self.density(noise)

    def log_prob(self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        return self.density((action - self(obs)) * (-self.log_std).exp())

    def density(self, noise: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """The logarithm of the density of mean + std * ``noise``."""
        return noise.square().sum(1) * -0.5 - (self.log_std.sum() + 0.5 * log(2.0 * pi) * self.action_size)

    def entropy(self) -> Float[Tensor, ""]:
        """In nats; the same for every observation."""
        return self.log_std.sum() + 0.5 * log(2.0 * pi * e) * self.action_size

    def layers(
        self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]
    ) -> tuple[list[Tensor], Float[Tensor, "B A"]]:
        """What `backward` needs: the network's layers, the mean last; and the noise that gives ``action``."""
        layers = self.net.layers(obs)
        if self.tanh_mean:
            layers[-1] = layers[-1].tanh_()
        return layers, (action - layers[-1]) * (-self.log_std).exp()

    def backward(
        self, layers: list[Tensor], noise: Float[Tensor, "B A"], by_log_prob: Float[Tensor, " B"], by_entropy: float
    ) -> list[Tensor]:
        """A loss's gradients by the parameters, in their order, from those by `log_prob` and by `entropy`.

        With x = (a - mean) / std: d log pi / d mean = x / std and d log pi / d log_std = x^2 - 1.
        """
        slope = noise * by_log_prob[:, None]
        by_log_std = (slope * noise).sum(0) - (by_log_prob.sum() - by_entropy)
        slope *= (-self.log_std).exp()
        if self.tanh_mean:
            slope = torch.ops.aten.tanh_backward(slope, layers[-1])
        return [by_log_std, *self.net.backward(layers, slope)]

    @torch.no_grad()
    def set_weights(
        self,
        weights: Sequence[Float[Tensor, "_out _in"]],
        biases: Sequence[Float[Tensor, " _out"] | None],
        log_std: Float[Tensor, " A"] | float | None = None,
    ) -> None:
        """Copy weights ``[out, in]`` and biases (None: zeros), first layer first, and ``log_std`` unless None.

        They are applied to what the policy sees: behind a normaliser of observations, normalised ones.
        """
        wanted = [list(linear.weight.shape) for linear in self.net.linears]
        found = [list(weight.shape) for weight in weights]
        biased = [weight[:1] if bias is None else list(bias.shape) for weight, bias in zip(found, biases, strict=True)]
        if found != wanted or biased != [shape[:1] for shape in wanted]:
            raise ValueError(
                f"expected weights of shapes {wanted} and a bias per row, found weights {found} and biases {biased}; "
                "make the policy with the hidden sizes of the network that it takes over"
            )
        for linear, weight, bias in zip(self.net.linears, weights, biases, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
        if log_std is not None:
            self.log_std.copy_(torch.as_tensor(log_std).expand(self.action_size))


class Numbers:
    """Parameters moved into one ``vector``, so that clipping and Adam are each one operation on one tensor.

    The parameters become views of it: what is written to either is in both. Adam (Kingma & Ba 2015) has epsilon 1e-5,
    as openai/baselines' PPO has.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        sizes = [parameter.numel() for parameter in parameters]
        self.vector = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        for parameter, part in zip(parameters, torch.split(self.vector, sizes), strict=True):
            parameter.data = part.view(parameter.shape)
        self.gradient, self.means, self.squares = (torch.zeros_like(self.vector) for _ in range(3))
        self.steps = torch.zeros((), device=self.vector.device)

    def take(self, gradients: Sequence[Tensor]) -> None:
        """Gradients by the parameters, in their order, for the next `step`."""
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=self.gradient)

    def step(self, learning_rate: float, max_norm: float) -> None:
        """Adam's, on the gradient cut to ``max_norm``."""
        norm = self.gradient.norm()
        self.gradient *= (max_norm / (norm + 1e-6)).clamp_(max=1.0)
        adam(
            [self.vector],
            [self.gradient],
            [self.means],
            [self.squares],
            [],
            [self.steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-5,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name).clone() for name in ("vector", "means", "squares", "steps")}

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, saved in state.items():
            getattr(self, name).copy_(saved)
