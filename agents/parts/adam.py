"""Adam on vectors whose gradients are there already: fused, with a weight decay for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

Group = tuple[Tensor, Tensor, float]  # values, their gradient, decay


class Adam:
    """Kingma & Ba 2015 where the loss gains decay * |values|^2 / 2, each tensor with a decay of its own.

    One fused kernel a step for all tensors of one decay; all of its state exists from the start.
    """

    def __init__(self, groups: Sequence[Group], learning_rate: float) -> None:
        self.learning_rate = learning_rate
        values, gradients, decays = (list(column) for column in zip(*groups, strict=True))
        self.means = [torch.zeros_like(value) for value in values]
        self.squares = [torch.zeros_like(value) for value in values]
        self.steps = [torch.zeros((), device=value.device) for value in values]
        columns = (values, gradients, self.means, self.squares, self.steps)
        self.alike = []
        for decay in sorted(set(decays)):
            at = [i for i, own in enumerate(decays) if own == decay]
            self.alike.append((decay, [[column[i] for i in at] for column in columns]))

    def step(self) -> None:
        for decay, (values, gradients, means, squares, steps) in self.alike:
            adam(
                values,
                gradients,
                means,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self.learning_rate,
                weight_decay=decay,
                eps=1e-8,
                maximize=False,
            )

    def state(self) -> dict[str, Any]:
        return {name: [x.clone() for x in getattr(self, name)] for name in ("means", "squares", "steps")}

    def restore(self, state: dict[str, Any]) -> None:
        for name, tensors in state.items():
            for mine, saved in zip(getattr(self, name), tensors, strict=True):
                mine.copy_(saved)
