"""After twenty updates our soft actor-critic has the weights that stable-baselines3 has."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3 import SAC as TheirSAC
from stable_baselines3.common.logger import Logger
from torch import Tensor
from torch.distributions import Normal

from agents.parts.actor_critic_networks import Networks
from tests.actor_critics import HIGH, LOW, batch, sac, seeded, set_noise


class Nowhere(gym.Env[Any, Any]):
    observation_space = Box(-np.inf, np.inf, (3,), np.float32)
    action_space = Box(LOW.numpy(), HIGH.numpy(), dtype=np.float32)


def their_sac(rows: dict[str, Tensor], **settings: Any) -> TheirSAC:
    """Theirs, of our sizes, with a buffer that always gives ``rows``; its actions are kept in [-1, 1]."""
    model = TheirSAC(
        "MlpPolicy",
        Nowhere(),
        seed=0,
        device="cpu",
        buffer_size=len(rows["reward"]),
        policy_kwargs={"net_arch": [16, 8]},
        **settings,
    )
    model.set_logger(Logger(None, []))
    model.actor.action_dist.epsilon = 0.0  # ours is exact
    for i in range(len(rows["reward"])):
        row = {name: tensor[i].numpy() for name, tensor in rows.items()}
        action = model.policy.scale_action(row["action"])
        model.replay_buffer.add(row["obs"], row["next_obs"], action, row["reward"], row["terminated"], [{}])
    found = model.replay_buffer._get_samples(np.arange(len(rows["reward"])))
    model.replay_buffer.sample = lambda *_, **__: found
    return model


def their_vectors(model: TheirSAC) -> dict[str, Tensor]:
    """Their actor, critics and target critics in the order of our vectors."""

    def vector(networks: list[list[torch.nn.Linear]]) -> Tensor:
        layers = list(zip(*networks, strict=True))
        parts = [
            part
            for layer in layers
            for part in (torch.stack([x.weight.T for x in layer]), torch.stack([x.bias for x in layer]))
        ]
        return torch.cat([part.detach().reshape(-1) for part in parts])

    def linears(network: Any) -> list[torch.nn.Linear]:
        return [layer for layer in network if isinstance(layer, torch.nn.Linear)]

    actor = model.actor
    head = torch.nn.Linear(actor.mu.in_features, 2 * actor.mu.out_features)
    head.weight.data = torch.cat([actor.mu.weight, actor.log_std.weight]).detach()
    head.bias.data = torch.cat([actor.mu.bias, actor.log_std.bias]).detach()
    return {
        "actor": vector([[*linears(actor.latent_pi), head]]),
        "critics": vector([linears(q) for q in model.critic.q_networks]),
        "targets": vector([linears(q) for q in model.critic_target.q_networks]),
    }


@pytest.mark.parametrize("settings", [{}, {"ent_coef": 0.2}], ids=["automatic", "fixed"])
def test_twenty_updates_leave_the_weights_that_stable_baselines3_has(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    rows = batch(rows=64)
    model = their_sac(rows, learning_rate=1e-3, gamma=0.9, tau=0.05, **settings)
    fixed = {"temperature": 0.2, "automatic": False} if settings else {}
    mine = sac(learning_rate=1e-3, gamma=0.9, tau=0.05, **fixed)
    start = their_vectors(model)
    for network, name in ((mine.actor, "actor"), (mine.critics, "critics"), (mine.target_critics, "targets")):
        network.vector.copy_(start[name])

    drawn = torch.randn(20, 2, 64, 2, generator=seeded(5))  # for each update, of the actions at obs and at next_obs
    set_noise(mine, iter([noise for pair in drawn for noise in pair.flip(0)]))
    theirs = iter([noise for pair in drawn for noise in pair])
    monkeypatch.setattr(Normal, "rsample", lambda self, shape=(): self.loc + self.scale * next(theirs))
    losses: list[dict[str, float]] = []
    for _ in range(20):
        found = mine.update(rows)
        model.train(1, 64)
        losses.append({name: value.item() for name, value in found.items()})
        logged = model.logger.name_to_value
        assert losses[-1]["critic"] == pytest.approx(logged["train/critic_loss"], abs=1e-5)
        assert losses[-1]["actor"] == pytest.approx(logged["train/actor_loss"], abs=1e-5)
        assert losses[-1]["alpha"] == pytest.approx(logged["train/ent_coef"], abs=1e-6)
        if not settings:
            assert losses[-1]["temperature"] == pytest.approx(logged["train/ent_coef_loss"], abs=1e-5)
    assert losses[-1]["critic"] < losses[0]["critic"]
    end = their_vectors(model)
    for network, name in ((mine.actor, "actor"), (mine.critics, "critics"), (mine.target_critics, "targets")):
        torch.testing.assert_close(network.vector, end[name], rtol=0.0, atol=1e-5)
        assert (network.vector - start[name]).abs().max() > 5e-3  # so that agreement means something


def test_first_weights_lie_within_the_bounds_of_their_kind_and_follow_from_the_seed():
    fan_in = Networks(2, [9, 100, 4], seeded())
    assert 0.32 < fan_in.weights[0].abs().max() <= 1 / 3
    assert 0.32 < fan_in.biases[0].abs().max() <= 1 / 3
    assert fan_in.biases[1].abs().max() <= 0.1
    glorot = Networks(2, [9, 100, 4], seeded(), initial="glorot")
    assert 0.22 < glorot.weights[0].abs().max() <= (6 / 109) ** 0.5
    assert not glorot.biases[0].any()
    assert torch.equal(fan_in.vector, Networks(2, [9, 100, 4], seeded()).vector)
    assert not torch.equal(fan_in.weights[1][0], fan_in.weights[1][1])
