"""The fit of an ensemble: epochs over each member's own draw of the data until the hold-out error stops falling."""

from __future__ import annotations

from math import ceil, nan
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.parts.dynamics import refuse_divergence
from agents.parts.ensemble_networks import MemberNetworks

if TYPE_CHECKING:
    from agents.parts.ensemble import Ensemble

IMPROVED = 0.99  # of the least hold-out error so far (MBPO's code)


class Best:
    """Each network's best weights so far by its hold-out error; one counts as better from 1 % on."""

    def __init__(self, networks: MemberNetworks) -> None:
        self.networks, self.vector = networks, networks.vector.clone()
        self.errors = torch.full((networks.count,), torch.inf, device=self.vector.device)
        self.mine, self.saved = networks.parts(networks.vector), networks.parts(self.vector)

    def watch(self, errors: Float[Tensor, " E"]) -> bool:
        """Keep the weights of those that are better; whether there is one. An error that is nan never is."""
        better = errors < IMPROVED * self.errors
        if not bool(better.any()):
            return False
        self.errors = torch.where(better, errors, self.errors)
        for mine, saved in zip(self.mine, self.saved, strict=True):
            saved[better] = mine[better]
        return True

    def restore(self) -> None:
        self.networks.vector.copy_(self.vector)


@torch.no_grad()
def fit_networks(
    ensemble: Ensemble,
    inputs: Float[Tensor, "N I"],
    targets: Float[Tensor, "N R"],
    ends: Float[Tensor, " N"] | None,
    *,
    epochs: int | None,
) -> dict[str, float]:
    """See `Ensemble.fit`; the data is normalised already. Stopping as in MBPO's code, models/bnn.py."""
    config = ensemble.config
    aside, rows = _held_out(ensemble, len(inputs))
    limit = config.max_epochs if epochs is None else epochs
    if limit is None and not len(aside):
        raise ValueError("a fit without a hold-out part never stops: pass epochs, or set max_epochs or holdout")
    table = torch.cat([inputs, targets] + ([] if ends is None else [ends[:, None]]), 1)
    own = _drawn(ensemble, rows)
    best, best_ends = Best(ensemble.networks), None if ensemble.ends is None else Best(ensemble.ends.networks)
    done, waited = 0, 0
    sums: dict[str, Tensor] = {}
    while limit is None or done < limit:
        sums = _epoch(ensemble, table, own, inputs.shape[1])
        done += 1
        if len(aside):
            if best_ends is not None and ensemble.ends is not None and ends is not None:
                best_ends.watch(ensemble.ends.errors(inputs[aside], ends[aside]))
            waited = 0 if best.watch(ensemble.errors(inputs[aside], targets[aside])) else waited + 1
            if epochs is None and waited > config.patience:
                break
    found = {
        name: float(total) / (ceil(len(rows) / config.batch_size) * config.members) for name, total in sums.items()
    }
    refuse_divergence(found)
    error = nan
    if len(aside):
        best.restore()
        if best_ends is not None:
            best_ends.restore()
        ensemble.elites = best.errors.argsort(stable=True)[: config.elites]
        error = float(best.errors[ensemble.elites].mean())
    return {f"loss/{name}": loss for name, loss in found.items()} | {"holdout_error": error, "epochs": float(done)}


def _held_out(ensemble: Ensemble, count: int) -> tuple[Int[Tensor, " A"], Int[Tensor, " M"]]:
    """Rows held out and rows to train on, at random."""
    config, generator = ensemble.config, ensemble.generator
    order = torch.randperm(count, generator=generator, device=generator.device)
    kept = min(int(config.holdout * count), config.max_holdout)
    if config.holdout > 0.0 and count > 1:
        kept = max(kept, 1)
    return order[:kept], order[kept:]


def _drawn(ensemble: Ensemble, rows: Int[Tensor, " M"]) -> Int[Tensor, "E M"]:
    """The rows of each member: drawn with replacement, or all of them."""
    config, generator = ensemble.config, ensemble.generator
    shape = (config.members, len(rows))
    if not config.bootstrap:
        return rows.expand(shape)
    return rows[torch.randint(len(rows), shape, generator=generator, device=generator.device)]


def _epoch(ensemble: Ensemble, table: Float[Tensor, "N C"], own: Int[Tensor, "E M"], inputs: int) -> dict[str, Tensor]:
    """Each member's rows once in an order of its own; the sums of the losses over batches."""
    generator, targets = ensemble.generator, inputs + ensemble.heads.regressed
    order = torch.rand(own.shape, generator=generator, device=own.device).argsort(1)
    sums: dict[str, Tensor] = {}
    for batch in torch.split(own.gather(1, order), ensemble.config.batch_size, 1):
        drawn = table.index_select(0, batch.reshape(-1)).view(*batch.shape, -1)
        ends = drawn[..., -1] if drawn.shape[-1] > targets else None
        losses = ensemble.step(drawn[..., :inputs], drawn[..., inputs:targets], ends)
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + loss
    return sums
