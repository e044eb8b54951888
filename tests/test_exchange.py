"""Other projects' runs enter with their mark and never as equals; what leaves says what the records say."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.cells import tidy_csv
from analysis.curves import curves
from analysis.figures import caption
from analysis.load import load
from analysis.protocols import UnlikeProtocols
from analysis.tables import markdown
from analysis.trials import Results
from results import record
from tests.synthetic_records import edit_header, interrupt, read, write_suite

ROOT = Path(__file__).resolve().parents[1]
FORMS = {"tidy": "t.csv", "parquet": "t.parquet", "dreamerv3": "d.json.gz", "rliable": "r.npz", "tensorboard": "events"}
MONITOR = '#{"t_start": 100.0, "env_id": "Pendulum-v1"}\nr,l,t\n'


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def enter(form: str, path: Path | list[Path], suite: object, root: Path, *options: object) -> tuple[int, str, str]:
    paths = path if isinstance(path, list) else [path]
    return call("import", form, *paths, "--suite", suite, "--results", root / "results", *options)


def scores(root: Path, *runs: dict[str, Any], name: str = "scores.json") -> Path:
    path = root / name
    path.write_text(json.dumps(runs))
    return path


def run(task: str = "hopper", method: str = "theirs", seed: object = 0, **more: Any) -> dict[str, Any]:
    xs = list(range(0, 50_001, 2_000))
    return {"task": task, "method": method, "seed": seed, "xs": xs, "ys": [x / 10 for x in xs], **more}


def monitor(path: Path, episodes: int = 100, first: float = 0.0, step: float = 1.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{-1000.0 + number:.6f},200,{first + number * step:.6f}" for number in range(episodes)]
    path.write_text(MONITOR + "\n".join(rows) + "\n")
    return path


def made_up(root: Path, **more: Any) -> Path:
    return write_suite(root, tasks=["hopper", "pendulum"], entrants=["sac", "pets"], seeds=3, **more)


# -- there and back ------------------------------------------------------------------------------------------------


def same_curves(ours: Results, theirs: Results, names: dict[str, str]) -> None:
    assert ours.trials
    for (task, entrant), cell in ours.trials.items():
        back = theirs.trials[task, names.get(entrant, entrant)]
        assert [trial.seed for trial in back] == [trial.seed for trial in cell]
        drawn, again = curves(ours.tasks[task], cell), curves(theirs.tasks[task], back)
        np.testing.assert_array_equal(drawn.x, again.x)
        np.testing.assert_array_equal(drawn.seeds, again.seeds)
        np.testing.assert_array_equal(drawn.mean, again.mean)
        assert [trial.final for trial in back] == [trial.final for trial in cell]


@pytest.mark.parametrize("name", ["scores.json", "scores.json.gz"])
def test_curves_that_leave_as_dreamerv3_scores_come_back_the_same(tmp_path: Path, name: str) -> None:
    file = made_up(tmp_path, every=3_000)  # which the budgets are no multiples of
    assert call("export", "dreamerv3", file, "--results", tmp_path / "results", "--out", tmp_path / name)[0] == 0
    code, shown, _ = enter("dreamerv3", tmp_path / name, "back", tmp_path)
    assert (code, shown.split(".")[0]) == (0, "12 records imported")
    same_curves(read(tmp_path), load("back", tmp_path / "results"), {})
    told = [option for ours in ("sac", "pets") for option in ("--entrant", f"their-{ours}={ours}")]
    assert enter("dreamerv3", tmp_path / name, file, tmp_path, *told)[0] == 0
    both = read(tmp_path)
    same_curves(load("back", tmp_path / "results"), both, {"sac": "their-sac", "pets": "their-pets"})
    same_curves(load("back", tmp_path / "results"), both, {})


def test_frames_become_steps_by_the_action_repeat_that_is_told(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["repeated"], entrants=["sac"], seeds=3)
    out = tmp_path / "scores.json"
    assert call("export", "dreamerv3", file, "--results", tmp_path / "results", "--out", out)[0] == 0
    assert max(json.loads(out.read_text())[0]["xs"]) == 40_000  # frames
    code, _, error = enter("dreamerv3", out, "frames", tmp_path)
    assert code == 0
    assert "steps are as the files count them; if these are frames, say so with --action-repeat" in error
    assert load("frames", tmp_path / "results").tasks["repeated"].budget == 40_000
    code, _, error = enter("dreamerv3", out, "steps", tmp_path, "--action-repeat", 2)
    assert (code, error) == (0, "")
    back = load("steps", tmp_path / "results")
    same_curves(read(tmp_path), back, {})
    assert back.tasks["repeated"].frames == 40_000
    assert "action_repeat" not in back.imported["sac"]


# -- in: beside native records -------------------------------------------------------------------------------------


def test_an_imported_run_is_shown_with_its_mark_wherever_it_is_shown(tmp_path: Path) -> None:
    file = made_up(tmp_path)
    assert enter("dreamerv3", scores(tmp_path, *(run(seed=seed) for seed in range(3))), file, tmp_path)[0] == 0
    results = read(tmp_path)
    unknown = "env, card, options, action_repeat, evaluate, checkpoint, packages, config, functions granted"
    note = f"hopper / theirs (imported from dreamerv3; unknown: {unknown}; the final number is the last value of"
    for shown in (markdown(results), " ".join(caption(results))):
        assert note in shown
    assert "| theirs (imported; unknown: 9 fields) |" in markdown(results)
    rows = {row["entrant"]: row for row in csv.DictReader(tidy_csv(results).splitlines()) if row["task"] == "hopper"}
    assert [rows[name]["protocol"] for name in ("sac", "theirs")] == ["hopper----------", "imported"]
    assert call("curves", file, "--results", tmp_path / "results")[0] == 0
    assert results.total == 12 + 3
    record.summarise(tmp_path / "results" / "made-up")
    summary = list(csv.DictReader((tmp_path / "results/made-up/summary.csv").read_text().splitlines()))
    assert [row["protocol"] for row in summary if row["entrant"] == "theirs"] == ["imported"] * 3


def test_what_is_known_of_an_imported_run_and_differs_is_refused(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=3)
    for path in (tmp_path / "results" / "made-up").glob("*/*/*.jsonl"):
        protocol = record.read(path).header["protocol"]
        edit_header(path, protocol={**protocol, "card": {"env_id": "Pendulum-v1", "frame_skip": 2}})
    xs = list(range(0, 80_001, 1_000))
    point = run("pendulum", xs=xs, ys=xs)

    def refused(*options: object) -> str:
        assert enter("dreamerv3", scores(tmp_path, point), file, tmp_path, *options)[0] == 0
        cell = tmp_path / "results" / "made-up" / "pendulum" / "theirs"
        try:
            read(tmp_path)
        except UnlikeProtocols as error:
            return str(error)
        finally:
            (cell / "0.jsonl").unlink()
        return ""

    assert "frames_per_step: 2 above, 4 here" in refused("--action-repeat", 4)
    assert "budget: 20000 above, 10000 here" in refused("--budget", 10_000, "--action-repeat", 2)
    assert refused("--action-repeat", 2) == ""  # one step of two frames each, however it came about
    assert refused() == ""
    text = monitor(tmp_path / "0.monitor.csv").read_text().replace("Pendulum-v1", "Pendulum-v0")
    (tmp_path / "0.monitor.csv").write_text(text)
    told = ("--task", "pendulum", "--entrant", "theirs")
    assert enter("monitor", tmp_path / "0.monitor.csv", file, tmp_path, *told)[0] == 0
    with pytest.raises(UnlikeProtocols, match=r"card\.env_id: 'Pendulum-v1' above, 'Pendulum-v0' here"):
        read(tmp_path)


def test_imported_runs_that_stand_alone_are_held_against_what_the_suite_declares(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=3)
    for path in (tmp_path / "results" / "made-up").glob("*/*/*.jsonl"):
        path.unlink()
    xs = list(range(0, 80_001, 1_000))

    def refused(*options: object) -> str:
        assert enter("dreamerv3", scores(tmp_path, run("pendulum", xs=xs, ys=xs)), file, tmp_path, *options)[0] == 0
        try:
            assert read(tmp_path).tasks["pendulum"].budget == 20_000
        except UnlikeProtocols as error:
            return str(error)
        finally:
            (tmp_path / "results" / "made-up" / "pendulum" / "theirs" / "0.jsonl").unlink()
        return ""

    assert refused() == ""
    said = refused("--budget", 10_000)
    assert "budget: 20000 declared, 10000 imported (theirs/0)" in said
    assert "--suite" in said


def test_an_entrant_is_native_or_imported_and_never_both(tmp_path: Path) -> None:
    file = made_up(tmp_path)
    code, _, error = enter("dreamerv3", scores(tmp_path, run(method="sac", seed=7)), file, tmp_path)
    assert code == 2
    assert "expected a name that no entrant of made-up has, found 'sac'" in error
    file.unlink()
    assert enter("dreamerv3", scores(tmp_path, run(method="sac", seed=7)), "made-up", tmp_path)[0] == 0
    with pytest.raises(UnlikeProtocols, match="either native or imported, found both of sac"):
        load("made-up", tmp_path / "results")


def test_an_imported_run_that_ends_early_is_a_hole(tmp_path: Path) -> None:
    file = made_up(tmp_path)
    short = run(seed=1, xs=[0, 30_000], ys=[1, 2])
    code, _, error = enter("dreamerv3", scores(tmp_path, run(), short), file, tmp_path)
    assert code == 0
    assert "hopper/theirs/1: ends at step 30,000 of 50,000, and will be shown as a hole" in error
    assert "hopper / theirs / seed 1: the imported run ends at step 30,000 of 50,000" in read(tmp_path).hole_lines()
    assert "(n=1 of 2)" in markdown(read(tmp_path))


def test_values_beyond_the_budget_are_left_out_and_told_of(tmp_path: Path) -> None:
    file = made_up(tmp_path)
    code, _, error = enter("dreamerv3", scores(tmp_path, run("pendulum")), file, tmp_path)
    assert code == 0
    assert "pendulum/theirs/0: 15 values beyond the budget of 20,000 steps are left out" in error
    assert read(tmp_path).trials["pendulum", "theirs"][0].step[-1] == 20_000


def test_a_run_without_episodes_has_no_number_where_episodes_count(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["blocking-maze", "cartpole"], entrants=["sac"], seeds=3)
    runs = [run(task, xs=[0, end], ys=[10.0, 20.0]) for task, end in (("blocking-maze", 3_000), ("cartpole", 30_000))]
    assert enter("dreamerv3", scores(tmp_path, *runs), file, tmp_path)[0] == 0
    results = read(tmp_path)
    assert [hole.reason for hole in results.holes] == [
        "the imported file (dreamerv3) has no training episodes, of which this task's numbers are made"
    ]
    assert call("curves", file, "--results", tmp_path / "results")[0] == 0  # cartpole's curve is of training


def test_importing_twice_changes_nothing_and_another_run_takes_no_ones_place(tmp_path: Path) -> None:
    path = scores(tmp_path, run(), run(seed=1))
    assert enter("dreamerv3", path, "mine", tmp_path)[0] == 0
    before = {file: file.read_bytes() for file in (tmp_path / "results").rglob("*.jsonl")}
    code, shown, _ = enter("dreamerv3", path, "mine", tmp_path)
    assert (code, shown.split(".")[0]) == (0, "0 records imported, 2 were there")
    other = scores(tmp_path, run(seed=2), run(seed=1, ys=[0.0] * 26))
    code, _, error = enter("dreamerv3", other, "mine", tmp_path)
    assert code == 2
    assert "1.jsonl: expected no other record there, found one. Nothing was written." in error
    assert {file: file.read_bytes() for file in (tmp_path / "results").rglob("*") if file.is_file()} == before


# -- in: the formats -----------------------------------------------------------------------------------------------


def test_a_tdmpc2_file_is_a_task_with_its_seeds(tmp_path: Path) -> None:
    path = tmp_path / "cheetah-run.csv"
    rows = {3: (0, 100_000, 200_000, 300_000, 400_000), 1: (100_000, 200_000, 400_000)}  # one mark is missing
    text = "".join(f"{step},{step / 1000 + seed},{seed}\n" for seed, steps in rows.items() for step in steps)
    path.write_text("step,reward,seed\n" + text)
    assert enter("tdmpc2", path, "dmc", tmp_path)[0] == 0
    results = load("dmc", tmp_path / "results")
    cell = results.trials["cheetah-run", "tdmpc2"]
    assert [(trial.seed, trial.final) for trial in cell] == [(1, 401.0), (3, 403.0)]
    drawn = curves(results.tasks["cheetah-run"], cell)
    np.testing.assert_array_equal(drawn.x, [0, 1e5, 2e5, 3e5, 4e5])
    np.testing.assert_array_equal(drawn.seeds[0], [np.nan, 101, 201, np.nan, 401])


def test_a_monitor_file_is_a_run_whose_training_episodes_are_its_values(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=3)
    paths = [monitor(tmp_path / f"{number}.monitor.csv", 101) for number in range(3)]
    told = ("--task", "pendulum", "--entrant", "sb3", "--first-seed", 5)
    code, _, error = enter("monitor", paths, file, tmp_path, *told)
    assert code == 0
    assert "pendulum/sb3/5: 1 values beyond the budget" in error
    results = read(tmp_path)
    trial = results.trials["pendulum", "sb3"][0]
    assert [one.seed for one in results.trials["pendulum", "sb3"]] == [5, 6, 7]
    assert trial.final == np.mean(np.arange(-910, -900))  # of the episodes since the last mark
    assert list(trial.step[:2]) == [2_000, 4_000]
    assert list(trial.value[:2]) == [np.mean(np.arange(-1000, -990)), np.mean(np.arange(-990, -980))]
    assert trial.episode_step[-1] == 20_000
    assert "seed" in results.imported["sb3"]
    assert enter("monitor", paths, file, tmp_path, *told[:3], "last-100", "--last", 100)[0] == 0
    assert read(tmp_path).trials["pendulum", "last-100"][0].final == np.mean(np.arange(-1000, -900))
    notes = " ".join(read(tmp_path).notes)
    assert "the final number is the mean of the training episodes since the last mark" in notes
    assert "the final number is the mean of the last 100 training episodes" in notes


def test_a_folder_of_monitor_files_is_one_run_in_the_order_of_time(tmp_path: Path) -> None:
    monitor(tmp_path / "run" / "0.monitor.csv", 3, first=0.0, step=10)
    monitor(tmp_path / "run" / "1.monitor.csv", 3, first=5.0, step=10)
    assert enter("monitor", tmp_path / "run", "mine", tmp_path, "--entrant", "ppo")[0] == 0
    trial = load("mine", tmp_path / "results").trials["pendulum-v1", "ppo"][0]
    assert list(trial.episode_return) == [-1000, -1000, -999, -999, -998, -998]
    assert list(trial.episode_step) == [200, 400, 600, 800, 1000, 1200]


def test_of_several_tasks_and_methods_those_that_are_named_enter(tmp_path: Path) -> None:
    file = made_up(tmp_path)
    runs = [run(task, method) for task in ("gym_hopper", "gym_walker") for method in ("A 1", "B")]
    path = scores(tmp_path, *runs)
    code, _, error = enter("dreamerv3", path, file, tmp_path)
    assert code == 2
    assert "expected a task of made-up (hopper, pendulum), found 'gym_hopper'. Did you mean 'hopper'?" in error
    code, _, error = enter("dreamerv3", path, file, tmp_path, "--task", "hopper=gym_hoper")
    assert "Did you mean 'gym_hopper'?" in error
    code, _, error = enter("dreamerv3", path, file, tmp_path, "--task", "hopper")
    assert "the files have gym_hopper, gym_walker; say which is which: --task OURS=THEIRS" in error
    told = ("--task", "hopper=gym_hopper", "--entrant", "a=A 1")
    assert enter("dreamerv3", path, file, tmp_path, *told)[0] == 0
    assert set(read(tmp_path).trials) - {("hopper", "sac"), ("hopper", "pets")} >= {("hopper", "a")}
    assert not (tmp_path / "results/made-up/hopper/b").exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc", "..", "a/b", "C:\\x", "x" * 200, "\n", "Ä"])
def test_no_name_in_a_file_leads_out_of_the_results(tmp_path: Path, name: str) -> None:
    path = scores(tmp_path, run(name, name))
    enter("dreamerv3", path, "mine", tmp_path)
    enter("dreamerv3", scores(tmp_path, run()), name, tmp_path)
    enter("dreamerv3", scores(tmp_path, run()), "mine", tmp_path, "--task", name)
    written = [file for file in tmp_path.rglob("*") if file.is_file() and file != path]
    assert all(file.is_relative_to(tmp_path / "results" / "mine") for file in written)
    assert all(len(file.relative_to(tmp_path / "results").parts) == 4 for file in written)


BROKEN = [
    ("dreamerv3", "x.json", b"", "x.json:1:1: expected JSON"),
    ("dreamerv3", "x.json", b'[\n{"task": 1,,}]', "x.json:2:12: expected JSON"),
    ("dreamerv3", "x.json", b"[" * 100_000, "x.json: expected JSON"),
    ("dreamerv3", "x.json", b"\xff\xfe\xfd", "x.json: expected JSON"),
    ("dreamerv3", "x.json", b"{}", "x.json: expected a list of runs, each with task"),
    ("dreamerv3", "x.json", b"[]", "x.json: expected a list of runs"),
    ("dreamerv3", "x.json", b"[3]", "x.json: run 0: expected a list of runs, each"),
    ("dreamerv3", "x.json", [{"task": "a", "xs": [1], "ys": [1]}], "found none of method, seed"),
    ("dreamerv3", "x.json", [run(), run(seed="s1")], "x.json: run 1: seed: expected a whole number from 0 on"),
    ("dreamerv3", "x.json", [run(seed=-1)], "run 0: seed: expected a whole number"),
    ("dreamerv3", "x.json", [run(seed=True)], "run 0: seed: expected a whole number"),
    ("dreamerv3", "x.json", [{**run(), "task": 3}], "run 0: task: expected text, found 3"),
    (
        "dreamerv3",
        "x.json",
        [run(xs=[1, 2], ys=[1])],
        "xs and ys: expected two lists of one length, not empty, found 2",
    ),
    ("dreamerv3", "x.json", [run(xs=[], ys=[])], "xs and ys: expected two lists of one length, not empty"),
    ("dreamerv3", "x.json", [run(xs=[1, 2, 1], ys=[1, 2, 3])], "xs[2]: expected no less than the 2 before it, found 1"),
    ("dreamerv3", "x.json", [run(xs=[1, "b"], ys=[1, 2])], "xs[1]: expected a number of steps, found 'b'"),
    ("dreamerv3", "x.json", [run(xs=[1, 1e300], ys=[1, 2])], "xs[1]: expected a number of steps"),
    ("dreamerv3", "x.json", [run(xs=[1, 10**400], ys=[1, 2])], "xs[1]: expected a number of steps"),
    ("dreamerv3", "x.json", [run(xs=[1, 2], ys=[1, [2]])], "ys[1]: expected a number, found [2]"),
    ("dreamerv3", "x.json", [run(), run()], "expected one run of hopper/theirs/0, found two in the files"),
    ("dreamerv3", "x.json.gz", b"not packed", "x.json.gz: expected a file that can be read"),
    ("dreamerv3", "x.json.gz", gzip.compress(b"[]" * 99, mtime=0)[:-9], "x.json.gz: expected a file that can be read"),
    ("dreamerv3", "missing.json", None, "missing.json: expected a file that can be read"),
    ("tdmpc2", "x.csv", b"", "x.csv:1: expected columns step,reward,seed"),
    ("tdmpc2", "x.csv", b"step,reward\n1,2\n", "x.csv:1: expected columns step,reward,seed, found no seed"),
    ("tdmpc2", "x.csv", b"step,reward,seed\n", "x.csv: expected at least one row, found none"),
    ("tdmpc2", "x.csv", b"step,reward,seed\n1,2,0\n3,4\n5,6,0\n", "x.csv:3: expected 3 values (step,reward,seed)"),
    ("tdmpc2", "x.csv", b"step,reward,seed\n1,2,0\n3,4", "x.csv:3: expected 3 values (step,reward,seed), found 3,4 If"),
    ("tdmpc2", "x.csv", b"step,reward,seed\n1,2,0\n3,x,0\n", "x.csv:3: reward: expected a number, found 'x'"),
    ("tdmpc2", "x.csv", b"step,reward,seed\n5,2,0\n3,1,0\n", "x.csv:3: step: expected no less than the 5 before it"),
    ("tdmpc2", "x.csv", b"step,reward,seed\n1,2,0.5\n", "x.csv:2: seed: expected a whole number"),
    ("tdmpc2", "x.csv", b"step,reward,seed\n1,\xff,0\n", "x.csv:2: expected text in UTF-8, found byte 0xff"),
    ("tdmpc2", "x.csv", b'step,reward,seed\n1,"2,0\n', "x.csv:2: expected a row of comma-separated values"),
    ("monitor", "x.csv", b"r,l,t\n1,2,3\n", "x.csv:2: expected columns r,l,t"),
    ("monitor", "x.csv", b"#{}\nr,l,t\n1,2,3\n", 'x.csv:1: expected #{"t_start"'),
    ("monitor", "x.csv", b"#[1]\nr,l,t\n1,2,3\n", 'x.csv:1: expected #{"t_start"'),
    ("monitor", "x.csv", MONITOR.encode() + b"1,0,3\n", "x.csv:3: l: expected a whole number from 1 on, found '0'"),
    ("monitor", "x.csv", MONITOR.encode() + b"1,2,nan\n", "x.csv:3: t: expected a finite number, found nan"),
    ("monitor", "x.csv", MONITOR.encode(), "x.csv: expected at least one row, found none"),
]


@pytest.mark.parametrize(("form", "name", "content", "told"), BROKEN)
def test_a_malformed_file_is_answered_with_the_place_and_nothing_is_written(
    tmp_path: Path, form: str, name: str, content: Any, told: str
) -> None:
    if content is not None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / name).write_bytes(raw)
    code, _, error = enter(form, tmp_path / name, "mine", tmp_path, "--entrant", "theirs")
    assert code == 2
    assert told in error
    assert not (tmp_path / "results").exists()


def test_a_value_that_is_not_finite_stays_a_hole_in_the_curve(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([run(xs=[0, 100, 200], ys=[1.0, float("nan"), 3.0])]))
    assert enter("dreamerv3", path, "mine", tmp_path)[0] == 0
    results = load("mine", tmp_path / "results")
    np.testing.assert_array_equal(results.trials["hopper", "theirs"][0].value, [1, np.nan, 3])
    assert any("not finite when evaluated at step 100" in note for note in results.notes)


# -- out -----------------------------------------------------------------------------------------------------------


def bytes_below(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_records_leave_as_the_same_bytes(tmp_path: Path, form: str) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "pets"], seeds=3)
    outs = [tmp_path / "once" / FORMS[form], tmp_path / "again" / FORMS[form]]
    for out in outs:
        assert call("export", form, file, "--results", tmp_path / "results", "--out", out)[0] == 0
    assert bytes_below(outs[0]) == bytes_below(outs[1]) != {}


@pytest.mark.parametrize("form", FORMS)
def test_a_hole_is_told_of_by_whatever_form_leaves_it_out(tmp_path: Path, form: str) -> None:
    file = made_up(tmp_path)
    interrupt(tmp_path / "results/made-up/hopper/sac/1.jsonl", 3_100, 50_000)
    out = tmp_path / "out" / FORMS[form]
    code, _, error = call("export", form, file, "--results", tmp_path / "results", "--out", out, "--raw")
    if form == "rliable":
        assert (code, out.exists()) == (2, False)
        assert "expected the same seeds of sac in every task, found a hole in hopper (seed 1: unfinished at" in error
    else:
        assert code == 0
        assert "note: hole: hopper / sac / seed 1: unfinished at step 3,100 of 50,000" in error


def test_tidy_and_parquet_hold_each_evaluation_exactly(tmp_path: Path) -> None:
    import duckdb

    file = write_suite(tmp_path, tasks=["pendulum", "repeated"], entrants=["sac", "mb-mpc"], seeds=3)
    point = run("pendulum", xs=[0, 20_000], ys=[-900.5, -200.25])
    assert enter("dreamerv3", scores(tmp_path, point), file, tmp_path)[0] == 0
    for form in ("tidy", "parquet"):
        out = tmp_path / FORMS[form]
        assert call("export", form, file, "--results", tmp_path / "results", "--out", out)[0] == 0
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    frame = read(tmp_path).evaluations
    assert [float(row["value"]) for row in rows] == list(frame["value"])
    assert [float(row["sd"] or "nan") for row in rows] == pytest.approx(list(frame["sd"]), rel=0, nan_ok=True)
    assert {row["frames"] for row in rows if row["task"] == "repeated" and row["final"] == "true"} == {"40000"}
    assert {row["entrant"] for row in rows if row["imported"] == "true"} == {"theirs"}
    assert {row["known"] for row in rows if row["entrant"] == "mb-mpc"} == {"reward"}
    typed = duckdb.read_parquet(str(tmp_path / "t.parquet"))
    assert dict(zip(typed.columns, map(str, typed.types), strict=True))["step"] == "BIGINT"
    found = typed.fetchall()
    assert len(found) == len(rows)
    assert [one[typed.columns.index("value")] for one in found] == list(frame["value"])
    assert [one[typed.columns.index("sd")] for one in found if one[2] == "theirs"] == [None, None]


def test_rliable_gets_matrices_of_runs_and_tasks_with_their_names(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum", "repeated"], entrants=["sac", "pets"], seeds=4)
    out = tmp_path / "r.npz"
    assert call("export", "rliable", file, "--results", tmp_path / "results", "--out", out)[0] == 0
    found = np.load(out, allow_pickle=False)
    results = read(tmp_path)
    assert list(found["_tasks"]) == ["pendulum", "repeated"]
    assert [name for name in found if not name.startswith("_")] == ["sac", "pets"]
    assert list(found["_seeds.sac"]) == [0, 1, 2, 3]
    finals = [trial.final for trial in results.trials["repeated", "pets"]]
    np.testing.assert_allclose(found["pets"][:, 1], (np.array(finals) + 1230) / 3230, rtol=1e-15)


def test_rliable_refuses_a_task_without_a_score(tmp_path: Path) -> None:
    file = made_up(tmp_path)
    told = ("export", "rliable", file, "--results", tmp_path / "results", "--out", tmp_path / "r.npz")
    code, _, error = call(*told)
    assert code == 2
    assert "found none in hopper" in error
    assert call(*told, "--raw")[0] == 0
    values = np.load(tmp_path / "r.npz", allow_pickle=False)["sac"]
    assert values[0, 0] == read(tmp_path).trials["hopper", "sac"][0].final


def test_tensorboard_reads_the_event_files(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=2)
    assert call("export", "tensorboard", file, "--results", tmp_path / "results", "--out", tmp_path / "tb")[0] == 0
    events = EventAccumulator(str(tmp_path / "tb/pendulum/sac/1"))
    events.Reload()
    trial = read(tmp_path).trials["pendulum", "sac"][1]
    assert sorted(events.Tags()["scalars"]) == ["episode/length", "episode/return", "evaluation/return"]
    assert [one.step for one in events.Scalars("evaluation/return")] == list(trial.step)
    np.testing.assert_allclose([one.value for one in events.Scalars("episode/return")], trial.episode_return, rtol=1e-6)


@pytest.mark.parametrize(("form", "package"), [("parquet", "duckdb"), ("tensorboard", "tensorboard")])
def test_a_missing_package_is_answered_with_the_command_that_installs_it(
    tmp_path: Path, form: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made_up(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, error = call("export", form, file, "--results", tmp_path / "results", "--out", tmp_path / "x")
    assert code == 2
    assert f"pip install -c constraints.txt -e '.[{form}]'" in error


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    file = made_up(tmp_path)
    code, _, error = call("export", "tidy", file, "--results", tmp_path / "results", "--out", "/proc/nowhere/t.csv")
    assert code == 4
    assert "/proc/nowhere/t.csv" in error
    path = scores(tmp_path, run())
    code, _, error = call("import", "dreamerv3", path, "--suite", "mine", "--results", "/proc/nowhere")
    assert code == 4
    assert "/proc/nowhere" in error


def test_no_exchange_imports_torch(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=2)
    told = [["import", "dreamerv3", str(scores(tmp_path, run())), "--suite", "mine"]]
    told += [["export", form, str(file), "--out", str(tmp_path / name)] for form, name in FORMS.items()]
    program = (
        "import json, sys; from analysis.__main__ import app\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    app([*arguments, '--results', sys.argv[2]], standalone_mode=False)\n"
        "assert not {'torch', 'tensorflow', 'gymnasium'} & set(sys.modules)\n"
    )
    arguments = [sys.executable, "-c", program, json.dumps(told), str(tmp_path / "results")]
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
