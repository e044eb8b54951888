"""No verdict is silent on the seeds that it lacks, and none rests on those that luck has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.claim_tables import markdown, terminal
from analysis.claims import judge
from analysis.report import page
from analysis.verdicts import Verdict
from tests.synthetic_records import edit_last_evaluation, interrupt, read, write_suite

CLAIMS = """\
claims:
  - { says: better, kind: ordering, task: pendulum, entrant: sac, entrants: [uniform] }
  - { says: good, kind: bound, task: pendulum, entrant: sac, at_least: -600 }
  - { says: found, task: pendulum, entrant: uniform, value: 0, margin: 1 }
  - { says: quick, kind: ratio, measure: steps, task: pendulum, entrant: sac, entrants: [uniform], at_most: 1 }
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Six seeds of two entrants, and claims on them that hold or fail beyond doubt."""
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "uniform"], seeds=6)
    file.write_text(file.read_text().replace("threshold: -250.0", "threshold: -700.0") + CLAIMS)
    return tmp_path


def record(root: Path, seed: int, entrant: str = "sac") -> Path:
    return root / "results" / "made-up" / "pendulum" / entrant / f"{seed}.jsonl"


def judged(root: Path) -> list[Verdict]:
    return judge({str(root / "made-up.yaml"): read(root)})


def test_with_all_seeds_no_hole_is_told(shelf: Path) -> None:
    said = judged(shelf)
    assert [one.verdict for one in said] == ["match", "match", "below", "match"]
    assert not any(one.holes for one in said)
    assert "holes" not in terminal(said, 1_000)
    assert "(n=6)" in said[0].shown


@pytest.mark.parametrize("progress", [None, 500])
def test_seeds_that_are_still_to_come_are_named_and_cap_no_verdict(shelf: Path, progress: int | None) -> None:
    for seed in (1, 4, 5):
        if progress is None:
            record(shelf, seed).unlink()
        else:
            interrupt(record(shelf, seed), progress, 20_000)
    said = judged(shelf)
    assert [one.verdict for one in said] == ["match", "match", "below", "match"]
    assert "(n=3 of 6)" in said[0].shown
    why = "missing" if progress is None else "unfinished at step 500 of 20,000"
    assert said[0].holes == said[1].holes == said[3].holes == (f"pendulum / sac / seeds 1, 4-5: {why}",)
    assert said[2].holes == ()
    for shown in (terminal(said, 1_000), markdown(said), page([str(shelf / "made-up.yaml")], shelf / "results")):
        assert "n=3 of 6" in shown
        assert f"seeds 1, 4-5: {why}" in shown


@pytest.mark.parametrize("kind", ["failed", "not finite"])
def test_no_verdict_rests_on_the_seeds_that_did_not_fail(shelf: Path, kind: str) -> None:
    for seed in (1, 4, 5):
        if kind == "failed":
            interrupt(record(shelf, seed), 500, 20_000, reason="ended with exit code 1")
        else:
            edit_last_evaluation(record(shelf, seed), returns=[None])
    said = judged(shelf)
    assert [one.verdict for one in said] == ["not comparable", "not comparable", "below", "not comparable"]
    for one in (said[0], said[1], said[3]):
        assert one.reason.startswith("seeds that were run have no score (3 of 6 of sac), and those that are left were")
        assert kind in one.holes[0]
        assert one.interval is not None or one.kind == "ratio"  # what the others say is still told
    interrupt(record(shelf, 0), 500, 20_000, reason="killed")
    assert [one.verdict for one in judged(shelf)] == ["underpowered", "underpowered", "below", "underpowered"]


def test_a_time_of_which_seeds_are_missing_says_how_many_there_should_be(shelf: Path) -> None:
    record(shelf, 2, "uniform").unlink()
    assert "uniform median censored (0 of 5 reached it; n=5 of 6)" in judged(shelf)[3].shown
