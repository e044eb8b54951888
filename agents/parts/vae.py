"""V of World Models: the convolutional variational autoencoder of 64 x 64 frames (Ha & Schmidhuber 2018, appendix A.1).

Encoder: convolutions of 32, 64, 128, 256 channels, kernel 4, stride 2, ReLU: 64 -> 31 -> 14 -> 6 -> 2 pixels a side;
1,024 numbers -> mean and log-variance. Decoder: dense 1,024 without ReLU, transposed convolutions of 128, 64, 32, 3
channels, kernels 5, 5, 6, 6, stride 2: 1 -> 5 -> 13 -> 30 -> 64; ReLU between, sigmoid at the end. Loss and first
weights are the official code's (hardmaru/WorldModelsExperiments, vae.py): squared error summed over pixels and
channels, plus the KL divergence, which no image counts below 0.5 a latent dimension; Glorot-uniform weights, zero
biases. Deviations: none.

How it is computed (the numbers are those of plain layers up to rounding):

- Memory is channels-last throughout: a row of a window is one run of memory, cheap to copy.
- In training an image is held as 32 x 32 cells of 2 x 2 pixels. On cells the first convolution has kernel 2 and
  stride 1, the last transposed one kernel 3 and stride 1: the same products in shapes that run faster.
- The first transposed convolution meets one pixel: it is a matrix. Nothing stands between it and the dense layer, so
  for batches larger than Z the two are multiplied first: Z + 1 rows go through it instead of B.
- Between these `convolutions` is faster than PyTorch.
- On request convolutions take and give bfloat16 (mixed precision, Micikevicius et al. 2018; bfloat16 has float32's
  range, so that no loss is scaled). Parameters, their sums of gradients over blocks, z and the losses stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from agents.parts.convolutions import as_planes, as_rows, down, up

KL_TOLERANCE = 0.5  # nats a latent dimension, per image; official code: kl_tolerance


class VAE(nn.Module):
    """V with ``latent`` dimensions; 4,348,547 parameters for 32 (CarRacing), 4,446,915 for 64 (Take Cover).

    ``products``: the type in which convolutions are computed; None is the parameters' own.
    """

    def __init__(self, latent: int, generator: torch.Generator, products: torch.dtype | None = None) -> None:
        super().__init__()
        self.latent, self.products = latent, products
        self.down1 = Kernel(32, 4, 3, 32, generator)
        self.down2 = Kernel(64, 4, 32, 64, generator)
        self.down3 = Kernel(128, 4, 64, 128, generator)
        self.down4 = Kernel(256, 4, 128, 256, generator)
        self.mean, self.logvar = (_linear(1024, latent, generator) for _ in range(2))
        self.dense = _linear(latent, 1024, generator)
        self.up1 = Kernel(1024, 5, 128, 128, generator)
        self.up2 = Kernel(128, 5, 64, 64, generator)
        self.up3 = Kernel(64, 6, 32, 32, generator)
        self.up4 = Kernel(32, 6, 3, 3, generator)

    def encode(self, images: Float[Tensor, "B 3 64 64"]) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Mean and log-variance of z, differentiable; fastest on channels-last images, as `images` makes them.

        Without gradients the first convolution on pixels costs less than on cells, whose copy has to be made.
        """
        weight, bias = self._cast(as_planes(self.down1.weight), self.down1.bias)
        return self._encode(F.conv2d(images.to(weight.dtype), weight, bias, stride=2), images.dtype)

    def decode(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B 3 64 64"]:
        """Images in [0, 1], channels-last in memory."""
        cells = as_rows(self._logits(z).sigmoid()).view(len(z), 32, 32, 2, 2, 3)
        return as_planes(cells.transpose(2, 3).reshape(len(z), 64, 64, 3))

    def losses(self, images: Float[Tensor, "B 3 64 64"], generator: torch.Generator) -> dict[str, Tensor]:
        """``reconstruction``: squared error summed over an image; ``kl``: nats, with the floor; means over images."""
        return self.losses_and_latents(images, generator)[0]

    def losses_and_latents(
        self, images: Float[Tensor, "B 3 64 64"], generator: torch.Generator
    ) -> tuple[dict[str, Tensor], Float[Tensor, "B Z"], Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Losses, z as drawn, mean, log-variance: a loss that is added on z trains the encoder too."""
        cells = _cells(images)
        weight, bias = self._cast(_cells(as_planes(self.down1.weight)), self.down1.bias)
        mean, logvar = self._encode(F.conv2d(cells.to(weight.dtype), weight, bias), cells.dtype)
        z = sample(mean, logvar, generator)
        error: Tensor = _SquaredError.apply(self._logits(z), cells)  # type: ignore[no-untyped-call]
        return {"reconstruction": error / len(images), "kl": kl(mean, logvar).mean()}, z, mean, logvar

    def _encode(self, first: Float[Tensor, "B 32 31 31"], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """From what the first convolution gives; in ``dtype``."""
        x = first.relu_()
        for kernel in (self.down2, self.down3, self.down4):
            weight, bias = self._cast(as_planes(kernel.weight), kernel.bias)
            x = down(x, weight, bias).relu_()
        features = as_rows(x).flatten(1).to(dtype)
        return self.mean(features), self.logvar(features)

    def _logits(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B 12 32 32"]:
        """The decoder before its sigmoid."""
        matrix, bias = self.up1.weight.flatten(1), self.up1.bias.repeat(25)
        if len(z) > self.latent:
            both = torch.cat([self.dense.weight.t(), self.dense.bias[None]]) @ matrix
            x = torch.addmm(both[-1] + bias, z, both[:-1])
        else:
            x = torch.addmm(bias, self.dense(z), matrix)
        (x,) = self._cast(as_planes(x.relu_().view(len(z), 5, 5, 128)))
        for kernel in (self.up2, self.up3):
            weight, bias = self._cast(as_planes(kernel.weight), kernel.bias)
            x = up(x, weight, bias).relu_()
        weight, bias = self._cast(_cells(as_planes(self.up4.weight)), self.up4.bias.repeat(4))
        return F.conv_transpose2d(x, weight, bias).to(z.dtype)

    def _cast(self, *found: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.to(self.products or x.dtype) for x in found)


class Kernel(nn.Module):
    """Weights ``[small, k, k, large]`` of a convolution or, transposed, of its adjoint: ``large`` has more pixels."""

    def __init__(self, small: int, k: int, large: int, biases: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = (6.0 / (k * k * (small + large))) ** 0.5  # Glorot & Bengio 2010, equation 16
        weight = torch.empty(small, k, k, large, device=generator.device)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(biases, device=generator.device))


def images(frames: UInt8[Tensor, "B 64 64 3"]) -> Float[Tensor, "B 3 64 64"]:
    """Numbers in [0, 1], in one pass; memory stays channels-last."""
    return as_planes(frames.div(255.0))


def frames(images: Float[Tensor, "B 3 64 64"]) -> UInt8[Tensor, "B 64 64 3"]:
    """The nearest of 256 shades; what lies outside [0, 1] is cut."""
    return images.permute(0, 2, 3, 1).mul(255.0).add_(0.5).clamp_(0.0, 255.0).to(torch.uint8).contiguous()


def sample(
    mean: Float[Tensor, "*B Z"], logvar: Float[Tensor, "*B Z"], generator: torch.Generator
) -> Float[Tensor, "*B Z"]:
    """z of a diagonal Gaussian, differentiable in both."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return torch.addcmul(mean, torch.exp(0.5 * logvar), noise)


def kl(mean: Float[Tensor, "B Z"], logvar: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
    """Nats between each image's Gaussian and N(0, 1), at least 0.5 a dimension; at the floor no gradient flows."""
    nats = -0.5 * (1.0 + logvar - mean.square() - logvar.exp()).sum(1)
    return nats.clamp(min=KL_TOLERANCE * mean.shape[1])


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, device="meta").to_empty(device=generator.device)
    nn.init.xavier_uniform_(linear.weight, generator=generator)
    nn.init.zeros_(linear.bias)
    return linear


def _cells(planes: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 4*C H/2 W/2"]:
    """2 x 2 pixels to a cell, of images as of kernels; its numbers run over row, column, channel."""
    count, channels, height, width = planes.shape
    cells = as_rows(planes).reshape(count, height // 2, 2, width // 2, 2, channels).transpose(2, 3)
    return as_planes(cells.reshape(count, height // 2, width // 2, 4 * channels))


class _SquaredError(torch.autograd.Function):
    """The sum of (sigmoid(logits) - target)^2, and its gradient 2 d y (1 - y) as one formula."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        y = logits.sigmoid()
        d = y - target
        ctx.save_for_backward(y, d)
        return torch.dot(as_rows(d).flatten(), as_rows(d).flatten())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        y, d = ctx.saved_tensors
        return torch.addcmul(y, y, y, value=-1.0).mul_(d).mul_(2.0 * grads[0]), None
