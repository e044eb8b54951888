"""C's outputs and actions against hand-worked numbers, and the random policies that play for the first recording."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from agents.parts import collecting, saving
from agents.parts.controllers import ActionMap, Controller

CAR = Box(np.array([-1.0, 0.0, 0.0], np.float32), np.array([1.0, 1.0, 1.0], np.float32))
PENDULUM = Box(-2.0, 2.0, (1,))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("inputs", "outputs", "settings", "size"),
    [
        (32 + 256, 3, {}, 867),
        (64 + 512 + 512, 1, {"bias": False}, 1_088),
        (32, 3, {"hidden": 40}, 1_443),
        (32, 3, {}, 99),
    ],
)
def test_controllers_have_the_published_number_of_parameters(inputs, outputs, settings, size):
    assert Controller(inputs, outputs, **settings).size == size


def test_a_linear_controller_is_tanh_of_bias_and_weighted_inputs():
    # b = (0.1, -0.2); weights of input 1: (1, 2), of input 2: (3, 4). For x = (0.5, -0.25): 0.1 + 0.5 - 0.75 = -0.15
    # and -0.2 + 1 - 1 = -0.2.
    outputs = Controller(2, 2).act(torch.tensor([[0.1, -0.2, 1.0, 2.0, 3.0, 4.0]]), torch.tensor([[0.5, -0.25]]))
    assert outputs[0].tolist() == pytest.approx([-0.1488850, -0.1973753])
    bare = Controller(2, 2, bias=False).act(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[0.5, -0.25]]))
    assert bare[0].tolist() == pytest.approx([-0.2449187, 0.0])


def test_a_hidden_layer_is_tanh_too():
    # Hidden: tanh(0.5 + 2 * 1) = 0.9866143 and tanh(0 - 1 * 1) = -0.7615942; output: 0.25 + 0.9866143 - 0.7615942.
    parameters = torch.tensor([[0.5, 0.0, 2.0, -1.0, 0.25, 1.0, 1.0]])
    controller = Controller(1, 1, hidden=2)
    assert controller.size == 7
    assert controller.act(parameters, torch.ones(1, 1)).item() == pytest.approx(np.tanh(0.4750201))


@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"hidden": 5}, {"hidden": 5, "bias": False}], ids=str)
def test_many_candidates_at_once_act_as_one_by_one(settings):
    controller = Controller(7, 2, **settings)
    drawn = torch.Generator().manual_seed(1)
    parameters = torch.randn(6, controller.size, generator=drawn)
    features = torch.randn(24, 7, generator=drawn)

    def alone(owner, seen):
        return torch.cat([controller.act(parameters[i : i + 1], row[None]) for i, row in zip(owner, seen, strict=True)])

    in_order = torch.arange(6).repeat_interleave(4)
    expected = alone(in_order, features)
    torch.testing.assert_close(controller.act(parameters, features), expected)
    torch.testing.assert_close(controller.act(parameters, features, in_order), expected)
    torch.testing.assert_close(controller.act(parameters.double().numpy(), features, in_order.numpy()), expected)
    shuffled = torch.randperm(24, generator=drawn)[:11]  # finished games have been dropped, candidate by candidate
    owner = in_order[shuffled]
    torch.testing.assert_close(controller.act(parameters, features[shuffled], owner), alone(owner, features[shuffled]))
    only = torch.full((3,), 4)
    torch.testing.assert_close(controller.act(parameters, features[:3], only), alone(only, features[:3]))
    assert controller.act(parameters, features[:0], in_order[:0]).shape == (0, 2)


def test_a_candidate_without_a_game_is_not_looked_at():
    parameters = torch.tensor([[torch.nan], [1.0], [torch.nan]])
    outputs = Controller(1, 1, bias=False).act(parameters, torch.ones(2, 1), torch.tensor([1, 1]))
    assert outputs.flatten().tolist() == pytest.approx([np.tanh(1.0)] * 2)


def test_vectors_and_games_that_do_not_fit_are_refused():
    controller = Controller(2, 1)
    with pytest.raises(ValueError, match="expected vectors of 3 parameters and 2 features a game, found 4 and 2"):
        controller.act(torch.zeros(1, 4), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="of the 2 candidates, found 3 games"):
        controller.act(torch.zeros(2, 3), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="bounded one-dimensional Box, found MultiDiscrete"):
        ActionMap(MultiDiscrete([2, 2]))


def test_carracing_takes_steer_gas_and_brake():
    actions = ActionMap(CAR, "carracing")
    assert (actions.size, actions.told) == (3, 3)
    outputs = torch.tensor([[-0.5, 0.0, -0.7], [1.0, -1.0, 0.25], [0.0, 1.0, 1.0]])
    expected = [[-0.5, 0.5, 0.0], [1.0, 0.0, 0.25], [0.0, 1.0, 1.0]]
    assert actions.actions(outputs).tolist() == expected
    assert actions.actions(outputs).dtype == np.float32
    assert actions.tell(outputs).tolist() == expected
    assert all(CAR.contains(action) for action in actions.actions(outputs))


def test_take_cover_cuts_one_output_at_a_third():
    actions = ActionMap(Discrete(3), "take_cover")
    assert (actions.size, actions.told) == (1, 1)
    outputs = torch.tensor([[-1.0], [-0.334], [-0.333], [0.0], [0.333], [0.334], [1.0]])
    assert actions.actions(outputs).tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert actions.tell(outputs).flatten().tolist() == [-1, -1, 0, 0, 0, 1, 1]
    assert actions.vectors(np.array([2, 0, 1])).tolist() == [[1.0], [-1.0], [0.0]]


def test_other_boxes_are_filled_and_other_choices_go_to_the_largest_output():
    stretched = ActionMap(Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32)))
    assert stretched.actions(torch.tensor([[-1.0, 0.5], [0.25, 1.0]])).tolist() == [[-2.0, 7.5], [0.5, 10.0]]
    assert stretched.vectors(np.array([[-2.0, 7.5]], np.float32)).tolist() == [[-1.0, 0.5]]
    chosen = ActionMap(Discrete(3, start=5))
    assert (chosen.size, chosen.told) == (3, 3)
    outputs = torch.tensor([[0.1, 0.3, -0.2], [-0.3, -0.2, -0.1]])
    assert chosen.actions(outputs).tolist() == [6, 7]
    assert chosen.tell(outputs).tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert chosen.vectors(np.array([5])).tolist() == [[1.0, 0.0, 0.0]]


def test_a_familys_map_is_only_for_its_own_action_space():
    assert ActionMap(Discrete(5), "carracing").size == 5
    assert ActionMap(Discrete(4), "take_cover").size == 4
    assert ActionMap(PENDULUM, "carracing").actions(torch.tensor([[1.0]])).tolist() == [[2.0]]


SPACES = [
    (CAR, "carracing"),
    (Discrete(3), "take_cover"),
    (Discrete(4, start=1), ""),
    (PENDULUM, ""),
    (Box(-0.4, 0.4, (17,)), ""),
]
each_space = pytest.mark.parametrize(("space", "family"), SPACES, ids=str)


@each_space
def test_what_m_is_told_is_the_same_from_outputs_and_from_the_executed_actions(space, family):
    actions = ActionMap(space, family)
    outputs = torch.rand(200, actions.size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    executed = actions.actions(outputs)
    assert all(space.contains(action) for action in executed)
    assert torch.equal(actions.vectors(executed), actions.tell(outputs))
    assert actions.tell(outputs).shape == (200, actions.told)
    assert actions.tell(outputs).abs().max() <= 1.0


@each_space
def test_games_that_wait_get_some_action(space, family):
    actions = ActionMap(space, family)
    outputs = torch.linspace(-1, 1, 3 * actions.size).view(3, -1)
    of_all = actions.actions(outputs, np.array([4, 0, 2]), 5)
    assert len(of_all) == 5
    np.testing.assert_array_equal(of_all[[4, 0, 2]], actions.actions(outputs))
    assert all(space.contains(action) for action in of_all)


@each_space
@pytest.mark.parametrize("name", ["uniform", "held", "held_long", "brownian", "cauchy"])
def test_random_policies_stay_in_the_space_and_go_on_from_their_state(name, space, family, tmp_path):
    if name == "brownian" and isinstance(space, Discrete):
        with pytest.raises(ValueError, match="brownian: expected a Box, found Discrete"):
            collecting.policy(name, space)
        return
    one, drawn = collecting.policy(name, space, family), rng()
    one.reset(drawn)
    assert all(space.contains(one.act(drawn)) for _ in range(100))
    saving.write(tmp_path, {"policy": one.state(), "rng": drawn.bit_generator.state})
    straight = [one.act(drawn) for _ in range(30)]
    read, other, again = saving.read(tmp_path), collecting.policy(name, space, family), rng(9)
    other.restore(read["policy"])
    again.bit_generator.state = read["rng"]
    np.testing.assert_array_equal([other.act(again) for _ in range(30)], straight)


def test_a_random_policy_is_a_known_one_in_a_space_that_it_can_fill():
    with pytest.raises(ValueError, match="uniform, held, held_long, brownian, cauchy; found 'white'"):
        collecting.policy("white", CAR)
    with pytest.raises(ValueError, match="or a bounded Box, found Box"):
        collecting.policy("uniform", Box(-np.inf, np.inf, (2,)))
    with pytest.raises(RuntimeError, match=r"expected reset\(rng\) before the first action"):
        collecting.policy("brownian", CAR).act(rng())


def test_uniform_actions_are_uniform():
    of_three, of_a_box, drawn = collecting.policy("uniform", Discrete(3)), collecting.policy("uniform", CAR), rng()
    counts = Counter(of_three.act(drawn) for _ in range(3_000))
    assert sorted(counts) == [0, 1, 2]
    assert max(counts.values()) - min(counts.values()) < 150  # a standard deviation is 37
    played = np.array([of_a_box.act(drawn) for _ in range(3_000)])
    np.testing.assert_allclose(played.mean(0), [0.0, 0.5, 0.5], atol=0.05)
    np.testing.assert_allclose(played.std(0), [2 / 12**0.5, 1 / 12**0.5, 1 / 12**0.5], rtol=0.05)


def test_held_actions_last_1_to_10_steps_each_as_likely():
    held, drawn = collecting.policy("held", PENDULUM), rng()  # of a box, where no two draws are equal
    held.reset(drawn)
    played = np.array([held.act(drawn)[0] for _ in range(30_000)])
    starts = np.flatnonzero(np.diff(played, prepend=np.inf))
    lengths = Counter(np.diff(starts).tolist())
    assert sorted(lengths) == list(range(1, 11))
    total = sum(lengths.values())
    assert total == pytest.approx(30_000 / 5.5, rel=0.03)
    assert sum((count - total / 10) ** 2 / (total / 10) for count in lengths.values()) < 27.9  # chi², 9: 1 in 1,000
    assert np.abs(np.corrcoef(played[starts][:-1], played[starts][1:])[0, 1]) < 0.05


def test_long_held_actions_last_1_to_63_steps_each_octave_as_likely():
    held, drawn = collecting.policy("held_long", PENDULUM), rng()
    held.reset(drawn)
    played = np.array([held.act(drawn)[0] for _ in range(60_000)])
    lengths = np.diff(np.flatnonzero(np.diff(played, prepend=np.inf)))
    assert (lengths.min(), lengths.max()) == (1, 63)
    octaves = np.bincount(np.log2(lengths).astype(int), minlength=6)  # 1, 2-3, 4-7, 8-15, 16-31, 32-63
    total = octaves.sum()
    assert ((octaves - total / 6) ** 2 / (total / 6)).sum() < 20.5  # chi², 5: 1 in 1,000


def test_an_episode_begins_with_a_new_held_action():
    held, drawn = collecting.policy("held", PENDULUM), rng()
    firsts = []
    for _ in range(50):
        held.reset(drawn)
        firsts.append(float(held.act(drawn)[0]))
    assert len(set(firsts)) == 50


def test_brownian_actions_diffuse_by_a_fiftieth_per_step():
    wide = Box(-1e6, 1e6, (2_000,), np.float64)
    brownian, drawn = collecting.policy("brownian", wide), rng()
    brownian.reset(drawn)
    path = np.array([brownian.act(drawn) for _ in range(101)])
    steps = np.diff(path, axis=0)
    assert steps.mean() == pytest.approx(0.0, abs=0.002)
    assert steps.var() == pytest.approx(1 / 50, rel=0.02)
    assert (path[100] - path[0]).var() == pytest.approx(100 / 50, rel=0.15)
    assert path[0].std() == pytest.approx(2e6 / 12**0.5, rel=0.05)


def test_brownian_actions_are_clipped_and_come_back_from_the_bound():
    brownian, drawn = collecting.policy("brownian", CAR), rng()
    brownian.reset(drawn)
    played = np.array([brownian.act(drawn) for _ in range(5_000)])
    assert played.min(0).tolist() == [-1.0, 0.0, 0.0]
    assert played.max(0).tolist() == [1.0, 1.0, 1.0]
    at_bound = (played == CAR.low) | (played == CAR.high)
    assert (at_bound.mean(0) > 0.02).all()
    assert (at_bound.mean(0) < 0.5).all()


def test_random_controllers_differ_by_episode_and_mostly_drive_at_half_gas():
    cauchy, drawn = collecting.policy("cauchy", CAR, "carracing"), rng()
    played = np.empty((300, 20, 3))
    for episode in played:
        cauchy.reset(drawn)
        episode[:] = [cauchy.act(drawn) for _ in range(20)]
    # 33 Cauchy numbers of scale s <= 0.01 keep the outputs small in most episodes and large in some.
    assert np.median(np.abs(played[..., 0])) < 0.25
    assert np.median(played[..., 1]) == pytest.approx(0.5, abs=0.02)
    strong = np.abs(played[..., 0]).mean(1) > 0.5
    assert 0.02 < strong.mean() < 0.4
    parameters = cauchy.parameters[0].clone()
    assert parameters.shape == (99,)
    cauchy.reset(drawn)
    assert not torch.equal(cauchy.parameters[0], parameters)
