"""Convolutions of stride 2 without padding, and their adjoints, on channels-last memory: the same numbers, faster.

On a CPU PyTorch is slow on few pixels and in gradients by the weights: there windows are copied out, as many as fit
into a cache, and go into a matrix product. Elsewhere they are PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_FEW = 25  # pixels, on the side that has fewer, up to which own products beat PyTorch's convolutions: measured
_BLOCK = 2**20  # bytes of copied numbers held at a time
_conv, _transposed = partial(F.conv2d, stride=2), partial(F.conv_transpose2d, stride=2)


def down(
    x: Float[Tensor, "B C H H"], weight: Float[Tensor, "D C k k"], bias: Float[Tensor, " D"]
) -> Float[Tensor, "B D h h"]:
    """A convolution, h = (H - k) // 2 + 1; memory of ``x`` and ``weight`` is channels-last."""
    out: Tensor = (_Down.apply if x.is_cpu else _conv)(x, weight, bias)
    return out


def up(
    x: Float[Tensor, "B D h h"], weight: Float[Tensor, "D C k k"], bias: Float[Tensor, " C"]
) -> Float[Tensor, "B C H H"]:
    """A transposed one, H = 2 h + k - 2."""
    out: Tensor = (_Up.apply if x.is_cpu else _transposed)(x, weight, bias)
    return out


def as_planes(rows: Float[Tensor, "B H W C"]) -> Float[Tensor, "B C H W"]:
    """Channels-last numbers as PyTorch's layers want to see them; nothing is copied."""
    return rows.permute(0, 3, 1, 2)


def as_rows(planes: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W C"]:
    """Back."""
    return planes.permute(0, 2, 3, 1)


class _Down(torch.autograd.Function):
    """`_conv` and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        side = (x.shape[2] - weight.shape[2]) // 2 + 1
        if side * side > _FEW:
            return _conv(x, weight, bias)
        out, matrix = _filled(bias, len(x), side), as_rows(weight).flatten(1).t()
        for few, rows in _windows(x, weight.shape[2]):
            as_rows(out[few]).flatten(0, 2).addmm_(rows, matrix)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (x, weight), grad = ctx.saved_tensors, grads[0]
        return _spread(grad, weight, None, x.shape[2]), _by_weight(weight, grad, x), grad.sum((0, 2, 3))


class _Up(torch.autograd.Function):
    """`_transposed` and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _spread(x, weight, bias, 2 * x.shape[2] + weight.shape[2] - 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (x, weight), grad = ctx.saved_tensors, grads[0]
        by_x = torch.empty_like(x, memory_format=torch.channels_last)
        return by_x, _by_weight(weight, x, grad, by_x), grad.sum((0, 2, 3))


def _by_weight(weight: Tensor, small: Tensor, large: Tensor, gathered: Tensor | None = None) -> Tensor:
    """The gradient by ``weight``; while the windows of ``large`` are at hand, also what they give at each pixel."""
    exact = torch.promote_types(weight.dtype, torch.float32)
    found = torch.zeros_like(weight, dtype=exact, memory_format=torch.channels_last)
    matrix = as_rows(weight).flatten(1).t()
    for few, rows in _windows(large, weight.shape[2]):
        sums, factors = as_rows(found).flatten(1), (as_rows(small[few]).flatten(0, 2).t(), rows)
        if exact == weight.dtype:
            sums.addmm_(*factors)
        else:
            sums.add_(torch.mm(*factors))
        if gathered is not None:
            torch.mm(rows, matrix, out=as_rows(gathered[few]).flatten(0, 2))
    return found.to(weight.dtype)


def _filled(bias: Tensor, count: int, side: int) -> Tensor:
    return as_planes(bias.expand(count, side, side, -1)).contiguous(memory_format=torch.channels_last)


def _windows(large: Tensor, k: int) -> Iterator[tuple[slice, Tensor]]:
    """All k x k windows at stride 2, one a row, copied for a few images at a time into a buffer that is used again."""
    (count, channels, side, _), large = large.shape, large.contiguous(memory_format=torch.channels_last)
    out, row = (side - k) // 2 + 1, side * channels
    windows = large.as_strided((count, out, out, k, k * channels), (side * row, 2 * row, 2 * channels, row, 1))
    step = max(1, _BLOCK // (out * out * k * k * channels * large.element_size()))
    buffer = large.new_empty(min(step, count), *windows.shape[1:])
    for start in range(0, count, step):
        few = windows[start : start + step]
        yield slice(start, start + step), buffer[: len(few)].copy_(few).view(-1, k * k * channels)


def _spread(x: Tensor, weight: Tensor, bias: Tensor | None, side: int) -> Tensor:
    """The adjoint: every pixel of ``x`` adds a window to images of ``side`` pixels."""
    (count, _, out, _), (_, channels, k, _) = x.shape, weight.shape
    if out * out > _FEW:
        return _transposed(x, weight, bias, output_padding=side - (2 * out + k - 2))
    large = _filled(x.new_zeros(channels) if bias is None else bias, count, side)
    row, step = side * channels, max(1, _BLOCK // (out * out * k * k * channels * x.element_size()))
    for pixels, few in zip(torch.split(as_rows(x), step), torch.split(as_rows(large), step), strict=True):
        windows = (pixels @ as_rows(weight).flatten(1)).view(len(few), out, out, k, k * channels)
        for i in range(0, k, 2):  # in parts of at most 2 x 2 pixels: those of neighbouring windows do not overlap
            for j in range(0, k, 2):
                part = windows[:, :, :, i : i + 2, j * channels : (j + 2) * channels]
                few[:, i:, j:].as_strided(part.shape, (side * row, 2 * row, 2 * channels, row, 1)).add_(part)
    return large
