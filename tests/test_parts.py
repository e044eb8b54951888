"""The parts of model-based agents: hand-worked numbers, brute force, and refusals."""

from __future__ import annotations

from itertools import product
from math import exp, log

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.dynamics import DynamicsModel, Imagination, Normaliser
from agents.parts.networks import mlp
from agents.parts.planners import imagined_return, random_shooting
from agents.parts.replay import Replay


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(hidden: tuple[int, ...] = (7, 5), **heads: bool) -> DynamicsModel:
    """Two observations, one action, uneven normalisers and biases that are not zero."""
    heads = {"reward": True, "termination": True} | heads
    made = DynamicsModel(2, 1, hidden, seeded(), **heads)
    generator = seeded(1)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    made.inputs, made.targets = (
        Normaliser(torch.randn(size, generator=generator), torch.rand(size, generator=generator) + 0.5)
        for size in (3, made.regressed)
    )
    return made


def test_a_normaliser_gives_mean_0_and_deviation_1_and_leaves_constants_finite():
    data = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    normal = Normaliser.fit(data)
    assert normal.mean.tolist() == [3.0, 5.0]
    assert normal.std.tolist() == pytest.approx([(8 / 3) ** 0.5, 1.0])  # population deviation; 1 for a constant
    assert normal(data)[:, 0].tolist() == pytest.approx([-((3 / 2) ** 0.5), 0.0, (3 / 2) ** 0.5])
    torch.testing.assert_close(normal.inverse(normal(data)), data)


def test_an_input_that_never_varied_has_no_say_until_it_does():
    made = model()
    before = made.network[0].weight.clone()
    inputs, targets = torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 1.0]]), torch.randn(2, made.regressed)
    made.normalise(inputs, targets)
    obs, action = torch.tensor([[1.0, 5.0], [1.0, -7.0]]), torch.zeros(2, 1)
    change = made.predict(obs, action)["next_obs"] - obs
    torch.testing.assert_close(change[0], change[1])
    assert torch.equal(made.network[0].weight[:, [0, 2]], before[:, [0, 2]])


def test_the_targets_are_state_differences_and_the_reward():
    data = {
        "obs": torch.tensor([[1.0, 2.0]]),
        "action": torch.tensor([[0.5]]),
        "next_obs": torch.tensor([[1.5, 1.0]]),
        "reward": torch.tensor([3.0]),
    }
    inputs, targets = model().raw(data)
    assert inputs.tolist() == [[1.0, 2.0, 0.5]]
    assert targets.tolist() == [[0.5, -1.0, 3.0]]
    assert model(reward=False).raw(data)[1].tolist() == [[0.5, -1.0]]


def test_a_prediction_adds_the_difference_to_the_state():
    linear = DynamicsModel(1, 1, (), seeded(), reward=False, termination=False)
    linear.inputs = Normaliser(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]))
    linear.targets = Normaliser(torch.tensor([0.5]), torch.tensor([10.0]))
    linear.network.load_state_dict({"0.weight": torch.tensor([[3.0, 0.1]]), "0.bias": torch.zeros(1)})
    found = linear.predict(torch.tensor([[5.0]]), torch.tensor([[2.0]]))
    # inputs (5 - 1) / 2 = 2 and 2; network 3 * 2 + 0.1 * 2 = 6.2; difference 0.5 + 10 * 6.2 = 62.5
    assert found["next_obs"].item() == pytest.approx(67.5)


def test_the_losses_are_worked_out_by_hand():
    made = DynamicsModel(1, 1, (), seeded(), reward=False, termination=True)
    made.network.load_state_dict({"0.weight": torch.eye(2), "0.bias": torch.zeros(2)})
    inputs = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    losses = made.losses(inputs, torch.tensor([[3.0], [0.0]]), torch.tensor([1.0, 0.0]))
    assert losses["dynamics"].item() == pytest.approx(2.0)  # (4 + 0) / 2
    assert losses["termination"].item() == pytest.approx((log(2.0) + log(1.0 + exp(2.0))) / 2)


@pytest.mark.parametrize("hidden", [(), (6,), (7, 5)])
def test_an_imagined_rollout_is_the_network_applied_step_after_step(hidden):
    made = model(hidden)
    actions = torch.rand(3, 1, 11, generator=seeded(2))
    states, others = Imagination(made.folded(), 2).rollout(torch.tensor([0.3, -1.0]), actions)
    obs = torch.tensor([[0.3, -1.0]]).repeat(11, 1)
    for step in range(3):
        torch.testing.assert_close(states[step].T, obs)
        found = made.predict(obs, actions[step].T)
        obs = found["next_obs"]
        expected = torch.stack([found["reward"], found["termination"]])
        torch.testing.assert_close(others[step], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(states[3].T, obs, rtol=1e-4, atol=1e-4)


def test_returns_are_discounted_and_weighed_by_the_chance_of_getting_there():
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    assert imagined_return(rewards, None, 1.0).item() == 7.0
    assert imagined_return(rewards, None, 0.5).item() == 1.0 + 1.0 + 1.0
    cont = torch.tensor([[0.5], [0.0], [1.0]])
    assert imagined_return(rewards, cont, 1.0).item() == 1.0 + 0.5 * 2.0  # the second step surely ends it


def test_an_imagined_return_that_diverged_never_wins():
    rewards = torch.tensor([[torch.inf, torch.nan, -torch.inf, -5.0]])
    assert imagined_return(rewards, None, 1.0).argmax().item() == 3


def test_random_shooting_agrees_with_brute_force_on_a_small_discrete_problem():
    codes = ActionVectors(Discrete(3))
    worth = torch.randn(4, 3, generator=seeded(3))

    def returns(sequences: torch.Tensor) -> torch.Tensor:
        """Worth of each step's action, and a prize for never choosing the same twice in a row."""
        kept = (sequences[1:] * sequences[:-1]).sum(1)
        return (sequences * worth[:, :, None]).sum((0, 1)) - 2.0 * kept.sum(0)

    every = torch.stack([torch.eye(3)[list(path)] for path in product(range(3), repeat=4)], 2)
    best = every[:, :, returns(every).argmax()]
    torch.testing.assert_close(random_shooting(returns, codes, 4, 2000, seeded()), best)


def test_random_shooting_comes_near_the_best_continuous_action():
    codes = ActionVectors(Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)))
    target = torch.tensor([1.3, 0.2])[:, None]
    plan = random_shooting(lambda x: -(x[0] - target).square().sum(0), codes, 1, 5000, seeded())
    torch.testing.assert_close(plan[0], target[:, 0], atol=0.05, rtol=0.0)


@pytest.mark.parametrize("space", [Discrete(3), Discrete(3, start=-1), Box(-2.0, 0.5, (2,), np.float32)])
def test_actions_survive_the_way_to_a_vector_and_back(space):
    codes = ActionVectors(space)
    space.seed(0)
    for _ in range(10):
        action = space.sample()
        np.testing.assert_array_equal(codes.decode(torch.as_tensor(codes.encode(action))), action)
    for vector in codes.draw(5, 7, seeded()).permute(0, 2, 1).reshape(-1, codes.size):
        assert space.contains(codes.decode(vector))


@pytest.mark.parametrize("space", [MultiDiscrete([2, 2]), Box(-np.inf, np.inf, (2,)), Box(-1.0, 1.0, (2, 2))])
def test_action_spaces_that_cannot_be_drawn_from_are_refused(space):
    with pytest.raises(ValueError, match="bounded one-dimensional Box"):
        ActionVectors(space)


def test_a_full_replay_gives_up_its_oldest_transitions():
    replay = Replay(3, (1,), 1)
    for i in range(5):
        replay.add([i], [i], float(i), [i + 1], i == 4)
    assert len(replay) == 3
    assert sorted(replay.tensors()["reward"].tolist()) == [2.0, 3.0, 4.0]
    assert replay.tensors()["terminated"].sum() == 1


def test_first_weights_follow_from_the_generator_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    one, two = mlp([3, 4, 2], seeded(5)), mlp([3, 4, 2], seeded(5))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_no_plain_value_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match="found ndarray"):
        saving.write(tmp_path, {"array": np.zeros(2)})
