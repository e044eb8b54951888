"""Promises of the gate on scores: its verdicts and exit codes, and that only a tested cell ever passes."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.drops import smallest_drop
from analysis.gate import Gate, judge
from analysis.gate_output import junit, markdown, terminal
from analysis.sides import GateError
from analysis.waivers import Waiver, WaiverError, read_waivers
from suites.spec import load_suite
from tests.synthetic_records import edit_header, edit_last_evaluation, interrupt, write_suite

ALPHA = 0.05
SUITE, TASK = "made-up", "pendulum"
GOOD = [-150.0, -160.0, -140.0, -155.0, -145.0, -152.0, -149.0, -158.0, -151.0, -143.0]
SAME = [-148.0, -153.0, -157.0, -144.0, -150.0]
WORSE = [-300.0, -310.0, -290.0, -305.0, -320.0]
BETTER = [-100.0, -95.0, -98.0, -101.0, -97.0]
TODAY = datetime.date(2026, 1, 15)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# -- verdicts ----------------------------------------------------------------------------------------------------------

Scores = Mapping[tuple[str, str], Sequence[float]]


def write(root: Path, scores: Scores, first: int = 0, tasks: Sequence[str] = (TASK,)) -> Path:
    """A suite file and records below ``root`` in which seed ``first + i`` of a cell ends with its i-th score."""
    shutil.rmtree(root, ignore_errors=True)
    file = write_suite(root, tasks=tasks, entrants=("sac", "uniform"), seeds=1, every=10_000)
    for folder in sorted((root / "results" / SUITE).glob("*/*")):
        template = folder / "0.jsonl"
        written = {}
        for number, value in enumerate(scores.get((folder.parent.name, folder.name), ()), start=first):
            path = written[number] = folder / f"{number}.new"
            shutil.copy(template, path)
            edit_header(path, seed=number)
            metric = "lengths" if folder.parent.name == "dyna-maze" else "returns"
            edit_last_evaluation(path, **{metric: [value]})
        template.unlink()
        for number, path in written.items():
            path.rename(folder / f"{number}.jsonl")
    return file


def both(folder: Path, new: Sequence[float] = SAME, old: Sequence[float] = GOOD, **more: Sequence[float]) -> Path:
    """Two results folders, old and new, in which ``uniform`` is as it was; the suite's file."""
    chance_new, chance_old = more.get("chance_new", SAME), more.get("chance_old", GOOD)
    write(folder / "new", {(TASK, "sac"): new, (TASK, "uniform"): chance_new}, first=10)
    return write(folder / "old", {(TASK, "sac"): old, (TASK, "uniform"): chance_old})


def gate(folder: Path, **more: Any) -> Gate:
    suite = load_suite(folder / "old" / f"{SUITE}.yaml")
    settings = {"rng": rng(), "today": TODAY, **more}
    return judge(suite, folder / "new" / "results", folder / "old" / "results", **settings)


def verdicts(found: Gate) -> dict[str, str]:
    return {cell.entrant: cell.verdict for cell in found.cells}


def record(folder: Path, side: str, seed: int, entrant: str = "sac") -> Path:
    return folder / side / "results" / SUITE / TASK / entrant / f"{seed}.jsonl"


def test_unchanged_scores_pass(tmp_path):
    both(tmp_path)
    found = gate(tmp_path)
    assert (verdicts(found), found.exit_code) == ({"sac": "pass", "uniform": "pass"}, 0)
    cell = found.cells[0]
    assert (cell.new.n, cell.old.n) == (5, 10)
    assert cell.drop == pytest.approx(np.mean(GOOD) - np.mean(SAME))
    assert cell.sees == pytest.approx(smallest_drop(SAME, GOOD, ALPHA / 2))


def test_a_drop_is_a_regression_and_a_rise_is_flagged(tmp_path):
    both(tmp_path, new=WORSE, chance_new=BETTER)
    found = gate(tmp_path)
    assert (verdicts(found), found.exit_code) == ({"sac": "regress", "uniform": "improved"}, 3)
    assert "find out why" in terminal(found)


def test_longer_episodes_are_the_drop_where_the_metric_is_a_length(tmp_path):
    cells = {("dyna-maze", name): values for name, values in (("sac", [14.0] * 10), ("uniform", [500.0] * 10))}
    write(tmp_path / "old", cells, tasks=("dyna-maze",))
    cells = {("dyna-maze", name): values for name, values in (("sac", [16.0] * 5), ("uniform", [400.0] * 5))}
    write(tmp_path / "new", cells, first=10, tasks=("dyna-maze",))
    found = gate(tmp_path)
    assert verdicts(found) == {"sac": "regress", "uniform": "improved"}
    assert [cell.drop for cell in found.cells] == [2.0, -100.0]


@pytest.mark.parametrize(("new", "old"), [(1, 10), (4, 10), (5, 9), (5, 1), (5, 2), (2, 2)])
def test_too_few_seeds_are_never_a_pass(tmp_path, new, old):
    both(tmp_path, new=SAME[:new], old=GOOD[:old], chance_new=SAME[:new])
    found = gate(tmp_path)
    assert (verdicts(found)["sac"], found.exit_code) == ("too few seeds", 5)


def test_too_few_seeds_that_rose_are_no_pass_either(tmp_path):
    both(tmp_path, new=BETTER[:3], chance_new=SAME[:3])
    assert (verdicts(gate(tmp_path))["sac"], gate(tmp_path).exit_code) == ("too few seeds", 5)


def test_a_drop_seen_by_few_seeds_is_a_regression_all_the_same_and_outranks_what_is_open(tmp_path):
    both(tmp_path, new=WORSE[:3], chance_new=SAME[:3])
    found = gate(tmp_path)
    assert (verdicts(found), found.exit_code) == ({"sac": "regress", "uniform": "too few seeds"}, 3)


@pytest.mark.parametrize("side", ["new", "old"])
def test_a_cell_without_records_is_missing_and_no_pass(tmp_path, side):
    both(tmp_path, **{side: []})
    found = gate(tmp_path)
    assert (verdicts(found), found.exit_code) == ({"sac": "missing", "uniform": "pass"}, 5)
    assert f"no {'new' if side == 'new' else 'recorded'} seed was found" in found.cells[0].remarks


def test_a_cell_is_never_dropped_from_the_gate_with_its_last_record(tmp_path):
    both(tmp_path)
    for folder in ("new", "old"):
        shutil.rmtree(tmp_path / folder / "results" / SUITE / TASK / "sac")
    assert (verdicts(gate(tmp_path))["sac"], gate(tmp_path).exit_code) == ("missing", 5)


def test_seeds_that_failed_or_diverged_are_not_left_out_of_account(tmp_path):
    both(tmp_path, new=[*SAME, -150.0], chance_new=[*SAME, -150.0])
    interrupt(record(tmp_path, "new", 15), 500, 20_000, reason="ended with exit code 1")
    edit_last_evaluation(record(tmp_path, "new", 15, "uniform"), returns=[None])
    found = gate(tmp_path)
    assert (verdicts(found), found.exit_code) == ({"sac": "missing", "uniform": "missing"}, 5)
    assert found.cells[0].remarks == ("new seed 15: failed: ended with exit code 1",)
    assert "not finite" in found.cells[1].remarks[0]


def test_seeds_that_left_nothing_behind_are_not_left_out_of_account(tmp_path):
    both(tmp_path, chance_new=GOOD)
    found = gate(tmp_path)
    assert (verdicts(found), found.exit_code) == ({"sac": "missing", "uniform": "pass"}, 5)
    assert found.cells[0].remarks == ("new seeds 15-19: nothing was left behind, though other cells have it",)


def test_seeds_that_were_asked_for_are_expected_of_every_cell(tmp_path):
    both(tmp_path)  # both have seeds 10 to 14
    assert gate(tmp_path, asked=range(10, 15)).exit_code == 0
    found = gate(tmp_path, asked=range(10, 20), entrants=["sac"])
    assert (verdicts(found), found.exit_code) == ({"sac": "missing"}, 5)
    assert found.cells[0].remarks == ("new seeds 15-19: nothing was left behind",)
    suite = tmp_path / "old" / f"{SUITE}.yaml"
    suite.write_text(suite.read_text().replace("seeds: 1", "seeds: 10"))
    assert run(tmp_path, "--seeds", "+5")[0] == 0
    code, said = run(tmp_path, "--seeds", "+6")
    assert (code, "new seed 15: nothing was left behind" in said) == (5, True)
    code, said = run(tmp_path, "--seeds", "5-3")
    assert (code, "nothing was left" in said) == (0, False)
    code, said = run(tmp_path, "--seeds", "six")
    assert (code, "--seeds: expected numbers" in said) == (2, True)


def test_an_entrant_with_seeds_of_its_own_lacks_none_of_those_of_others(tmp_path):
    suite = both(tmp_path, chance_new=GOOD)
    text = suite.read_text().replace("seeds: 1\n", "seeds: 20\n")
    suite.write_text(text.replace("sac: { ", "sac: { seeds: [10, 11, 12, 13, 14], "))
    assert (verdicts(gate(tmp_path)), gate(tmp_path).exit_code) == ({"sac": "pass", "uniform": "pass"}, 0)
    suite.write_text(text.replace("sac: { ", f"sac: {{ seeds_per_task: {{ {TASK}: [10, 11, 12, 13, 14] }}, "))
    assert (verdicts(gate(tmp_path)), gate(tmp_path).exit_code) == ({"sac": "pass", "uniform": "pass"}, 0)
    suite.write_text(text)
    assert verdicts(gate(tmp_path)) == {"sac": "missing", "uniform": "pass"}


def test_unlike_protocols_and_granted_functions_are_not_compared_and_the_fields_are_told(tmp_path):
    both(tmp_path, new=WORSE, chance_new=WORSE)
    for seed in range(10, 15):
        edit_header(record(tmp_path, "new", seed), protocol={"budget": 1}, protocol_hash="other")
        edit_header(record(tmp_path, "new", seed, "uniform"), known=["reward"])
    found = gate(tmp_path)
    assert (verdicts(found), found.exit_code) == ({"sac": "not comparable", "uniform": "not comparable"}, 5)
    assert "protocol.budget: 20000 / 1" in found.cells[0].remarks[0]
    assert "known: [] / ['reward']" in found.cells[1].remarks[0]
    assert "protocol.budget: 20000 / 1" in terminal(found)


def test_other_settings_of_an_agent_are_compared_and_told(tmp_path):
    both(tmp_path)
    for seed in range(10, 15):
        edit_header(record(tmp_path, "new", seed), config={"learning_rate": 0.1})
    found = gate(tmp_path)
    assert found.exit_code == 0
    assert found.cells[0].remarks == ("another config, recorded / new: config.learning_rate: 0.0003 / 0.1",)


def test_seeds_on_both_sides_are_told_with_how_many_repeat_the_record(tmp_path):
    both(tmp_path)
    write(tmp_path / "new", {(TASK, "sac"): [*GOOD[:4], -1.0], (TASK, "uniform"): GOOD[:5]})
    said = gate(tmp_path).cells[0].remarks
    assert said == ("seeds 0-4 on both sides: 4 of 5 repeat the recorded trial, episode for episode",)


def test_a_part_of_the_suite_is_judged_on_request(tmp_path):
    both(tmp_path, new=[], chance_new=SAME)
    found = gate(tmp_path, entrants=["uniform"])
    assert (verdicts(found), found.exit_code, found.tested) == ({"uniform": "pass"}, 0, 1)


# -- waivers -----------------------------------------------------------------------------------------------------------


def waiver(expires: str, cell: str = f"{TASK}/sac") -> dict[str, Waiver]:
    return {
        cell: Waiver(cell=cell, reason="a new reference is on its way", expires=datetime.date.fromisoformat(expires))
    }


def test_a_waived_cell_does_not_count_until_its_last_day_is_over_and_is_shown(tmp_path):
    both(tmp_path, new=WORSE)
    found = gate(tmp_path, waivers=waiver("2026-01-15"))
    assert (verdicts(found)["sac"], found.exit_code) == ("regress", 0)
    assert "waived until 2026-01-15: a new reference is on its way" in terminal(found)
    found = gate(tmp_path, waivers=waiver("2026-01-14"))
    assert found.exit_code == 3
    assert "expired on 2026-01-14" in terminal(found)


def test_a_gate_of_waived_cells_alone_has_tested_nothing_and_does_not_pass(tmp_path):
    both(tmp_path, new=[])
    assert gate(tmp_path, entrants=["sac", "uniform"], waivers=waiver("2026-12-31")).exit_code == 0
    both(tmp_path, new=SAME[:1], chance_new=SAME[:1])
    waivers = waiver("2026-12-31") | waiver("2026-12-31", f"{TASK}/uniform")
    assert gate(tmp_path, waivers=waivers).exit_code == 5


def test_a_waiver_that_nobody_needs_is_told(tmp_path):
    both(tmp_path)
    assert "the waiver is not needed" in terminal(gate(tmp_path, waivers=waiver("2026-12-31")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- cell: pendulum/sak\n  reason: x\n  expires: 2026-01-01", "did you mean pendulum/sac"),
        ("- cell: pendulum/sac\n  reason: x", "expected cell, reason, expires"),
        ("- cell: pendulum/sac\n  reason: x\n  expires: soon", "expected the last day as 2026-12-31, found 'soon'"),
        ("- cell: pendulum/sac\n  reason: ' '\n  expires: 2026-01-01", "expected a reason in words"),
        ("- {cell: [1], reason: x, expires: 2026-01-01}", "expected a cell of the suite"),
        ("cell: pendulum/sac", "expected a list of waivers"),
        ("- 3", "waiver 1: expected cell, reason, expires"),
        ("- [", "expected a YAML file"),
        ("- !!python/object/apply:os.system [ls]", "expected a YAML file"),
    ],
)
def test_a_faulty_waiver_file_is_refused_with_its_fault(tmp_path, text, said):
    file = tmp_path / "waivers.yaml"
    file.write_text(text)
    with pytest.raises(WaiverError, match=said.replace("[", r"\[")):
        read_waivers(file, [f"{TASK}/sac", f"{TASK}/uniform"])


def test_a_waiver_file_says_cell_reason_and_last_day(tmp_path):
    file = tmp_path / "waivers.yaml"
    file.write_text("- cell: pendulum/sac\n  reason: a new reference is on its way\n  expires: 2026-12-31\n")
    assert read_waivers(file, [f"{TASK}/sac"]) == waiver("2026-12-31")
    file.write_text("# none at present\n")
    assert read_waivers(file, []) == {}


# -- the command -------------------------------------------------------------------------------------------------------


def run(folder: Path, *options: str) -> tuple[int, str]:
    suite, old, new = folder / "old" / f"{SUITE}.yaml", folder / "old" / "results", folder / "new" / "results"
    words = ["gate", str(suite), "--against", str(old), "--results", str(new), *options]
    ended = CliRunner().invoke(app, words)
    return ended.exit_code, ended.output


@pytest.mark.parametrize(("new", "code"), [(SAME, 0), (WORSE, 3), (SAME[:2], 5), ([], 5), (BETTER, 0)])
def test_the_exit_code_says_passed_dropped_or_not_tested(tmp_path, new, code):
    both(tmp_path, new=new)
    assert run(tmp_path)[0] == code


def test_a_waiver_may_name_an_entrant_whose_seeds_are_its_own(tmp_path):
    suite = both(tmp_path)
    text = suite.read_text()
    suite.write_text(text.replace("sac: { ", "sac: { seeds: [7], "))
    assert suite.read_text() != text
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("- cell: pendulum/sac\n  reason: a new reference is on its way\n  expires: 2999-12-31\n")
    code, said = run(tmp_path, "--waivers", str(waivers))
    assert (code, "the waiver is not needed" in said) == (0, True)


def test_the_same_records_give_the_same_words(tmp_path):
    both(tmp_path)
    assert run(tmp_path) == run(tmp_path)


def test_a_suite_or_record_that_cannot_be_read_is_exit_code_2(tmp_path):
    both(tmp_path)
    record(tmp_path, "new", 12).write_text("{}\n")
    code, said = run(tmp_path)
    assert (code, "12.jsonl:1" in said) == (2, True)
    both(tmp_path)
    lines = record(tmp_path, "old", 3).read_text().splitlines()
    record(tmp_path, "old", 3).write_text("\n".join(lines[:-1]) + "\n")
    code, said = run(tmp_path)
    assert (code, "expected a last row `end`" in said) == (2, True)
    shutil.copy(record(tmp_path, "old", 2), record(tmp_path, "old", 3))
    code, said = run(tmp_path)
    assert (code, "Put it back where it belongs" in said) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alpha", "1.5"], "expected 0 < --alpha < 1"),
        (["--drop", "0"], "--drop above 0"),
        (["--entrant", "sak"], "did you mean sac"),
        (["--waivers", "nowhere.yaml"], "nowhere.yaml"),
        (["--results", "nowhere"], "found none. Make them with"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_exit_code_2_and_named(tmp_path, options, said):
    both(tmp_path)
    code, output = run(tmp_path, *options)
    assert (code, said in output) == (2, True)


def test_one_folder_is_not_compared_with_itself(tmp_path):
    both(tmp_path)
    with pytest.raises(GateError, match="expected two folders"):
        judge(
            load_suite(tmp_path / "old" / f"{SUITE}.yaml"),
            tmp_path / "old/results",
            tmp_path / "old/results",
            rng=rng(),
        )


def test_junit_counts_regressions_as_failures_what_is_open_as_errors_and_waivers_as_skipped(tmp_path):
    both(tmp_path, new=WORSE[:4], chance_new=SAME[:4])
    found = ElementTree.fromstring(junit(gate(tmp_path)))
    suite = found.find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2", "failures": "1", "errors": "1", "skipped": "0",
    }  # fmt: skip
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["sac"].get("classname") == f"{SUITE}.{TASK}"
    assert [child.tag for child in cases["sac"]] == ["failure"]
    assert cases["uniform"].find("error").get("message") == "too few seeds"
    suite = ElementTree.fromstring(junit(gate(tmp_path, waivers=waiver("2026-12-31")))).find("testsuite")
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")


def test_hostile_words_of_a_record_stay_words_in_every_output(tmp_path):
    both(tmp_path, new=[*SAME, 0.0])
    interrupt(record(tmp_path, "new", 15), 5, 10, reason="<script>alert(1)</script> | `x` \x1b[31m \x00")
    found = gate(tmp_path)
    case = next(ElementTree.fromstring(junit(found)).iter("error"))
    assert "<script>" in str(case.text)
    assert "<script>" not in markdown(found).replace("\\<", "")
    for text in (terminal(found), markdown(found), junit(found).decode()):
        assert not {"\x1b", "\x00"} & set(text)


def test_junit_and_markdown_are_written_where_they_are_asked_for(tmp_path):
    both(tmp_path, new=WORSE)
    out = tmp_path / "out"
    assert run(tmp_path, "--junit", str(out / "gate.xml"), "--markdown", str(out / "gate.md"))[0] == 3
    assert ElementTree.parse(out / "gate.xml").getroot().tag == "testsuites"
    said = (out / "gate.md").read_text()
    assert said.startswith("### gate made-up: regression (1 regress, 1 pass)\n")
    assert "| pendulum | sac | 5 against 10 |" in said
