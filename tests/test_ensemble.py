"""Promises of ensembles of dynamics networks: gradients, fits, elites, samples, disagreement; and of particles."""

from __future__ import annotations

from math import exp, isfinite, log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from agents.parts import ensemble_fit, saving
from agents.parts.dynamics import Normaliser
from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.ensemble_heads import Ends, Heads
from agents.parts.ensemble_networks import DecayedAdam, MemberNetworks
from agents.parts.particles import Particles
from tests.probes import LinearSystem

A, B = torch.tensor(LinearSystem.A).float(), torch.tensor(LinearSystem.B).float()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ensemble(*, seed: int = 0, reward: bool = True, termination: bool = True, **config: Any) -> Ensemble:
    """Two observations, two actions, a small network unless the config says otherwise."""
    settings = EnsembleConfig(**{"hidden": (16,), "weight_decay": 0.0} | config)
    return Ensemble(2, 2, settings, seeded(seed), reward=reward, termination=termination)


def uneven(**config: Any) -> Ensemble:
    """Untrained, with normalisers, biases and bounds that are not the identity, zero and all alike."""
    made = ensemble(**{"hidden": (7, 5), "logvar_bounds": (-1.0, 0.5)} | config)
    generator = seeded(1)
    for values in (made.networks.vector, made.heads.bounds, *([made.ends.networks.vector] if made.ends else [])):
        values += 0.3 * torch.randn(values.shape, generator=generator)
    made.inputs, made.targets = (
        Normaliser(torch.randn(size, generator=generator), torch.rand(size, generator=generator) + 0.5)
        for size in (4, made.heads.regressed)
    )
    made.end_seen = True
    if made.config.members == 7:
        made.elites = torch.tensor([6, 1, 2, 4, 3])
    return made


def linear_data(count: int, noise: float = 0.0, seed: int = 5) -> dict[str, Tensor]:
    generator = seeded(seed)
    obs, action = (torch.rand(count, 2, generator=generator) * 2 - 1 for _ in range(2))
    drawn = torch.randn(count, 2, generator=generator)
    next_obs = obs @ A.T + action @ B.T + noise * drawn
    return {
        "obs": obs,
        "action": action,
        "next_obs": next_obs,
        "reward": obs[:, 0] - action[:, 1],
        "terminated": (next_obs[:, 0] > 0.5).float(),
    }


def asked(count: int = 50, seed: int = 9) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 2, generator=seeded(seed)), torch.randn(count, 2, generator=seeded(seed + 1))


def movers(pushes: list[float], *, elites: int | None = None, **heads: bool) -> Ensemble:
    """Deterministic members without hidden layers, of which the e-th adds ``pushes[e]`` to both dimensions."""
    config = {"members": len(pushes), "elites": elites or len(pushes), "probabilistic": False, "hidden": ()}
    made = ensemble(**config, **heads)
    made.networks.vector.zero_()
    made.networks.biases[0][:, 0, :2] = torch.tensor(pushes)[:, None]
    return made


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


def test_adam_decays_each_tensor_by_its_own_l2_term():
    start = [torch.randn(5, generator=seeded(1)), torch.randn(3, generator=seeded(2))]
    mine, theirs = [x.clone() for x in start], [x.clone().requires_grad_() for x in start]
    slopes = [torch.zeros(5), torch.zeros(3)]
    optimiser = DecayedAdam([(mine[0], slopes[0], 0.3), (mine[1], slopes[1], 0.0)], 0.01)
    reference = torch.optim.Adam(theirs, 0.01)
    for _ in range(3):
        for slope, value in zip(slopes, mine, strict=True):
            slope.copy_(2 * (value - 1))
        optimiser.step()
        reference.zero_grad()
        loss = ((theirs[0] - 1) ** 2).sum() + ((theirs[1] - 1) ** 2).sum() + 0.3 * (theirs[0] ** 2).sum() / 2
        loss.backward()
        reference.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other.detach())


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


# -- fits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probabilistic", [True, False])
def test_a_linear_system_is_learnt_to_a_thousandth(probabilistic):
    config = {"members": 3, "elites": 2, "hidden": (64, 64), "batch_size": 64, "learning_rate": 2e-3}
    made = ensemble(probabilistic=probabilistic, termination=False, **config)
    made.fit(linear_data(2000), epochs=80)
    data = linear_data(300, seed=6)
    mean = made.predict(data["obs"], data["action"]).mean[made.elites].mean(0)
    error = mean - torch.cat([data["next_obs"], data["reward"][:, None]], 1)
    assert error.square().mean(0).sqrt().max() < 1e-3


def test_ends_are_learnt_beside_sharp_dynamics():
    made = ensemble(members=3, elites=3, hidden=(64, 64), batch_size=64)
    made.fit(linear_data(1000), epochs=40)
    data = linear_data(1000, seed=6)
    moments = made.predict(data["obs"], data["action"])
    probability, ended = moments.termination.sigmoid().mean(0), data["terminated"].bool()
    assert (probability[ended] > 0.5).float().mean() > 0.95
    assert (probability[~ended] < 0.5).float().mean() > 0.95


@pytest.mark.parametrize("normalise_targets", [True, False])
def test_the_predicted_variance_is_that_of_known_noise(normalise_targets):
    config = {"members": 3, "elites": 3, "hidden": (32, 32), "batch_size": 64, "holdout": 0.0}
    made = ensemble(normalise_targets=normalise_targets, reward=False, termination=False, **config)
    data = linear_data(4000)
    # another noise in each dimension; in the first it jumps with the state, which a network smooths
    scale = torch.stack([torch.where(data["obs"][:, 0] > 0, 0.3, 0.1), torch.full((4000,), 0.05)], 1)
    data["next_obs"] = data["next_obs"] + scale * torch.randn(4000, 2, generator=seeded(8))
    made.fit(data, epochs=40)
    obs, action = (torch.rand(2000, 2, generator=seeded(s)) * 2 - 1 for s in (1, 2))
    std = made.predict(obs, action).var.sqrt().mean(0)
    assert std[obs[:, 0] > 0.4, 0].mean().item() == pytest.approx(0.3, rel=0.1)
    assert std[obs[:, 0] < -0.4, 0].mean().item() == pytest.approx(0.1, rel=0.1)
    assert std[:, 1].mean().item() == pytest.approx(0.05, rel=0.1)


def test_each_member_draws_a_bootstrap_of_its_own():
    made, rows = ensemble(), torch.arange(100, 1100)
    own = ensemble_fit._drawn(made, rows)
    assert own.shape == (7, 1000)
    assert own.min() >= 100
    assert all(600 < len(one.unique()) < 665 for one in own)  # 1 - 1/e of 1000
    assert not any(torch.equal(own[0], one) for one in own[1:])
    assert torch.equal(ensemble_fit._drawn(ensemble(bootstrap=False), rows), rows.expand(7, -1))


def test_an_epoch_shows_each_member_all_of_its_rows_once(monkeypatch):
    made = ensemble(bootstrap=False, holdout=0.0, batch_size=32, members=3, elites=3)
    seen: list[Tensor] = []
    monkeypatch.setattr(made, "step", lambda inputs, targets, ends: seen.append(targets[..., 2]) or {})
    data = linear_data(100)
    data["reward"] = torch.arange(100.0)
    made.fit(data, epochs=1)
    assert [one.shape[1] for one in seen] == [32, 32, 32, 4]
    shown = torch.cat(seen, 1)
    assert torch.equal(shown.sort(1).values, torch.arange(100.0).expand(3, -1))
    assert not torch.equal(shown[0], shown[1])


def test_hold_out_stopping_restores_each_members_best_weights_and_orders_the_elites(monkeypatch):
    made = ensemble(members=3, elites=2, patience=2, holdout=0.25)
    # one row per epoch; 0.995 is less than 1 % better than 1.0 and does not count
    scripted = [[1.0, 9.0, 5.0], [0.995, 4.0, 3.0], [0.99, 3.97, 8.0], [2.0, 3.5, 3.0], *[[2.0, 3.5, 3.0]] * 5]
    errors = iter(scripted)
    sizes = []
    kept: list[list[Tensor]] = []  # the weights after each epoch

    def scripted_errors(inputs: Tensor, targets: Tensor) -> Tensor:
        sizes.append(len(inputs))
        kept.append([p.clone() for p in made.networks.weights])
        return torch.tensor(next(errors))

    monkeypatch.setattr(made, "errors", scripted_errors)
    found = made.fit(linear_data(80))
    # best epochs: member 0 the first (later ones are not 1 % better), 1 the fourth, 2 the second
    for member, epoch in enumerate((0, 3, 1)):
        for now, then in zip(made.networks.weights, kept[epoch], strict=True):
            assert torch.equal(now[member], then[member])
    assert made.elites.tolist() == [0, 2]
    assert found["epochs"] == 7  # the fourth was the last that was better; three more are above a patience of two
    assert found["holdout_error"] == pytest.approx((1.0 + 3.0) / 2)
    assert sizes == [20] * 7
    assert made.updates == 7  # 60 rows, one batch each


def test_networks_of_ends_keep_their_own_best_and_prolong_no_fit(monkeypatch):
    made = ensemble(members=2, elites=2, patience=1)
    scripted = iter([[5.0, 5.0], [4.0, 6.0], [3.0, 5.5], [2.0, 4.0]])
    kept: list[Tensor] = []  # the weights after each epoch

    def scripted_errors(inputs: Tensor, ends: Tensor) -> Tensor:
        kept.append(made.ends.networks.weights[0].clone())
        return torch.tensor(next(scripted))

    monkeypatch.setattr(made.ends, "errors", scripted_errors)
    steady = iter([[1.0, 1.0]] * 9)
    monkeypatch.setattr(made, "errors", lambda inputs, targets: torch.tensor(next(steady)))
    assert made.fit(linear_data(40))["epochs"] == 3
    assert torch.equal(made.ends.networks.weights[0][0], kept[2][0])
    assert torch.equal(made.ends.networks.weights[0][1], kept[0][1])


def test_a_given_number_of_epochs_is_kept_to():
    made = ensemble(patience=0, batch_size=8)
    assert made.fit(linear_data(40), epochs=3)["epochs"] == 3
    assert made.updates == 12  # 32 rows are four batches
    assert ensemble(max_epochs=2, patience=100).fit(linear_data(40))["epochs"] == 2


def test_elites_are_the_best_on_data_held_out():
    made = ensemble(members=5, elites=3, batch_size=64, bootstrap=True, max_epochs=4)
    made.fit(linear_data(300))
    unseen = linear_data(2000, seed=7)
    inputs, targets, _ = made._normal(unseen)
    errors = made.errors(inputs, targets)
    truth = torch.cat([unseen["next_obs"], unseen["reward"][:, None]], 1)
    by_hand = (made.predict(unseen["obs"], unseen["action"]).mean - truth).square().mean((1, 2))
    torch.testing.assert_close(errors, by_hand)
    assert set(made.elites.tolist()) == set(errors.argsort()[:3].tolist())


def test_a_fit_goes_on_when_an_upper_bound_has_fallen_out_of_reach():
    made = ensemble(probabilistic=True, holdout=0.0)
    made.heads.bounds[1, 0] = -88.6999  # Adam's next steps take it to where its exponential is infinite
    losses = made.fit(linear_data(200), epochs=60)
    assert made.heads.bounds[1, 0] < -88.73
    assert all(isfinite(loss) for name, loss in losses.items() if name != "holdout_error")
    assert made.networks.vector.isfinite().all()
    assert made.fit(linear_data(200), epochs=200)["loss/dynamics"] < losses["loss/dynamics"]


def test_a_fit_that_diverges_is_refused():
    data = linear_data(40)
    data["reward"][:] = torch.nan
    with pytest.raises(FloatingPointError, match="expected finite losses, found dynamics nan"):
        ensemble(patience=1).fit(data)


def test_a_resumed_fit_goes_on_exactly(tmp_path):
    data = linear_data(200, noise=0.1)
    one = ensemble(batch_size=64)
    one.fit(data, epochs=3)
    saving.write(tmp_path, {"ensemble": one.state(), "generator": one.generator})
    state = saving.read(tmp_path)
    other = ensemble(seed=99, batch_size=64)
    other.restore(state["ensemble"])
    other.generator.set_state(state["generator"])
    obs, action = asked()
    for _ in range(2):
        drawn = [made.sample(obs, action, seeded(2)) for made in (one, other)]
        assert all(torch.equal(*pair) for pair in zip(*drawn, strict=True))
        assert one.fit(data, epochs=2) == other.fit(data, epochs=2)
        assert torch.equal(one.networks.vector, other.networks.vector)
        assert torch.equal(one.heads.bounds, other.heads.bounds)
    assert one.updates == other.updates == 3 * 7


def test_a_state_does_not_change_with_what_it_was_taken_from():
    made = ensemble()
    state = made.state()
    vector = state["vector"].clone()
    made.fit(linear_data(50), epochs=1)
    assert torch.equal(state["vector"], vector)
    assert all(not mean.any() for mean in state["optimiser"]["means"])


def test_disagreement_is_the_elites_deviation_worked_out_by_hand():
    made = movers([1.0, 3.0, 100.0, 8.0], elites=3)
    made.elites = torch.tensor([0, 1, 3])
    made.inputs = Normaliser(torch.zeros(4), torch.tensor([2.0, 4.0, 1.0, 1.0]))
    # means 1, 3, 8: variance (9 + 1 + 16) / 3; in units of 2 and 4; root mean square of both
    expected = (26 / 3 * (1 / 4 + 1 / 16) / 2) ** 0.5
    assert made.disagreement(*asked(3)).tolist() == pytest.approx([expected] * 3)


def test_disagreement_rises_away_from_the_data():
    made = ensemble(hidden=(32, 32), termination=False, max_epochs=30, batch_size=64)
    data = linear_data(600, noise=0.05)
    made.fit(data)
    near = made.disagreement(data["obs"], data["action"]).mean()
    far = [made.disagreement(k * data["obs"], data["action"]).mean() for k in (3, 9)]
    assert far[0] > 3 * near
    assert far[1] > 2 * far[0]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"elites": 8}, "1 to 7 elites, as many as members, found 8"),
        ({"elites": 0}, "found 0"),
        ({"weight_decay": (1e-5, 1e-5, 1e-5)}, "2 layers"),
    ],
)
def test_a_config_that_cannot_be_is_refused(config, says):
    with pytest.raises(ValueError, match=says):
        ensemble(**config)


def test_a_fit_that_would_never_stop_is_refused():
    with pytest.raises(ValueError, match="never stops"):
        ensemble(holdout=0.0).fit(linear_data(20))


# -- particles --------------------------------------------------------------------------------------------------------


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


def test_an_input_that_never_varied_has_no_say_until_it_does():
    made, data = ensemble(), linear_data(64)
    data["obs"][:, 1] = data["next_obs"][:, 1] = 5.0
    made.fit(data, epochs=2)
    obs, action = data["obs"][:1].repeat(2, 1), data["action"][:1].repeat(2, 1)
    obs[1, 1] = -7.0
    moments = made.predict(obs, action)
    torch.testing.assert_close(moments.mean[:, 0, 0], moments.mean[:, 1, 0])
    torch.testing.assert_close(moments.var[:, 0], moments.var[:, 1])
    data["obs"][::2, 1] = 4.0
    made.fit(data, epochs=2)
    assert not torch.allclose(made.predict(obs, action).mean[:, 0, 0], made.predict(obs, action).mean[:, 1, 0])
