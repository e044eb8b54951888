"""A deterministic network of state differences on normalised data, and fast rollouts of it for planners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from agents.parts.networks import mlp


def never_varied(data: Float[Tensor, "B D"]) -> Bool[Tensor, " D"]:
    """Whether a column is constant; a network learns nothing of how its prediction depends on such an input."""
    return data.std(0, correction=0) <= 1e-6 * (1.0 + data.mean(0).abs())


def refuse_divergence(losses: Mapping[str, float]) -> None:
    """Raise `FloatingPointError` unless all are finite: an agent that went on would act at random unseen."""
    if not all(isfinite(loss) for loss in losses.values()):
        found = ", ".join(f"{name} {loss:g}" for name, loss in losses.items())
        raise FloatingPointError(
            f"the fit of the dynamics model diverged: expected finite losses, found {found}; look for infinite numbers "
            "in the observations and rewards, or lower the model's learning rate"
        )


class Normaliser:
    """Each column to mean 0 and standard deviation 1; a column that never varied is only centred."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std

    @classmethod
    def identity(cls, size: int, device: str) -> Normaliser:
        return cls(torch.zeros(size, device=device), torch.ones(size, device=device))

    @classmethod
    def fit(cls, data: Float[Tensor, "B D"]) -> Normaliser:
        std = data.std(0, correction=0)
        return cls(data.mean(0), torch.where(never_varied(data), torch.ones_like(std), std))

    def __call__(self, data: Tensor) -> Tensor:
        return (data - self.mean) / self.std

    def inverse(self, normal: Tensor) -> Tensor:
        return normal * self.std + self.mean


class DynamicsModel:
    """s' = s + f(s, a): one network on normalised inputs and targets (Nagabandi et al. 2017, section IV-A).

    The same network may also predict what the suite did not grant: ``reward`` adds it to the targets,
    ``termination`` adds the logit of a true end.
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int],
        generator: torch.Generator,
        *,
        reward: bool,
        termination: bool,
    ) -> None:
        self.obs_size, self.reward, self.termination = obs_size, reward, termination
        self.regressed = obs_size + reward  # columns that are normalised and fitted by squared error
        self.network = mlp([obs_size + action_size, *hidden, self.regressed + termination], generator)
        device = str(generator.device)
        self.inputs = Normaliser.identity(obs_size + action_size, device)
        self.targets = Normaliser.identity(self.regressed, device)

    def raw(self, data: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs and regression targets of transitions, in the environment's units."""
        columns = [data["next_obs"] - data["obs"]]
        if self.reward:
            columns.append(data["reward"][:, None])
        return torch.cat([data["obs"], data["action"]], 1), torch.cat(columns, 1)

    @torch.no_grad()
    def normalise(self, inputs: Float[Tensor, "B I"], targets: Float[Tensor, "B R"]) -> None:
        """Set the normalisers by raw data. An input that never varied has no say until it does: its weights are 0."""
        self.inputs, self.targets = Normaliser.fit(inputs), Normaliser.fit(targets)
        first = self.network[0]
        assert isinstance(first, nn.Linear)
        first.weight[:, never_varied(inputs)] = 0.0

    def losses(
        self, inputs: Float[Tensor, "B I"], targets: Float[Tensor, "B R"], terminated: Float[Tensor, " B"]
    ) -> dict[str, Tensor]:
        """Of normalised inputs and targets; the mean over columns is that of the paper's squared error."""
        out = self.network(inputs)
        losses = {"dynamics": nn.functional.mse_loss(out[:, : self.regressed], targets)}
        if self.termination:
            losses["termination"] = nn.functional.binary_cross_entropy_with_logits(out[:, -1], terminated)
        return losses

    @torch.inference_mode()
    def predict(self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"]) -> dict[str, Tensor]:
        """One step: ``next_obs`` and, where the network has them, ``reward`` and ``termination`` (a logit)."""
        out = self.network(self.inputs(torch.cat([obs, action], 1)))
        regressed = self.targets.inverse(out[:, : self.regressed])
        found = {"next_obs": obs + regressed[:, : self.obs_size]}
        if self.reward:
            found["reward"] = regressed[:, -1]
        if self.termination:
            found["termination"] = out[:, -1]
        return found

    @torch.no_grad()
    def folded(self) -> list[Tensor]:
        """The network as bare matrices ``[out, in + 1]`` in the environment's units, a copy.

        Both normalisers are multiplied into the outer layers, and biases become the column of an input
        that is always 1: each hidden layer hands a 1 on. A planner then spends its time in nothing but
        matrix products and ReLU.
        """
        linears = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        matrices = [torch.cat([x.weight, x.bias[:, None]], 1).double() for x in linears]
        matrices[0][:, :-1] /= self.inputs.std
        matrices[0][:, -1] -= matrices[0][:, :-1] @ self.inputs.mean.double()
        matrices[-1][: self.regressed] *= self.targets.std[:, None]
        matrices[-1][: self.regressed, -1] += self.targets.mean
        for i, matrix in enumerate(matrices[:-1]):
            one = torch.zeros_like(matrix[:1])
            one[0, -1] = 1.0
            matrices[i] = torch.cat([matrix, one])
        return [matrix.float() for matrix in matrices]

    def state(self) -> dict[str, Any]:
        normalisers = [self.inputs.mean, self.inputs.std, self.targets.mean, self.targets.std]
        return {"network": dict(self.network.state_dict()), "normalisers": normalisers}

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        device = self.inputs.mean.device
        means_and_stds = [tensor.to(device) for tensor in state["normalisers"]]
        self.inputs, self.targets = Normaliser(*means_and_stds[:2]), Normaliser(*means_and_stds[2:])


class Imagination:
    """Rolls many action sequences at once through a `DynamicsModel.folded`.

    Candidates are the *last* axis: for a handful of features the products are three times as fast that
    way round, and every feature is one contiguous row.
    """

    def __init__(self, matrices: list[Tensor], obs_size: int) -> None:
        self.matrices, self.obs_size = matrices, obs_size
        self.buffers: list[Tensor] = []

    def rollout(
        self, obs: Float[Tensor, " D"], actions: Float[Tensor, "H A K"]
    ) -> tuple[Float[Tensor, "S D K"], Float[Tensor, "H O K"]]:
        """States, the first included (``S = H + 1``), and the network's other outputs (reward, logit)."""
        horizon, action_size, count = actions.shape
        size = self.obs_size
        x, *hidden = self._buffers(count)
        states = x.new_empty(horizon + 1, size, count)
        others = x.new_empty(horizon, len(self.matrices[-1]) - size, count)
        states[0] = x[:size] = obs[:, None]
        *products, out = hidden
        for step in range(horizon):
            x[size : size + action_size] = actions[step]
            layer = x
            for matrix, product in zip(self.matrices, products, strict=False):
                layer = torch.mm(matrix, layer, out=product).relu_()
            torch.mm(self.matrices[-1], layer, out=out)
            x[:size] += out[:size]
            states[step + 1] = x[:size]
            others[step] = out[size:]
        return states, others

    def _buffers(self, count: int) -> list[Tensor]:
        """The input with its row of ones, and room for every layer's output; made once per size."""
        if not self.buffers or self.buffers[0].shape[1] != count:
            first = self.matrices[0]
            self.buffers = [first.new_ones(first.shape[1], count)]
            self.buffers += [matrix.new_empty(len(matrix), count) for matrix in self.matrices]
        return self.buffers
