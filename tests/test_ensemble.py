"""Promises of ensembles of dynamics networks: losses and gradients, what they say of a step, disagreement."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch.nn.functional import silu, softplus

from agents.parts.dynamics import Normaliser
from agents.parts.ensemble_heads import Ends, Heads
from agents.parts.ensemble_networks import MemberNetworks
from agents.parts.particles import Particles
from tests.ensembles import asked, ensemble, linear_data, movers, seeded, uneven

# -- networks and losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["swish", "relu"])
def test_gradients_by_hand_are_those_of_autograd(activation):
    networks = MemberNetworks(3, [4, 6, 5, 2], activation, seeded())
    networks.biases[0].uniform_(-1, 1, generator=seeded(2))
    for rows in (11, 4, 11):  # a second size in between: buffers are kept by size
        x = torch.randn(3, rows, 4, generator=seeded(rows))
        slope = torch.randn(3, rows, 2, generator=seeded(rows + 1))
        leaves = [part.clone().requires_grad_() for part in (*networks.weights, *networks.biases)]
        y = x
        for i, (weight, bias) in enumerate(zip(leaves[:3], leaves[3:], strict=True)):
            y = torch.baddbmm(bias, y, weight)
            if i < 2:
                y = silu(y) if activation == "swish" else y.relu()
        slopes = torch.autograd.grad((y * slope).sum(), leaves)
        layers = networks.forward(x)
        torch.testing.assert_close(layers[-1], y.detach())
        torch.testing.assert_close(networks(x), y.detach())
        networks.backward(layers, slope)
        torch.testing.assert_close(networks.gradient, torch.cat([s.flatten() for s in slopes]))


def test_first_weights_are_truncated_normal_or_glorot():
    weight = MemberNetworks(3, [100, 400, 1], "swish", seeded()).weights[0]
    assert weight.abs().max() <= 0.1  # two deviations of 1 / (2 sqrt(100)) = 0.05
    assert weight.std().item() == pytest.approx(0.88 * 0.05, rel=0.02)  # a normal's cut at two deviations
    weight = MemberNetworks(3, [100, 400, 1], "relu", seeded(), initial="glorot").weights[0]
    bound = (6 / 500) ** 0.5
    assert bound * 0.99 < weight.abs().max() <= bound


def heads(*, probabilistic: bool = True, bounds: tuple[float, float] = (-10.0, 0.5)) -> Heads:
    return Heads(2, probabilistic=probabilistic, bounds=bounds, weight=0.01, device=torch.device("cpu"))


def test_the_variance_is_softly_bounded_as_published():
    made = heads(bounds=(-3.0, 0.5))
    raw = torch.tensor([[-200.0, -3.0], [0.0, 0.5], [4.0, 200.0]])
    below = 0.5 - softplus(0.5 - raw)
    torch.testing.assert_close(made.variance(raw).log(), -3.0 + softplus(below + 3.0))
    assert made.variance(raw)[0, 0].item() == pytest.approx(exp(-3.0), rel=1e-5)


def test_the_losses_are_worked_out_by_hand():
    # one member, two rows: errors 1 and 2 in the first column, 0 and -1 in the second
    out = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [2.0, -1.0, 0.0, 0.0]]])
    targets = torch.zeros(1, 2, 2)
    losses, slope = heads(probabilistic=False).losses_and_slope(out[..., :2], targets)
    assert losses["dynamics"].item() == pytest.approx((1 + 4 + 0 + 1) / 4)
    torch.testing.assert_close(slope[0, :, 0], torch.tensor([0.5, 1.0]))  # 2 * error / 4
    losses, _ = heads(bounds=(-30.0, 30.0)).losses_and_slope(out, targets)  # so far apart that 0 stays 0
    assert losses["dynamics"].item() == pytest.approx((1 + 4 + 0 + 1) / 4)  # variances 1, logarithms 0
    assert losses["bounds"].item() == pytest.approx(0.01 * 2 * 60.0)


@pytest.mark.parametrize(
    ("probabilistic", "bounds"),
    [(False, (-1.0, 0.5)), (True, (-1.0, 0.5)), (True, (-14.0, -80.0)), (True, (-14.0, -120.0))],
    ids=["squared error", "likelihood", "crossed bounds", "a bound whose exponential is infinite"],
)
def test_slopes_of_the_losses_are_those_of_autograd(probabilistic, bounds):
    made = heads(probabilistic=probabilistic, bounds=bounds)
    out = torch.randn(3, 7, made.size, generator=seeded(1)).requires_grad_()
    targets = torch.randn(3, 7, 2, generator=seeded(2))
    bounds = made.bounds.clone().requires_grad_()
    expected = (out[..., :2] - targets).square()
    if probabilistic:
        low, high = bounds
        log_var = low + softplus(high - softplus(high - out[..., 2:]) - low)
        expected = expected * (-log_var).exp() + log_var
    expected = expected.mean((1, 2)).sum()
    if probabilistic:
        expected = expected + 0.01 * (high.sum() - low.sum())
    wanted = torch.autograd.grad(expected, [out, bounds], allow_unused=True)
    losses, slope = made.losses_and_slope(out.detach(), targets)
    torch.testing.assert_close(sum(losses.values()), expected.detach())
    torch.testing.assert_close(slope, wanted[0])
    if probabilistic:
        torch.testing.assert_close(made.bounds_slope, wanted[1])


def test_the_loss_of_ends_and_its_gradient_are_those_of_the_cross_entropy():
    made = Ends(2, 3, (), seeded())
    x, ends = torch.randn(2, 5, 3, generator=seeded(1)), torch.rand(2, 5, generator=seeded(2)).round()
    weight = made.networks.weights[0].clone().requires_grad_()
    probability = (x @ weight)[..., 0].sigmoid()
    expected = -(ends * probability.log() + (1 - ends) * (1 - probability).log()).mean(1)
    torch.testing.assert_close(made.loss(x, ends), expected.sum().detach())
    torch.testing.assert_close(made.networks.weight_slopes[0], torch.autograd.grad(expected.sum(), weight)[0])
    both = made.errors(x[0], ends[0])
    assert both[0].item() == pytest.approx(expected[0].item())
    assert both[1].item() != pytest.approx(expected[0].item())


def test_one_batch_for_all_members_is_the_same_batch_given_to_each():
    one, other = ensemble(), ensemble()
    batch = linear_data(20)
    losses = one.update(batch)
    assert one.updates == 1
    assert losses.keys() == {"dynamics", "bounds", "termination"}
    other.update({name: column.expand(7, *column.shape) for name, column in batch.items()})
    assert torch.equal(one.networks.vector, other.networks.vector)


# -- what is said -----------------------------------------------------------------------------------------------------


def test_moments_reward_and_end_are_worked_out_by_hand():
    made = ensemble(members=1, elites=1, hidden=(), end_hidden=(), logvar_bounds=(-30.0, 30.0))
    made.networks.vector.zero_()
    weight, bias = made.networks.weights[0][0], made.networks.biases[0][0, 0]
    # columns: change of s_0, of s_1, reward; their log-variances. rows: s_0, s_1, a_0, a_1
    weight[0, 0], weight[2, 1], weight[1, 2], bias[3] = 2.0, 3.0, 4.0, log(0.25)
    ends = made.ends.networks
    ends.weights[0][0, :, 0], ends.biases[0][0, 0, 0] = torch.tensor([0.5, 0.0, 0.0, 5.0]), 1.0
    made.inputs = Normaliser(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([2.0, 1.0, 1.0, 1.0]))
    made.targets = Normaliser(torch.tensor([0.5, 0.0, 0.0]), torch.tensor([10.0, 1.0, 1.0]))
    found = made.predict(torch.tensor([[5.0, 0.5]]), torch.tensor([[2.0, -0.4]]))
    # s_0: input (5 - 1) / 2 = 2, output 4, change 0.5 + 10 * 4 = 40.5; s_1: change 3 * 2 = 6; reward 4 * 0.5 = 2
    torch.testing.assert_close(found.mean, torch.tensor([[[45.5, 6.5, 2.0]]]))
    torch.testing.assert_close(found.var, torch.tensor([[[0.25 * 100.0, 1.0, 1.0]]]))
    torch.testing.assert_close(found.termination, torch.tensor([[0.5 * 2.0 + 5.0 * -0.4 + 1.0]]))


def test_an_end_is_not_believed_in_before_one_was_seen():
    made = ensemble()
    made.ends.networks.biases[-1][:] = 100.0
    batch = linear_data(20)
    made.update(batch | {"terminated": torch.zeros(20)})
    obs, action = asked()
    assert made.sample(obs, action, seeded()).termination.tolist() == [0.0] * 50
    assert Particles(made).rollout(obs[0], action[:1, :, None], seeded()).termination.max() == 0.0
    made.update(batch | {"terminated": torch.ones(20)})
    assert made.sample(obs, action, seeded()).termination.tolist() == [1.0] * 50


@pytest.mark.parametrize("rows", [1, 600])  # one, and more than a piece
@pytest.mark.parametrize("heads", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("probabilistic", [True, False])
def test_folded_inference_is_the_networks_applied(rows, heads, probabilistic):
    reward, termination = heads
    made = uneven(reward=reward, termination=termination, probabilistic=probabilistic)
    obs, action = asked(rows)
    moments = made.predict(obs, action)
    close = {"rtol": 1e-4, "atol": 1e-4}
    for e in range(7):
        found = made.sample(obs, action, seeded(3), torch.full((rows,), e))
        noise = torch.randn(moments.mean.shape[2], rows, generator=seeded(3)).T
        step = moments.mean[e] + moments.var[e].sqrt() * noise
        torch.testing.assert_close(found.next_obs, step[:, :2], **close)
        if reward:
            torch.testing.assert_close(found.reward, step[:, 2], **close)
        if termination:
            torch.testing.assert_close(found.termination, moments.termination[e].sigmoid(), **close)
    assert (found.reward is None, found.termination is None) == (not reward, not termination)
    torch.testing.assert_close(made.folded().means(obs, action, [4, 0]), moments.mean[[4, 0]].mT, **close)


@pytest.mark.parametrize("activation", ["swish", "relu"])
def test_each_row_is_moved_by_the_member_that_it_names(activation):
    made = uneven(probabilistic=False, activation=activation)
    obs, action = asked(200)
    member = torch.randint(7, (200,), generator=seeded(4))
    found = made.sample(obs, action, seeded(), member)
    mean = made.predict(obs, action).mean[member, torch.arange(200)]
    torch.testing.assert_close(found.next_obs, mean[:, :2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.reward, mean[:, 2], rtol=1e-4, atol=1e-4)


def test_rows_without_a_name_are_spread_evenly_over_the_elites_alone():
    made = movers([1.0, 2.0, 4.0, 8.0], elites=3)
    made.elites = torch.tensor([3, 0, 2])
    obs, action = torch.zeros(6000, 2), torch.zeros(6000, 2)
    moved, counts = made.sample(obs, action, seeded()).next_obs[:, 0].unique(return_counts=True)
    assert moved.tolist() == [1.0, 4.0, 8.0]
    assert counts.min() > 1850  # four deviations of a binomial below 2000


def test_a_sample_has_the_predicted_moments():
    made = uneven()
    obs, action = asked(1)
    moments = made.predict(obs, action)
    many = made.sample(obs.expand(40_000, -1), action.expand(40_000, -1), seeded(), torch.full((40_000,), 2))
    torch.testing.assert_close(many.next_obs.mean(0), moments.mean[2, 0, :2], rtol=0.0, atol=0.02)
    torch.testing.assert_close(many.next_obs.var(0), moments.var[2, 0, :2], rtol=0.03, atol=0.0)
    torch.testing.assert_close(many.reward.var(), moments.var[2, 0, 2], rtol=0.03, atol=0.0)


def test_a_change_of_the_weights_is_seen_by_the_next_sample():
    made = ensemble(probabilistic=False)
    obs, action = asked()
    member = torch.zeros(50, dtype=torch.long)
    before = made.sample(obs, action, seeded(), member).next_obs
    made.update(linear_data(20))
    after = made.sample(obs, action, seeded(), member).next_obs
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, made.predict(obs, action).mean[0, :, :2], rtol=1e-4, atol=1e-5)


def test_predictions_are_differentiable_by_state_and_action():
    made = uneven(members=1, elites=1)
    for networks in (made.networks, made.ends.networks):
        for part in (networks.weights, networks.biases):
            part[:] = [values.double() for values in part]
    obs, action = (x.double().requires_grad_() for x in asked(3))
    assert torch.autograd.gradcheck(made.predict, (obs, action))


def test_one_deterministic_deep_network_is_an_ensemble_of_one():
    config = {"members": 1, "elites": 1, "probabilistic": False, "hidden": (32,) * 8, "initial": "glorot"}
    made = ensemble(**config, termination=False, normalise_targets=True)
    data = linear_data(500)
    made.normalise(data)
    generator = seeded(3)
    losses = []
    for _ in range(300):
        rows = torch.randint(500, (128,), generator=generator)
        losses.append(made.update({name: column[rows] for name, column in data.items()})["dynamics"].item())
    assert losses[-1] < 0.02 * losses[0]
    assert made.predict(*asked()).var.max() == 0.0


def test_disagreement_is_the_elites_deviation_worked_out_by_hand():
    made = movers([1.0, 3.0, 100.0, 8.0], elites=3)
    made.elites = torch.tensor([0, 1, 3])
    made.inputs = Normaliser(torch.zeros(4), torch.tensor([2.0, 4.0, 1.0, 1.0]))
    # means 1, 3, 8: variance (9 + 1 + 16) / 3; in units of 2 and 4; root mean square of both
    expected = (26 / 3 * (1 / 4 + 1 / 16) / 2) ** 0.5
    assert made.disagreement(*asked(3)).tolist() == pytest.approx([expected] * 3)
