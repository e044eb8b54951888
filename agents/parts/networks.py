"""Fully connected networks whose first weights come from a generator that is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def mlp(sizes: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Linear layers of ``sizes`` with ReLU between them; Xavier-normal weights and zero biases."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        # On the meta device first: elsewhere the constructor would draw from torch's global generator.
        linear = nn.Linear(inputs, outputs, device="meta").to_empty(device=generator.device)
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear] if i == 0 else [nn.ReLU(), linear]
    return nn.Sequential(*layers)
