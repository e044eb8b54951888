"""C of World Models: small controllers whose parameters are plain vectors, and their outputs as actions.

Ha & Schmidhuber, arXiv 1803.10122, section 2.3; numbers after the authors' code, hardmaru/WorldModelsExperiments.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float, Int, Int64, Shaped
from torch import Tensor

CUT = 1 / 3  # Take Cover: an output below -CUT moves left, one above it right; code

Vectors = Float[Tensor, "P n"] | Float[np.ndarray, "P n"]
Places = Int[Tensor, " N"] | Int[np.ndarray, " N"]


class Controller:
    """tanh(W x + b), or the same behind one hidden layer of tanh units; many candidates at a time.

    A parameter vector holds, layer by layer, the bias (if any) and then the weights of the first input, of the second,
    and so on, as in the authors' files. CarRacing: 867 parameters of z and h (32 + 256) and a bias for 3 outputs,
    1,443 for 40 hidden units on z alone; Take Cover: 1,088 of z, c and h (64 + 512 + 512), one output, no bias.
    """

    def __init__(self, inputs: int, outputs: int, *, hidden: int = 0, bias: bool = True) -> None:
        widths = [inputs, *([hidden] if hidden else []), outputs]
        self.layers = [(widths[i], widths[i + 1]) for i in range(len(widths) - 1)]
        self.bias = bias
        self.size = sum((rows + bias) * columns for rows, columns in self.layers)

    def act(
        self, parameters: Vectors, features: Float[Tensor, "N F"], owner: Places | None = None
    ) -> Float[Tensor, "N A"]:
        """Outputs in [-1, 1] of ``N`` games, game i played by candidate ``owner[i]`` of ``parameters [P size]``.

        Without ``owner`` each candidate plays N / P games, and they are in the candidates' order: the fastest.
        Candidates that play no game cost nothing.
        """
        if parameters.shape[1] != self.size or features.shape[1] != self.layers[0][0]:
            raise ValueError(
                f"expected vectors of {self.size} parameters and {self.layers[0][0]} features a game, "
                f"found {parameters.shape[1]} and {features.shape[1]}"
            )
        vectors = torch.as_tensor(parameters, dtype=features.dtype, device=features.device)
        if owner is None:
            if len(features) % len(vectors):
                raise ValueError(
                    f"expected as many games of each of the {len(vectors)} candidates, found {len(features)} games; "
                    "say whose each one is (owner)"
                )
            return self._layers(vectors, features.reshape(len(vectors), -1, features.shape[1])).flatten(0, 1)
        if len(vectors) == 1:
            return self._layers(vectors, features[None])[0]
        return self._dealt(vectors, features, torch.as_tensor(owner, device=features.device))

    def _dealt(self, vectors: Tensor, features: Tensor, owner: Tensor) -> Tensor:
        """Games in any order: laid out in one row of slots per playing candidate, as wide as the longest row."""
        playing, row, counts = torch.unique(owner, return_inverse=True, return_counts=True)
        order = torch.argsort(row, stable=True)
        longest = int(counts.max()) if len(counts) else 0
        firsts = torch.cumsum(counts, 0) - counts
        slot = torch.empty_like(row)  # of each game, rows after rows
        slot[order] = row[order] * longest + torch.arange(len(row), device=row.device) - firsts[row[order]]
        game = torch.zeros(len(playing) * longest, dtype=torch.long, device=row.device)  # in each slot; idle ones: 0
        game[slot] = torch.arange(len(row), device=row.device)
        laid_out = features.index_select(0, game).view(len(playing), longest, features.shape[1])
        return self._layers(vectors.index_select(0, playing), laid_out).flatten(0, 1)[slot]

    def _layers(self, vectors: Float[Tensor, "P n"], x: Float[Tensor, "P R F"]) -> Float[Tensor, "P R A"]:
        at = 0
        for rows, columns in self.layers:
            bias = vectors[:, None, at : at + columns] if self.bias else None
            at += columns if self.bias else 0
            weights = vectors[:, at : at + rows * columns].view(-1, rows, columns)
            at += rows * columns
            x = (torch.bmm(x, weights) if bias is None else torch.baddbmm(bias, x, weights)).tanh()
        return x


class ActionMap:
    """A controller's outputs in [-1, 1] as actions of the environment, and as the vectors that M is told.

    ========================  ==============  ================================================  =======================
    action space              outputs (size)  action                                            M is told (told numbers)
    ========================  ==============  ================================================  =======================
    Box(3) of ``carracing``   3               steer = o1, gas = (o2 + 1) / 2, brake = o3, or 0  the action
                                              where o3 is negative
    Discrete(3), take_cover   1               left, stay, right: o cut at -1/3 and 1/3          -1, 0 or 1
    any other bounded Box     one a number    [-1, 1] stretched to [low, high]                  the action in [-1, 1]
    any other Discrete        one an action   the largest output's                              a one-hot vector
    ========================  ==============  ================================================  =======================

    The authors' M of Take Cover is told the output itself, which also says how far from a cut it was.
    """

    def __init__(self, space: gym.Space[Any], family: str = "") -> None:
        self.kind = "discrete"
        if isinstance(space, Discrete):
            self.start = int(space.start)
            self.size = self.told = int(space.n)
            if family == "take_cover" and space.n == 3:
                self.kind, self.size, self.told = "cut", 1, 1
        elif isinstance(space, Box) and len(space.shape) == 1 and space.is_bounded("both"):
            self.kind = "car" if family == "carracing" and space.shape == (3,) else "box"
            self.size = self.told = space.shape[0]
            self.dtype = space.dtype
            self.low, self.high = (torch.as_tensor(bound, dtype=torch.float32) for bound in (space.low, space.high))
        else:
            raise ValueError(
                f"expected a Discrete action space or a bounded one-dimensional Box, found {space}; "
                "wrap the environment so that its actions have one of these forms"
            )

    def actions(
        self, outputs: Float[Tensor, "N size"], playing: Int[np.ndarray, " N"] | None = None, games: int = 0
    ) -> Shaped[np.ndarray, "M ..."]:
        """In the environment's form: ``[N, A]`` of the space's type, or ``[N]`` whole numbers.

        With ``playing``, the places of these N among ``games``: ``[games, ...]``, where those that wait get any action.
        """
        executed = self._executed(outputs).cpu().numpy()
        chosen = executed + self.start if self.kind in ("discrete", "cut") else executed.astype(self.dtype)
        if playing is None:
            return chosen
        of_all = np.repeat(chosen[:1], games, axis=0)
        of_all[playing] = chosen
        return of_all

    def tell(self, outputs: Float[Tensor, "N size"]) -> Float[Tensor, "N told"]:
        """What M is told of the actions that these outputs lead to; equal to `vectors` of `actions`."""
        return self._told(self._executed(outputs))

    def vectors(self, actions: Shaped[np.ndarray, "N ..."]) -> Float[Tensor, "N told"]:
        """What M is told of actions in the environment's form, whoever chose them."""
        if self.kind in ("discrete", "cut"):
            return self._told(torch.as_tensor(actions, dtype=torch.int64) - self.start)
        return self._told(torch.as_tensor(actions, dtype=torch.float32))

    def _executed(self, outputs: Tensor) -> Float[Tensor, "N A"] | Int64[Tensor, " N"]:
        """A Box action's numbers, or a Discrete action counted from 0."""
        if self.kind == "cut":
            return 1 + (outputs[:, 0] > CUT).long() - (outputs[:, 0] < -CUT).long()
        if self.kind == "discrete":
            return outputs.argmax(1)
        if self.kind == "car":
            steer, gas, brake = outputs.unbind(1)
            return torch.stack([steer, (gas + 1) / 2, brake.clamp(0, 1)], 1)
        low, high = self.low.to(outputs.device), self.high.to(outputs.device)
        return torch.clamp(low + (outputs + 1) / 2 * (high - low), low, high)

    def _told(self, executed: Tensor) -> Tensor:
        if self.kind == "cut":
            return executed[:, None].float() - 1
        if self.kind == "discrete":
            return torch.nn.functional.one_hot(executed, self.told).float()
        if self.kind == "car":
            return executed
        low, high = self.low.to(executed.device), self.high.to(executed.device)
        return 2 * (executed - low) / (high - low) - 1
