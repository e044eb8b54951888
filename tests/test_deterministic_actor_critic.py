"""Our DDPG's hand-worked targets, and what its options promise."""

from __future__ import annotations

from math import tanh

import pytest
import torch

from agents.parts.actor_critic_networks import Networks
from agents.parts.deterministic_actor_critic import DDPG, DDPGConfig
from tests.actor_critics import HIGH, LOW, STEVE, batch, ddpg, seeded, set_lines


def test_targets_of_the_deterministic_policy_are_those_worked_out_by_hand():
    config = DDPGConfig(hidden=(), gamma=0.9, critics=2, exploration="actions")
    part = DDPG(1, torch.tensor([-1.0]), torch.tensor([3.0]), config, seeded())
    set_lines(part.target_actor, [0.5, 0.0])
    set_lines(part.actor, [9.0, 9.0])  # must not matter
    set_lines(part.target_critics, [2.0, 3.0, 1.0], [1.0, 0.0, 10.0])
    rows = {
        "next_obs": torch.tensor([[4.0], [4.0]]),
        "reward": torch.tensor([1.0, 1.0]),
        "terminated": torch.tensor([False, True]),
    }
    value = (2 * 4 + 3 * tanh(2.0) + 1 + 4 + 10) / 2
    assert part.targets(rows).tolist() == pytest.approx([1.0 + 0.9 * value, 1.0], rel=1e-6)
    without = DDPG(1, torch.tensor([-1.0]), torch.tensor([3.0]), STEVE, seeded())
    assert without.target_actor is without.actor


def test_gaussian_exploration_spreads_actions_by_the_share_of_half_ranges_that_is_declared():
    part = ddpg(config=DDPGConfig(exploration="actions", noise=0.05))
    obs = torch.zeros(40_000, 3)
    apart = part.act(obs, True, seeded()) - part.act(obs, False)
    torch.testing.assert_close(apart.std(0), 0.05 * (HIGH - LOW) / 2, rtol=0.02, atol=0.0)
    assert apart.mean(0).abs().max() < 1e-3


def test_occasional_exploration_disturbs_dimensions_by_the_chance_that_is_declared():
    part = ddpg(config=STEVE)
    obs = torch.zeros(40_000, 3)
    apart = part.bounds.inward(part.act(obs, True, seeded())).atanh() - part.bounds.inward(part.act(obs, False)).atanh()
    disturbed = apart[apart.abs() > 1e-4]
    assert disturbed.numel() / apart.numel() == pytest.approx(0.05, abs=0.005)
    assert disturbed.std().item() == pytest.approx(1.0, abs=0.03)


def test_each_row_teaches_one_critic_where_that_is_asked_for():
    part, rows = ddpg(config=STEVE), batch()
    before = part.critics.biases[-1].detach().clone()
    found = part.update_critics(rows["obs"][:1], rows["action"][:1], torch.tensor([50.0]))
    assert (part.critics.biases[-1] != before).sum() == 1
    assert found["critic"].item() == pytest.approx(0.5 * 50.0**2, rel=0.2)  # once, not four times
    for _ in range(20):
        part.update_critics(rows["obs"][:1], rows["action"][:1], torch.tensor([50.0]))
    assert (part.critics.biases[-1] != before).all()


def test_a_copy_of_targets_is_made_only_when_it_is_asked_for_where_tau_is_zero():
    part = ddpg(config=STEVE)
    before = part.target_critics.vector.clone()
    part.update(batch())
    assert torch.equal(part.target_critics.vector, before)
    part.follow_targets(1.0)
    assert torch.equal(part.target_critics.vector, part.critics.vector)


def test_saturated_actions_cost_the_actor_what_is_declared():
    plain, dear = ddpg(config=DDPGConfig()), ddpg(config=DDPGConfig(saturation=0.5))
    obs = batch()["obs"]
    square = plain.actor(obs)[0].square().mean()
    torch.testing.assert_close(dear.actor_loss(obs), plain.actor_loss(obs) + 0.5 * square)
    q = plain.critic(obs, plain.action(obs))
    torch.testing.assert_close(plain.actor_loss(obs), -q.mean())


@pytest.mark.parametrize(("noise", "power"), [(0.001, -1), (1.9, 1)])
def test_noise_in_parameters_shrinks_where_actions_move_farther_than_declared_and_else_grows(noise: float, power: int):
    part, obs = ddpg(config=DDPGConfig(hidden=(16, 16), noise=noise)), batch()["obs"]
    part.adaptation[0] = 0.1
    part._perturb(obs)
    apart = part.bounds.inward(part.act(obs, True)) - part.bounds.inward(part.act(obs, False))
    assert part.adaptation[1].item() == pytest.approx(apart.square().mean().sqrt().item(), rel=1e-4)
    moved = part.perturbed.vector != part.actor.vector
    assert moved.sum() == sum(x.numel() for x in (*part.actor.weights, *part.actor.biases))  # no gain, no shift
    for _ in range(48):
        part._perturb(obs)
    assert part.adaptation[0].item() == pytest.approx(0.1)
    part._perturb(obs)
    assert part.adaptation.tolist() == pytest.approx([0.1 * 1.01**power, 0.0, 0.0])


def test_the_first_noise_in_parameters_is_the_codes_share_of_the_action_range_for_each_layer():
    part = ddpg(config=DDPGConfig(hidden=(16, 16), noise=0.4))  # the code's 0.2 of the range, over three layers
    assert part.adaptation[0].item() == pytest.approx(0.2 / 3)


def test_normalised_networks_say_how_to_differentiate_them():
    networks = Networks(1, [3, 4, 1], seeded(), normalise=True)
    out = networks.forward(torch.ones(2, 3))
    with pytest.raises(NotImplementedError, match="differentiate"):
        networks.backward(out, torch.ones(1, 2, 1))
    hidden = networks.forward(torch.randn(50, 3, generator=seeded(1)))[1]
    assert (hidden >= 0).all()
    networks.shifts[0].detach().fill_(100.0)  # so that ReLU cuts nothing
    hidden = networks.forward(torch.randn(50, 3, generator=seeded(1)))[1]
    torch.testing.assert_close(hidden.mean(-1), torch.full((1, 50), 100.0))
    torch.testing.assert_close(hidden.std(-1, correction=0), torch.ones(1, 50), rtol=1e-2, atol=1e-2)
