"""Fully connected networks side by side for regression, swish or ReLU, with gradients by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from agents.parts.adam import Group

Activation = Literal["swish", "relu"]
Initial = Literal["truncated", "glorot"]
PIECE = 512  # rows of one member that stay in a processor's cache


class MemberNetworks:
    """E networks of one shape, computed as batched matrix products.

    ``vector [P]`` holds the weights ``[E in out]`` of all layers and then their biases ``[E 1 out]``, ``gradient [P]``
    their gradients in the same order. ``initial``: ``"truncated"`` draws weights from a normal distribution of
    deviation 1 / (2 sqrt(inputs)), cut at two deviations (the codes of PETS and MBPO); ``"glorot"`` uniformly within
    sqrt(6 / (inputs + outputs)), the way of the other TensorFlow codes. Biases begin at 0.

    Calling them is for autograd (by ``x`` alone) and for few rows; `forward` and `backward` know no autograd and cost
    little more than their matrix products; `infer` is for many rows.
    """

    def __init__(
        self,
        count: int,
        sizes: Sequence[int],
        activation: Activation,
        generator: torch.Generator,
        *,
        initial: Initial = "truncated",
    ) -> None:
        self.count, self.sizes, self.swish = count, tuple(sizes), activation == "swish"
        self.shapes = [(count, inputs, outputs) for inputs, outputs in pairwise(sizes)]
        self.shapes += [(count, 1, outputs) for outputs in sizes[1:]]
        self.vector = torch.zeros(sum(map(prod, self.shapes)), device=generator.device)
        self.gradient = torch.zeros_like(self.vector)
        layers = len(sizes) - 1
        parts, slopes = self.parts(self.vector), self.parts(self.gradient)
        self.weights, self.biases = parts[:layers], parts[layers:]
        self.weight_slopes, self.bias_slopes = slopes[:layers], slopes[layers:]
        self.buffers: dict[int, tuple[list[Tensor], list[Tensor], Tensor]] = {}
        for weight in self.weights:
            inputs, outputs = weight.shape[1:]
            if initial == "glorot":
                bound = (6 / (inputs + outputs)) ** 0.5
                weight.uniform_(-bound, bound, generator=generator)
            else:
                std = 0.5 * inputs**-0.5
                nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)

    def parts(self, vector: Float[Tensor, " P"]) -> list[Tensor]:
        """Views of a vector such as ``vector``: weights of each layer, then biases of each."""
        pieces = torch.split(vector, [prod(shape) for shape in self.shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def groups(self, decay: float | Sequence[float]) -> list[Group]:
        """For `Adam`: the weights of each layer, decayed all alike or each by its own, then all biases."""
        layers = len(self.weights)
        decays = [decay] * layers if isinstance(decay, float | int) else list(decay)
        if len(decays) != layers:
            raise ValueError(f"expected one weight_decay for all or for each of {layers} layers, found {decays}")
        end = sum(weight.numel() for weight in self.weights)
        weights = zip(self.weights, self.weight_slopes, decays, strict=True)
        return [*weights, (self.vector[end:], self.gradient[end:], 0.0)]

    def __call__(self, x: Float[Tensor, "B I"] | Float[Tensor, "E B I"]) -> Float[Tensor, "E B O"]:
        y = x if x.ndim == 3 else x.expand(self.count, -1, -1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = torch.baddbmm(bias, y, weight)
            y = silu(z) if self.swish else z.relu()
        return torch.baddbmm(self.biases[-1], y, self.weights[-1])

    @torch.no_grad()
    def infer(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "E B O"]:
        """Without gradients; on a CPU in pieces of rows that stay in its cache."""
        if x.is_cuda or len(x) <= PIECE:
            return self(x)
        return torch.cat([self(piece) for piece in torch.split(x, PIECE // 4)], 1)  # of all members

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "E B I"]) -> list[Tensor]:
        """The input, then what goes into and comes out of the activation of each hidden layer, then the output.

        All but the input lie in buffers that the next call for as many rows overwrites.
        """
        before, after, _ = self._buffers(x.shape[1])
        layers = [x]
        for i, z in enumerate(before):
            torch.baddbmm(self.biases[i], layers[-1], self.weights[i], out=z)
            layers.append(z)
            if i < len(after):
                layers.append(torch.ops.aten.silu.out(z, out=after[i]) if self.swish else z.relu_())
        return layers

    @torch.no_grad()
    def backward(self, layers: list[Tensor], slope: Float[Tensor, "E B O"]) -> None:
        """Into `gradient`: that of a loss whose gradient by `forward`'s output is ``slope``. Uses ``layers`` up."""
        ones = self._buffers(slope.shape[1])[2]
        for i in reversed(range(len(self.weights))):
            torch.bmm(ones, slope, out=self.bias_slopes[i])
            torch.bmm(layers[2 * i].mT, slope, out=self.weight_slopes[i])
            if i == 0:
                return
            if self.swish:  # what came out of the activation has served; its room is still in the cache
                slope = torch.bmm(slope, self.weights[i].mT, out=layers[2 * i])
                torch.ops.aten.silu_backward.grad_input(slope, layers[2 * i - 1], grad_input=slope)
            else:
                slope = torch.bmm(slope, self.weights[i].mT)
                torch.ops.aten.threshold_backward.grad_input(slope, layers[2 * i], 0, grad_input=slope)

    def _buffers(self, rows: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Room for the layers of so many rows, and ones; kept for two sizes, a full batch and an epoch's last."""
        if rows not in self.buffers:
            if len(self.buffers) == 2:
                del self.buffers[next(iter(self.buffers))]
            before = [self.vector.new_empty(self.count, rows, size) for size in self.sizes[1:]]
            after = [torch.empty_like(z) for z in before[:-1]] if self.swish else before[:-1]
            self.buffers[rows] = before, after, self.vector.new_ones(self.count, 1, rows)
        return self.buffers[rows]
