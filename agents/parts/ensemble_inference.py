"""An ensemble folded into bare matrices: members applied to many rows at the speed of their matrix products."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.parts.dynamics import Normaliser
from agents.parts.ensemble_networks import MemberNetworks

if TYPE_CHECKING:
    from agents.parts.ensemble import Ensemble

PIECE = 2_048  # columns of a member at once: fewer make small products, more leave the processor's cache


class Stack:
    """Members' layers as matrices ``[E out in+1]`` on columns: biases are the column of an input that is always 1."""

    def __init__(self, networks: MemberNetworks) -> None:
        self.swish = networks.swish
        pairs = zip(networks.weights, networks.biases, strict=True)
        self.matrices = [torch.cat([weight.mT, bias.mT], 2) for weight, bias in pairs]
        self.room = 0
        self.buffers: list[Tensor] = []

    def fold_inputs(self, normaliser: Normaliser) -> None:
        matrix = self.matrices[0].double()
        matrix[..., :-1] /= normaliser.std
        matrix[..., -1] -= matrix[..., :-1] @ normaliser.mean.double()
        self.matrices[0] = matrix.float()

    def fold_outputs(self, scale: Float[Tensor, " O"], shift: Float[Tensor, " O"]) -> None:
        matrix = self.matrices[-1].double() * scale[:, None]
        matrix[..., -1] += shift
        self.matrices[-1] = matrix.float()

    def apply(self, member: int, x: Float[Tensor, "I1 N"], out: Float[Tensor, "O N"]) -> None:
        """``x`` has a last row of ones, and so has every layer that is handed on: its activation leaves it alone."""
        columns = x.shape[1]
        if columns > self.room:
            self.room = columns
            self.buffers = [x.new_ones(matrix.shape[1] + 1, columns) for matrix in self.matrices[:-1]]
        for matrix, buffer in zip(self.matrices, self.buffers, strict=False):
            layer = buffer[:, :columns]
            torch.mm(matrix[member], x, out=layer[:-1])
            if self.swish:
                torch.ops.aten.silu_(layer[:-1])
            else:
                layer[:-1].relu_()
            x = layer
        torch.mm(self.matrices[-1][member], x, out=out)


class Folded:
    """A frozen copy of an ensemble that takes and gives the environment's units. Rows are the *last* axis.

    Both normalisers are multiplied into the outer layers. The next observation's change, the reward, the negative
    log-variances and, once an end was seen, its logit come out one below the other, ``rows`` in all.
    """

    @torch.no_grad()
    def __init__(self, ensemble: Ensemble) -> None:
        heads, r = ensemble.heads, ensemble.heads.regressed
        self.obs_size, self.regressed, self.probabilistic = ensemble.obs_size, r, heads.probabilistic
        self.members, self.split = ensemble.config.members, heads.size
        self.dynamics = Stack(ensemble.networks)
        self.ends = Stack(ensemble.ends.networks) if ensemble.ends is not None and ensemble.end_seen else None
        self.rows = heads.size + (self.ends is not None)
        self.dynamics.fold_inputs(ensemble.inputs)
        if self.ends is not None:
            self.ends.fold_inputs(ensemble.inputs)
        std = ensemble.targets.std.double()
        scale, shift = std, ensemble.targets.mean
        if heads.probabilistic:
            # var = e^low + 1 / (e^-high + e^-raw), times std^2, which goes into each of the three
            scale, shift = torch.cat([scale, -torch.ones_like(std)]), torch.cat([shift, -2.0 * std.log()])
            low, high = heads.bounds.double()
            self.least = (low.exp() * std.square()).float()[:, None]
            self.least_inverse = ((-high).exp() / std.square()).float()[:, None]
        self.dynamics.fold_outputs(scale, shift)

    def run(self, x: Float[Tensor, "I1 N"], members: list[int], counts: list[int]) -> Float[Tensor, "O N"]:
        """The outputs of ``x`` (obs, action, ones), the first ``counts[0]`` columns by ``members[0]`` and so on."""
        out = x.new_empty(self.rows, x.shape[1])
        for member, (start, end) in zip(members, pairwise(accumulate(counts, initial=0)), strict=True):
            step = end - start if x.is_cuda else PIECE
            for at in range(start, end, max(step, 1)):
                piece = slice(at, min(at + step, end))
                self.dynamics.apply(member, x[:, piece], out[: self.split, piece])
                if self.ends is not None:
                    self.ends.apply(member, x[:, piece], out[self.split :, piece])
        return out

    def deviation(self, out: Float[Tensor, "O N"]) -> Float[Tensor, "R N"]:
        """The predicted standard deviation of the next observation and the reward."""
        raw = out[self.regressed : self.split]
        return raw.exp().add_(self.least_inverse).reciprocal_().add_(self.least).sqrt_()

    def sample(
        self,
        obs: Float[Tensor, "B D"],
        action: Float[Tensor, "B A"],
        member: Int[Tensor, " B"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "B R"], Float[Tensor, " B"] | None]:
        """Next observation and reward of each row, drawn from its member's Gaussian, and the probability of an end.

        Rows are brought into the order of their members first, so that each member is one matrix product.
        """
        r = self.regressed
        order = member.argsort(stable=True)
        counts = torch.bincount(member, minlength=self.members).tolist()
        x = _columns(obs.index_select(0, order), action.index_select(0, order))
        out = self.run(x, list(range(self.members)), counts)
        if self.probabilistic:
            noise = torch.randn((r, len(obs)), generator=generator, device=out.device)
            out[:r].addcmul_(self.deviation(out), noise)
        out[: self.obs_size] += x[: self.obs_size]
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(obs), device=order.device))
        found = out.T.contiguous().index_select(0, place)
        return found[:, :r], None if self.ends is None else found[:, -1].sigmoid()

    def means(
        self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"], members: list[int]
    ) -> Float[Tensor, "M R B"]:
        """The mean next observation and reward by each of these members."""
        x = _columns(obs, action)
        found = torch.stack([self.run(x, [member], [len(obs)])[: self.regressed] for member in members])
        found[:, : self.obs_size] += obs.T
        return found


def _columns(obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]) -> Float[Tensor, "I1 B"]:
    """What `Folded.run` takes."""
    return torch.cat([obs, action, obs.new_ones(len(obs), 1)], 1).T.contiguous()
