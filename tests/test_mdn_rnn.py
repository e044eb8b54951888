"""M of World Models: its size, hand-worked losses and temperatures, its gradient, and processes that it must learn."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.parts.mdn_rnn import MDNRNN, MIXTURES, Outputs

NEVER = -50.0  # logit of a mixture's component that is to have no weight


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(latent: int, actions: int, hidden: int, **heads: bool) -> MDNRNN:
    """An M in double precision with biases that are not zero."""
    model = MDNRNN(latent, actions, hidden, seeded(), **heads).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=seeded(1), dtype=torch.float64)
    return model


def says(model: MDNRNN, weights: list[float], means: list[float], stds: list[float], *heads: float) -> MDNRNN:
    """``model`` made to say the same at all times, in every latent dimension; further heads' outputs come last."""
    assert len(weights) <= MIXTURES

    def column(numbers: list[float], fill: float) -> Tensor:
        padded = torch.tensor(numbers + [fill] * (MIXTURES - len(numbers)))
        return padded[:, None].expand(-1, model.latent).flatten()

    with torch.no_grad():
        model.output.zero_()
        parts = [column([log(w) for w in weights], NEVER), column(means, 0.0), column([log(s) for s in stds], 0.0)]
        model.output_bias.copy_(torch.cat([*parts, torch.tensor(heads)]))
    return model


def data(batch: int, steps: int, latent: int, actions: int) -> dict[str, Tensor]:
    generator = seeded(2)

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch, steps, *shape, generator=generator, dtype=torch.float64)

    def flags(share: float) -> Tensor:
        return (torch.rand(batch, steps, generator=generator) < share).double()

    return {
        "z": normal(latent),
        "action": normal(actions),
        "restart": flags(0.3),
        "next_z": normal(latent),
        "done": flags(0.3),
        "reward": normal(),
        "mask": flags(0.7),
    }


def fit(model: MDNRNN, updates: int, batch: Any, learning_rate: float = 1e-2) -> dict[str, float]:
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    losses: dict[str, Tensor] = {}
    for _ in range(updates):
        losses = model.losses(**batch())
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimiser.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


@pytest.mark.parametrize(
    ("sizes", "heads", "count"),
    [
        ((32, 3, 256), {}, 422_368),  # CarRacing, table in appendix A
        ((64, 1, 512), {"done": True}, 1_678_785),  # Take Cover
        ((32, 3, 256), {"reward": True}, 422_368 + 257),
    ],
)
def test_the_parameters_are_as_many_as_the_paper_says(sizes, heads, count):
    assert sum(parameter.numel() for parameter in MDNRNN(*sizes, seeded(), **heads).parameters()) == count


def test_forget_gates_start_open_and_a_seed_decides_all_weights():
    model, again = (MDNRNN(4, 2, 8, seeded(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    bias = model.cell[:, 4 + 2]
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    bound = sqrt(6 / (32 + 4 + 2 + 1 + 8))
    others = torch.cat([model.cell[:, :6], model.cell[:, 7:]], 1)
    assert 0.95 * bound < others.abs().max() <= bound


def test_the_likelihood_of_a_mixture_is_the_hand_worked_one():
    # 0.25 N(1; 0, 1) + 0.75 N(1; 2, 0.5) = 0.25 * 0.24197072 + 0.75 * 0.05399097 / 0.5 = 0.14147913
    expected = 1.9556034
    outputs = Outputs(
        torch.tensor([[[0.25, 0.75]]]).log(),
        torch.tensor([[[0.0, 2.0]]]),
        torch.tensor([[[1.0, 0.5]]]).log(),
        None,
        None,
    )
    assert float(MDNRNN.surprise(outputs, torch.tensor([[1.0]]))) == pytest.approx(expected, abs=1e-6)
    model = says(MDNRNN(2, 1, 3, seeded()), [0.25, 0.75], [0.0, 2.0], [1.0, 0.5])
    one = torch.ones(1, 1, 2)
    loss = model.losses(one, torch.zeros(1, 1, 1), None, one)
    assert loss.keys() == {"latent"}
    assert loss["latent"].item() == pytest.approx(expected, abs=1e-6)  # the mean over both dimensions
    assert MDNRNN.surprise(model.predict(torch.zeros(1, 3)), one[0]).item() == pytest.approx(2 * expected, abs=1e-6)


def test_done_and_reward_losses_are_the_hand_worked_ones_and_an_end_counts_ten_times():
    model = says(MDNRNN(1, 1, 3, seeded(), done=True, reward=True), [1.0], [0.0], [1.0], 0.5, 0.25)
    zero, column = torch.zeros(1, 2, 1), torch.zeros(1, 2)
    done, reward = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    losses = model.losses(zero, zero, column, zero, done, reward)
    # log(1 + e^0.5) = 0.9740770 where it goes on, 10 * log(1 + e^-0.5) = 4.7407698 where it ends
    assert losses["done"].item() == pytest.approx((0.9740770 + 4.7407698) / 2, abs=1e-6)
    assert losses["reward"].item() == pytest.approx((0.75**2 + 1.25**2) / 2, abs=1e-6)
    first = model.losses(zero, zero, column, zero, done, reward, torch.tensor([[True, False]]))
    assert first["done"].item() == pytest.approx(0.9740770, abs=1e-6)
    assert first["reward"].item() == pytest.approx(0.75**2, abs=1e-6)


def test_rewards_are_learned_in_units_of_their_spread_and_predicted_in_their_own():
    model, batch = made(2, 1, 4, reward=True), data(3, 5, 2, 1)
    batch["done"] = batch["restart"] = None
    plain = model.losses(**batch)["reward"]
    before = [*torch.autograd.grad(plain, list(model.parameters()))]
    predicted = model(batch["z"], batch["action"])[0].reward
    model.reward_unit.fill_(1000.0)
    loss = model.losses(**batch | {"reward": 1000.0 * batch["reward"]})["reward"]
    torch.testing.assert_close(loss, plain)
    for ours, theirs in zip(torch.autograd.grad(loss, list(model.parameters())), before, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(model(batch["z"], batch["action"])[0].reward, 1000.0 * predicted)
    assert model.state_dict()["reward_unit"] == 1000.0


def test_masked_steps_change_neither_losses_nor_gradients():
    model, batch = made(3, 2, 4, done=True, reward=True), data(4, 6, 3, 2)
    batch["mask"][:, 4:] = 0.0
    other = {name: value.clone() for name, value in batch.items()}
    for name in ("z", "next_z", "reward", "action", "done"):
        other[name][:, 4:] = 0.5
    found = []
    for given in (batch, other):
        losses = model.losses(**given)
        found.append([*losses.values(), *torch.autograd.grad(sum(losses.values()), list(model.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    batch["mask"][:] = 0.0
    assert all(loss.item() == 0.0 for loss in model.losses(**batch).values())


@pytest.mark.parametrize("name", ["latent", "done", "reward"])
def test_losses_and_gradients_by_hand_are_those_of_a_plain_loop(name):
    model, batch = made(3, 2, 4, done=True, reward=True), data(5, 7, 3, 2)
    batch["z"].requires_grad_()
    inputs = [*model.parameters(), batch["z"]]

    def plain() -> Tensor:
        h, c = (part.double() for part in model.initial(5))
        hidden = []
        for t in range(7):
            keep = 1.0 - batch["restart"][:, t, None]
            h, c = h * keep, c * keep
            x = model.inputs(batch["z"][:, t], batch["action"][:, t], batch["restart"][:, t])
            i, f, o, g = (torch.cat([x, h], 1) @ model.cell.t()).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            hidden.append(h)
        outputs = model.predict(torch.stack(hidden, 1))
        assert outputs.done is not None
        assert outputs.reward is not None
        entropy = binary_cross_entropy_with_logits(outputs.done, batch["done"], reduction="none")
        each = {
            "latent": model.surprise(outputs, batch["next_z"]) / 3,
            "done": entropy * (1 + 9 * batch["done"]),
            "reward": (outputs.reward - batch["reward"]) ** 2,
        }[name]
        return (each * batch["mask"]).sum() / batch["mask"].sum()

    found, expected = model.losses(**batch)[name], plain()
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(loss, inputs) for loss in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_lstm_is_that_of_torch():
    model, batch = made(3, 2, 4), data(5, 7, 3, 2)
    theirs = nn.LSTM(5, 4, dtype=torch.float64)
    order = torch.cat([torch.arange(8), torch.arange(12, 16), torch.arange(8, 12)])  # torch has the output gate last
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(model.cell[order, :5])
        theirs.bias_ih_l0.copy_(model.cell[order, 5])
        theirs.weight_hh_l0.copy_(model.cell[order, 6:])
        theirs.bias_hh_l0.zero_()
    ours, (h, c) = model.unroll(batch["z"], batch["action"], None)
    expected, (h_n, c_n) = theirs(torch.cat([batch["z"], batch["action"]], 2).transpose(0, 1))
    for found, wanted in ((ours, expected), (h, h_n[0]), (c, c_n[0])):
        torch.testing.assert_close(found, wanted)


def test_a_second_backward_pass_is_refused_since_the_first_has_used_the_gates_up():
    model, batch = made(3, 2, 4), data(5, 7, 3, 2)
    hidden, _ = model.unroll(batch["z"], batch["action"], None)
    hidden.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        hidden.sum().backward()


def test_single_steps_come_to_what_the_whole_sequence_does():
    model, batch = made(3, 2, 4, done=True, reward=True), data(5, 6, 3, 2)
    restart = torch.zeros(5, 6, dtype=torch.float64)
    restart[:, 0] = 1.0
    outputs, (h, c) = model(batch["z"], batch["action"], restart)
    state = tuple(part.double() for part in model.initial(5))
    for t in range(6):
        state = model.step(batch["z"][:, t], batch["action"][:, t], restart[:, t], state)
        for whole, single in zip(outputs, model.predict(state[0]), strict=True):
            torch.testing.assert_close(whole[:, t], single)
    torch.testing.assert_close((h, c), state)


def test_a_sequence_goes_on_from_the_state_that_the_one_before_it_left():
    model, batch = made(3, 2, 4), data(5, 6, 3, 2)
    whole, _ = model.unroll(batch["z"], batch["action"], None)
    first, state = model.unroll(batch["z"][:, :4], batch["action"][:, :4], None)
    second, _ = model.unroll(batch["z"][:, 4:], batch["action"][:, 4:], None, state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert not state[0].requires_grad
    assert not state[1].requires_grad


def test_episodes_in_one_row_know_nothing_of_each_other():
    model, batch = made(3, 2, 4), data(1, 9, 3, 2)
    restart = torch.zeros(1, 9, dtype=torch.float64)
    restart[:, 5] = 1.0
    both, _ = model.unroll(batch["z"], batch["action"], restart)
    alone, _ = model.unroll(batch["z"][:, 5:], batch["action"][:, 5:], None)
    torch.testing.assert_close(both[5:], alone)


@pytest.mark.parametrize(
    ("temperature", "second", "std"),
    # odds 0.8 to 0.2 to the power of 1 / tau; the deviation 0.1 times the root of tau
    [(1.0, 0.2, 0.1), (0.5, 0.04 / 0.68, 0.070711), (2.0, 1 / 3, 0.141421), (0.1, 0.25**10, 0.031623)],
)
def test_the_temperature_divides_logits_and_multiplies_the_variance(temperature, second, std):
    outputs = Outputs(
        torch.tensor([0.8, 0.2]).log().expand(100_000, 1, 2),
        torch.tensor([-1.0, 1.0]).expand(100_000, 1, 2),
        torch.tensor([0.1, 0.1]).log().expand(100_000, 1, 2),
        None,
        None,
    )
    z = MDNRNN.sample(outputs, temperature, seeded())[:, 0]
    assert float((z > 0).float().mean()) == pytest.approx(second, abs=0.005)
    assert float(z[z < 0].std()) == pytest.approx(std, rel=0.02)
    assert float(z[z < 0].mean()) == pytest.approx(-1.0, abs=0.002)


def test_two_modes_are_learned_and_a_low_temperature_leaves_the_likelier_one():
    model, generator = MDNRNN(1, 1, 8, seeded()), seeded(5)

    def batch() -> dict[str, Any]:
        z = (torch.rand(32, 17, 1, generator=generator) < 0.6).float() * 2 - 1  # 60 % at 1, the others at -1
        z += 0.05 * torch.randn(z.shape, generator=generator)
        return {"z": z[:, :-1], "action": torch.zeros(32, 16, 1), "restart": None, "next_z": z[:, 1:]}

    fit(model, 400, batch)
    outputs, _ = model(batch()["z"], torch.zeros(32, 16, 1))
    warm, cold = (MDNRNN.sample(outputs, temperature, generator).flatten() for temperature in (1.0, 0.1))
    assert float(((warm.abs() - 1).abs() < 0.3).float().mean()) > 0.98
    assert 0.5 < float((warm > 0).float().mean()) < 0.7
    assert float((cold > 0).float().mean()) > 0.95
    assert float((cold - 1).abs().mean()) < 0.05


def test_what_was_seen_ten_steps_ago_is_remembered():
    model, generator = MDNRNN(1, 1, 16, seeded()), seeded(5)

    def batch() -> dict[str, Any]:
        z = torch.zeros(64, 12, 1)
        z[:, 0] = z[:, 11] = (torch.rand(64, 1, generator=generator) < 0.5).float() * 2 - 1
        z += 0.1 * torch.randn(z.shape, generator=generator)
        mask = torch.zeros(64, 11)
        mask[:, -1] = 1.0
        return {"z": z[:, :-1], "action": torch.zeros(64, 11, 1), "restart": None, "next_z": z[:, 1:], "mask": mask}

    fit(model, 400, batch)
    held_out = batch()
    outputs, _ = model(held_out["z"], held_out["action"])
    expected = (outputs.log_weights.exp() * outputs.mean).sum(-1)[:, -1, 0]
    assert (expected - held_out["next_z"][:, -1, 0]).abs().mean().item() < 0.2  # 0.08 of it is noise; a guess has 1


def test_ends_and_rewards_are_learned_from_what_is_seen_and_done():
    model, generator = MDNRNN(1, 1, 8, seeded(), done=True, reward=True), seeded(5)

    def batch() -> dict[str, Any]:
        """z is 0 or 1, and so is the action: it ends where both are 1; the reward is the action."""
        z, action = (torch.rand(2, 32, 16, 1, generator=generator) < 0.5).float()
        done, next_z = (z * action)[..., 0], torch.randn(32, 16, 1, generator=generator)
        restart = torch.ones(32, 16)
        restart[:, 1:] = done[:, :-1]
        return {
            "z": z, "action": action, "restart": restart, "next_z": next_z, "done": done, "reward": action[..., 0]
        }  # fmt: skip

    fit(model, 400, batch)
    held_out = batch()
    outputs, _ = model(held_out["z"], held_out["action"], held_out["restart"])
    assert ((outputs.done > 0) == held_out["done"].bool()).all()
    assert (outputs.reward - held_out["reward"]).abs().mean().item() < 0.1


def test_what_a_head_needs_is_asked_for():
    model, zero = MDNRNN(2, 1, 3, seeded(), done=True), torch.zeros(1, 1, 2)
    with pytest.raises(ValueError, match="expected 'restart' for an M that was made with it, found None"):
        model(zero, torch.zeros(1, 1, 1))
    with pytest.raises(ValueError, match="expected 'done'"):
        model.losses(zero, torch.zeros(1, 1, 1), torch.zeros(1, 1), zero)
