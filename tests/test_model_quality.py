"""Promises of the world-model diagnostics: errors, rewards, ends and calibration as worked by hand; tables; figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.protocol import Prediction, Sequences
from analysis.model_quality import exponent
from results.record import encode
from suites.runner import evaluation, model_quality
from suites.runner.evaluation import Episode, Recorder, play
from suites.runner.model_quality import HORIZONS, model_rows
from suites.runner.model_windows import windows
from suites.spec import TrialSpec


class Model:
    """A world model that is made of a function from sequences to a prediction."""

    def __init__(self, predict: Callable[[Sequences], Prediction], imagined: Any = None) -> None:
        self._predict, self._imagined = predict, imagined
        self.asked: list[tuple[np.ndarray, int, int]] = []

    def predict(self, sequences: Sequences, seed: int) -> Prediction:
        return self._predict(sequences)

    def imagined_returns(self, first_obs: np.ndarray, steps: int, seed: int) -> Any:
        self.asked.append((first_obs, steps, seed))
        return self._imagined


def episode(obs: Any, action: Any = None, reward: Any = None, *, terminated: bool = False) -> Episode:
    count = len(obs) - 1
    return Episode(
        obs=[np.asarray(one) for one in obs],
        action=[np.asarray(one) for one in (np.zeros((count, 1)) if action is None else action)],
        reward=list(np.zeros(count) if reward is None else reward),
        terminated=terminated,
    )


def sequences(episodes: Sequence[Episode], context: int, horizons: Sequence[int] = HORIZONS) -> Sequences | None:
    found = windows(episodes, context, horizons)
    return found.asked if found else None


def truth(asked: Sequences) -> np.ndarray:
    return asked.obs[:, asked.context + 1 :]


def rows_of(predict: Callable[[Sequences], Prediction], *episodes: Episode) -> dict[int, dict[str, Any]]:
    return {row["horizon"]: row for row in model_rows(Model(predict), episodes, 0)}


def walk(count: int = 200, dims: int = 2) -> Episode:
    rng = np.random.default_rng(0)
    return episode(rng.normal(size=(count + 1, dims)).cumsum(axis=0))


# -- what is recorded --------------------------------------------------------------------------------------------------


class Counting(gym.Env[Any, Any]):
    """Counts its steps in an array that it writes into; ends truly at ``length``."""

    def __init__(self, length: int = 7) -> None:
        self.length, self.obs = length, np.zeros(1, dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.obs[:] = 0
        return self.obs, {}

    def step(self, action: Any) -> Any:
        self.obs += 1
        return self.obs, float(action), bool(self.obs >= self.length), False, {}


POLICY = SimpleNamespace(reset=lambda seed: None, act=lambda obs: np.float32(0.5))
PLAYED: dict[str, Any] = {"task": "t", "seed": 0, "steps": 0}


def test_a_recorder_keeps_eight_whole_episodes_and_every_beginning_and_changes_no_score() -> None:
    recorder, ticks = Recorder(), []
    found = play(Counting(), POLICY, **PLAYED, episodes=9, tick=lambda: ticks.append(1), recorder=recorder)
    assert found == play(Counting(), POLICY, **PLAYED, episodes=9, tick=lambda: None) == ([3.5] * 9, [7] * 9)
    assert len(ticks) == 63
    assert len(recorder.first_obs) == 9
    assert len(recorder.episodes) == 8
    for one in recorder.episodes:
        assert np.concatenate(one.obs).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]  # copies: the environment's array moved on
        assert one.reward == [0.5] * 7
        assert one.terminated


def test_a_recorder_has_an_end_and_what_it_cuts_off_is_no_termination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "ROOM", 40)  # ten observations of four bytes
    recorder = Recorder()
    play(Counting(), POLICY, **PLAYED, episodes=3, tick=lambda: None, recorder=recorder)
    assert [len(one.reward) for one in recorder.episodes] == [7, 3, 0]
    assert [one.terminated for one in recorder.episodes] == [True, False, False]
    assert len(recorder.first_obs) == 3
    asked = sequences(recorder.episodes, 0)
    assert asked is not None
    assert len(asked.obs) == 10  # the empty episode has no window


# -- windows -----------------------------------------------------------------------------------------------------------


def test_windows_are_spread_evenly_and_repeat_the_last_step_beyond_the_end() -> None:
    one = episode(np.arange(5.0)[:, None], np.arange(4.0)[:, None], [1.0, 2.0, 3.0, 4.0], terminated=True)
    asked = sequences([one], 1, horizons=(1, 2))
    assert asked is not None  # starts 0, 1, 2: each has its context and a step at least
    assert asked.obs[..., 0].tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 4]]
    assert asked.action[..., 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert asked.reward.tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 0]]
    assert asked.terminated.tolist() == [[False] * 3, [False, False, True], [False, True, False]]
    assert asked.valid.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
    assert asked.context == 1


def test_of_many_starts_thirty_two_are_taken_from_all_episodes_in_proportion() -> None:
    long, short = walk(960), walk(320)
    asked = sequences([long, short], 0)
    assert asked is not None
    assert asked.obs.shape == (32, 51, 2)  # every 40th of 1,280 starts, from the 20th on
    for k, first in enumerate(asked.obs[:, 0]):
        one, at = (long, 40 * k + 20) if k < 24 else (short, 40 * k + 20 - 960)
        assert (first == one.obs[at]).all()


def counts(lengths: Sequence[int], context: int = 0) -> tuple[dict[int, int], int]:
    """How many windows speak of each horizon, and how many there are."""
    found = windows([walk(length) for length in lengths], context, HORIZONS)
    assert found is not None
    return {h: int(found.lasting(h).sum()) for h in HORIZONS}, len(found.asked.obs)


def test_every_horizon_that_the_episodes_allow_has_its_share_of_windows() -> None:
    # Reacher: 32 starts over 250 leave one that lasts 50 steps and 17 that last 25. Only a beginning lasts 50.
    assert counts([50] * 5) == ({1: 32, 2: 31, 5: 29, 10: 26, 25: 17, 50: 5}, 36)
    assert counts([50] * 20)[0][50] == 16
    # of 60 steps 11 places each last 50, of 70 with a context of 10 too
    for found, asked in (counts([60] * 5), counts([70] * 5, 10)):
        assert found[50] == 16
        assert min(found.values()) >= 16
        assert asked <= 48  # a measurement takes at most half as long again
    assert counts([1000] * 5) == ({1: 32, 2: 32, 5: 32, 10: 32, 25: 31, 50: 30}, 32)  # enough as it is
    assert counts([7, 3]) == ({1: 10, 2: 8, 5: 3, 10: 0, 25: 0, 50: 0}, 10)
    for lengths in np.random.default_rng(0).integers(1, 80, (50, 5)).tolist():
        found, asked = counts(lengths)
        places = {h: sum(max(length - h + 1, 0) for length in lengths) for h in HORIZONS}
        assert asked <= 48
        assert all(found[h] >= min(places[h], 16) for h in HORIZONS)


def test_windows_for_far_horizons_are_spread_over_all_episodes_and_say_nothing_of_the_near_ones() -> None:
    episodes = [episode(np.arange(61.0)[:, None] + 100 * number) for number in range(3)]
    found, again = windows(episodes, 0, HORIZONS), windows(episodes, 0, HORIZONS)
    assert found is not None
    assert again is not None
    assert (again.asked.obs == found.asked.obs).all()
    begun = found.asked.obs[:, 0, 0]
    assert len(set(begun)) == len(begun)
    assert np.bincount((begun[32:] // 100).astype(int)).tolist() == [3, 4, 3]
    assert found.even == found.lasting(1).sum() == found.lasting(1)[:32].sum() == 32
    assert found.lasting(50)[32:].all()

    def off_where_added(asked: Sequences) -> Prediction:
        obs = truth(asked).copy()
        obs[32:] += 1000.0
        alarm = np.zeros(asked.reward.shape)
        alarm[32:] = 1.0
        return Prediction(obs=obs, termination=alarm, reconstruction=asked.obs[:, 0])

    rows = rows_of(off_where_added, *episodes)
    assert [rows[h]["error"] for h in (0, 1, 10)] == [0.0] * 3
    assert rows[50]["error"] > 0
    assert rows[0]["windows"] == 32
    assert all(rows[h]["termination"]["false_alarms"] == 0.0 for h in HORIZONS)  # an end that came is no rarer for it


def test_episodes_without_a_step_after_the_context_give_no_window() -> None:
    assert sequences([], 0) is None
    assert sequences([walk(10)], 10) is None
    assert list(model_rows(Model(lambda asked: pytest.fail("asked")), [episode([[0.0]])], 0)) == []


# -- what is measured --------------------------------------------------------------------------------------------------


def test_a_perfect_model_has_error_0_at_every_horizon() -> None:
    found = rows_of(lambda asked: Prediction(obs=truth(asked), reconstruction=asked.obs[:, asked.context]), walk())
    assert list(found) == [0, *HORIZONS]
    assert {row["error"] for row in found.values()} == {0.0}
    assert all(row["diverged"] == 0 and row["unit"] == "std" for row in found.values())
    assert [found[h]["windows"] for h in (1, 50)] == [32, 24]  # starts 3, 9, 15, ...: the last with 50 steps is 147
    assert "reward_error" not in found[1]
    assert "termination" not in found[1]
    assert "calibration" not in found[1]


def test_a_known_bias_is_told_in_standard_deviations_of_what_was_seen() -> None:
    # Two windows: 0, 2, 4 and 2, 4. Mean 2.4, variance 40 / 5 - 5.76 = 2.24; of the other dimension 100 times that.
    # Biases of 1 and 30 are 1 / sqrt(2.24) and 3 / sqrt(2.24): the root of the mean square is sqrt(10 / 2 / 2.24).
    one = episode([[0.0, 0.0], [2.0, 20.0], [4.0, 40.0]])
    found = rows_of(lambda asked: Prediction(obs=truth(asked) + np.array([1.0, 30.0])), one)
    assert found[1]["error"] == pytest.approx(1.494036, rel=1e-5)
    assert found[2]["error"] == pytest.approx(1.494036, rel=1e-5)
    assert [found[h]["windows"] for h in (1, 2)] == [2, 1]
    assert set(found) == {1, 2}  # no window lasts five steps


def test_a_dimension_that_never_changes_has_no_unit_and_is_left_out() -> None:
    one = episode(np.stack([np.arange(100.0), np.full(100, 7.0)], axis=1))
    bias = np.array([0.0, 5.0])
    assert rows_of(lambda asked: Prediction(obs=truth(asked) + bias), one)[1]["error"] == 0.0
    still = episode(np.full((100, 2), 7.0))
    row = rows_of(lambda asked: Prediction(obs=truth(asked) + bias, obs_std=np.ones_like(truth(asked))), still)[1]
    assert row["error"] is None
    assert row["diverged"] == 0
    assert "calibration" not in row


def test_the_error_of_a_linear_system_grows_as_predicted() -> None:
    """x' = x + u; a model that takes each step 1 + eps too large is off by eps u h after h steps, a growth of h^1."""
    u, eps = 0.5, 0.01
    one = episode((u * np.arange(301.0))[:, None], np.full((300, 1), u))
    asked = sequences([one], 0)
    assert asked is not None
    sd = np.concatenate([asked.obs[:, 0], asked.obs[:, 1:][asked.valid]]).std()

    def simulated(asked: Sequences) -> Prediction:
        steps = (1 + eps) * asked.action.cumsum(axis=1)
        return Prediction(obs=asked.obs[:, :1] + steps)

    found = rows_of(simulated, one)
    for h in HORIZONS:
        assert found[h]["error"] == pytest.approx(eps * u * h / sd, rel=1e-4)
    assert exponent(HORIZONS, np.array([found[h]["error"] for h in HORIZONS])) == pytest.approx(1, abs=1e-4)


def test_the_error_of_an_unstable_system_grows_exponentially_as_predicted() -> None:
    """x' = 1.1 x, and a model of 1.11: from x0 the error is x0 (1.11^h - 1.1^h)."""
    one = episode((1.1 ** np.arange(51.0))[:, None])
    asked = sequences([one], 0)
    assert asked is not None
    sd = np.concatenate([asked.obs[:, 0], asked.obs[:, 1:][asked.valid]]).std()
    powers = 1.11 ** np.arange(1.0, 51)
    found = rows_of(lambda asked: Prediction(obs=asked.obs[:, :1] * powers[:, None]), one)
    for h in HORIZONS:
        begun = asked.obs[:, 0, 0][asked.valid[:, h - 1]]
        expected = (1.11**h - 1.1**h) * np.sqrt(np.mean(begun**2)) / sd
        assert found[h]["error"] == pytest.approx(expected, rel=1e-4)


def four_windows() -> Episode:
    """Four starts with one step and more, so that the first step is predicted four times."""
    return episode(np.array([[0.0], [1], [3], [6], [10]]), reward=[1.0, 2.0, 3.0, 6.0], terminated=True)


def test_calibration_counts_the_errors_within_one_and_two_expected_deviations() -> None:
    off = np.array([0.5, -1.0, 1.5, 2.5])  # two within 1, three within 2

    def said(asked: Sequences) -> Prediction:
        obs = truth(asked).copy()
        obs[:, 0, 0] += 3 * off
        return Prediction(obs=obs, obs_std=np.full_like(obs, 3.0))

    assert rows_of(said, four_windows())[1]["calibration"] == {"within_1": 0.5, "within_2": 0.75}


def test_a_model_whose_deviations_are_true_is_within_them_as_often_as_a_gaussian() -> None:
    rng = np.random.default_rng(1)
    one = walk(2_000, dims=50)
    said = lambda asked: Prediction(
        obs=truth(asked) + 0.3 * rng.normal(size=truth(asked).shape), obs_std=np.full(truth(asked).shape, 0.3)
    )
    found = rows_of(said, one)[1]["calibration"]
    assert found["within_1"] == pytest.approx(0.683, abs=0.04)
    assert found["within_2"] == pytest.approx(0.954, abs=0.02)


def test_reward_error_and_correlation_are_of_the_step_itself() -> None:
    def said(asked: Sequences) -> Prediction:
        reward = asked.reward.copy()
        reward[:, 0] = [3.0, 2.0, 5.0, 4.0]  # true: 1, 2, 3, 6: errors 2, 0, 2, -2
        return Prediction(obs=truth(asked), reward=reward)

    row = rows_of(said, four_windows())[1]
    assert row["reward_error"] == pytest.approx(np.sqrt(12 / 4), rel=1e-5)
    # deviations (-2, -1, 0, 3) and (-0.5, -1.5, 1.5, 0.5): 1 + 1.5 + 0 + 1.5 = 4; 14 and 5: 4 / sqrt(70) = 0.478
    assert row["reward_correlation"] == pytest.approx(0.478091, abs=1e-6)
    flat = rows_of(lambda asked: Prediction(obs=truth(asked), reward=np.ones(asked.reward.shape)), four_windows())[1]
    assert flat["reward_correlation"] is None


def test_ends_are_counted_up_to_the_horizon_with_balanced_accuracy_and_brier_score() -> None:
    # the four windows see at step 1: no end, no end, no end, end; at step 2: no end, no end, end
    def said(asked: Sequences) -> Prediction:
        probability = np.zeros(asked.reward.shape)
        probability[:, 0] = [0.1, 0.2, 0.9, 0.6]  # one false alarm of three; the end is found
        probability[:, 1] = [0.0, 0.0, 0.4, 1.0]  # no false alarm of two; the end is missed; the last is beyond
        return Prediction(obs=truth(asked), termination=probability)

    found = rows_of(said, four_windows())
    assert found[1]["termination"] == pytest.approx(
        {"ends": 1, "brier": (0.01 + 0.04 + 0.81 + 0.16) / 4, "false_alarms": 1 / 3, "accuracy": (1 + 2 / 3) / 2},
        rel=1e-5,
    )
    assert found[2]["termination"] == pytest.approx(
        {"ends": 2, "brier": (1.02 + 0.36) / 7, "false_alarms": 1 / 5, "accuracy": (1 / 2 + 4 / 5) / 2}, rel=1e-5
    )


def test_where_no_end_occurred_only_false_alarms_are_known() -> None:
    one = walk(100)
    found = rows_of(lambda asked: Prediction(obs=truth(asked), termination=np.full(asked.reward.shape, 0.6)), one)
    assert found[1]["termination"] == {"ends": 0, "brier": 0.36, "false_alarms": 1.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_prediction_that_diverged_is_null_and_counted_and_the_rest_is_told(bad: float) -> None:
    def said(asked: Sequences) -> Prediction:
        obs = truth(asked).copy()
        obs[:3, 9:] = bad  # of three windows, from the tenth step on
        lost = np.full(asked.reward.shape, np.nan)
        return Prediction(obs=obs, obs_std=np.ones_like(obs), reward=lost, termination=lost)

    found = rows_of(said, walk())
    assert found[5]["error"] == 0.0
    assert [found[h]["error"] for h in (10, 25, 50)] == [None] * 3
    assert [found[h]["diverged"] for h in (5, 10, 25, 50)] == [0, 3, 3, 3]
    assert found[1]["termination"] == {"ends": 0, "brier": None, "false_alarms": None}
    assert (found[1]["reward_error"], found[1]["reward_correlation"]) == (None, None)
    assert found[5]["calibration"] == {"within_1": 1.0, "within_2": 1.0}
    for row in found.values():
        assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_images_are_measured_in_brightness_after_ten_steps_of_context() -> None:
    frames = np.random.default_rng(0).integers(0, 200, (80, 4, 4, 3), dtype=np.uint8)
    asked_of: list[Sequences] = []

    def said(asked: Sequences) -> Prediction:
        asked_of.append(asked)
        return Prediction(obs=truth(asked).astype(np.float32) + 51, reconstruction=asked.obs[:, asked.context])

    found = rows_of(said, episode(frames))
    assert asked_of[0].context == 10
    assert asked_of[0].obs.dtype == np.uint8
    assert found[0] == {"horizon": 0, "windows": 32, "unit": "pixel", "error": 0.0, "diverged": 0}
    assert all(found[h]["error"] == pytest.approx(0.2) for h in HORIZONS)


def test_a_prediction_of_another_shape_is_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"Prediction.obs: expected shape \(32, 50, 2\), found \(32, 51, 2\)"):
        rows_of(lambda asked: Prediction(obs=asked.obs), walk())
    with pytest.raises(ValueError, match=r"Prediction.reward: expected shape \(32, 50\), found \(32,\)"):
        rows_of(lambda asked: Prediction(obs=truth(asked), reward=np.zeros(32)), walk())


# -- beside an evaluation ----------------------------------------------------------------------------------------------


def made(monkeypatch: pytest.MonkeyPatch, name: str, length: int, **more: Any) -> None:
    """A module that makes `Counting`, under a dotted name."""
    module = ModuleType(f"made_up.{name}")
    told: dict[str, Any] = {"make": lambda: Counting(length), "card": lambda: {"env_id": name, "time_limit": 21}}
    vars(module).update(told | more)
    monkeypatch.setitem(sys.modules, f"made_up.{name}", module)


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> TrialSpec:
    made(monkeypatch, "true", 7)
    made(monkeypatch, "quick", 9, EVALUATED_IN="made_up.true")
    evaluate = {"every": 10, "episodes": 2, "final_episodes": 3}
    return TrialSpec.model_validate(
        {"suite": "s", "task": "t", "entrant": "e", "seed": 4, "env": "made_up.true", "budget": 10, "agent": "a",
         "evaluate": evaluate, "action_repeat": 2}
    )  # fmt: skip


def measured(spec: TrialSpec, model: Any, *, final: bool = True) -> list[dict[str, Any]]:
    agent: Any = SimpleNamespace(world_model=lambda: model, policy=lambda mode: POLICY)
    recorder = model_quality.recorder(agent)
    real = play(Counting(), POLICY, **PLAYED, episodes=3, tick=lambda: None, recorder=recorder)
    return model_quality.rows(spec, agent, recorder, real, step=10, final=final, tick=lambda: None)


def test_an_agent_without_a_model_leaves_no_row_and_costs_no_recording(spec: TrialSpec) -> None:
    assert measured(spec, None) == []
    assert model_quality.recorder(SimpleNamespace()) is None  # type: ignore[arg-type]


def test_beside_an_evaluation_stand_model_rows_and_the_dream_from_the_same_first_observations(spec: TrialSpec) -> None:
    model = Model(lambda asked: Prediction(obs=truth(asked)), imagined=([9.0, 8.0, float("inf")], [11, 11, 11]))
    found = measured(spec, model, final=False)
    assert [row["kind"] for row in found] == ["model"] * 3 + ["virtual"]  # seven steps: horizons 1, 2, 5
    assert all((row["step"], row["final"]) == (10, False) for row in found)
    assert found[-1] == {
        "kind": "virtual", "step": 10, "final": False, "where": "dream", "policy": "mode",
        "returns": [9.0, 8.0, float("inf")], "lengths": [11, 11, 11],
        "real_returns": [3.5] * 3, "real_lengths": [7] * 3,
    }  # fmt: skip
    assert json.loads(encode(found[-1]))["returns"] == [9.0, 8.0, None]
    ((first, steps, seed),) = model.asked
    assert first.tolist() == [[0.0]] * 3
    assert (steps, seed) == (11, 4)  # 21 steps of the environment, two to a decision


def test_a_model_that_knows_no_reward_has_no_virtual_score(spec: TrialSpec) -> None:
    found = measured(spec, Model(lambda asked: Prediction(obs=truth(asked))))
    assert {row["kind"] for row in found} == {"model"}


def test_a_dream_of_another_number_of_episodes_is_refused(spec: TrialSpec) -> None:
    with pytest.raises(ValueError, match="a return and a length for each of 3 first observations, found 2 and 2"):
        measured(spec, Model(lambda asked: Prediction(obs=truth(asked)), imagined=([1.0, 2.0], [1, 2])))


def test_the_final_policy_is_played_in_the_environment_that_it_was_trained_in_too(spec: TrialSpec) -> None:
    quick = spec.model_copy(update={"env": "made_up.quick", "action_repeat": 1})
    assert measured(quick, None, final=False) == []
    assert measured(quick, None) == [
        {"kind": "virtual", "step": 10, "final": True, "where": "made_up.quick", "policy": "mode",
         "returns": [4.5] * 3, "lengths": [9] * 3, "real_returns": [3.5] * 3, "real_lengths": [7] * 3}
    ]  # fmt: skip


def test_a_dream_is_by_the_mode_also_where_evaluations_are_by_samples_and_its_row_says_so(spec: TrialSpec) -> None:
    by_samples = {"evaluate": spec.evaluate.model_copy(update={"policy": "sample"})}
    quick = spec.model_copy(update={"env": "made_up.quick", "action_repeat": 1, **by_samples})
    dream = Model(lambda asked: Prediction(obs=truth(asked)), imagined=([9.0] * 3, [9] * 3))
    told = {row["where"]: row["policy"] for row in measured(quick, dream) if row["kind"] == "virtual"}
    assert told == {"dream": "mode", "made_up.quick": "sample"}
