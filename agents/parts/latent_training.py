"""What M is trained on: latents of recorded frames, in sequences; and M's reward loss where it also teaches V."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts import vae as vision
from agents.parts.mdn_rnn import MDNRNN
from agents.parts.recording import Recording
from agents.parts.vae import VAE

CHUNK = 500  # frames encoded at a time
JOINT = (8, 16)  # sequences and steps of a batch by which the reward teaches V


def images(recording: Recording, rows: np.ndarray, device: str) -> Float[Tensor, "B 3 64 64"]:
    return vision.images(torch.from_numpy(recording.frames(rows)).to(device))


@torch.inference_mode()
def encode(vae: VAE, recording: Recording, device: str, tell: Callable[[int], Any]) -> None:
    """What V makes of every frame; M is trained on nothing else. ``tell`` is told of each frame reached."""
    # Into room made beforehand: small tensors kept between large ones that come and go cost gigabytes of memory.
    found = [torch.empty(recording.count, vae.latent) for _ in range(2)]
    for start in range(0, recording.count, CHUNK):
        tell(start)
        rows = np.arange(start, min(start + CHUNK, recording.count))
        for whole, part in zip(found, vae.encode(images(recording, rows, device)), strict=True):
            whole[start : start + CHUNK] = part
    recording.mean, recording.logvar = found


def memory_losses(
    memory: MDNRNN,
    recording: Recording,
    stream: dict[str, np.ndarray],
    sizes: tuple[int, int],
    rng: np.random.Generator,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """M's losses on ``sizes`` (sequences, steps), drawn by ``rng``; z is drawn from what V said of each frame."""
    count, length = sizes[0], min(sizes[1], len(stream["row"]))
    starts = recording.starts(stream, count, length, memory.done, rng)
    batch = recording.batch(stream, starts, length, across=memory.done)
    device = generator.device
    z, next_z = (
        vision.sample(recording.mean[batch[rows]].to(device), recording.logvar[batch[rows]].to(device), generator)
        for rows in ("row", "next_row")
    )
    action, restart, done, reward, mask = (
        batch[name].to(device) for name in ("action", "restart", "done", "reward", "mask")
    )
    return memory.losses(z, action, restart if memory.done else None, next_z, done, reward, mask)


def reward_loss(
    vae: VAE,
    memory: MDNRNN,
    recording: Recording,
    stream: dict[str, np.ndarray],
    rng: np.random.Generator,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """M's squared error of the reward, as in `MDNRNN.losses`, with a gradient into V: it learns what tells the
    reward (section 6).
    """
    count, length = JOINT
    starts = recording.starts(stream, count, length, False, rng)
    batch = recording.batch(stream, starts, length, across=False)
    device = str(generator.device)
    mean, logvar = vae.encode(images(recording, batch["row"].flatten().numpy(), device))
    z = vision.sample(mean, logvar, generator).view(count, length, -1)
    restart = batch["restart"].to(z) if memory.done else None
    outputs, _ = memory(z, batch["action"].to(z), restart)
    weight = batch["mask"].to(z)
    error = ((outputs.reward - batch["reward"].to(z)) / memory.reward_unit).square()
    loss: Tensor = (weight * error).sum() / weight.sum().clamp(min=1.0)
    return loss
