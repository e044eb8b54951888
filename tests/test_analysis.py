"""Promises of the analysis: holes always shown, unlike protocols never side by side, no torch."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.cells import tidy_csv
from analysis.figures import caption
from analysis.load import LoadError, load
from analysis.protocols import UnlikeProtocols
from analysis.tables import markdown, terminal
from suites.spec import protocol_hash
from tests.synthetic_records import edit_header, edit_last_evaluation, interrupt, read, write_suite

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the suite `made-up`: hopper and pendulum, three entrants, five seeds. Only read."""
    root = tmp_path_factory.mktemp("shelf")
    write_suite(root)
    return root


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_every_expected_trial_is_data_or_a_hole(shelf: Path) -> None:
    results = read(shelf)
    assert results.total == 2 * 3 * 5
    assert not results.holes
    assert not results.notes
    evaluations = results.evaluations
    assert list(evaluations) == ["task", "entrant", "seed", "step", "value", "sd", "episodes", "final"]
    assert len(evaluations) == 3 * 5 * (25 + 1) + 3 * 5 * (10 + 1)
    assert evaluations["final"].sum() == 30
    assert set(evaluations.loc[evaluations["final"], "episodes"]) == {20}
    assert len(results.episodes) == 3 * 5 * (50_000 // 400) + 3 * 5 * (20_000 // 200)


def test_each_dropped_record_is_visible_in_table_and_figure(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum", "dyna-maze"], entrants=["sac", "uniform"], seeds=3)
    records = sorted((tmp_path / "results" / "made-up").glob("*/*/*.jsonl"))
    assert len(records) == 12
    for record in records:
        kept = record.read_bytes()
        record.unlink()
        results = read(tmp_path)
        told = f"{record.parts[-3]} / {record.parts[-2]} / seed {record.stem}: missing"
        assert told in terminal(results, width=100, colour=False)
        assert told in markdown(results)
        assert told in " ".join(caption(results))
        assert "(n=2 of 3)" in markdown(results)
        row = next(r for r in csv.DictReader(io.StringIO(tidy_csv(results))) if r["n"] != r["expected"])
        assert (row["task"], row["entrant"], row["n"], row["low"]) == (*record.parts[-3:-1], "2", "")
        record.write_bytes(kept)


def test_a_hole_says_why(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=8)
    cell = tmp_path / "results" / "made-up" / "pendulum" / "sac"
    (cell / "0.jsonl").unlink()
    interrupt(cell / "1.jsonl", 3_100, 20_000)
    interrupt(cell / "2.jsonl", 3_100, 20_000, reason="killed 3 times\nwithout getting further")
    torn = (cell / "3.jsonl").read_bytes()
    (cell / "3.jsonl").write_bytes(torn[: len(torn) // 2])
    (cell / "4.jsonl").write_bytes(b"not json\n" + torn)
    edit_header(cell / "5.jsonl", schema=99)
    edit_last_evaluation(cell / "6.jsonl", returns=[None] * 20)
    results = read(tmp_path)
    reasons = {hole.seed: hole.reason for hole in results.holes}
    assert reasons[0] == "missing"
    assert reasons[1] == "unfinished at step 3,100 of 20,000"
    assert reasons[2] == "failed: killed 3 times without getting further"
    assert reasons[3].startswith("torn record pendulum/sac/3.jsonl")
    assert reasons[4].startswith("unreadable record: pendulum/sac/4.jsonl:1")
    assert "schema 99" in reasons[5]
    assert reasons[6] == "the final evaluation has a return that is not finite"
    assert [trial.seed for trial in results.trials["pendulum", "sac"]] == [7]
    assert "(n=1 of 8)" in markdown(results)
    for reason in reasons.values():
        assert reason in " ".join(caption(results))


def test_many_holes_of_one_kind_take_one_line_and_none_is_left_out(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=12)
    for seed in (1, 3, 4, 5, 6, 11):
        (tmp_path / f"results/made-up/pendulum/sac/{seed}.jsonl").unlink()
    assert read(tmp_path).hole_lines() == ["pendulum / sac / seeds 1, 3-6, 11: missing"]


def test_a_record_in_the_wrong_place_is_a_hole(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=2)
    cell = tmp_path / "results" / "made-up" / "pendulum" / "sac"
    (cell / "1.jsonl").write_bytes((cell / "0.jsonl").read_bytes())
    assert "its header says that it is pendulum/sac/0" in read(tmp_path).holes[0].reason


def test_records_of_two_protocols_are_refused_and_the_fields_printed(tmp_path: Path) -> None:
    write_suite(tmp_path, seeds=2)
    for record in (tmp_path / "results" / "made-up" / "hopper" / "sac").glob("*.jsonl"):
        protocol = json.loads(record.read_text().split("\n")[0])["protocol"]
        protocol["packages"]["gymnasium"] = "1.5.0"
        edit_header(record, protocol={**protocol, "sticky": 0.25}, protocol_hash="feedfacefeedface")
    with pytest.raises(UnlikeProtocols) as refused:
        read(tmp_path)
    for told in ("hopper", "sac (seeds 0-1)", "packages.gymnasium: '1.4.0' above, '1.5.0' here", "sticky"):
        assert told in str(refused.value)
    assert read(tmp_path, "made-up", "pendulum").tasks.keys() == {"pendulum"}  # the other task can be shown
    code, shown, error = invoke("table", str(tmp_path / "made-up.yaml"), "--results", str(tmp_path / "results"))
    assert (code, shown) == (2, "")
    assert "packages.gymnasium" in error


def test_seeds_that_ran_under_two_configs_are_told_of(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=3)
    edit_header(tmp_path / "results/made-up/pendulum/sac/2.jsonl", config={"learning_rate": 0.1})
    results = read(tmp_path)
    told = "pendulum / sac: seeds 0-1 and 2 differ in config.learning_rate: 0.0003 / 0.1"
    assert results.notes == [told]
    assert told in markdown(results)
    assert told in " ".join(caption(results))


def test_a_suite_changed_since_its_records_is_told_of(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "uniform"], seeds=2)
    file.write_text(file.read_text().replace("20000", "30000").replace("seeds: 2", "seeds: 1"))
    changed, stray = read(tmp_path).notes
    assert changed.endswith("budget: 30000 / 20000")
    assert stray == "left out, for the suite does not declare them: pendulum/sac/1, pendulum/uniform/1"


def test_records_without_their_suite_file_are_shown_as_they_are(tmp_path: Path) -> None:
    write_suite(tmp_path, seeds=3).unlink()
    results = load("made-up", tmp_path / "results")
    assert results.tasks.keys() == {"hopper", "pendulum"}
    assert results.tasks["hopper"].threshold == 2000
    assert "no suite file made-up.yaml" in markdown(results)


@pytest.mark.parametrize(("asked", "meant"), [("made-upp", "made-up"), ("quickstrat", "quickstart")])
def test_an_unknown_suite_is_answered_with_the_nearest_name(shelf: Path, asked: str, meant: str) -> None:
    code, _, error = invoke("table", asked, "--results", str(shelf / "results"))
    assert code == 2
    assert f"Did you mean {meant!r}?" in error


def test_an_unknown_task_is_answered_with_the_nearest_name(shelf: Path) -> None:
    with pytest.raises(LoadError, match="Did you mean 'hopper'"):
        read(shelf, "made-up", "hoper")


def test_a_suite_without_records_says_how_to_make_them(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="python -m suites run"):
        load(str(shelf / "made-up.yaml"), tmp_path)


def test_table_and_curves_are_written_beside_the_records_of_a_readers_own_suite(tmp_path: Path) -> None:
    file = write_suite(tmp_path, name="my-own", tasks=["pendulum"], entrants=["sac", "uniform"], seeds=3)
    told = [str(file), "--results", str(tmp_path / "results")]
    folder = tmp_path / "results" / "my-own"
    code, shown, error = invoke("table", *told)
    assert code == 0
    assert "(n=3)" in shown
    assert str(folder / "table.md") in error
    assert (folder / "table.md").read_text() == markdown(read(tmp_path, "my-own"))
    code, shown, _ = invoke("curves", *told)
    assert shown.split() == [str(folder / "figures" / f"curves.{kind}") for kind in ("png", "svg")]
    code, shown, _ = invoke("table", *told, "--format", "csv")
    assert shown == tidy_csv(read(tmp_path, "my-own"))
    code, _, error = invoke("table", *told, "--format", "csv", "--out", str(tmp_path / "deep" / "table.csv"))
    assert (tmp_path / "deep" / "table.csv").read_text() == shown
    assert code == 0


def test_a_table_of_one_task_leaves_the_written_one_alone(tmp_path: Path) -> None:
    file = write_suite(tmp_path, seeds=1)
    invoke("table", str(file), "--results", str(tmp_path / "results"), "--task", "hopper")
    assert not (tmp_path / "results" / "made-up" / "table.md").exists()


def test_a_file_that_cannot_be_written_is_named(shelf: Path) -> None:
    told = ["table", str(shelf / "made-up.yaml"), "--results", str(shelf / "results"), "--format", "csv"]
    code, _, error = invoke(*told, "--out", "/proc/nowhere/table.csv")
    assert code == 4
    assert "/proc/nowhere/table.csv" in error


def test_the_analysis_never_imports_torch(shelf: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from analysis.__main__ import app\n"
        "for arguments in (['table'], ['curves', '--out', sys.argv[3]]):\n"
        "    app([arguments[0], sys.argv[1], '--results', sys.argv[2], *arguments[1:]], standalone_mode=False)\n"
        "assert not {'torch', 'gymnasium', 'stable_baselines3'} & set(sys.modules)\n"
    )
    told = [str(shelf / "made-up.yaml"), str(shelf / "results"), str(tmp_path)]
    subprocess.run([sys.executable, "-c", program, *told], cwd=ROOT, check=True, capture_output=True)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from analysis.__main__ import app\n"
        "assert CliRunner().invoke(app, ['table', '--help']).exit_code == 0\n"
        "assert not {'numpy', 'pandas', 'matplotlib', 'scipy', 'suites.spec', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def test_an_option_that_an_environment_got_since_does_not_part_its_records(tmp_path: Path, monkeypatch: Any) -> None:
    write_suite(tmp_path, seeds=2)
    first, second = sorted((tmp_path / "results/made-up/hopper/sac").glob("*.jsonl"))
    protocol = json.loads(first.read_text().split("\n")[0])["protocol"]
    hashed = lambda options: {"protocol": (p := {**protocol, "options": options}), "protocol_hash": protocol_hash(p)}
    now = {"id": "Hopper-v5", "truncated_obs": False, "x_in_obs": False}
    for record in (tmp_path / "results/made-up/hopper").glob("*/*.jsonl"):
        edit_header(record, **hashed(now))
    edit_header(first, **hashed({"id": "Hopper-v5", "truncated_obs": False}))  # before there was x_in_obs
    assert len(read(tmp_path, "made-up", "hopper").trials["hopper", "sac"]) == 2
    edit_header(second, **hashed({**now, "x_in_obs": True}))
    with pytest.raises(UnlikeProtocols, match="x_in_obs: False above, True here"):
        read(tmp_path, "made-up", "hopper")


def test_a_setting_that_an_agent_got_since_does_not_part_its_records(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=4)
    cell = tmp_path / "results/made-up/pendulum/sac"
    weighed = {"learning_rate": 0.001, "model_weight_decay": [2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4]}
    edit_header(cell / "0.jsonl", agent="agents.mbpo", config={"learning_rate": 0.001})  # before weights decayed by it
    edit_header(cell / "1.jsonl", agent="agents.mbpo", config=weighed)
    for seed in (2, 3):
        edit_header(cell / f"{seed}.jsonl", agent="agents.mbpo", config={**weighed, "model_weight_decay": 0.0})
    (told,) = read(tmp_path).notes
    assert told.startswith("pendulum / sac: seeds 0-1 and 2-3 differ in config.model_weight_decay: (2.5e-05, 5e-05")
    assert told.endswith("/ 0.0")
