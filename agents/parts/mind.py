"""V and M at work beside games that are being played: what C sees of each, and what M remembers of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts import vae as vision
from agents.parts.controllers import ActionMap, Controller
from agents.parts.evolution import Evolution
from agents.parts.mdn_rnn import MDNRNN
from agents.parts.vae import VAE

SEES = ("z", "zh", "zhc")  # what a controller may see: the latent, M's hidden state, its cell state


class Mind:
    """The state of ``count`` games; z, h, c and the flag that says to M that an episode begins."""

    def __init__(self, vae: VAE, memory: MDNRNN, sees: str, count: int) -> None:
        self.vae, self.memory, self.sees = vae, memory, sees
        self.h, self.c = memory.initial(count)
        self.z = self.h.new_zeros(count, memory.latent)
        self.restart = self.h.new_ones(count)

    def begin(self, games: Any) -> None:
        """An episode begins in ``games`` (indices or a mask)."""
        self.h[games], self.c[games], self.restart[games] = 0.0, 0.0, 1.0

    @torch.inference_mode()
    def look(
        self, frames: np.ndarray, games: Any, generator: torch.Generator, sampled: bool = True
    ) -> Float[Tensor, "N F"]:
        """What C sees of ``frames [N, 64, 64, 3]`` in ``games``: z is drawn from what V makes of them."""
        mean, logvar = self.vae.encode(vision.images(torch.from_numpy(frames).to(self.h.device)))
        self.z[games] = vision.sample(mean, logvar, generator) if sampled else mean
        return self.features(games)

    def features(self, games: Any) -> Float[Tensor, "N F"]:
        parts = [self.z, self.h, self.c][: len(self.sees)]
        return torch.cat([part[games] for part in parts], 1)

    @torch.inference_mode()
    def remember(self, action: Float[Tensor, "N A"], games: Any) -> None:
        """M takes in what was seen and what is being done."""
        restart = self.restart[games] if self.memory.done else None
        h, c = self.memory.step(self.z[games], action.to(self.h), restart, (self.h[games], self.c[games]))
        self.h[games], self.c[games], self.restart[games] = h, c, 0.0

    @torch.inference_mode()
    def surprise(self, frames: np.ndarray, games: Any) -> np.ndarray:
        """How little M foresaw of ``frames [N, 64, 64, 3]`` when it last remembered: minus the log-likelihood, nats."""
        mean, _ = self.vae.encode(vision.images(torch.from_numpy(frames).to(self.h.device)))
        found: np.ndarray = self.memory.surprise(self.memory.predict(self.h[games]), mean).cpu().numpy()
        return found

    def state(self) -> dict[str, Tensor]:
        return {"z": self.z.clone(), "h": self.h.clone(), "c": self.c.clone(), "restart": self.restart.clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        device = self.h.device
        self.z, self.h, self.c = (state[name].to(device) for name in ("z", "h", "c"))
        self.restart = state["restart"].to(device)


class Driver:
    """C behind V and M, in one game: a policy with a memory."""

    def __init__(
        self, mind: Mind, head: Callable[[Tensor], Tensor], actions: ActionMap, generator: torch.Generator
    ) -> None:
        """``head``: from what C sees to C's outputs."""
        self.mind, self.head, self.actions, self.generator = mind, head, actions, generator

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)
        self.mind.begin(slice(None))

    def act(self, obs: Any) -> Any:
        outputs = self.head(self.mind.look(np.asarray(obs)[None], slice(None), self.generator))
        self.mind.remember(self.actions.tell(outputs), slice(None))
        action = self.actions.actions(outputs)[0]
        return action if isinstance(action, np.ndarray) else int(action)


class Explorer:
    """A C that is being recorded: drawn anew for each episode, around the mean of an evolution."""

    def __init__(
        self, mind: Mind, controller: Controller, actions: ActionMap, evolution: Evolution, generator: torch.Generator
    ) -> None:
        self.evolution, self.controller = evolution, controller
        self.parameters = torch.zeros(1, controller.size)
        head = lambda features: controller.act(self.parameters, features)
        self.driver = Driver(mind, head, actions, generator)

    def reset(self, rng: np.random.Generator) -> None:
        noise = rng.standard_normal(self.controller.size)
        drawn = self.evolution.mean + self.evolution.deviations * noise
        self.parameters = torch.as_tensor(drawn[None], dtype=torch.float32)
        self.driver.mind.begin(slice(None))

    def act(self, rng: np.random.Generator, frame: np.ndarray) -> Any:
        return self.driver.act(frame)

    def state(self) -> dict[str, Tensor]:
        return self.driver.mind.state() | {"parameters": self.parameters}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.parameters = state["parameters"]
        self.driver.mind.restore(state)
