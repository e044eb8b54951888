"""The model of World Models as the runner asks it: on its device, for so many steps, from anywhere in an episode."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
import pytest
import torch

from agents.parts.latent_world import LatentWorld
from agents.parts.mdn_rnn import MDNRNN
from agents.parts.vae import VAE
from agents.protocol import Sequences

LATENT, ACTIONS = 4, 1


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def no_dreams(mean: Any, logvar: Any, generator: Any, steps: int) -> Any:
    raise AssertionError("nobody asked for a dream")


def world(dreams: Any = no_dreams, device: str = "cpu", **heads: bool) -> LatentWorld:
    vae, memory = VAE(LATENT, seeded()), MDNRNN(LATENT, ACTIONS, 6, seeded(), **heads)
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=seeded(1))
    tell = lambda actions: torch.as_tensor(actions, dtype=torch.float32)
    act = lambda features: features[:, :ACTIONS]
    return LatentWorld(vae.to(device), memory.to(device), "zh", tell, act, dreams)


def frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 64, 64, 3), dtype=np.uint8)


def test_frames_are_encoded_where_v_is():
    mean, logvar = world(device="meta", done=True)._encode(frames(3))
    assert mean.device.type == logvar.device.type == "meta"


def test_dreams_are_asked_for_no_more_steps_than_the_runner_wants():
    asked = []

    def dreams(mean: Any, logvar: Any, generator: Any, steps: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append((len(mean), steps))
        return np.zeros(len(mean)), np.ones(len(mean), int)

    assert world(dreams, done=True).imagined_returns(frames(3), 17, seed=0) == ([0.0] * 3, [1] * 3)
    assert asked == [(3, 17)]


@pytest.mark.parametrize("context", [0, 2])
def test_a_window_is_no_beginning_and_an_end_is_told_by_its_probability(context):
    made, obs = world(done=True), frames(2, 6)
    action = np.random.default_rng(1).uniform(-1, 1, (2, 5, ACTIONS)).astype(np.float32)
    steps = np.zeros((2, 5))
    asked = Sequences(obs=obs, action=action, reward=steps, terminated=steps > 0, valid=steps == 0, context=context)
    with torch.no_grad():
        state, never = made.memory.initial(2), torch.zeros(2)
        for step in range(context + 1):
            z, _ = made._encode(obs[:, step])
            state = made.memory.step(z, torch.from_numpy(action[:, step]), never, state)
        logit = made.memory.predict(state[0]).done
    told = made.predict(asked, seed=0).termination
    assert logit is not None
    assert told is not None
    # The loss counts ends ten times, so what M says are ten times the odds.
    assert told[:, 0].tolist() == pytest.approx([exp(one) / (exp(one) + 10) for one in logit.tolist()], rel=1e-4)
