"""What an ensemble says: Gaussian moments within learned bounds and, by networks of their own, ends; the losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.parts.ensemble_networks import MemberNetworks


class Heads:
    """R means in the first columns of a network's output and, if ``probabilistic``, R log-variances in the others.

    ``bounds [2 R]``: the least and the greatest log-variance, learned and shared by all members; ``weight``: of their
    distance in the loss.
    """

    def __init__(
        self,
        regressed: int,
        *,
        probabilistic: bool,
        bounds: tuple[float, float],
        weight: float,
        device: torch.device,
    ) -> None:
        self.regressed, self.probabilistic, self.weight = regressed, probabilistic, weight
        self.size = regressed * (1 + probabilistic)
        self.bounds = torch.tensor(bounds, device=device)[:, None].repeat(1, regressed)
        self.bounds_slope = torch.zeros_like(self.bounds)

    def variance(self, log_var: Float[Tensor, "*B R"]) -> Float[Tensor, "*B R"]:
        """Softly between the bounds (Chua et al. 2018, appendix A.1).

        log var = low + softplus(high - softplus(high - log_var) - low), whose exponential is less work.
        """
        low, high = self.bounds.unbind()
        return ((-high).exp() + (-log_var).exp()).reciprocal() + low.exp()

    @torch.no_grad()
    def losses_and_slope(
        self, out: Float[Tensor, "E B O"], targets: Float[Tensor, "E B R"]
    ) -> tuple[dict[str, Tensor], Float[Tensor, "E B O"]]:
        """Losses, summed over members and averaged over rows and columns, and the gradient of their sum by ``out``.

        ``dynamics``: (mean - target)^2 / var + log var, or the squared error; ``bounds``: their distances, weighted.
        The gradient by the bounds goes into ``bounds_slope``.
        """
        rows, r = targets.shape[1:]
        share = 1.0 / (rows * r)
        slope = torch.empty_like(out)
        error = out[..., :r] - targets
        if not self.probabilistic:
            torch.mul(error, 2.0 * share, out=slope)
            return {"dynamics": error.square().sum() * share}, slope
        low, high = self.bounds.unbind()
        below = (-out[..., r:]).exp_().add_((-high).exp()).reciprocal_()  # the variance above e^low
        precision = (below + low.exp()).reciprocal_()
        weighted = error * precision
        scaled = error * weighted
        loss = (scaled - precision.log()).sum() * share
        torch.mul(weighted, 2.0 * share, out=slope[..., :r])
        by_variance = (1.0 - scaled).mul_(precision).mul_(share)
        by_below = by_variance * below
        # Adam lowers an upper bound that nothing holds for ever; below -88 this is 0 x inf, which is 1 in the limit.
        held = (below * (-high).exp()).nan_to_num_(nan=1.0)
        by_raw = torch.addcmul(by_below, by_below, held, value=-1.0, out=slope[..., r:])
        torch.sub(low.exp() * by_variance.sum((0, 1)), self.weight, out=self.bounds_slope[0])
        torch.add((by_below - by_raw).sum((0, 1)), self.weight, out=self.bounds_slope[1])
        return {"dynamics": loss, "bounds": self.weight * (high - low).sum()}, slope


class Ends:
    """Each member's logit of a true end.

    Networks of their own: as one more output of the others an end is hardly learnt, for a likelihood as sharp as that
    of a simulator drowns its gradient, and with a greater weight it would cost the dynamics their accuracy.
    """

    def __init__(self, members: int, inputs: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        self.networks = MemberNetworks(members, [inputs, *hidden, 1], "swish", generator, initial="glorot")

    @torch.no_grad()
    def loss(self, inputs: Float[Tensor, "E B I"], ends: Float[Tensor, "E B"]) -> Float[Tensor, ""]:
        """The cross-entropy, summed over members and averaged over rows; its gradient goes into the networks'."""
        layers = self.networks.forward(inputs)
        logit = layers[-1][..., 0]
        loss = binary_cross_entropy_with_logits(logit, ends, reduction="sum") / ends.shape[1]
        self.networks.backward(layers, ((logit.sigmoid() - ends) / ends.shape[1])[..., None])
        return loss

    def errors(self, inputs: Float[Tensor, "N I"], ends: Float[Tensor, " N"]) -> Float[Tensor, " E"]:
        """Each member's cross-entropy."""
        logit = self.networks.infer(inputs)[..., 0]
        return binary_cross_entropy_with_logits(logit, ends.expand_as(logit), reduction="none").mean(1)
