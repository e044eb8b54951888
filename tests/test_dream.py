"""Dreams: played in a batch they are what single steps of M come to, common, compacted, and as environments."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from agents.parts import dream, saving
from agents.parts.dream import Dream, Dreaming, DreamVector, play
from agents.parts.mdn_rnn import MDNRNN, MIXTURES

LATENT, ACTIONS, HIDDEN = 3, 2, 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(*, end: float = -0.5, **heads: bool) -> MDNRNN:
    """An M in double precision, where rounding decides nothing, whose dreams end after some 20 steps."""
    model = MDNRNN(LATENT, ACTIONS, HIDDEN, seeded(), **heads).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=seeded(1), dtype=torch.float64)
        if model.done:
            model.output[model.gaussians] *= 3.0
            model.output_bias[model.gaussians] = end
    return model


def starts(count: int, seed: int = 3) -> Tensor:
    return torch.randn(count, LATENT, generator=seeded(seed), dtype=torch.float64)


def linear(features: Tensor, _index: Tensor) -> Tensor:
    weights = torch.randn(features.shape[1], ACTIONS, generator=seeded(4), dtype=torch.float64)
    return torch.tanh(features @ weights)


def by_hand(model: MDNRNN, z: Tensor, temperature: float, time_limit: int) -> tuple[list[float], list[int]]:
    """Whole dreams by M's own methods, one step after the other, each dream to the time limit."""
    generator, count = seeded(7), len(z)
    state = tuple(part.double() for part in model.initial(count))
    restart = torch.ones(count, 1, dtype=torch.float64)
    returns, lengths, on = [0.0] * count, [0] * count, [True] * count
    for _ in range(time_limit):
        action = linear(torch.cat([z, *state], 1), torch.arange(count))
        outputs, state = model(z[:, None], action[:, None], restart if model.done else None, state)
        z, restart = model.sample(outputs, temperature, generator)[:, 0], torch.zeros_like(restart)
        for n in range(count):
            if on[n]:
                returns[n] += 1.0 if outputs.reward is None else outputs.reward[n, 0].item()
                lengths[n] += 1
                on[n] = outputs.done is None or not bool(outputs.done[n, 0] > 0)
    return returns, lengths


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.15])
@pytest.mark.parametrize(
    "heads", [{"done": True}, {"reward": True}, {"done": True, "reward": True}], ids=lambda heads: "-".join(heads)
)
def test_playing_is_what_single_steps_of_m_come_to(heads, temperature):
    model, z = made(**heads), starts(24)
    returns, lengths = play(model, linear, z, seeded(7), temperature=temperature, time_limit=50)
    expected_returns, expected_lengths = by_hand(model, z, temperature, 50)
    assert lengths.tolist() == expected_lengths
    assert returns.tolist() == pytest.approx(expected_returns, abs=1e-9)
    if model.done:
        assert len(set(expected_lengths)) > 5  # they do end at different times,
        assert min(expected_lengths) < 17 < 48 < max(expected_lengths)  # before and after rows were left out
    else:
        assert expected_lengths == [50] * 24


def test_rewards_are_paid_in_their_own_unit():
    model, z = made(reward=True), starts(4)
    plain, _ = play(model, linear, z, seeded(7), time_limit=20)
    model.reward_unit.fill_(3.0)
    returns, _ = play(model, linear, z, seeded(7), time_limit=20)
    assert returns.tolist() == pytest.approx((3.0 * plain).tolist())
    assert returns.tolist() == pytest.approx(by_hand(model, z, 1.0, 20)[0])


@pytest.mark.parametrize("candidates", [1, 3])
def test_leaving_out_what_has_ended_changes_nothing(candidates, monkeypatch):
    model, found = made(done=True, reward=True), []
    for period in (1, 5, 1000):
        monkeypatch.setattr(dream, "ROUND", period)
        found.append(play(model, linear, starts(8), seeded(7), candidates=candidates, time_limit=60))
    for returns, lengths in found[1:]:
        assert torch.equal(lengths, found[0][1])
        torch.testing.assert_close(returns, found[0][0])


def test_dreams_that_have_ended_are_left_out():
    seen: list[int] = []

    def act(features: Tensor, index: Tensor) -> Tensor:
        assert len(features) == len(index)
        seen.append(len(index))
        return linear(features, index)

    _, lengths = play(made(done=True), act, starts(24), seeded(7), time_limit=500)
    rows = {step: int((lengths >= step).sum()) for step in range(1, len(seen) + 1)}
    assert seen == [rows[step - (step - 1) % dream.ROUND] for step in rows]
    assert seen[-1] < 24
    assert len(seen) < 500  # and when all have, it is over


def test_candidates_share_starts_and_noise_and_otherwise_have_nothing_to_do_with_each_other():
    model = made(done=True, reward=True)
    pushes = torch.tensor([[0.9, -0.9], [-0.9, 0.3], [0.0, 0.9]], dtype=torch.float64)

    def one(push: Tensor) -> Any:
        return lambda features, _: (linear(features, _) + push) / 2

    def all_of_them(features: Tensor, index: Tensor) -> Tensor:
        return (linear(features, index) + pushes[index // 6]) / 2

    returns, lengths = play(model, all_of_them, starts(6), seeded(7), candidates=3, time_limit=60)
    for p, push in enumerate(pushes):
        alone = play(model, one(push), starts(6), seeded(7), time_limit=60)
        torch.testing.assert_close((returns[6 * p : 6 * p + 6], lengths[6 * p : 6 * p + 6]), alone)
    twins, _ = play(model, linear, starts(6), seeded(7), candidates=2, time_limit=60)
    torch.testing.assert_close(twins[:6], twins[6:])
    assert len(set(twins[:6].tolist())) == 6  # rollouts of one candidate differ


def test_rows_keep_their_rollouts_noise_whatever_else_is_left_out():
    model, whole, part = made(), *(Dreaming(made()) for _ in range(2))
    for dreams in (whole, part):
        dreams.reset(starts(2), seeded(7), candidates=2)
    kept = torch.tensor([False, True, True, False])  # as many as there are rollouts, in another order
    part.keep(kept)
    assert part.index.tolist() == [1, 2]
    for _ in range(4):
        action = linear(whole.features, whole.index)
        whole.step(action)
        part.step(action[kept])
    torch.testing.assert_close(part.features, whole.features[kept])
    assert part.features.shape == (2, model.latent + 2 * model.hidden)


def test_the_step_that_ends_a_dream_counts_and_without_an_end_it_is_the_time_limit():
    returns, lengths = play(made(end=100.0, done=True), linear, starts(4), seeded())
    assert (returns.tolist(), lengths.tolist()) == ([1.0] * 4, [1] * 4)
    returns, lengths = play(made(end=-100.0, done=True), linear, starts(4), seeded())
    assert (returns.tolist(), lengths.tolist()) == ([2100.0] * 4, [2100] * 4)


@pytest.mark.parametrize(("temperature", "second", "std"), [(1.0, 0.2, 0.1), (0.5, 0.04 / 0.68, 0.070711)])
def test_z_is_drawn_at_the_temperature(temperature, second, std):
    model = MDNRNN(1, 1, 3, seeded())
    with torch.no_grad():  # 0.8 at -1, 0.2 at 1, both with a deviation of 0.1
        model.output.zero_()
        rest = [0.0] * (MIXTURES - 2)
        model.output_bias.copy_(
            torch.tensor([log(0.8), log(0.2), *[-99.0 for _ in rest], -1, 1, *rest, *[log(0.1)] * 5])
        )
    dreams = Dreaming(model, temperature)
    dreams.reset(torch.zeros(50_000, 1), seeded())
    dreams.step(torch.zeros(50_000, 1))
    z = dreams.features[:, 0]
    assert float((z > 0).float().mean()) == pytest.approx(second, abs=0.006)
    assert float(z[z < 0].std()) == pytest.approx(std, rel=0.02)


def test_a_temperature_of_0_is_refused():
    with pytest.raises(ValueError, match="expected a temperature above 0, found 0"):
        Dreaming(made(), 0.0)


def test_a_dream_goes_on_with_the_weights_that_it_began_with_and_leaves_m_as_it_was():
    model, untouched = made(done=True), made(done=True)
    dreams, same = Dreaming(model, 0.5), Dreaming(untouched, 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    for each in (dreams, same):
        each.reset(starts(4), seeded(7))
        each.step(linear(each.features, each.index))
    assert torch.equal(dreams.features, same.features)
    assert all(torch.equal(a, b) for a, b in zip(untouched.parameters(), made(done=True).parameters(), strict=True))


# -- as environments ---------------------------------------------------------------------------------------------------


def posteriors() -> tuple[Tensor, Tensor]:
    return torch.randn(7, LATENT, generator=seeded(5)), torch.randn(7, LATENT, generator=seeded(6)) - 2.0


def single(end: float = -0.5, **options: Any) -> Dream:
    return Dream(made(end=end, done=True).float(), *posteriors(), **options)


def several(count: int, end: float = -0.5, **options: Any) -> DreamVector:
    return DreamVector(made(end=end, done=True).float(), *posteriors(), count, **options)


def actions(steps: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, count, ACTIONS)).astype(np.float32)


def same(a: Any, b: Any) -> bool:
    """All parts equal, those of an array of observations or None, too."""
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(*pair) for pair in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray) and a.dtype == object:
        return same(list(a), list(b))
    return bool(np.array_equal(a, b))


@pytest.mark.parametrize("options", [{}, {"cell": True}, {"action_space": Discrete(3), "told": lambda a: told(a)}])
@pytest.mark.filterwarnings("ignore:.*Box observation space m(ini|axi)mum value is:UserWarning")
def test_gymnasium_finds_no_fault(options):
    check_env(single(**options), skip_render_check=True)


def told(discrete: np.ndarray) -> Tensor:
    return torch.from_numpy(discrete - 1)[:, None].expand(-1, ACTIONS)


def test_it_shows_z_and_h_and_c_on_request():
    for cell, size in ((False, LATENT + HIDDEN), (True, LATENT + 2 * HIDDEN)):
        env = single(cell=cell)
        obs, _ = env.reset(seed=1)
        assert obs.shape == env.observation_space.shape == (size,)
        assert (obs[LATENT:] == 0.0).all()  # M knows nothing yet
        assert (obs[:LATENT] != 0.0).all()
        obs, *_ = env.step(np.zeros(ACTIONS, np.float32))
        assert (obs != 0.0).all()


def test_m_is_told_what_an_action_means():
    env, plain = single(action_space=Discrete(3), told=told), single()
    env.reset(seed=1)
    plain.reset(seed=1)
    assert same(env.step(2), plain.step(np.ones(ACTIONS, np.float32)))
    assert same(env.step(1), plain.step(np.zeros(ACTIONS, np.float32)))


def test_a_seed_decides_all_that_is_dreamt_and_without_one_the_stream_goes_on():
    def trace(env: Dream, seed: int | None) -> list[Any]:
        return [env.reset(seed=seed), *(env.step(action) for action in actions(5, 1)[:, 0])]

    env = single(end=-100.0)
    first, second = trace(env, 1), trace(env, None)
    assert not same(first, second)
    other = single(end=-100.0)
    assert same([trace(other, 1), trace(other, None)], [first, second])
    assert not same(trace(other, 2), first)


def test_the_time_limit_truncates_and_does_not_terminate():
    env = single(end=-100.0, time_limit=4)
    env.reset(seed=1)
    found = [env.step(action)[1:4] for action in actions(4, 1)[:, 0]]
    assert found == [(1.0, False, False)] * 3 + [(1.0, False, True)]


def test_the_end_terminates_and_does_not_truncate():
    env = single(end=100.0, time_limit=1)
    env.reset(seed=1)
    assert env.step(np.zeros(ACTIONS, np.float32))[1:4] == (1.0, True, False)


def test_a_vector_begins_a_finished_dream_anew_in_the_same_step_and_disturbs_no_other():
    env, given = several(6, time_limit=12), actions(100, 6)
    assert env.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP
    obs, _ = env.reset(seed=1)
    length, ends, cuts = np.zeros(6, int), 0, 0
    for action in given:
        alone = Dreaming(made(done=True).float())
        alone.reset(torch.zeros(6, LATENT), seeded())
        alone.rows.copy_(env.dreams.rows)
        alone.generator.set_state(env.generator.get_state())
        obs, reward, terminated, truncated, infos = env.step(action)
        alone.step(torch.from_numpy(action))
        without = alone.features[:, : LATENT + HIDDEN].numpy()
        over, length = terminated | truncated, length + 1
        assert (reward == 1.0).all()
        assert (truncated == ((length == 12) & ~terminated)).all()
        np.testing.assert_array_equal(obs[~over], without[~over])
        assert (obs[over, LATENT:] == 0.0).all()
        if over.any():
            assert (infos["_final_obs"] == over).all()
            for i, final in enumerate(infos["final_obs"]):
                assert final is None if not over[i] else same(final, without[i])
        else:
            assert infos == {}
        length[over] = 0
        ends, cuts = ends + terminated.sum(), cuts + truncated.sum()
    assert ends >= 3
    assert cuts >= 3


def test_a_new_dream_in_a_vector_is_as_if_it_were_the_first():
    """M is told that an episode begins, and remembers nothing of the one before."""
    env, fresh = several(1, end=100.0), Dreaming(made(end=100.0, done=True).float())
    first, _ = env.reset(seed=1)
    for action in actions(3, 1):
        fresh.reset(torch.from_numpy(first[:, :LATENT]), seeded())
        fresh.generator.set_state(env.generator.get_state())
        first, *_, infos = env.step(action)
        fresh.step(torch.from_numpy(action))
        assert same(infos["final_obs"][0], fresh.features[0, : LATENT + HIDDEN].numpy())


def test_a_vector_of_one_dreams_as_the_single_environment_does():
    one, vector = single(time_limit=30), several(1, time_limit=30)
    assert same(one.reset(seed=3)[0], vector.reset(seed=3)[0][0])
    for action in actions(30, 1):
        obs, reward, terminated, truncated, _ = one.step(action[0])
        both, rewards, terminations, truncations, infos = vector.step(action)
        if terminated or truncated:
            assert same(obs, infos["final_obs"][0])
            assert (terminations[0], truncations[0]) == (terminated, truncated)
            return
        assert same((obs, reward), (both[0], rewards[0]))
    raise AssertionError("the dream did not end")


def test_restored_from_a_file_dreams_go_on_bit_for_bit(tmp_path: Path):
    env, given = several(4, time_limit=9), actions(40, 4)
    env.reset(seed=1)
    for action in given[:13]:
        obs, *_ = env.step(action)
    saving.write(tmp_path, env.state())
    expected = [env.step(action) for action in given[13:]]
    resumed = several(4, time_limit=9)
    assert same(resumed.restore(saving.read(tmp_path)), obs)
    assert same([resumed.step(action) for action in given[13:]], expected)
