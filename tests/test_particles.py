"""Promises of particles through an ensemble: TS1 and TS-infinity (Chua et al. 2018)."""

from __future__ import annotations

import pytest
import torch

from agents.parts.particles import Particles
from tests.ensembles import ensemble, movers, seeded, uneven


def test_in_ts_infinity_a_particle_keeps_its_member_and_members_share_alike():
    made = movers([1.0, 10.0, 100.0], elites=2)
    made.elites = torch.tensor([2, 0])
    found = Particles(made).rollout(torch.tensor([0.5, -0.5]), torch.zeros(4, 2, 5), seeded(), particles=6)
    assert found.member.shape == (4, 5, 6)
    assert found.member[0, 0].tolist() == [2, 2, 2, 0, 0, 0]
    assert (found.member == found.member[0, 0]).all()
    for step in range(5):
        for p, push in enumerate([100.0] * 3 + [1.0] * 3):
            assert (found.states[step, 0, :, p] == 0.5 + step * push).all()
            assert (found.states[step, 1, :, p] == -0.5 + step * push).all()


def test_in_ts1_every_particle_draws_its_member_anew_and_members_share_alike():
    made = movers([1.0, 10.0, 100.0, 1000.0], elites=3)
    made.elites = torch.tensor([3, 0, 1])
    pushes = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    found = Particles(made).rollout(torch.tensor([0.0, 7.0]), torch.zeros(200, 2, 4), seeded(), particles=6, mode="TS1")
    for member in (0, 1, 3):
        assert ((found.member == member).sum(2) == 2).all()  # two of six particles of each candidate, in each step
    # the trajectory of each particle is made of the pushes of just those members
    moved = pushes[found.member].double().cumsum(0).float()
    torch.testing.assert_close(found.states[1:, 0], moved)
    torch.testing.assert_close(found.states[1:, 1], moved + 7.0)
    assert not torch.equal(found.member[0, 0], found.member[0, 1])  # candidates draw for themselves
    stays = (found.member[1:] == found.member[:-1]).float().mean((0, 1))
    assert (stays - 1 / 3).abs().max() < 0.07  # each particle's next member is independent of its last


def test_particles_follow_their_own_candidates_actions():
    made = movers([0.0, 0.0])
    made.networks.weights[0][:, 2, 0] = 1.0  # a_0 is added to s_0
    actions = torch.randn(3, 2, 5, generator=seeded(1))
    for mode in ("TS1", "TSinf"):
        found = Particles(made).rollout(torch.zeros(2), actions, seeded(), particles=4, mode=mode)
        expected = actions[:, 0].cumsum(0)[..., None].expand(-1, -1, 4)
        torch.testing.assert_close(found.states[1:, 0], expected)


@pytest.mark.parametrize("mode", ["TS1", "TSinf"])
def test_particles_go_by_their_members_networks_reward_and_end_included(mode):
    made = uneven(probabilistic=False)
    actions = torch.randn(3, 2, 40, generator=seeded(1))
    start = torch.tensor([0.3, -0.2])
    found = Particles(made).rollout(start, actions, seeded(), particles=20, mode=mode)
    rows = torch.arange(40 * 20)
    for step in range(3):
        obs = found.states[step].flatten(1).T
        moments = made.predict(obs, actions[step].T.repeat_interleave(20, 0))
        mean = moments.mean[found.member[step].flatten(), rows]
        close = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(found.states[step + 1].flatten(1).T, mean[:, :2], **close)
        torch.testing.assert_close(found.rewards[step].flatten(), mean[:, 2], **close)
        ends = moments.termination[found.member[step].flatten(), rows].sigmoid()
        torch.testing.assert_close(found.termination[step].flatten(), ends, **close)


@pytest.mark.parametrize("mode", ["TS1", "TSinf"])
def test_particles_spread_as_their_members_variances_say(mode):
    made = uneven(members=1, elites=1)
    start, action = torch.tensor([0.3, -0.2]), torch.randn(2, generator=seeded(1))
    found = Particles(made).rollout(start, action[None, :, None], seeded(), particles=40_000, mode=mode)
    moments = made.predict(start[None], action[None])
    torch.testing.assert_close(found.states[1, :, 0].var(1), moments.var[0, 0, :2], rtol=0.03, atol=0.0)
    torch.testing.assert_close(found.states[1, :, 0].mean(1), moments.mean[0, 0, :2], rtol=0.0, atol=0.02)
    torch.testing.assert_close(found.rewards[0], moments.mean[0, :, 2:].expand(-1, 40_000), rtol=1e-4, atol=1e-4)


def test_particles_that_cannot_be_shared_alike_are_refused():
    with pytest.raises(ValueError, match="multiple of the 5 elites as particles, found 12"):
        Particles(ensemble()).rollout(torch.zeros(2), torch.zeros(1, 2, 3), seeded(), particles=12)
