"""Model-predictive control with one learnt network: training and controller (Nagabandi et al. 2017, 1708.02596)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.parts.actions import ActionVectors
from agents.parts.dynamics import DynamicsModel, Imagination, never_varied, refuse_divergence
from agents.parts.objective import Objective
from agents.parts.planning import Planner, PlannerConfig


@dataclass(frozen=True, kw_only=True)
class ModelPredictiveConfig(PlannerConfig):
    """The defaults are those of the released code for HalfCheetah (yaml_files/cheetah_forward.yaml)."""

    random_steps: int = 10_000  # steps of random actions first; code: 10 rollouts of 1000
    steps_per_round: int = 10_000  # steps between trainings; code: 10 rollouts of 1000
    discount: float = 1.0  # per planned step; the paper sums plain rewards
    hidden: tuple[int, ...] = (500,)  # units of each hidden layer; code
    learning_rate: float = 1e-3  # Adam; paper and code
    batch_size: int = 512  # transitions; paper and code
    epochs: int = 60  # passes over the data per round; code
    on_policy_share: float = 0.9  # of each batch, from the controller's own steps; paper and code
    data_noise: float = 0.01  # standard deviations of each input and target; code: noiseToSignal
    action_noise: float = 0.005  # of half the action range, while the controller learns; code


class ModelTraining:
    """A `DynamicsModel`, and how it is trained further on all data so far (section IV-A and IV-D).

    ``known``: what the suite granted and the model need not predict (`agents.protocol.Problem`).
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        config: ModelPredictiveConfig,
        generator: torch.Generator,
        known: Mapping[str, Callable[..., Any]],
    ) -> None:
        self.config, self.generator, self.known = config, generator, dict(known)
        self.model = DynamicsModel(
            obs_size,
            action_size,
            config.hidden,
            generator,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        # Fused: an update of this small network is otherwise mostly Adam's own bookkeeping.
        self.optimiser = torch.optim.Adam(
            self.model.network.parameters(), config.learning_rate, fused=generator.device.type == "cpu" or None
        )
        self.updates = 0
        self.end_seen = False  # whether a true end was ever trained on

    @property
    def fitted(self) -> bool:
        return self.updates > 0

    @property
    def heeds_ends(self) -> bool:
        return "termination" in self.known or self.end_seen

    def fit(self, data: Mapping[str, Tensor]) -> dict[str, float]:
        """Train on ``data [N ...]``, oldest first, from the weights that there are; the mean losses.

        Raises `FloatingPointError` where a loss is infinite or not a number.
        """
        device, config = self.generator.device, self.config
        data = {name: tensor.to(device) for name, tensor in data.items()}
        inputs, targets = self.model.raw(data)
        if not self.fitted:  # the statistics of the random data are kept for good, as in the code
            self.model.normalise(inputs, targets)
        noise = [self.config.data_noise * ~never_varied(columns) for columns in (inputs, targets)]
        inputs, targets = self.model.inputs(inputs), self.model.targets(targets)
        ends = data["terminated"].float()
        batches = ceil(len(inputs) / config.batch_size)
        sums: dict[str, Tensor] = {}
        for _ in range(config.epochs):
            rows = self._draw_batches(batches, len(inputs))
            noisy = [self._noisy(clean[rows], of) for clean, of in zip((inputs, targets), noise, strict=True)]
            for x, y, end in zip(*noisy, ends[rows], strict=True):
                losses = self.model.losses(x, y, end)
                self.optimiser.zero_grad()
                torch.autograd.backward(list(losses.values()))
                self.optimiser.step()
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + loss.detach()
        self.updates += batches * config.epochs
        self.end_seen = bool(ends.any())
        found = {f"loss/{name}": float(total) / (batches * config.epochs) for name, total in sums.items()}
        refuse_divergence(found)
        return found

    def _noisy(self, clean: Float[Tensor, "N B C"], deviation: Float[Tensor, " C"]) -> Float[Tensor, "N B C"]:
        noise = torch.randn(clean.shape, generator=self.generator, device=clean.device)
        return noise.mul_(deviation).add_(clean)

    def _draw_batches(self, batches: int, total: int) -> Int[Tensor, "N B"]:
        """Rows of the data, with replacement: random ones first, then on-policy ones in their share."""
        at_random = min(self.config.random_steps, total)
        size = min(self.config.batch_size, total)
        on_policy = min(total - at_random, int(size * self.config.on_policy_share))
        drawn = [
            torch.randint(low, high, (batches, count), generator=self.generator, device=self.generator.device)
            for low, high, count in ((0, at_random, size - on_policy), (at_random, total, on_policy))
            if count
        ]
        return torch.cat(drawn, 1)

    def controller(self, actions: ActionVectors) -> Controller:
        """With the model as it is now; random until it is fitted."""
        config = self.config
        objective = Objective(
            known=self.known,
            discount=config.discount,
            heed_ends=self.heeds_ends,
            cost_limit=config.cost_limit,
            cost_penalty=config.cost_penalty,
        )
        imagination = Imagination(self.model.folded(), self.model.obs_size) if self.fitted else None
        return Controller(imagination, actions, objective)

    def state(self) -> dict[str, Any]:
        """All but the generator, which its owner saves."""
        optimiser = self.optimiser.state_dict()
        return {
            "model": self.model.state(),
            "optimiser": optimiser,
            "updates": self.updates,
            "end_seen": self.end_seen,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.model.restore(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.updates, self.end_seen = state["updates"], state["end_seen"]


class Controller:
    """Section IV-C: the first action of the best imagined sequence. Random until a model was trained."""

    def __init__(self, imagination: Imagination | None, actions: ActionVectors, objective: Objective) -> None:
        self.imagination, self.actions, self.objective = imagination, actions, objective

    @torch.inference_mode()
    def plan(self, obs: Any, planner: Planner, generator: torch.Generator) -> Float[Tensor, " A"]:
        if self.imagination is None:
            return self.actions.draw(1, 1, generator)[0, :, 0]
        start = torch.as_tensor(np.asarray(obs, np.float32), device=generator.device)
        return planner.plan(lambda sequences: self.returns(start, sequences), generator)[0]

    def returns(self, start: Float[Tensor, " D"], sequences: Float[Tensor, "H A K"]) -> Float[Tensor, " K"]:
        """What the model promises for each sequence; rewards and ends are the suite's where granted."""
        assert self.imagination is not None
        states, others = self.imagination.rollout(start, sequences)
        known = self.objective.known
        rewards = None if "reward" in known else others[:, 0]
        cont = None if "termination" in known else torch.sigmoid(-others[:, -1])
        return self.objective.scores(states, sequences, rewards, cont)
