"""A generation of controllers at work in dreams: `agents.parts.dream.play` for candidates in place of one actor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from agents.parts import dream
from agents.parts import vae as vision
from agents.parts.controllers import ActionMap, Controller
from agents.parts.mdn_rnn import MDNRNN


@dataclass(frozen=True, kw_only=True)
class DreamGames:
    """Where controllers are tried that see the first ``seen`` of the columns z, h, c."""

    memory: MDNRNN
    controller: Controller
    actions: ActionMap
    seen: int
    temperature: float
    time_limit: int  # steps

    def play(
        self,
        candidates: Float[np.ndarray, "P n"],
        mean: Float[Tensor, "R Z"],
        logvar: Float[Tensor, "R Z"],
        generator: Generator,
    ) -> np.ndarray:
        """Returns ``[P R]``; every candidate in the same R dreams: the same beginnings, the same noise."""
        rollouts = len(mean)
        parameters = torch.as_tensor(candidates, dtype=torch.float32, device=generator.device)
        everyone = len(candidates) * rollouts

        def act(features: Tensor, index: Tensor) -> Tensor:
            owner = None if len(index) == everyone else index // rollouts
            return self.actions.tell(self.controller.act(parameters, features[:, : self.seen], owner))

        returns, _ = self.dream(act, mean, logvar, generator, len(candidates))
        return returns.reshape(len(candidates), rollouts)

    def dream(
        self,
        act: dream.Act,
        mean: Tensor,
        logvar: Tensor,
        generator: Generator,
        candidates: int = 1,
        steps: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns and lengths ``[P * R]`` of dreams that begin at ``mean, logvar [R Z]``, of ``steps`` at most."""
        device = generator.device
        returns, lengths = dream.play(
            self.memory,
            act,
            vision.sample(mean.to(device), logvar.to(device), generator),
            generator,
            candidates=candidates,
            temperature=self.temperature,
            time_limit=self.time_limit if steps is None else min(steps, self.time_limit),
        )
        return returns.cpu().numpy(), lengths.cpu().numpy()
