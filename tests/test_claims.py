"""Verdicts on claims follow stated rules: hand-worked cases of each, and how often a true claim is called false."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis import comparable, orders, rules
from analysis.__main__ import app
from analysis.claim_tables import terminal
from analysis.claims import judge, judge_claim
from analysis.load import LoadError
from analysis.protocols import UnlikeProtocols
from analysis.published import Row, find, load_published
from analysis.trials import Results, TaskFacts, Trial
from analysis.verdicts import Verdict
from suites.claim import Claim
from suites.spec import load_suite, shipped_suites

SEEDS = Row(
    id="paper/table/row", paper="Paper", year=2020, version="", place="Table", env="Hopper-v2",
    gymnasium_id="Hopper-v5", method="M", method_arxiv="", budget=50_000, unit="env_steps", metric="mean_return",
    mean=9.0, spread=3.0, spread_means="seeds", n_seeds=9, n_episodes=None, provenance="exact_table", source="s",
    note="",
)  # fmt: skip
AGENT = replace(SEEDS, spread=21.0, spread_means="episodes", n_seeds=1, n_episodes=100)
POLICY = replace(AGENT, n_seeds=None)
UNDEFINED = replace(SEEDS, spread_means="unknown")
OURS = [10.0, 12.0, 14.0]  # mean 12, variance 4, variance of the mean 4/3, 2 degrees of freedom
T2 = 4.302653  # t(0.975; 2)


def test_a_spread_over_seeds_is_tested_by_welch() -> None:
    # theirs: variance of the mean 9/9 = 1, 8 degrees of freedom; se = sqrt(7/3) = 1.5275
    # Satterthwaite: (7/3)^2 / ((4/3)^2 / 2 + 1 / 8) = 5.5 / 1.0139 = 5.370; t(0.975; 5.370) = 2.518
    found = rules.value(OURS, 9.0, SEEDS, margin=1.0)
    assert (found.low, found.high) == pytest.approx((3 - 2.518 * 1.5275, 3 + 2.518 * 1.5275), abs=2e-3)
    assert found.call == "underpowered"
    # seen at 80 % power: (2.518 + t(0.80; 5.370) = 0.911) * 1.5275 = 5.24
    assert "5.23" in found.reason or "5.24" in found.reason
    assert rules.value(OURS, 9.0, SEEDS, margin=4.0).call == "match"
    assert rules.value(OURS, 16.0, replace(SEEDS, mean=16.0), margin=4.0).call == "below"
    assert rules.value(OURS, 8.0, replace(SEEDS, mean=8.0), margin=4.0).call == "above"


def test_one_agent_is_taken_for_a_further_seed_of_ours() -> None:
    # our variance over seeds, 4, is theirs too; se of its 100 episodes 21/10, variance 4.41
    found = rules.value(OURS, 9.0, AGENT, margin=100)
    half = T2 * math.sqrt(4 / 3 + 4 + 4.41)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), rel=1e-5)
    assert "seed variation is not known" in found.test


def test_a_policy_that_is_not_trained_has_no_variation_over_seeds() -> None:
    # Welch: variances 4/3 and 4.41, (5.7433)^2 / ((4/3)^2 / 2 + 4.41^2 / 99) = 30.39, t(0.975; 30.39) = 2.0412
    found = rules.value(OURS, 9.0, POLICY, margin=100)
    half = 2.0412 * math.sqrt(4 / 3 + 4.41)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-3)


ALONE = replace(SEEDS, spread=None, spread_means="", n_seeds=1)
NOT_STATED = replace(UNDEFINED, n_seeds=None)


@pytest.mark.parametrize(
    "row", [UNDEFINED, replace(ALONE, n_seeds=9), replace(AGENT, n_episodes=None, n_seeds=9), ALONE]
)
def test_seeds_of_unknown_spread_are_taken_to_vary_as_ours(row: Row) -> None:
    # our variance over seeds, 4, is that of theirs; of nine seeds a variance of the mean of 4/9, of one 4
    found = rules.value(OURS, 9.0, row, margin=100)
    half = T2 * math.sqrt(4 / 3 + 4 / (row.n_seeds or 0))
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), rel=1e-5)
    assert f"their {row.n_seeds} seed" in found.test
    assert "taken to vary as ours" in found.test


def test_a_number_of_one_agent_is_not_surer_without_its_spread_than_with_it() -> None:
    alone, with_spread = (rules.value(OURS, 9.0, row, margin=100) for row in (ALONE, replace(AGENT, spread=0.0)))
    assert (alone.low, alone.high) == pytest.approx((with_spread.low, with_spread.high))


@pytest.mark.parametrize("row", [NOT_STATED, replace(ALONE, n_seeds=None), replace(SEEDS, n_seeds=None)])
def test_an_unknown_spread_of_unknown_n_leaves_the_t_interval_of_ours(row: Row) -> None:
    found = rules.value(OURS, 9.0, row, margin=100)
    half = T2 * math.sqrt(4 / 3)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), rel=1e-5)
    assert "taken as exact" in found.test


def test_seeds_that_all_hit_an_exact_value_match_it() -> None:
    assert rules.value([14.0] * 5, 14.0, None, margin=1).call == "match"
    assert rules.value([15.0] * 5, 14.0, None, margin=0.1).call == "above"


@pytest.mark.parametrize("n", [1, 2])
def test_below_three_seeds_nothing_is_decided(n: int) -> None:
    few = OURS[:n]
    assert rules.value(few, 1e9, SEEDS, margin=1e9).call == "underpowered"
    assert orders.ordering([1e9] * n, [OURS], lower_is_better=False, ranks=False).call == "underpowered"
    assert orders.shape([OURS, few, OURS], "rising", ranks=False).call == "underpowered"


def test_the_margin_is_half_their_sd_or_a_tenth_of_the_scale_whichever_is_more() -> None:
    assert rules.default_margin(9.0, SEEDS, None) == 1.5
    assert rules.default_margin(90.0, SEEDS, None) == 9.0
    assert rules.default_margin(90.0, SEEDS, 540.0) == 54.0
    assert rules.default_margin(90.0, AGENT, 10.0) == 1.0  # a spread over episodes says nothing of methods
    assert rules.default_margin(-90.0, None, None) == 9.0


LOW, MIDDLE, HIGH = [1.0, 2.0, 3.0, 2.0], [5.0, 6.0, 7.0, 6.0], [9.0, 10.0, 11.0, 10.0]
WIDE = [0.0, 12.0, 4.0, 8.0]


@pytest.mark.parametrize("ranks", [False, True])
def test_an_ordering_needs_every_comparison_and_falls_by_one(ranks: bool) -> None:
    def call(ours: list[float], *others: list[float], lower: bool = False) -> str:
        return orders.ordering(ours, others, lower_is_better=lower, ranks=ranks).call

    assert call(HIGH, LOW, MIDDLE) == "match"
    assert call(LOW, MIDDLE, HIGH, lower=True) == "match"
    assert call(HIGH, LOW, WIDE) == "underpowered"
    assert call(LOW, HIGH) == "below"
    assert call(WIDE, WIDE) == "underpowered"


def test_a_shape_is_shown_refuted_or_open() -> None:
    def call(form: str, *sweep: list[float]) -> str:
        return orders.shape(sweep, form, ranks=False).call

    assert call("rising", LOW, MIDDLE, HIGH) == "match"
    assert call("falling", LOW, MIDDLE, HIGH) == "below"
    assert call("rising", LOW, WIDE, HIGH) == "underpowered"
    assert call("maximum-inside", LOW, HIGH, MIDDLE) == "match"
    assert call("maximum-inside", LOW, MIDDLE, HIGH, LOW) == "match"
    assert call("maximum-inside", HIGH, MIDDLE, LOW) == "below"
    assert call("maximum-inside", MIDDLE, WIDE, MIDDLE) == "underpowered"
    assert call("minimum-inside", HIGH, LOW, MIDDLE) == "match"
    assert call("minimum-inside", LOW, MIDDLE, HIGH) == "below"


def test_the_ends_of_a_ratio_are_where_welchs_test_just_fails_to_reject() -> None:
    ends = rules.ratio_interval(HIGH, MIDDLE)
    assert ends is not None
    top, bottom = rules.Sample.of(HIGH), rules.Sample.of(MIDDLE)
    point = top.mean / bottom.mean
    freedom = rules.satterthwaite(top.variance, 3, point**2 * bottom.variance, 3)
    for end in ends:
        t = (top.mean - end * bottom.mean) / math.sqrt(top.variance + end**2 * bottom.variance)
        assert abs(t) == pytest.approx(rules.quantile(0.975, freedom))
    assert ends[0] < point < ends[1]
    assert rules.ratio_interval(HIGH, [-1.0, 1.0, 0.5]) is None  # nothing to divide by


@pytest.mark.parametrize(
    ("ends", "least", "most", "call"),
    [
        ((0.2, 0.4), None, 0.5, "match"), ((0.4, 0.6), None, 0.5, "underpowered"), ((0.6, 0.9), None, 0.5, "above"),
        ((2.1, 3.0), 2.0, None, "match"), ((1.9, 3.0), 2.0, None, "underpowered"), ((1.0, 1.5), 2.0, None, "below"),
        ((None, None), None, 0.5, "underpowered"), ((0.0, math.inf), None, 0.5, "underpowered"),
    ],
)  # fmt: skip
def test_a_ratio_is_called_by_its_whole_interval(ends: Any, least: float | None, most: float | None, call: str) -> None:
    assert rules.bounded(ends[0], ends[1], "test", least=least, most=most).call == call


TRIALS = 2_000


def false_verdicts(row: Row, theirs: Iterable[float], rng: np.random.Generator) -> float:
    """How often five seeds of the very method that was published are called below or above."""
    calls = [rules.value(list(rng.normal(100, 10, 5)), mean, row, 10.0).call for mean in theirs]
    return float(np.mean([call in ("below", "above") for call in calls]))


def test_a_true_value_with_its_spread_over_seeds_is_called_false_one_time_in_twenty() -> None:
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(TRIALS):
        theirs, ours = rng.normal(100, 10, 5), rng.normal(100, 10, 5)
        row = replace(SEEDS, n_seeds=5, spread=float(theirs.std(ddof=1)))
        wrong += rules.value(list(ours), float(theirs.mean()), row, 10.0).call in ("below", "above")
    assert 0.03 < wrong / TRIALS < 0.06


def test_a_true_value_of_one_agent_is_called_false_one_time_in_twenty_not_one_in_two() -> None:
    rng = np.random.default_rng(2)
    theirs = rng.normal(100, 10, TRIALS) + rng.normal(0, 2.1, TRIALS)  # a seed, measured on 100 episodes
    assert 0.03 < false_verdicts(AGENT, theirs, rng) < 0.065
    assert false_verdicts(POLICY, theirs, rng) > 0.3  # what its standard error over episodes alone would give


def test_a_true_value_of_unknown_spread_is_called_false_more_often_and_the_test_says_why() -> None:
    rng = np.random.default_rng(5)
    assert 0.05 < false_verdicts(NOT_STATED, rng.normal(100, 10 / math.sqrt(5), TRIALS), rng) < 0.15
    assert "taken as exact" in rules.value(OURS, 9.0, NOT_STATED, margin=1).test


@pytest.mark.parametrize("n", [1, 5])
def test_a_true_value_without_spread_is_called_false_one_time_in_twenty_where_n_is_known(n: int) -> None:
    rng = np.random.default_rng(6)
    row = replace(ALONE, n_seeds=n)
    assert 0.03 < false_verdicts(row, rng.normal(100, 10 / math.sqrt(n), TRIALS), rng) < 0.065


def test_a_false_value_is_seldom_called_a_match() -> None:
    rng, margin, matches = np.random.default_rng(3), 10.0, 0
    for _ in range(TRIALS):
        theirs, ours = rng.normal(100, 10, 5), rng.normal(100 + 2 * margin, 10, 5)
        row = replace(SEEDS, n_seeds=5, spread=float(theirs.std(ddof=1)))
        matches += rules.value(list(ours), float(theirs.mean()), row, margin).call == "match"
    assert matches / TRIALS < 0.025


def test_a_difference_of_the_size_that_could_be_seen_is_seen_four_times_in_five() -> None:
    rng, seen = np.random.default_rng(4), 0
    for _ in range(TRIALS):
        ours = rng.normal(100, 10, 8)
        size = (rules.quantile(0.975, 7) + rules.quantile(0.8, 7)) * 10 / math.sqrt(8)
        seen += rules.value(list(ours), 100 - size, None, 10.0).call == "above"
    assert 0.75 < seen / TRIALS < 0.85


CARD = {"env_id": "Hopper-v5", "frame_skip": 4}


def results(values: Mapping[str, Sequence[float]], metric: str = "return", **facts: Any) -> Results:
    """Finished trials of one task, `task`; a value is the final evaluation, and the one at half the budget."""
    told: dict[str, Any] = {
        "name": "task", "env": "mujoco", "budget": 50_000, "action_repeat": 1, "every": 10_000, "final_episodes": 20,
        "metric": metric, "threshold": 100.0, "score": None, "curve": "evaluation", "protocol": "0",
    }  # fmt: skip
    header = {"env": "mujoco", "protocol": {"card": facts.pop("card", CARD)}, "config": {}, "known": []}
    trials = {
        ("task", entrant): [
            Trial(
                task="task", entrant=entrant, seed=seed, header=header, step=np.array([10_000.0 * (seed + 1), 50_000]),
                value=np.array([value, value]), sd=np.zeros(2), count=np.full(2, 20.0),
                episode_step=np.array([1_000.0, 2_000]), episode_return=np.array([1.0, value]),
                episode_length=np.array([1_000.0, value]),
            )
            for seed, value in enumerate(of)
        ]
        for entrant, of in values.items()
    }  # fmt: skip
    return Results(
        suite="suite", title="", folder=Path(), tasks={"task": TaskFacts(**{**told, **facts})},
        entrants=dict.fromkeys(values, ()), trials=trials, holes=[], notes=[],
    )  # fmt: skip


def verdict(found: Any, **claim: Any) -> Verdict:
    return judge_claim("suite", Claim.model_validate({"says": "so", "task": "task", **claim}), found)


HOPPER = "2512.15439/scores/hopper-v4-sac-50k"  # 909 ± 526 over 8 seeds
GOOD, BAD = [900.0, 950.0, 850.0, 910.0, 930.0], [30.0, 40.0, 50.0, 35.0, 45.0]


def test_a_published_value_is_held_against_our_seeds() -> None:
    said = verdict(results({"sac": GOOD}), published=HOPPER, entrant="sac")
    assert said.verdict == "underpowered"  # 8 seeds of theirs leave ±440; the margin is ±263
    assert said.ours is not None
    assert said.ours.mean == pytest.approx(908)
    assert (said.shown, said.theirs) == (
        "908 ± 47 (n=5)",
        "909.05 ± 526.14 (sd over seeds), 8 seeds, at 50,000 env steps",
    )
    assert said.interval is not None
    assert said.interval[0] < 0 < said.interval[1]
    assert verdict(results({"sac": GOOD}), published=HOPPER, entrant="sac", margin=500).verdict == "match"
    assert verdict(results({"sac": BAD}), published=HOPPER, entrant="sac").verdict == "below"


def test_a_bound_is_kept_where_the_interval_over_seeds_lies_beyond_it() -> None:
    found = results({"good": GOOD, "bad": BAD, "few": GOOD[:2]})  # 908 ± 47
    bound = {"kind": "bound", "entrant": "good"}
    assert verdict(found, **bound, at_least=860).verdict == "match"
    assert verdict(found, **bound, at_least=862).verdict == "underpowered"
    assert verdict(found, **bound, at_least=956).verdict == "below"
    assert verdict(found, **bound, at_most=956).verdict == "match"
    assert verdict(found, **bound, at_most=860).verdict == "above"
    assert verdict(found, kind="bound", entrant="bad", at_least=-5).verdict == "match"
    assert verdict(found, kind="bound", entrant="few", at_least=1).verdict == "underpowered"
    said = verdict(found, **bound, at_least=850)
    assert (said.shown, said.theirs, said.test) == ("908 ± 47 (n=5)", "at least 850", "t interval over seeds")
    assert said.reason == "the interval of good keeps at least 850"


def test_of_several_one_is_to_keep_a_bound_at_a_shared_level() -> None:
    """t(0.9875; 4) = 3.495 in place of 2.776: of two the better one's interval is 908 ± 60."""
    found = results({"good": GOOD, "bad": BAD})
    bound = {"kind": "bound", "entrants": ["bad", "good"]}
    said = verdict(found, **bound, at_least=848)
    assert (said.verdict, said.reason) == ("match", "the interval of good keeps at least 848")
    assert said.shown == "bad 40.0 ± 9.8 (n=5); good 908 ± 47 (n=5)"
    assert "shared by 2" in said.test
    assert verdict(found, **bound, at_least=855).verdict == "underpowered"  # good alone would keep it
    assert verdict(found, **bound, at_least=956).verdict == "below"


def test_of_a_bound_the_nearest_of_several_is_told_with_the_level_of_its_interval() -> None:
    found = results({"bad": BAD, "good": GOOD, "fair": [value - 20 for value in GOOD]})
    bound = {"kind": "bound", "entrants": ["bad", "fair", "good"]}
    # t(0.99167; 4) = 3.961, so a third of 5 % leaves 908 ± 67 of the best, and 888 ± 67
    said = verdict(found, **bound, at_least=800)
    assert (said.verdict, said.reason) == ("match", "the interval of good keeps at least 800")
    assert said.percent == "98.3 %"
    assert said.interval == pytest.approx((908 - 67, 908 + 67), abs=0.5)
    assert "; 98.3 % interval 84" in terminal([said], 1_000)
    assert verdict(found, **bound, at_least=850).reason == "the interval of good reaches over at least 850"
    below = verdict(found, **bound, at_least=1_000)
    assert (below.reason, below.percent) == ("the interval of good excludes at least 1000", "95 %")
    assert verdict(found, **bound, at_most=60).reason == "the interval of bad keeps at most 60"


def test_a_bound_stands_beside_the_row_that_it_comes_from() -> None:
    said = verdict(results({"sac": GOOD}), kind="bound", entrant="sac", at_least=850, published=HOPPER)
    assert said.theirs == "at least 850"
    assert said.across.startswith("at least 850; source: 909.05 ± 526.14 (sd over seeds)")
    assert f"source   {said.source} [{HOPPER}]" in terminal([said], 1_000)


SOURCED: list[dict[str, Any]] = [
    {"kind": "ordering", "entrant": "good", "entrants": ["bad"]},
    {"kind": "ratio", "entrant": "good", "entrants": ["bad"], "at_least": 2},
    {"kind": "shape", "entrants": ["bad", "good", "low"], "form": "maximum-inside"},
    {"kind": "bound", "entrants": ["bad", "good"], "at_least": 500},
]


@pytest.mark.parametrize("claim", SOURCED, ids=lambda claim: str(claim["kind"]))
def test_the_row_that_a_claim_comes_from_is_named_its_source_with_what_differs(claim: dict[str, Any]) -> None:
    values = {"good": GOOD, "bad": BAD, "low": BAD}
    said = verdict(results(values, budget=20_000), published=HOPPER, **claim)
    assert said.verdict == "match"
    assert said.source is not None
    assert said.source not in said.theirs
    assert "budget: 50,000 env steps there; 20,000 here" in said.differing
    elsewhere = verdict(results(values, card={"env_id": "Walker2d-v5"}), published=HOPPER, **claim)
    assert (elsewhere.verdict, elsewhere.test) == ("not comparable", "none")
    assert "measured on Hopper-v5" in elsewhere.reason


def test_protocol_fields_that_differ_are_printed() -> None:
    told = {"published": HOPPER, "entrant": "sac", "unlike": ["other settings"]}
    alike, *_ = verdict(results({"sac": GOOD}), **told).differing
    assert alike == "other settings"
    shown = "; ".join(verdict(results({"sac": GOOD}, budget=20_000), **told).differing)
    assert "environment: Hopper-v4 there; Hopper-v5 here" in shown
    assert "budget: 50,000 env steps there; 20,000 here" in shown
    assert "episodes of an evaluation: not stated there; 20 here" in shown
    assert "their note: mean of the evaluations in the 10k steps before the budget" in shown


def test_scores_belong_to_the_environment_that_they_were_measured_in() -> None:
    """Who is trained in a near environment and evaluated in the exact one is held against the exact one's numbers."""
    row, near, exact = replace(SEEDS, budget=100_000), {"env_id": "Near-v1", "frame_skip": 9}, {"env_id": SEEDS.env}
    task = results({"a": GOOD}, budget=100_000).tasks["task"]
    header = {"env": "near", "protocol": {"card": near, "evaluated_in": exact}}
    assert comparable.refusal(row, task, "final", header) is None
    shown = comparable.differing(row, task, header)
    assert f"trained in: {row.env} there; Near-v1 here" in shown
    assert not [field for field in shown if field.startswith(("environment", "budget"))]
    trained_there = {"env": "near", "protocol": {"card": near}}
    assert "the task task is Near-v1" in str(comparable.refusal(row, task, "final", trained_there))
    assert not [f for f in comparable.differing(row, task, trained_there) if f.startswith("trained")]


def test_frames_steps_and_decisions_are_one_budget() -> None:
    header = {"env": "atari", "protocol": {"card": {"env_id": "BreakoutNoFrameskip-v4", "frame_skip": 4}}}
    task = results({"a": GOOD}, budget=100_000).tasks["task"]
    frames = find("2301.04104/scores-atari-100k/breakout-ppo")  # 400,000 frames
    decisions = find("2209.00588/table-1/breakout")  # 100,000 agent steps
    for row in (frames, decisions):
        assert not [field for field in comparable.differing(row, task, header) if field.startswith(("budget", "env"))]
    half = replace(task, budget=50_000, action_repeat=2)
    assert not [f for f in comparable.differing(replace(SEEDS, budget=100_000), half, header) if f.startswith("budget")]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "written from memory": (
        {"published": "sutton-barto-2018/figure-8.2/shortest-path"},
        {"metric": "length"},
        "memory",
    ),
    "another environment": ({"published": HOPPER}, {"card": {"env_id": "Walker2d-v5"}}, "measured on Hopper-v5"),
    "another metric": ({"published": "1803.10122/parameters/vae-carracing"}, {}, "is a parameter_count"),
    "another measure": ({"published": HOPPER, "measure": "reward"}, {}, "the claim is on reward"),
    "no such row": ({"published": "2512.15439/scores/hoper-v4-sac-50k"}, {}, "Did you mean 2512.15439/scores/hopper"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_no_comparison_is_refused_with_its_reason(why: str) -> None:
    claim, facts, reason = REFUSED[why]
    said = verdict(results({"sac": GOOD}, **facts), entrant="sac", **claim)
    assert said.verdict == "not comparable"
    assert reason in said.reason
    assert said.test == "none"


def test_no_row_from_memory_decides_any_claim() -> None:
    memory = [row for row in load_published() if row.provenance == "memory"]
    assert len(memory) == 35
    for row in memory:
        found = results({"a": GOOD, "b": BAD}, card={})
        claims: list[dict[str, Any]] = [{}, {"kind": "ordering", "entrants": ["b"]}]
        for claim in claims:
            assert verdict(found, published=row.id, entrant="a", **claim).verdict == "not comparable"


def test_claims_without_records_say_so_and_unlike_records_are_not_compared() -> None:
    claim = {"published": HOPPER, "entrant": "sac"}
    assert verdict(LoadError("nothing there"), **claim).verdict == "no records yet"
    assert verdict(UnlikeProtocols("two protocols"), **claim).verdict == "not comparable"
    assert verdict(results({"ppo": GOOD}), **claim).verdict == "no records yet"
    assert verdict(results({"sac": GOOD}), entrant="sac", entrants=["ppo"], kind="ordering").verdict == "no records yet"


def test_censored_seeds_are_ranked_last_and_never_averaged() -> None:
    late = [500.0, 50.0, 50.0, 600.0, 50.0]  # three seeds never reach the threshold of 100
    found = results({"fast": GOOD, "slow": BAD, "late": late})
    order = {"kind": "ordering", "measure": "episodes", "entrant": "fast"}
    assert verdict(found, entrants=["slow"], **order).verdict == "match"
    value = verdict(found, entrant="late", measure="episodes", value=2)
    assert value.verdict == "not comparable"
    assert "3 of 5 seeds of late" in value.reason
    assert value.shown == "median censored (2 of 5 reached it)"
    ratio = verdict(found, kind="ratio", entrant="fast", entrants=["slow"], measure="steps", at_most=1)
    assert ratio.verdict == "match"  # 10,000 to 50,000 steps against more than 50,000
    assert "n=5" in ratio.shown
    assert "0 of 5 reached it" in ratio.shown


def test_less_is_better_for_lengths_and_steps_and_more_for_rewards() -> None:
    short, long = [14.0, 15.0, 14.0, 16.0], [90.0, 95.0, 99.0, 92.0]
    found = results({"short": short, "long": long}, metric="length", threshold=20.0)
    order = {"kind": "ordering", "entrant": "short", "entrants": ["long"]}
    assert verdict(found, **order).verdict == "match"
    assert verdict(found, **order, measure="reward").verdict == "below"
    assert verdict(found, kind="ratio", entrant="short", entrants=["long"], at_most=0.2).verdict == "match"
    assert verdict(found, kind="ratio", entrant="long", entrants=["short"], at_least=20).verdict == "below"


@pytest.mark.parametrize("path", shipped_suites(), ids=lambda path: path.stem)
def test_every_shipped_claim_names_a_row_that_may_decide_it(path: Path) -> None:
    suite = load_suite(path.stem)
    for claim in suite.claims:
        assert claim.published is None or comparable.unusable(find(claim.published)) is None
    said = judge({path.stem: LoadError("no records")})
    assert [verdict.verdict for verdict in said] == ["no records yet"] * len(suite.claims)


def test_the_book_figure_of_dyna_q_is_found_in_the_committed_records() -> None:
    shown = CliRunner().invoke(app, ["claims", "dyna_maze"])
    assert shown.exit_code == 0
    assert "MATCH: With 50 planning steps it needs about 3 episodes" in shown.output
    assert "without correction for their number" in " ".join(shown.output.split())
    table = CliRunner().invoke(app, ["claims", "dyna_maze", "--format", "markdown"]).output
    assert "| **match** | With 50 planning steps it needs about 3 episodes (dyna-maze, dyna-q-50) |" in table


def test_the_command_covers_every_shipped_suite_with_records_or_without(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["claims", "--results", str(tmp_path)])
    assert shown.exit_code == 0
    count = sum(len(load_suite(path.stem).claims) for path in shipped_suites())
    assert f"{count} claims: {count} no records yet." in " ".join(shown.output.split())


def test_the_command_names_the_nearest_suite() -> None:
    shown = CliRunner().invoke(app, ["claims", "dyna_maz"])
    assert shown.exit_code == 2
    assert "did you mean dyna_maze?" in shown.output


WRONG = {
    "kind: value, entrant: one": "expected `published` or `value` in a claim of kind value, found none",
    "kind: value, entrant: one, value: 1, published: a/b/c": "found published and value",
    "kind: value, entrant: one, value: 1, at_most: 2": "expected no `at_most` in a claim of kind value",
    "kind: ordering, entrant: one": "expected `entrants` in a claim of kind ordering, found none",
    "kind: ordering, entrants: [two]": "expected `entrant` in a claim of kind ordering, found none",
    "kind: ordering, entrant: one, entrants: [two], margin: 1": "expected no `margin` in a claim of kind ordering",
    "kind: ratio, entrant: one, entrants: [two]": "expected `at_least` or `at_most` in a claim of kind ratio",
    "kind: ratio, entrant: one, entrants: [two, three], at_most: 1": "expected one entry in `entrants`",
    "kind: shape, entrants: [one, two], form: rising": "expected 3 entries or more in `entrants`",
    "kind: shape, entrants: [one, two, three]": "expected `form` in a claim of kind shape, found none",
    "kind: shape, entrants: [one, two, three], form: bumpy": "expected one of maximum-inside, minimum-inside, rising",
    "kind: bound, at_least: 1": "expected `entrant` or `entrants` in a claim of kind bound, found none",
    "kind: bound, entrant: one, entrants: [two], at_least: 1": "found entrant and entrants",
    "kind: bound, entrant: one": "expected `at_least` or `at_most` in a claim of kind bound, found none",
    "kind: ratio, entrant: one, entrants: [two], at_most: -1": "expected `at_most` of a ratio above 0, found -1",
    "kind: value, entrant: one, value: 1, horizon: 5": "expected no `horizon` in a claim on final, found 5",
    "kind: value, entrant: one, value: 1, measure: error, horizon: 0": "expected a number of at least 1",
    "kind: value, entrant: one, value: 1, measure: steps": "expected a `threshold` in the task maze",
}
SUITE = """\
title: t
seeds: 1
evaluate: { every: 1, episodes: 1, final_episodes: 1 }
tasks:
  maze: { env: maze, budget: 100 }
entrants:
  one: { agent: agents.dyna_q }
  two: { agent: agents.dyna_q }
  three: { agent: agents.dyna_q }
claims:
"""


@pytest.mark.parametrize("claim", WRONG)
def test_a_claim_that_does_not_fit_its_kind_is_a_fault_with_its_place(claim: str, tmp_path: Path) -> None:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    from suites.reading import read_document
    from suites.spec import SuiteError, json_schema

    path = tmp_path / "wrong.yaml"
    path.write_text(f"{SUITE}  - {{ says: so, task: maze, {claim} }}\n")
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert [fault.line for fault in caught.value.faults] == [11]
    assert WRONG[claim] in caught.value.faults[0].message
    if "threshold" not in WRONG[claim]:  # what depends on another part of the file is beyond a schema
        assert not Draft202012Validator(json_schema()).is_valid(read_document(path).data)
