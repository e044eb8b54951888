"""Published scores are whole, typed, sourced, corrected where known to be wrong, and found by near names."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.published import FOLDER, PublishedError, Row, _all, _file, find, load_published, near_names, select
from analysis.published_check import GAMES, checks, human_normalised
from tests.slowness import slowness

ROWS = load_published()
BY_ID = {row.id: row for row in ROWS}
PRIVATE = re.compile(r"/work|seed.document|index file|librar(y|ies) |\bstored\b|https?://(10|127|localhost)", re.I)


def test_all_rows_are_there_each_under_an_id_of_its_own() -> None:
    assert len(ROWS) == len(BY_ID) == 6061
    assert len({row.id.partition("/")[0] for row in ROWS}) == len(list(FOLDER.glob("*.csv"))) == 36
    assert max(map(len, BY_ID)) < 90


def test_no_row_is_without_a_source_and_none_names_what_is_not_public() -> None:
    assert all(row.source for row in ROWS)
    text = "".join(path.read_text() for path in FOLDER.iterdir())
    assert not PRIVATE.search(text)


def test_a_spread_says_over_what_it_is() -> None:
    assert all((row.spread is None) == (row.spread_means == "") for row in ROWS)
    full, random = BY_ID["1803.10122/table-1/full-world-model"], BY_ID["1803.10122/table-2/random"]
    assert (full.mean, full.spread, full.spread_means, full.n_seeds, full.n_episodes) == (906, 21, "episodes", 1, 100)
    assert full.standard_error == pytest.approx(2.1)
    assert (random.spread_means, random.n_seeds) == ("episodes", None)  # a policy that is not trained
    assert BY_ID["1803.10122/table-1/leaderboard"].standard_error is None  # its ± is not defined
    sac = BY_ID["2512.15439/scores/hopper-v4-sac-50k"]
    assert (sac.spread_means, sac.n_seeds, sac.method_arxiv) == ("seeds", 8, "1812.05905")
    one_agent = {row.spread_means for row in ROWS if row.id.startswith("rl-baselines3-zoo/")}
    assert one_agent == {"episodes"}


CORRECTED: dict[str, Callable[[Row], bool]] = {
    "1803.10122/quoted/vae-carracing": lambda row: row.mean == 4_348_547 and "4,348,537" in row.note,
    "1803.10122/parameters/vae-carracing": lambda row: row.mean == 4_348_547,
    "1803.10122/quoted/doom-latent-size": lambda row: row.mean == 64,
    "2010.02193/table-k.1/breakout-dreamerv2": lambda row: row.mean == 312 and "three seeds" in row.note,
    "lapan-2018/chapter-17/i2a": lambda row: "not from the I2A paper" in row.note,
    "1906.08253/text/mbpo-vs-sac": lambda row: "not in the paper" in row.note,
    "2310.09615/computed/storm-hns-mean": lambda row: "1.266" in row.note,
    "2301.04104/v2-table-11-mean/ppo": lambda row: "swapped" in row.note,
    "sutton-barto-2018/figure-8.2/first-episode": lambda row: "do not use" in row.note,
}


@pytest.mark.parametrize("row_id", CORRECTED)
def test_what_is_known_to_be_wrong_is_corrected_or_marked(row_id: str) -> None:
    assert CORRECTED[row_id](find(row_id))


@pytest.mark.parametrize(
    ("name", "mean"),
    [("SimPLe", 0.332), ("SPR, 100 runs", 0.616), ("IRIS", 1.046), ("DIAMOND", 1.459), ("EfficientZero", 1.943)],
)
def test_aggregates_of_published_scores_equal_those_that_the_papers_print(name: str, mean: float) -> None:
    check = next(check for check in checks(ROWS) if check.name == name)
    assert check.stated.mean == mean
    assert round(check.computed, 3) == mean
    assert check.agrees


@pytest.mark.parametrize(("name", "stated", "computed"), [("STORM", 1.266, 1.222), ("DreamerV3, v2", 1.25, 1.175)])
def test_where_a_paper_differs_from_its_own_score_file_the_difference_is_shown(
    name: str, stated: float, computed: float
) -> None:
    check = next(check for check in checks(ROWS) if check.name == name)
    assert (check.stated.mean, round(check.computed, 3)) == (stated, computed)
    assert f"{name}: stated {stated}" in str(check)
    assert f"differ by {computed - stated:+.3f}" in str(check)


def test_every_aggregate_said_to_be_computed_follows_from_the_rows_of_its_file() -> None:
    followed = 0
    for row in ROWS:
        if "/computed/" in row.id and row.metric.startswith("human_normalised"):
            work, _, _ = row.id.split("/")
            statistic = fmean if row.metric.endswith("mean") else median
            places = [row.id.rpartition("/")[0] for row in ROWS if row.id.startswith(f"{work}/")]
            found = [human_normalised(ROWS, f"{place}/", row.method) for place in sorted(set(places))]
            means = [statistic(games.values()) for games in found if len(games) == GAMES]
            assert any(abs(mean - row.mean) < 6e-4 for mean in means), (row, means)
            followed += 1
    assert followed >= 24


FAULTS = {
    "a missing source": (",score_file,some/repository@1,", ",score_file,,", "expected `source`, found nothing"),
    "a wrong id": ("paper-a/table-1/one", "paper-b/table-1/one", "expected an id of the form paper-a/table/row"),
    "a capital in an id": ("table-1/one", "Table-1/one", "in small letters"),
    "an id twice": ("table-1/two", "table-1/one", "expected each id once, found paper-a/table-1/one again"),
    "a mean that is no number": (",4.5,", ",nan,", "expected a finite number as `mean`, found 'nan'"),
    "no mean": (",4.5,", ",,", "expected a finite number as `mean`, found ''"),
    "a part of a seed": (",seeds,5,", ",seeds,5.5,", "expected a finite whole number as `n_seeds`"),
    "an unknown unit": (",env_steps,", ",epochs,", "as `unit`, found 'epochs'"),
    "an unknown metric": (",mean_return,", ",score,", "as `metric`, found 'score'"),
    "an unknown provenance": (",score_file,", ",hearsay,", "as `provenance`, found 'hearsay'"),
    "a spread over nothing": (",seeds,5,", ",,5,", "expected `spread` and `spread_means` together"),
    "a budget without a unit": (",env_steps,", ",,", "expected `budget` and `unit` together"),
    "a cell too few": (",a note", "", "expected 20 cells, found 19"),
    "other columns": ("id,paper", "name,paper", "expected the columns id,paper"),
}
HEAD = (
    "id,paper,year,version,place,env,gymnasium_id,method,method_arxiv,budget,unit,metric,mean,spread,spread_means,"
    "n_seeds,n_episodes,provenance,source,note\n"
)
LINE = (
    "paper-a/table-1/{name},A paper,2020,,Table 1,Hopper-v2,Hopper-v5,A method,,1000,env_steps,mean_return,4.5,1.5,"
    "seeds,5,10,score_file,some/repository@1,a note\n"
)
TWO = HEAD + LINE.format(name="one") + LINE.format(name="two")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_file_is_named_with_its_place(fault: str, tmp_path: Path) -> None:
    right, wrong, message = FAULTS[fault]
    (tmp_path / "paper-a.csv").write_text(TWO)
    assert len(load_published(tmp_path)) == 2
    other = tmp_path / "other"
    other.mkdir()
    (other / "paper-a.csv").write_text(TWO.replace(right, wrong))
    with pytest.raises(PublishedError, match=re.escape(message)) as caught:
        load_published(other)
    assert re.search(r"paper-a\.csv:[123]: ", str(caught.value))


def test_all_faults_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    for name in ("paper-a", "paper-b"):
        (tmp_path / f"{name}.csv").write_text(TWO.replace("paper-a", name).replace(",4.5,", ",,"))
    with pytest.raises(PublishedError) as caught:
        load_published(tmp_path)
    assert str(caught.value).count("as `mean`") == 4


def test_an_id_with_a_slip_gets_the_near_one() -> None:
    for wrong in ("1803.10122/table-1/ful-world-model", "1803.1012/table-1/full-world-model"):
        with pytest.raises(PublishedError, match=re.escape("Did you mean 1803.10122/table-1/full-world-model")):
            find(wrong)


def test_rows_are_found_in_whatever_spelling() -> None:
    assert {row.env for row in select(ROWS, env="half cheetah", method="sac", paper="dhmbpo")} == {"HalfCheetah-v4"}
    assert select(ROWS, paper="1803.10122/table-2")
    assert near_names(ROWS, env="HalfCheetha", method="dreamer") == {"env": "HalfCheetah"}


def test_the_command_prints_ids_meaning_and_how_many_there_are() -> None:
    shown = CliRunner().invoke(app, ["published", "--paper", "1803.10122", "--env", "CarRacing", "--limit", "7"])
    assert shown.exit_code == 0
    assert "1803.10122/table-1/full-world-model" in shown.output
    assert "906 ± 21 (sd over episodes of one agent), 1 seed, 100 episodes, at 1,800 generations" in shown.output
    assert "36 rows; the first 7 are shown" in shown.output


def test_the_command_names_the_near_name_where_nothing_is_found() -> None:
    shown = CliRunner().invoke(app, ["published", "--env", "brakout"])
    assert shown.exit_code == 1
    assert "did you mean Breakout?" in shown.output


def test_the_command_shows_which_papers_differ_from_their_scores() -> None:
    shown = CliRunner().invoke(app, ["published", "--check"]).output
    assert shown.count(": agree") == 10
    assert shown.count(": differ by") == 3


def test_reading_takes_less_than_a_third_of_a_second_and_no_pandas() -> None:
    times = []
    for _ in range(3):
        _all.cache_clear()
        _file.cache_clear()
        start = time.process_time()
        load_published()
        times.append(time.process_time() - start)
    assert min(times) < 0.3 * slowness()
    code = (
        "import sys, analysis.published as p; p.load_published(); print({'pandas', 'numpy', 'torch'} & {*sys.modules})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER.parents[1], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "set()"
