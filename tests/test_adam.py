"""Promises of the optimiser of the networks whose gradients are written by hand: it is torch's."""

from __future__ import annotations

import torch

from agents.parts.adam import Adam
from tests.ensembles import seeded


def test_adam_is_torchs():
    mine, theirs = torch.linspace(-1.0, 1.0, 40), torch.linspace(-1.0, 1.0, 40)
    gradient = torch.zeros(40)
    adam, reference = Adam([(mine, gradient, 0.0)], 0.01), torch.optim.Adam([theirs], lr=0.01)
    for step in range(5):
        gradient.copy_(torch.randn(40, generator=seeded(step)))
        theirs.grad = gradient.clone()
        adam.step()
        reference.step()
    torch.testing.assert_close(mine, theirs)


def test_adam_decays_each_tensor_by_its_own_l2_term():
    start = [torch.randn(5, generator=seeded(1)), torch.randn(3, generator=seeded(2))]
    mine, theirs = [x.clone() for x in start], [x.clone().requires_grad_() for x in start]
    slopes = [torch.zeros(5), torch.zeros(3)]
    optimiser = Adam([(mine[0], slopes[0], 0.3), (mine[1], slopes[1], 0.0)], 0.01)
    reference = torch.optim.Adam(theirs, 0.01)
    for _ in range(3):
        for slope, value in zip(slopes, mine, strict=True):
            slope.copy_(2 * (value - 1))
        optimiser.step()
        reference.zero_grad()
        loss = ((theirs[0] - 1) ** 2).sum() + ((theirs[1] - 1) ** 2).sum() + 0.3 * (theirs[0] ** 2).sum() / 2
        loss.backward()
        reference.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other.detach())


def test_what_was_restored_goes_on_as_what_was_saved():
    values, slope = [torch.linspace(-1.0, 1.0, 4) for _ in range(2)], torch.full((4,), 0.5)
    one, other = (Adam([(value, slope, 0.1)], 0.01) for value in values)
    one.step()
    saved, then = one.state(), values[0].clone()
    one.step()
    for _ in range(3):
        other.step()  # too far
    other.restore(saved)
    values[1].copy_(then)
    other.step()
    assert torch.equal(values[0], values[1])
