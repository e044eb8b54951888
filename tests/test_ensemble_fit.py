"""Promises of an ensemble's fit: accuracy, bootstraps, hold-out stopping, elites, exact resumption, refusals."""

from __future__ import annotations

from math import isfinite

import pytest
import torch
from torch import Tensor

from agents.parts import ensemble_fit, saving
from tests.ensembles import asked, ensemble, linear_data, seeded


@pytest.mark.parametrize("probabilistic", [True, False])
def test_a_linear_system_is_learnt_to_a_thousandth(probabilistic):
    config = {"members": 3, "elites": 2, "hidden": (64, 64), "batch_size": 64, "learning_rate": 7e-4}
    made = ensemble(probabilistic=probabilistic, termination=False, **config)
    made.fit(linear_data(4000), epochs=160)
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
    data = linear_data(8000)
    # another noise in each dimension; in the first it jumps with the state, which a network smooths
    scale = torch.stack([torch.where(data["obs"][:, 0] > 0, 0.3, 0.1), torch.full((8000,), 0.05)], 1)
    data["next_obs"] = data["next_obs"] + scale * torch.randn(8000, 2, generator=seeded(8))
    made.fit(data, epochs=60)
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
