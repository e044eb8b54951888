"""Small ReLU networks side by side whose numbers lie in one vector, with gradients by hand; bounds of actions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

PIECE = 512  # rows


class Networks:
    """E fully connected networks of one shape, ReLU between layers, computed as batched matrix products.

    ``vector [P]`` holds all weights ``[E in out]`` and biases ``[E 1 out]``, ``gradient [P]`` their gradients in the
    same order: an optimiser or a moving average is one operation on one tensor, and a saved network is one tensor.

    ``initial``: ``"fan_in"`` draws weights and biases uniformly within 1 / sqrt(inputs), PyTorch's own way and
    stable-baselines3's; ``"glorot"`` draws weights within sqrt(6 / (inputs + outputs)) and leaves biases 0, the way of
    the TensorFlow codes (MBPO, MVE, STEVE). ``normalise``: layer normalisation with gain and shift before each ReLU.

    Two ways to a gradient: calling the networks, autograd and `differentiate`; or `forward` and `backward`, which know
    no autograd, run under ``torch.no_grad`` and cost little more than their matrix products.
    """

    def __init__(
        self,
        count: int,
        sizes: Sequence[int],
        generator: torch.Generator,
        *,
        initial: Literal["fan_in", "glorot"] = "fan_in",
        normalise: bool = False,
    ) -> None:
        self.normalise = normalise
        self.shapes: list[tuple[int, int, int]] = []
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            self.shapes += [(count, inputs, outputs), (count, 1, outputs)]
            if normalise and i < len(sizes) - 2:
                self.shapes += [(count, 1, outputs), (count, 1, outputs)]
        self.vector = torch.zeros(sum(map(prod, self.shapes)), device=generator.device)
        self.gradient = torch.zeros_like(self.vector)
        self._name_parts()
        for weight, bias in zip(self.weights, self.biases, strict=True):
            inputs, outputs = weight.shape[1:]
            bound = inputs**-0.5 if initial == "fan_in" else (6 / (inputs + outputs)) ** 0.5
            weight.detach().uniform_(-bound, bound, generator=generator)
            if initial == "fan_in":
                bias.detach().uniform_(-bound, bound, generator=generator)
        for gain in self.gains:
            gain.detach().fill_(1.0)

    def _name_parts(self) -> None:
        """Views of `vector` and `gradient` by layer; those of the vector are leaves to autograd."""
        self.parameters = [part.requires_grad_() for part in self._parts(self.vector)]
        slopes = self._parts(self.gradient)
        every = 4 if self.normalise else 2
        self.weights, self.biases = self.parameters[::every], self.parameters[1::every]
        self.weight_slopes, self.bias_slopes = slopes[::every], slopes[1::every]
        self.gains, self.shifts = (self.parameters[2::4], self.parameters[3::4]) if self.normalise else ([], [])

    def _parts(self, vector: Float[Tensor, " P"]) -> list[Tensor]:
        pieces = torch.split(vector, [prod(shape) for shape in self.shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def copy(self) -> Networks:
        """Networks of the same numbers that share none of them."""
        other = object.__new__(Networks)
        other.normalise, other.shapes = self.normalise, self.shapes
        other.vector, other.gradient = self.vector.clone(), torch.zeros_like(self.vector)
        other._name_parts()
        return other

    def follow(self, other: Networks, rate: float) -> None:
        """Polyak averaging: this += rate * (other - this)."""
        self.vector.lerp_(other.vector, rate)

    def __call__(self, x: Float[Tensor, "B I"] | Float[Tensor, "E B I"]) -> Float[Tensor, "E B O"]:
        return self.forward(x)[-1]

    def infer(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "E B O"]:
        """Without gradients; on a CPU in pieces of rows that stay in its cache, twice as fast for 100,000 rows."""
        with torch.no_grad():
            if x.is_cuda or len(x) <= PIECE:
                return self(x)
            return torch.cat([self(piece) for piece in torch.split(x, PIECE)], 1)

    def forward(self, x: Float[Tensor, "B I"] | Float[Tensor, "E B I"]) -> list[Tensor]:
        """The input ``[E B I]``, then every layer's output, hidden ones after their ReLU."""
        weights, last = self.weights, len(self.weights) - 1
        layers = [x if x.ndim == 3 else x.expand(len(weights[0]), -1, -1)]
        for i, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            y = torch.baddbmm(bias, layers[-1], weight)
            if i < last and self.normalise:
                y = layer_norm(y, y.shape[-1:]) * self.gains[i] + self.shifts[i]
            layers.append(y.relu_() if i < last else y)
        return layers

    def backward(self, layers: list[Tensor], slope: Float[Tensor, "E B O"]) -> None:
        """Into `gradient`: that of a loss whose gradient by the output of `forward` is ``slope``."""
        self._refuse_normalised()
        for i in reversed(range(len(self.weights))):
            torch.sum(slope, 1, keepdim=True, out=self.bias_slopes[i])
            torch.bmm(layers[i].mT, slope, out=self.weight_slopes[i])
            if i > 0:
                slope = self._before(i, layers, slope)

    def input_slope(
        self, layers: list[Tensor], slope: Float[Tensor, "E B O"], start: int = 0
    ) -> Float[Tensor, "E B columns"]:
        """The gradient by the input's columns from ``start`` on; the networks' own numbers are left alone."""
        self._refuse_normalised()
        for i in reversed(range(1, len(self.weights))):
            slope = self._before(i, layers, slope)
        return torch.bmm(slope, self.weights[0][:, start:].mT)

    def _before(self, i: int, layers: list[Tensor], slope: Tensor) -> Tensor:
        """From the gradient by what layer ``i`` gives to that by what layer ``i - 1`` gave before its ReLU."""
        slope = torch.bmm(slope, self.weights[i].mT)
        torch.ops.aten.threshold_backward.grad_input(slope, layers[i], 0, grad_input=slope)  # ReLU's own, in place
        return slope

    def _refuse_normalised(self) -> None:
        if self.normalise:
            raise NotImplementedError("normalised networks have no backward by hand; call them and `differentiate`")

    def differentiate(self, loss: Float[Tensor, ""]) -> None:
        """Into `gradient`: that of ``loss``, by autograd."""
        slopes = torch.autograd.grad(loss, self.parameters)
        torch.cat([slope.reshape(-1) for slope in slopes], out=self.gradient)


class Bounds:
    """Actions in the environment's units, within ``low [A]`` and ``high [A]``, and in [-1, 1]."""

    def __init__(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"], device: torch.device) -> None:
        if not (bool(torch.isfinite(low).all() & torch.isfinite(high).all()) and bool((low < high).all())):
            raise ValueError(f"expected finite action bounds with low < high, found {low.tolist()} and {high.tolist()}")
        self.low, self.high = (bound.to(device, torch.float32) for bound in (low, high))
        self.middle, self.half = (self.high + self.low) / 2, (self.high - self.low) / 2

    def inward(self, action: Float[Tensor, "*B A"]) -> Float[Tensor, "*B A"]:
        """To [-1, 1]."""
        return (action - self.middle) / self.half

    def outward(self, unit: Float[Tensor, "*B A"]) -> Float[Tensor, "*B A"]:
        """From [-1, 1], never outside the bounds by a rounding."""
        return torch.addcmul(self.middle, unit, self.half).clamp(self.low, self.high)
