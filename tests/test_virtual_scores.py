"""Promises of virtual scores: who cheats its model by which test, on hand-worked numbers; and claims on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.claims import Verdict, judge_claim
from analysis.index import VIRTUAL
from analysis.model_quality import Gap, gaps, welch_ends
from analysis.model_tables import content
from analysis.tables import terminal
from analysis.trials import Results, TaskFacts, Trial
from suites.claim import Claim
from tests.planted_models import made_by, plant, scores
from tests.synthetic_records import read, write_suite

TAKE_COVER = {"env_id": "VizdoomTakeCover-v1"}
T2 = 4.302653  # t(0.975; 2)


def trial(entrant: str, seed: int, virtual: Sequence[float], actual: Sequence[float], dream: bool = True) -> Trial:
    """A finished trial with the returns of its final episodes inside the model and outside; lengths are the same."""
    sides = [[len(of), np.mean(of), np.std(of, ddof=1) if len(of) > 1 else np.nan] for of in (virtual, actual)]
    row = np.array([[dream, np.nan, *sides[0], *sides[0], *sides[1], *sides[1]]], dtype=np.float64).T
    once = np.array([1.0])
    return Trial(
        task="task", entrant=entrant, seed=seed,
        header={"env": "take_cover", "protocol": {"card": TAKE_COVER}, "config": {}, "known": []},
        step=once, value=np.array([np.mean(actual)]), sd=once, count=once, episode_step=once, episode_return=once,
        episode_length=once, virtual=dict(zip(VIRTUAL, row, strict=True)),
    )  # fmt: skip


def results(cells: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]], **facts: Any) -> Results:
    """One task; of each entrant, per seed, the returns inside its model and outside."""
    told: dict[str, Any] = {
        "name": "task", "env": "take_cover", "budget": 1000, "action_repeat": 1, "every": 100, "final_episodes": 100,
        "metric": "return", "threshold": None, "score": None, "curve": "evaluation", "protocol": "0",
    }  # fmt: skip
    return Results(
        suite="suite", title="", folder=Path(), tasks={"task": TaskFacts(**{**told, **facts})},
        entrants=dict.fromkeys(cells, ()), holes=[], notes=[],
        trials={("task", e): [trial(e, seed, *of) for seed, of in enumerate(cell)] for e, cell in cells.items()},
    )  # fmt: skip


def flat(*pairs: tuple[float, float], spread: float = 1.0) -> list[tuple[list[float], list[float]]]:
    """Seeds whose two sides have these means, over two episodes each."""
    return [([v - spread, v + spread], [a - spread, a + spread]) for v, a in pairs]


def one_gap(cell: Sequence[tuple[Sequence[float], Sequence[float]]], **facts: Any) -> Gap:
    (found,) = gaps(results({"a": cell}, **facts))
    return found


# -- verdicts ----------------------------------------------------------------------------------------------------------


def test_from_three_seeds_on_the_t_interval_of_their_gaps_decides() -> None:
    # gaps 10, 12, 14: mean 12, sd 2, half width 4.303 * 2 / sqrt(3) = 4.968
    found = one_gap(flat((110, 100), (62, 50), (84, 70)))
    assert found.gaps == pytest.approx([10, 12, 14])
    assert found.interval is not None
    assert found.interval.low == pytest.approx(12 - T2 * 2 / 3**0.5, rel=1e-5)
    assert found.verdict == "cheats the model"
    assert one_gap(flat((90, 100), (38, 50), (56, 70))).verdict == "better in reality"
    # gaps 1, 12, 23: half width 27.3
    assert one_gap(flat((101, 100), (62, 50), (93, 70))).verdict == "no gap seen"


def test_one_agent_is_judged_by_welch_over_its_episodes() -> None:
    # virtual 10, 20, 30: variance of the mean 100 / 3; actual 1, 2, 3, 4: mean 2.5, variance of the mean 5 / 12
    # Satterthwaite: (100/3 + 5/12)^2 / ((100/3)^2 / 2 + (5/12)^2 / 3) = 2.050; t(0.975; 2.050) = 4.203
    virtual, actual = [10.0, 20.0, 30.0], [1.0, 2.0, 3.0, 4.0]
    (found,) = one_gap([(virtual, actual)]).alone
    assert found is not None
    half = (100 / 3 + 5 / 12) ** 0.5 * 4.2034
    assert found == pytest.approx((17.5 - half, 17.5 + half), abs=2e-3)
    assert one_gap([(virtual, actual)]).verdict == "no gap seen (1 of 1 alone)"
    assert one_gap([(virtual * 4, actual)]).verdict == "cheats the model (1 of 1 alone)"
    assert one_gap([(virtual * 4, actual), (actual, virtual * 4)]).verdict == (
        "cheats the model (1 of 2 alone), better in reality (1 of 2 alone)"
    )


def test_welch_agrees_with_scipy() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(0)
    a, b = rng.normal(3, 5, 20), rng.normal(1, 2, 90)
    ends = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = welch_ends(np.array([a.mean(), b.mean()]), np.array([a.std(ddof=1), b.std(ddof=1)]), np.array([20.0, 90.0]))
    assert found == pytest.approx((ends.low, ends.high))


def test_a_single_episode_or_a_dream_that_is_not_finite_decides_nothing() -> None:
    assert one_gap([([5.0], [1.0])]).verdict == "no number"
    nothing = one_gap([([np.nan, 1.0], [1.0, 2.0])])
    assert (nothing.interval, nothing.verdict) == (None, "no number")
    lost = one_gap([*flat((110, 100), (112, 100), (114, 100)), ([np.nan, 1.0], [1.0, 2.0])])
    assert lost.interval is not None
    assert (lost.interval.n, lost.verdict) == (3, "cheats the model")


def test_where_less_is_better_a_cheat_is_shorter_in_its_dream() -> None:
    shorter = flat((90, 100), (38, 50), (56, 70))
    assert one_gap(shorter, metric="length").verdict == "cheats the model"
    assert one_gap([(b, a) for a, b in shorter], metric="length").verdict == "better in reality"


def test_no_gap_is_called_one_in_at_most_one_time_in_forty() -> None:
    """Two-sided 95 %: an honest agent is called a cheat 2.5 % of the time, over seeds and over episodes alike."""
    rng, called = np.random.default_rng(7), {3: 0, 1: 0}
    for n in called:
        for _ in range(1_000):
            level = rng.normal(100, 30, n)  # a seed is as good in its dream as outside
            cell = [(list(rng.normal(of, 20, 20)), list(rng.normal(of, 60, 20))) for of in level]
            called[n] += one_gap(cell).verdict.startswith("cheats")
    assert 0.01 < called[3] / 1_000 < 0.045
    assert 0.01 < called[1] / 1_000 < 0.045


def test_records_of_both_places_come_back_as_two_gaps(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "uniform"], seeds=3)
    for seed in range(3):
        record = tmp_path / f"results/made-up/pendulum/sac/{seed}.jsonl"
        plant(record, [scores([5.0, 7.0], [1.0, 3.0]), scores([2.0, None], [1.0, 3.0], where="classic")])
    dream, stand_in = gaps(read(tmp_path))
    assert (dream.where, stand_in.where) == ("dream", "classic")
    assert dream.gaps.tolist() == [4.0] * 3
    assert dream.verdict == "cheats the model"
    assert np.isnan(stand_in.gaps).all()
    assert stand_in.cheating == "better in classic"  # a stand-in is no learned model


def dreams(root: Path, agent: str, played: str = "mode", dreamt: Sequence[str | None] = (None,) * 3) -> Gap:
    """The gap of an agent that was evaluated so, and whose rows say that it dreamt so, or do not say it."""
    write_suite(root, tasks=["pendulum"], entrants=["sac"], seeds=len(dreamt))
    for seed, policy in enumerate(dreamt):
        record = root / f"results/made-up/pendulum/sac/{seed}.jsonl"
        plant(record, [scores([5.0 + seed, 7.0], [1.0, 3.0], **({"policy": policy} if policy else {}))])
        made_by(record, agent, played)
    (found,) = gaps(read(root))
    return found


@pytest.mark.parametrize("agent", ["agents.mbpo", "agents.me_trpo"])
def test_a_gap_between_two_behaviours_is_shown_without_a_verdict(tmp_path: Path, agent: str) -> None:
    found = dreams(tmp_path, agent)
    assert found.gaps == pytest.approx([4.0, 4.5, 5.0])
    assert found.verdict == "no verdict: dreamt by samples, played by the mode"
    shown = content(read(tmp_path))
    assert shown is not None
    text = terminal(read(tmp_path), width=100, colour=False, content=shown)
    assert "4.5 ± 1.2 (n=3)" in text
    assert "no verdict: dreamt by samples, played by the mode" in text
    assert "no verdict: the two sides are of two behaviours" in text
    claim = {"says": "so", "task": "pendulum", "entrant": "sac", "measure": "gap", "value": 0}
    said = judge_claim("made-up", Claim.model_validate(claim), read(tmp_path))
    assert said.verdict == "not comparable"
    assert said.reason == "the gap of sac is the noise's too: dreamt by samples, played by the mode"


def test_by_which_behaviour_a_dream_was_lived_is_told_by_its_row_and_of_old_rows_by_the_agent(tmp_path: Path) -> None:
    mode, samples = ("mode",) * 3, "no verdict: dreamt by samples, played by the mode"
    assert dreams(tmp_path / "old", "agents.mve").verdict == "cheats the model"
    assert dreams(tmp_path / "new", "agents.mbpo", dreamt=mode).verdict == "cheats the model"
    mixed = dreams(tmp_path / "both", "agents.mbpo", dreamt=("mode", None, "mode", None))
    assert mixed.verdict == f"{samples} (2 of 4 seeds)"
    sampled = dreams(tmp_path / "sampled", "agents.mve", played="sample", dreamt=mode)
    assert sampled.verdict == "no verdict: dreamt by the mode, played by samples"
    assert dreams(tmp_path / "alike", "agents.mbpo", played="sample").verdict == "cheats the model"


def test_old_records_have_no_virtual_score_and_load_as_ever(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=1)
    assert gaps(read(tmp_path)) == []


# -- claims ------------------------------------------------------------------------------------------------------------


def verdict(found: Results, **claim: Any) -> Verdict:
    return judge_claim("suite", Claim.model_validate({"says": "so", "task": "task", **claim}), found)


SWEEP = {
    "low": flat((2086, 190), (2080, 200), (2090, 195)),
    "middle": flat((1100, 900), (1150, 850), (1125, 870)),
    "high": flat((700, 650), (730, 640), (720, 660)),
}
ORDER = ["low", "middle", "high"]


def test_a_sweep_of_virtual_scores_falls_while_the_actual_one_peaks_inside() -> None:
    found = results(SWEEP)
    assert verdict(found, kind="shape", entrants=ORDER, form="falling", measure="virtual").verdict == "match"
    assert verdict(found, kind="shape", entrants=ORDER, form="falling", measure="gap").verdict == "match"
    assert verdict(found, kind="shape", entrants=ORDER, form="maximum-inside").verdict == "match"
    assert verdict(found, kind="shape", entrants=ORDER, form="falling").verdict == "below"
    said = verdict(found, kind="shape", entrants=ORDER, form="falling", measure="virtual")
    assert said.shown.startswith("low 2,085 ± 13 (n=3); middle")


def test_a_virtual_score_is_held_against_a_published_one_and_never_against_an_actual_one() -> None:
    found = results(SWEEP)
    dream, actual = "1803.10122/table-2/tau-0.10-dream", "1803.10122/table-2/tau-0.10"
    said = verdict(found, entrant="low", measure="virtual", published=dream)
    assert said.verdict == "match"  # 2086 against 2085
    assert "2,086" in said.theirs
    assert any("DoomRNN dream" in line for line in said.differing)
    crossed = [verdict(found, entrant="low", measure="virtual", published=actual)]
    crossed.append(verdict(found, entrant="low", published=dream))
    assert [one.verdict for one in crossed] == ["not comparable"] * 2
    assert "measured in a true environment" in crossed[0].reason
    assert "measured inside a model" in crossed[1].reason
    assert verdict(found, entrant="low", published=actual, margin=50).verdict == "match"


def test_of_two_gaps_the_better_one_cheats_less() -> None:
    found = results(SWEEP)
    order = {"kind": "ordering", "measure": "gap"}
    assert verdict(found, **order, entrant="high", entrants=["middle", "low"]).verdict == "match"
    assert verdict(found, **order, entrant="low", entrants=["high"]).verdict == "below"
    lengths = results({name: [(b, a) for a, b in cell] for name, cell in SWEEP.items()}, metric="length")
    assert verdict(lengths, **order, entrant="high", entrants=["middle", "low"]).verdict == "match"


def test_no_gap_is_an_exact_value_within_a_tenth_of_the_scale() -> None:
    honest = results({"a": flat((101, 100), (99, 100), (100, 100))}, score=(0.0, 1000.0))
    assert verdict(honest, entrant="a", measure="gap", value=0).verdict == "match"
    assert verdict(results(SWEEP, score=(0.0, 1000.0)), entrant="low", measure="gap", value=0).verdict == "above"


def test_what_has_no_virtual_score_cannot_be_claimed_on() -> None:
    found = results(SWEEP)
    stand_in = trial("quick", 0, [1.0, 2.0], [1.0, 2.0], dream=False)
    found.trials["task", "quick"], found.entrants["quick"] = [stand_in], ()
    said = verdict(found, entrant="quick", measure="virtual", value=3)
    assert said.verdict == "no records yet"
    assert "has a score inside its own model" in said.reason
    broken = results({"a": [*flat((5, 5), (6, 6)), ([np.nan, 1.0], [1.0, 2.0])]})
    said = verdict(broken, entrant="a", measure="gap", value=0)
    assert said.verdict == "not comparable"
    assert "only 2 of 3 seeds of a have a finite virtual score" in said.reason
