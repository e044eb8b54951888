"""What the analysis says of world models: numbers by seed and horizon, tables, CSV, figures, claims on errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis import figures_all, index
from analysis.__main__ import app
from analysis.claims import Verdict, judge_claim
from analysis.latex import latex
from analysis.model_quality import exponent, qualities
from analysis.model_tables import content, tidy_csv, told
from analysis.report import page
from analysis.tables import markdown, terminal
from suites.spec import Claim
from tests.browser import browser, opened
from tests.planted_models import errors, plant, scores
from tests.synthetic_records import read, write_suite

FINE = {h: 0.02 * h**0.5 for h in (1, 2, 5, 10, 25, 50)}
PARTS = {
    "reward_error": 0.25, "reward_correlation": 0.9, "calibration": {"within_1": 0.5, "within_2": 0.75},
    "termination": {"ends": 3, "brier": 0.01, "false_alarms": 0.02, "accuracy": 0.875},
}  # fmt: skip


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, three entrants, three seeds; sac has models, pets does on one task, and one of sac's diverges."""
    root = tmp_path_factory.mktemp("shelf")
    write_suite(root, tasks=["pendulum", "hopper"], entrants=["pets", "sac", "uniform"], seeds=3)
    for seed, factor in enumerate((1.0, 2.0, 3.0)):
        planted = errors({0: 0.5, **{h: factor * error for h, error in FINE.items()}}, **PARTS)
        record = root / f"results/made-up/pendulum/sac/{seed}.jsonl"
        plant(record, [*planted, scores([900.0, 1000.0], [100.0, 120.0])])
        steep: dict[int, float | None] = {h: factor * 1e-4 * h**1.5 for h in FINE}
        plant(root / f"results/made-up/pendulum/pets/{seed}.jsonl", errors(steep))
        steep[50] = None if seed == 1 else steep[50]
        plant(root / f"results/made-up/hopper/sac/{seed}.jsonl", errors(steep))
    figures = root / "results/made-up/figures"
    figures.mkdir()
    (figures / "dream-hopper-sac-0.gif").write_bytes(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")
    return root


def test_the_numbers_of_the_final_evaluation_come_back_by_seed_and_horizon(shelf: Path) -> None:
    pets, sac, hopper = qualities(read(shelf))
    assert [(one.task.name, one.entrant) for one in (pets, sac, hopper)] == [
        ("pendulum", "pets"), ("pendulum", "sac"), ("hopper", "sac"),
    ]  # fmt: skip
    assert sac.horizons == (0, 1, 2, 5, 10, 25, 50)
    assert sac.at("error", 1) == pytest.approx([0.02, 0.04, 0.06])
    assert sac.at("accuracy", 50) == pytest.approx([0.875] * 3)
    assert sac.at("within_1", 1) == pytest.approx([0.5] * 3)
    assert np.isnan(pets.at("reward_error", 1)).all()
    assert np.isnan(pets.at("error", 0)).all()
    assert sac.growth == pytest.approx([0.5] * 3)
    assert pets.growth == pytest.approx([1.5] * 3)
    assert hopper.growth == pytest.approx([1.5] * 3)  # of the seed that diverged, over the horizons that it has
    assert hopper.at("diverged", 50).tolist() == [0, 3, 0]


def test_a_claim_may_be_on_the_error_or_on_its_growth(shelf: Path) -> None:
    def call(task: str = "pendulum", **claim: Any) -> Verdict:
        told = {"says": "so", "task": task, **claim}
        return judge_claim("made-up", Claim.model_validate(told), read(shelf))

    growth, error = {"measure": "growth", "kind": "bound"}, {"measure": "error"}
    assert call(**growth, entrant="pets", at_most=2).verdict == "match"
    assert call(**growth, entrant="pets", at_most=1).verdict == "above"
    assert call(**growth, entrant="pets", at_least=2).verdict == "below"
    assert (
        call(**error, entrant="pets", value=1e-4 * 50**1.5 * 2, margin=1).verdict == "match"
    )  # seeds 1, 2, 3 times it
    ordering = {**error, "kind": "ordering"}
    assert call(**ordering, entrant="pets", entrants=["sac"]).verdict == "underpowered"  # 0.07 ± 0.09, 0.28 ± 0.35
    diverged = call("hopper", **error, entrant="sac", value=1)
    assert (diverged.verdict, diverged.reason) == (
        "not comparable",
        "only 2 of 3 seeds of sac have a finite error of their model",
    )
    assert call(**error, entrant="uniform", value=1).reason == "no record of uniform on pendulum tells of a model"


def test_errors_are_compared_after_as_many_steps_as_the_claim_says_or_all_of_its_models_were_asked_for(
    tmp_path: Path,
) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["pets", "sac"], seeds=3)
    for seed, factor in enumerate((1.0, 1.1, 1.2)):
        plant(tmp_path / f"results/made-up/pendulum/sac/{seed}.jsonl", errors({1: factor, 10: 2 * factor}))
        of_pets = {1: 3 * factor, 10: 0.5 * factor, 50: 9 * factor}  # worse after 1 and 50 steps, better after 10
        plant(tmp_path / f"results/made-up/pendulum/pets/{seed}.jsonl", errors(of_pets))

    def call(**claim: Any) -> Verdict:
        told = {"says": "so", "task": "pendulum", "measure": "error", "entrant": "pets", **claim}
        return judge_claim("made-up", Claim.model_validate(told), read(tmp_path))

    ordering = {"kind": "ordering", "entrants": ["sac"]}
    assert call(**ordering).verdict == "match"
    assert call(**ordering, horizon=10).verdict == "match"
    assert call(**ordering, horizon=1).verdict == "below"
    assert call(value=9.9, margin=4).verdict == "match"  # alone, after 50
    found = call(**ordering, horizon=50)
    assert (found.verdict, found.reason) == (
        "not comparable",
        "not all models have an error after 50 steps (steps asked for: pets: 1, 10, 50; sac: 1, 10)",
    )


def test_a_growth_needs_three_errors_above_0() -> None:
    assert exponent((1, 2, 5, 10), np.array([0.0, 4.0, 10.0, 20.0])) == pytest.approx(1)
    assert np.isnan(exponent((1, 2, 5), np.array([0.0, 4.0, np.nan])))


def test_an_error_on_few_windows_is_marked_and_neither_fitted_nor_drawn_nor_claimed_on(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=3)
    for seed, windows in enumerate((5, 7, 8)):
        off = errors({**FINE, 50: 100.0}, last=windows, reward_error=0.25)
        plant(tmp_path / f"results/made-up/pendulum/sac/{seed}.jsonl", off)
    found = read(tmp_path)
    (one,) = qualities(found)
    assert one.few(50).tolist() == [True, True, False]
    assert one.growth[:2] == pytest.approx([0.5] * 2)
    assert one.growth[2] > 1
    assert np.isnan(one.errors[:2, -1]).all()  # what figures and the report draw
    shown = content(found)
    assert shown is not None
    text = terminal(found, width=100, colour=False, content=shown)
    assert "100.0 ± 0.0 (n=3, 2 on few windows)" in text
    assert "0.250 ± 0.000 (n=3, 2 on few windows)" in text
    assert "few windows: fewer than 8 stretches" in text
    counted = [row for row in csv.DictReader(io.StringIO(tidy_csv(found))) if row["quantity"] == "windows"]
    assert [row["values"] for row in counted][-2:] == ["32;32;32", "5;7;8"]
    claim = {"says": "so", "task": "pendulum", "entrant": "sac", "measure": "error", "value": 100}
    said = judge_claim("made-up", Claim.model_validate(claim), found)
    assert said.verdict == "not comparable"
    assert said.reason == (
        "only 1 of 3 seeds of sac have a finite error of their model on 8 windows or more (not so after 50 steps)"
    )
    assert "few windows: fewer than 8" in page([str(file)], tmp_path / "results")


def test_an_entry_says_mean_interval_n_and_what_diverged() -> None:
    assert told(np.array([0.02, 0.04, 0.06]), 3) == "0.040 ± 0.050 (n=3)"  # 4.303 * 0.02 / sqrt(3) = 0.0497
    assert told(np.array([1e-5, 2e-5, 3e-5]), 3) == "2.0e-05 ± 2.5e-05 (n=3)"
    assert told(np.array([0.5, np.nan, 0.7]), 4, 1) == "0.500, 0.700 (n=2 of 4, 1 diverged)"
    assert told(np.array([0.5, 0.5, 0.5]), 3) == "0.500 ± 0.000 (n=3)"
    assert told(np.array([5e-7, 900.0]), 2) == "5.0e-07, 900 (n=2)"
    assert told(np.array([np.nan]), 3, 1) == "diverged (1 of 3)"
    assert told(np.array([np.nan]), 3) == "–"
    assert told(np.array([0.02, 0.04, 0.06]), 3, 0, 3) == "0.040 ± 0.050 (n=3, few windows)"


def test_every_form_of_the_table_tells_the_same_numbers(shelf: Path) -> None:
    found = read(shelf)
    shown = content(found)
    assert shown is not None
    texts = {
        "terminal": terminal(found, width=100, colour=False, content=shown),
        "markdown": markdown(found, shown),
        "latex": latex(found, shown).replace(r"$\pm$", "±"),
    }
    for text in texts.values():
        for entry in ("0.040 ± 0.050 (n=3)", "0.0354, 0.1061 (n=2 of 3, 1 diverged)", "0.500 ± 0.000 (n=3)"):
            assert entry in text
        assert "cheats the model" in text
        assert "no interval" not in text
    assert "uniform" not in texts["markdown"].split("**How to read it**")[0]  # it has no model
    assert all(len(line) <= 100 for line in texts["terminal"].splitlines())
    rows = list(csv.DictReader(io.StringIO(tidy_csv(found))))
    (row,) = [r for r in rows if (r["task"], r["quantity"], r["horizon"]) == ("hopper", "error", "50")]
    assert (row["n"], row["expected"], row["values"].count(";"), row["unit"]) == ("2", "3", 2, "sd")
    (gap,) = [row for row in rows if row["quantity"] == "gap"]
    assert (gap["mean"], gap["verdict"], gap["where"], gap["unit"]) == ("840", "cheats the model", "dream", "return")


def test_the_command_prints_and_of_a_suite_without_models_says_why_not(shelf: Path, tmp_path: Path) -> None:
    told_to = [str(shelf / "made-up.yaml"), "--results", str(shelf / "results")]
    shown = CliRunner().invoke(app, ["models", *told_to, "--task", "hopper"])
    assert shown.exit_code == 0
    assert "grows" in shown.output
    assert "pendulum" not in shown.output
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=1)
    bare = CliRunner().invoke(app, ["models", str(file), "--results", str(tmp_path / "results")])
    assert bare.exit_code == 2
    assert "expected records of made-up with rows `model` or `virtual`, found none" in bare.output


def test_the_index_keeps_what_models_are_worth(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tidy_csv(read(shelf))
    monkeypatch.setattr(index, "WORTH", 1)
    monkeypatch.setattr(index, "SETTLED", 0.0)
    read(shelf)
    file = shelf / "results/made-up" / index.NAME
    assert file.exists()
    monkeypatch.setattr(index, "parsed", lambda path: pytest.fail(f"{path} was parsed anew"))
    assert tidy_csv(read(shelf)) == plain
    file.unlink()


def test_only_the_final_evaluation_speaks(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=1)
    record = tmp_path / "results/made-up/pendulum/sac/0.jsonl"
    plant(record, [{**row, "final": False} for row in errors({1: 5.0})] + errors({1: 3.0}))
    (one,) = qualities(read(tmp_path))
    assert one.at("error", 1).tolist() == [3.0]


@pytest.fixture
def of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all figures only those of models are drawn: the others have tests of their own, and take time."""
    save = figures_all.save
    monkeypatch.setattr(
        figures_all, "save", lambda draw, stem: save(draw, stem) if stem.name in ("models", "virtual") else []
    )


@pytest.mark.usefixtures("of_models")
def test_figures_of_models_are_drawn_where_there_are_any_and_to_the_same_bytes(shelf: Path, tmp_path: Path) -> None:
    once, _ = figures_all.write_all(read(shelf), tmp_path / "one")
    again, _ = figures_all.write_all(read(shelf), tmp_path / "two")
    assert [path.name for path in once] == ["models.png", "models.svg", "virtual.png", "virtual.svg"]
    for one, other in zip(once, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    text = once[1].read_text()  # glyphs are paths; each text stands beside them
    assert "pets grows as h^1.50 ± 0.00 (n=3)" in text
    assert "sac grows as h^1.50 ± 0.00 (n=3, 1 diverged)" in text
    assert "cheats the model" in once[3].read_text()


@pytest.mark.usefixtures("of_models")
def test_a_perfect_model_is_no_reason_to_fail(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=1)
    plant(tmp_path / "results/made-up/pendulum/sac/0.jsonl", [{**row, "error": 0.0} for row in errors(dict(FINE))])
    paths, _ = figures_all.write_all(read(tmp_path), tmp_path / "figures")
    assert [path.name for path in paths] == ["models.png", "models.svg"]
    assert "no error above 0" in page([str(file)], tmp_path / "results")


@pytest.fixture(scope="module")
def report(shelf: Path) -> Path:
    path = shelf / "report.html"
    path.write_text(page([str(shelf / "made-up.yaml")], shelf / "results"))
    return path


def test_the_report_tells_of_models_and_carries_their_pictures(report: Path) -> None:
    text = report.read_text()
    assert "0.0354, 0.1061 (n=2 of 3, 1 diverged)" in text
    assert "sac grows as h^1.50 ± 0.00 (n=3, 1 diverged)" in text
    assert "sac: virtual, cheats the model" in text
    assert 'src="data:image/gif;base64,R0lGODlhAQ' in text


def test_a_suite_without_models_has_no_part_on_them(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=1)
    assert "World models" not in page([str(file)], tmp_path / "results").split("</style>")[1]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.mark.parametrize("width", [400, 1400])
def test_in_a_browser_the_models_fit_and_a_seed_is_named(chromium: Any, report: Path, width: int) -> None:
    with opened(chromium, report, width=width) as tab:
        assert all(one == report.as_uri() or one.startswith("data:image/gif") for one in tab.requests)
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.page.locator(".pictures img").count() == 1
        dot = tab.page.locator("circle.seed[data-key='0.1.0']").last
        dot.hover()
        assert tab.page.locator("#tip.on").inner_text().startswith("sac, seed 0: return")
        lines = tab.page.locator("polyline.seed[data-say*='error']")
        assert lines.count() == 9
        assert lines.first.get_attribute("data-say").endswith("at 50 steps")
        assert tab.complaints == []
