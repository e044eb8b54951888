"""MBPO and its rollouts: schedule and bookkeeping by hand, a perfect model against SAC itself, ends, exact resume."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from agents.mbpo import MBPO, make
from agents.parts.branched import Columns, Rows, branch, mixed_batches, rollout_length
from agents.parts.captured import Captured
from agents.parts.ensemble import Sampled
from agents.protocol import Problem, Sequences
from tests import probes
from tests.in_process import gate_to, play, problem_of, spend, train, train_interrupted

SMALL: dict[str, Any] = {
    "random_steps": 20,
    "update_from": 20,
    "epoch_steps": 50,
    "model_every": 25,
    "model_hidden": (16, 16, 16, 16),  # as many as there are weight decays
    "members": 3,
    "elites": 2,
    "model_batch_size": 16,
    "model_epochs": 2,
    "rollouts": 40,
    "schedule": (0, 2, 1, 3),
    "retain_epochs": 1,
    "updates": 2,
    "batch_size": 20,
    "real_ratio": 0.25,
    "hidden": (16,),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1", max_episode_steps=30)


def linear() -> gym.Env[Any, Any]:
    return probes.LinearSystem(time_limit=30)


class Falling(gym.Env[Any, Any]):
    """One number that grows by the action, in [0, 2]; above 5 the episode ends, after 7 steps it is cut."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(0.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.at, self.time = 0.0, 0
        return np.array([self.at], np.float32), {}

    def step(self, action: Any) -> Any:
        self.at, self.time = self.at + float(action[0]), self.time + 1
        return np.array([self.at], np.float32), 1.0, self.at > 5.0, self.time >= 7, {}


class Exact:
    """The linear system's own equations in the ensemble's place."""

    def sample(self, obs: Tensor, action: Tensor, generator: torch.Generator) -> Sampled:
        a, b = (
            torch.as_tensor(matrix, dtype=torch.float32) for matrix in (probes.LinearSystem.A, probes.LinearSystem.B)
        )
        next_obs = obs @ a.T + action @ b.T
        return Sampled(next_obs, -next_obs.square().sum(1), torch.zeros(len(obs)))

    def fit(self, data: dict[str, Tensor]) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:
        return {"optimiser": {}}


# The schedule and the published settings


@pytest.mark.parametrize(
    ("epoch", "length"),
    # 1 + 14 (epoch - 20) / 130: 1.97 at 29, 2.08 at 30, 8 at 85, 14.89 at 149
    [(0, 1), (20, 1), (29, 1), (30, 2), (85, 8), (149, 14), (150, 15), (1000, 15)],
)
def test_rollouts_grow_with_the_epochs_as_on_hopper(epoch, length):
    assert rollout_length(epoch, (20, 150, 1, 15)) == length


def test_a_schedule_may_jump_or_stand_still():
    assert [rollout_length(epoch, (3, 3, 1, 5)) for epoch in (2, 3, 4)] == [1, 1, 5]
    assert [rollout_length(epoch, (1, 15, 1, 1)) for epoch in (0, 8, 99)] == [1, 1, 1]


def task(env_id: str, budget: int, actions: int = 3, **config: Any) -> Any:
    space = Box(-1.0, 1.0, (actions,), np.float32)
    problem = Problem(
        observation_space=Box(-np.inf, np.inf, (4,)), action_space=space, budget=budget, family="vector", env_id=env_id
    )
    return make(problem, 0, **config).config


def test_each_environment_has_the_settings_that_were_published_for_it():
    pendulum = task("InvertedPendulum-v5", 20_000, 1)
    assert (pendulum.updates, pendulum.random_steps, pendulum.target_entropy) == (10, 500, -0.05)
    hopper = task("Hopper-v5", 125_000)
    assert (hopper.updates, hopper.random_steps, hopper.update_from) == (20, 5_000, 1_000)
    assert (hopper.schedule, hopper.target_entropy) == ((20, 150, 1, 15), -1.0)
    assert task("HalfCheetah-v5", 400_000, 6).updates == 40
    humanoid = task("Humanoid-v5", 300_000, 17)
    assert (humanoid.model_every, humanoid.retain_epochs, humanoid.model_hidden) == (1_000, 5, (400,) * 4)
    assert task("Reacher-v5", 50_000, 2).target_entropy == -1.0  # none published: half of the action's size


def test_a_small_budget_is_not_spent_on_random_steps():
    small = task("Hopper-v5", 15_000)
    assert (small.random_steps, small.update_from) == (1_500, 1_000)
    assert task("Hopper-v5", 4_000).update_from == 400
    assert task("Hopper-v5", 4_000, random_steps=1_000).random_steps == 1_000  # what a suite says is done


# What is kept


def numbered(first: int, count: int) -> Tensor:
    return torch.arange(first, first + count, dtype=torch.float32)[:, None]


def test_rows_keep_the_newest_and_each_has_its_place():
    rows = Rows(5, 1)
    rows.add(numbered(0, 3))
    assert rows.held()[:, 0].tolist() == [0, 1, 2]
    rows.add(numbered(3, 4))
    assert rows.held()[:, 0].tolist() == [5, 6, 2, 3, 4]
    assert (rows.oldest, rows.added, len(rows)) == (2, 7, 5)
    rows.add(numbered(7, 12))
    assert rows.held()[:, 0].tolist() == [15, 16, 17, 18, 14]


def test_a_larger_ring_keeps_all_rows_in_order_and_a_smaller_one_the_newest():
    rows = Rows(4, 1)
    rows.add(numbered(0, 6))
    rows.lay_out(7)
    assert rows.held()[:, 0].tolist() == [2, 3, 4, 5]
    rows.add(numbered(6, 4))
    assert rows.held()[:, 0].tolist() == [9, 3, 4, 5, 6, 7, 8]
    rows.lay_out(3)
    assert rows.held()[:, 0].tolist() == [7, 8, 9]
    assert (rows.oldest, rows.added) == (7, 10)


@pytest.mark.parametrize("seed", range(5))
def test_rows_added_once_more_from_any_earlier_one_on_lie_where_they_lay(seed):
    rng = np.random.default_rng(seed)
    rows, chunks = Rows(10, 1), []
    for _ in range(30):
        if rng.random() < 0.2:
            rows.lay_out(int(rng.integers(5, 20)))
        chunks.append(numbered(rows.added, int(rng.integers(0, 8))))
        rows.add(chunks[-1])
        ends = np.cumsum([len(chunk) for chunk in chunks])
        needed = [chunk for chunk, end in zip(chunks, ends, strict=True) if end > rows.oldest]
        again = Rows(rows.capacity, 1, begin=rows.begin, first=rows.added - sum(map(len, needed)))
        for chunk in needed:
            again.add(chunk)
        assert torch.equal(again.held(), rows.held())
        assert (again.oldest, again.added) == (rows.oldest, rows.added)
        expected = numbered(0, rows.added)[-min(len(rows), rows.capacity) :] if len(rows) else numbered(0, 0)
        assert torch.equal(rows.held().sort(0).values, expected)


def test_a_batch_has_exactly_its_share_of_real_rows():
    real, imagined = numbered(0, 50), numbered(1_000, 70)
    batches = mixed_batches(real, imagined, 40, 256, int(256 * 0.05), seeded())
    assert batches.shape == (40, 256, 1)
    assert ((batches < 1_000).sum(1) == 12).all()
    assert set(batches.flatten().tolist()) == {*range(50), *range(1_000, 1_070)}
    assert (mixed_batches(real, imagined[:0], 3, 8, 8, seeded()) < 1_000).all()
    assert (mixed_batches(real, imagined, 3, 8, 0, seeded()) >= 1_000).all()


# Rollouts


class Counting:
    """next_obs = obs + action; the probability of an end is what ``ends`` says of next_obs; the reward is 10 obs."""

    def __init__(self, ends: Any) -> None:
        self.ends = ends

    def sample(self, obs: Tensor, action: Tensor, generator: torch.Generator) -> Sampled:
        next_obs = obs + action
        return Sampled(next_obs, 10 * obs[:, 0], self.ends(next_obs[:, 0]))


def rollouts(
    ends: Any, starts: list[float], length: int, known: dict[str, Any] | None = None
) -> list[list[list[float]]]:
    act = lambda obs, generator: torch.ones_like(obs)
    obs = torch.tensor(starts)[:, None]
    found = branch(Columns(1, 1), obs, act, Counting(ends).sample, known or {}, length, seeded())
    return [rows.tolist() for rows in found]


def test_rollouts_go_on_from_every_state_that_is_no_end():
    two_ends = lambda next_obs: (next_obs >= 2.0).float()
    assert rollouts(two_ends, [0.0, 1.0], 3) == [
        [[0.0, 1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 10.0, 2.0, 1.0]],
        [[1.0, 1.0, 10.0, 2.0, 1.0]],
    ]
    assert [len(rows) for rows in rollouts(torch.zeros_like, [0.0, 1.0, 2.0], 4)] == [3, 3, 3, 3]


def test_what_the_suite_grants_stands_in_place_of_what_the_model_says():
    known = {
        "reward": lambda obs, action, next_obs: (100 * obs + 10 * action + next_obs)[:, 0],
        "termination": lambda obs, action, next_obs: next_obs[:, 0] == 3.0,
    }
    always = torch.ones_like
    assert rollouts(always, [1.0], 5, known) == [[[1.0, 1.0, 112.0, 2.0, 0.0]], [[2.0, 1.0, 213.0, 3.0, 1.0]]]


def test_an_end_comes_as_often_as_the_model_gives_it():
    found = rollouts(lambda next_obs: torch.full_like(next_obs, 0.3), [0.0] * 20_000, 2)
    ended = np.array(found[0])[:, -1].mean()
    assert ended == pytest.approx(0.3, abs=4 * (0.21 / 20_000) ** 0.5)
    assert len(found[1]) == round(20_000 * (1 - ended))


def test_states_that_are_no_numbers_are_neither_kept_nor_continued():
    lost = lambda obs, action, next_obs: torch.where(next_obs[:, 0] == 2.0, torch.nan, 0.0)
    found = rollouts(torch.zeros_like, [0.0, 1.0], 3, {"reward": lost})
    assert [[row[3] for row in rows] for rows in found] == [[1.0], []]


# A perfect model


def perfect(**config: Any) -> MBPO:
    """Some steps of the linear system were lived through, and its own equations are the model; rollouts of one step."""
    settings = {**SMALL, "schedule": (0, 1, 1, 1), "rollouts": 200, "gamma": 0.9, **config}
    agent = make(problem_of(linear(), 60), 0, **settings)
    agent.ensemble = Exact()
    return train(agent, linear, 59)


def test_targets_of_a_perfect_models_rows_are_those_of_real_transitions():
    agent = perfect()
    imagined = agent.columns.split(agent.imagined.held())
    env, real = probes.LinearSystem(), {name: column.clone() for name, column in imagined.items()}
    env.reset(seed=0)
    for i, (obs, action) in enumerate(zip(imagined["obs"], imagined["action"], strict=True)):
        env.state = obs.double().numpy()
        next_obs, reward, terminated, _, _ = env.step(action.numpy())
        real["next_obs"][i] = torch.from_numpy(next_obs)
        real["reward"][i], real["terminated"][i] = reward, terminated
    lived = {row.tobytes() for row in agent.columns.split(agent.real.held())["obs"].numpy()}
    assert {row.tobytes() for row in imagined["obs"].numpy()} <= lived
    targets = []
    for rows in (imagined, real):
        agent.sac.generator.manual_seed(7)
        targets.append(agent.sac.targets(rows))
    assert targets[0].std() > 0.1
    torch.testing.assert_close(targets[0], targets[1], rtol=1e-5, atol=1e-6)


def test_with_real_rows_only_it_is_sac():
    agent = make(problem_of(linear(), 60), 0, **{**SMALL, "real_ratio": 1.0})
    plain = make(problem_of(linear(), 60), 0, **SMALL).sac
    drawing = seeded()
    drawing.set_state(agent.drawing.get_state())
    train(agent, linear, 60)
    assert len(agent.imagined) == 0
    assert agent.ensemble.updates == 0
    for step in range(21, 61):  # one at a time, as they were lived through
        drawn = torch.randint(step, (2 * 20,), generator=drawing).view(2, 20)
        for rows in agent.real.rows[drawn]:
            plain.update(agent.columns.split(rows))
    assert torch.equal(plain.actor.vector, agent.sac.actor.vector)
    assert torch.equal(plain.critics.vector, agent.sac.critics.vector)


# The loop


def test_training_comes_when_it_is_due_and_updates_are_counted_exactly():
    agent, fits = make(problem_of(linear(), 120), 0, **SMALL), []
    fit = agent.fit_model
    agent.fit_model = lambda: fits.append(agent.real.added) or fit()
    train(agent, linear, 120)
    assert fits == [20, 45, 70, 95]  # at 120 nobody would use it
    assert agent.policy_updates == 2 * 100
    assert agent.updates == 200 + agent.ensemble.updates
    late = train(make(problem_of(linear(), 120), 0, **{**SMALL, "update_from": 101}), linear, 120)
    assert late.policy_updates == 2 * 20


def test_the_buffer_holds_the_rollouts_of_the_last_epochs():
    agent = make(problem_of(linear(), 220), 0, **SMALL)
    train(agent, linear, 220)
    # Trained at 20 + 25 i, epoch i // 2: one step, then two, then three; nothing ends early.
    sizes = [recipe["end"] - recipe["first"] for recipe in agent.recipes]
    assert [recipe["length"] for recipe in agent.recipes] == [3, 3]
    assert sizes == [120, 120]
    assert agent.imagined.capacity == 2 * 3 * 40 == len(agent.imagined)
    assert agent.imagined.added == 40 * (1 + 1 + 2 + 2 + 3 + 3 + 3 + 3)


def test_only_a_true_end_is_remembered_as_one():
    agent = train(make(problem_of(Falling(), 80), 0, **{**SMALL, "random_steps": 79}), Falling, 80)
    rows = agent.columns.split(agent.real.held())
    assert torch.equal(rows["terminated"], (rows["next_obs"][:, 0] > 5.0).float())
    torch.testing.assert_close(rows["next_obs"], rows["obs"] + rows["action"])  # also where an episode ends
    begins = torch.nonzero(rows["obs"][1:, 0] == 0.0)[:, 0]
    assert set(rows["terminated"][begins].tolist()) == {0.0, 1.0}  # both kinds of end were met
    targets = agent.sac.targets(rows)
    assert torch.equal(targets[rows["terminated"] == 1.0], rows["reward"][rows["terminated"] == 1.0])
    assert (targets[rows["terminated"] == 0.0] != 1.0).all()


def test_learned_ends_and_rewards_reach_the_imagined_rows():
    model = {"model_hidden": (64,) * 4, "model_learning_rate": 1e-2, "model_epochs": 60}
    config = {"random_steps": 300, "rollouts": 1_000, "schedule": (0, 1, 1, 1), **model}
    agent = make(problem_of(Falling(), 302), 0, **{**SMALL, **config})
    agent.sac.actor.vector.zero_()  # every step is likely
    train(agent, Falling, 302)
    rows = agent.columns.split(agent.imagined.held())
    assert agent.ensemble.end_seen
    far = rows["next_obs"][:, 0]
    assert rows["terminated"][far > 5.8].mean() > 0.7
    assert rows["terminated"][far < 3.0].mean() < 0.1
    assert (rows["reward"] - 1.0).abs().mean() < 0.2


def test_a_granted_termination_is_not_learned():
    end = lambda obs, action, next_obs: next_obs[:, 0] > 5.0
    agent = make(problem_of(Falling(), 80, termination=end), 0, **SMALL)
    assert (agent.ensemble.reward, agent.ensemble.termination) == (True, False)
    train(agent, Falling, 80)
    rows = agent.columns.split(agent.imagined.held())
    assert torch.equal(rows["terminated"], (rows["next_obs"][:, 0] > 5.0).float())


@pytest.mark.parametrize("env", [pendulum, Falling])
@pytest.mark.parametrize("stop", [20, 33, 137])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_numbers(env, stop, tmp_path):
    def fresh() -> Any:
        return make(problem_of(env(), 151), 4, **SMALL)

    whole, resumed = train(fresh(), env, 151), train_interrupted(fresh, env, 151, stop, tmp_path)
    for part in ("actor", "critics", "target_critics"):
        assert torch.equal(getattr(whole.sac, part).vector, getattr(resumed.sac, part).vector)
    assert torch.equal(whole.ensemble.networks.vector, resumed.ensemble.networks.vector)
    assert torch.equal(whole.real.held(), resumed.real.held())
    assert torch.equal(whole.imagined.held(), resumed.imagined.held())
    for name in ("acting", "fitting", "imagining", "drawing"):
        assert torch.equal(getattr(whole, name).get_state(), getattr(resumed, name).get_state())
    assert whole.updates == resumed.updates
    assert play(whole, env(), 1) == play(resumed, env(), 1)


def test_a_save_makes_the_imagined_rows_again_instead_of_holding_them(tmp_path):
    agent = train(make(problem_of(Falling(), 151), 4, **{**SMALL, "rollouts": 60_000}), Falling, 151)
    (tmp_path / "saved").mkdir()
    agent.save(tmp_path / "saved")
    written = sum(file.stat().st_size for file in (tmp_path / "saved").iterdir())
    assert written < agent.imagined.held().numel()  # a quarter of their bytes
    other = make(problem_of(Falling(), 151), 9, **{**SMALL, "rollouts": 60_000})
    other.load(tmp_path / "saved")
    assert torch.equal(other.imagined.held(), agent.imagined.held())
    assert len(agent.recipes) > 2  # of rollouts that ended early the buffer holds more than an epoch's


def test_evaluation_leaves_no_trace_and_a_policy_stays_as_it_was():
    agent = train(make(problem_of(pendulum(), 60), 0, **SMALL), pendulum, 60)
    streams = [agent.acting, agent.fitting, agent.imagining, agent.drawing, agent.sac.generator]
    before = [stream.get_state() for stream in streams]
    policy, sampling, obs = agent.policy("mode"), agent.policy("sample"), np.array([1.0, 0.0, 0.0], np.float32)
    first = policy.act(obs)
    sampling.reset(3)
    assert sampling.act(obs) != sampling.act(obs)
    world = agent.world_model()
    returns, lengths = world.imagined_returns(np.stack([obs, obs]), 5, seed=1)
    assert lengths == [5, 5]
    assert np.isfinite(returns).all()
    for stream, state in zip(streams, before, strict=True):
        assert torch.equal(stream.get_state(), state)
    agent.improve_policy()
    assert policy.act(obs) == first
    assert agent.policy("mode").act(obs) != first


def test_its_world_model_plays_the_mode_as_evaluations_do():
    agent = make(problem_of(linear(), 30, reward=lambda obs, action, next_obs: action[:, 0]), 0, **SMALL)
    train(agent, linear, 30)
    first = np.array([[0.5, -0.5], [0.1, 0.9], [-1.0, 0.3]], np.float32)
    returns, _ = agent.world_model().imagined_returns(first, 1, seed=3)
    assert returns == pytest.approx([float(agent.policy("mode").act(obs)[0]) for obs in first], abs=1e-6)


def test_its_world_model_predicts_what_the_linear_system_does():
    config = {"random_steps": 400, "model_hidden": (64,) * 4, "model_epochs": 100, "model_batch_size": 64}
    agent = make(problem_of(linear(), 402), 0, **{**SMALL, **config})
    assert agent.world_model() is None
    train(agent, linear, 402)
    obs = np.array([[[0.5, -0.5], [0.425, -0.325]]])  # A s + B a for a = (-1, 0.5) is (0.325, -0.425)
    action = np.array([[[-1.0, 0.5]]])
    nothing = np.zeros((1, 1))
    sequences = Sequences(
        obs=obs, action=action, reward=nothing, terminated=nothing, valid=np.ones((1, 1), bool), context=0
    )
    found = agent.world_model().predict(sequences, seed=0)
    assert found.obs[0, 0] == pytest.approx([0.325, -0.425], abs=0.05)
    assert found.reward[0, 0] == pytest.approx(-(0.325**2) - 0.425**2, abs=0.05)
    assert found.termination[0, 0] == 0.0  # no end was ever seen


def test_it_learns_to_hold_the_linear_system_at_its_origin():
    config = {"random_steps": 150, "hidden": (32, 32), "rollouts": 1_000, "updates": 4, "batch_size": 64}
    model = {"model_hidden": (32,) * 4, "model_epochs": 10, "schedule": (0, 1, 1, 1)}
    agent = make(problem_of(linear(), 450), 0, **{**SMALL, **config, **model, "learning_rate": 5e-3})
    train(agent, linear, 450)
    assert np.mean(play(agent, linear(), 5)) > -3.0  # doing nothing: -6.5; the untrained policy: -11


@pytest.mark.parametrize(
    ("env", "config", "message"),
    [
        (probes.ImageMemory(), {}, "one-dimensional Box observation space, but ImageMemory"),
        (probes.ActionMatters(), {}, "bounded one-dimensional Box of actions, but ActionMatters has Discrete"),
        (linear(), {"random_steps": 1_000}, "fewer than the budget of 1000 steps, found random_steps: 1000"),
        (linear(), {"random_steps": 2}, "at least 5 random steps"),
        (linear(), {"model_hidden": (8,)}, "each of the model's 2 layers, found .*; set it beside model_hidden"),
        (linear(), {"real_ratio": 5.0}, "real_ratio from 0 to 1, found 5"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(env, config, message):
    with pytest.raises(ValueError, match=message):
        make(problem_of(env, 1000), 0, **config)


def test_a_model_that_is_lost_altogether_says_so():
    nowhere = lambda obs, action, next_obs: torch.full((len(obs),), torch.nan)
    agent = make(problem_of(linear(), 60, reward=nowhere), 0, **SMALL)
    with pytest.raises(FloatingPointError, match="every state that the model predicts from 40 real ones"):
        spend(agent, gate_to(linear, 60), lambda metrics=None: None)


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="a CUDA graph exists on a CUDA device only; the same update without one is tested on every machine",
)
def test_a_captured_update_changes_what_an_update_changes():
    def total(captured: bool) -> tuple[Tensor, Tensor]:
        generator, sum_ = torch.Generator("cuda").manual_seed(0), torch.zeros(4, device="cuda")

        def run(x: Tensor) -> dict[str, Tensor]:
            sum_.add_(x * torch.rand(4, generator=generator, device="cuda"))
            return {"sum": sum_.sum()}

        update = Captured(run, [generator]) if captured else run
        found = [update(torch.full((4,), float(i), device="cuda"))["sum"].clone() for i in range(5)]
        return sum_, torch.stack(found)

    for one, other in zip(total(True), total(False), strict=True):
        assert torch.equal(one, other)
