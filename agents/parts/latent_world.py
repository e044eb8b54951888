"""What V and M say of the world, for those who measure it and those who want to see it."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts import vae as vision
from agents.parts.mdn_rnn import DONE_FACTOR, MDNRNN, Outputs
from agents.parts.mind import Mind
from agents.parts.vae import VAE
from agents.protocol import Prediction, Sequences

Tell = Callable[[np.ndarray], Float[Tensor, "N A"]]  # the environment's actions as M is told them
Dreams = Callable[[Tensor, Tensor, torch.Generator, int], tuple[np.ndarray, np.ndarray]]
Act = Callable[[Float[Tensor, "N F"]], Float[Tensor, "N A"]]  # C, and what M is told of it


class LatentWorld:
    """The model of a `WorldModels` agent: `agents.protocol.WorldModel` and `Pictures`."""

    def __init__(self, vae: VAE, memory: MDNRNN, sees: str, tell: Tell, act: Act, dreams: Dreams) -> None:
        """``dreams`` plays the agent's C in a dream from each of ``mean, logvar [N Z]``, for so many steps at most:
        returns and lengths."""
        self.vae, self.memory, self.sees = vae, memory, sees
        self.tell, self.act, self.dreams = tell, act, dreams

    @torch.inference_mode()
    def predict(self, sequences: Sequences, seed: int) -> Prediction:
        """After the context M's expectation of z takes the place of what V would see; no noise is drawn.

        An end's probability is M's logit less log 10, as ends count ten times in M's loss. A dream has another
        threshold: it ends where the logit itself is above 0, at a probability of 1/11.
        """
        count, steps = sequences.action.shape[:2]
        mind = Mind(self.vae, self.memory, self.sees, count)
        mind.restart.zero_()  # the windows begin anywhere: in training, too, with h = 0 and no restart
        games = slice(None)
        frames: list[np.ndarray] = []
        rewards: list[np.ndarray] = []
        ends: list[np.ndarray] = []
        reconstruction = None
        generator = torch.Generator(mind.h.device)  # nothing is drawn from it
        for step in range(steps):
            if step <= sequences.context:
                mind.look(sequences.obs[:, step], games, generator, sampled=False)
            if step == sequences.context:
                reconstruction = self._decode(mind.z)
            mind.remember(self.tell(sequences.action[:, step]), games)
            if step < sequences.context:
                continue
            outputs = self.memory.predict(mind.h)
            mind.z = expected(outputs)
            frames.append(self._decode(mind.z))
            if outputs.reward is not None:
                rewards.append(outputs.reward.cpu().numpy())
            if outputs.done is not None:
                ends.append(torch.sigmoid(outputs.done - log(DONE_FACTOR)).cpu().numpy())
        return Prediction(
            obs=np.stack(frames, 1),
            reward=np.stack(rewards, 1) if rewards else None,
            termination=np.stack(ends, 1) if ends else None,
            reconstruction=reconstruction,
        )

    @torch.inference_mode()
    def imagined_returns(self, first_obs: np.ndarray, steps: int, seed: int) -> tuple[list[float], list[int]] | None:
        if not (self.memory.done or self.memory.reward):
            return None  # neither a reward nor an end: a dream without consequences
        mean, logvar = self._encode(first_obs)
        generator = torch.Generator(mean.device).manual_seed(seed)
        returns, lengths = self.dreams(mean, logvar, generator, steps)
        return returns.tolist(), lengths.tolist()

    @torch.inference_mode()
    def reconstruct(self, obs: np.ndarray) -> np.ndarray:
        return self._decode(self._encode(obs)[0])

    @torch.inference_mode()
    def dream(self, first_obs: np.ndarray, steps: int, temperature: float, seed: int) -> np.ndarray:
        """Goes on where M would end the dream, so that all dreams last equally long."""
        mean, logvar = self._encode(first_obs[None])
        generator = torch.Generator(mean.device).manual_seed(seed)
        mind = Mind(self.vae, self.memory, self.sees, 1)
        mind.z = vision.sample(mean, logvar, generator)
        frames = []
        for _ in range(steps):
            frames.append(self._decode(mind.z)[0])
            mind.remember(self.act(mind.features(slice(None))), slice(None))
            mind.z = self.memory.sample(self.memory.predict(mind.h), temperature, generator)
        return np.stack(frames)

    def _encode(self, obs: np.ndarray) -> tuple[Tensor, Tensor]:
        device = self.memory.cell.device
        parts = [self.vae.encode(vision.images(torch.from_numpy(chunk).to(device))) for chunk in chunks(obs)]
        mean, logvar = (torch.cat(part) for part in zip(*parts, strict=True))
        return mean, logvar

    def _decode(self, z: Tensor) -> np.ndarray:
        found: np.ndarray = vision.frames(self.vae.decode(z)).cpu().numpy()
        return found


def expected(outputs: Outputs) -> Float[Tensor, "N Z"]:
    """The mean of the mixture."""
    return (outputs.log_weights.softmax(-1) * outputs.mean).sum(-1)


def chunks(obs: np.ndarray, size: int = 256) -> list[np.ndarray]:
    return [np.ascontiguousarray(obs[start : start + size]) for start in range(0, len(obs), size)]
