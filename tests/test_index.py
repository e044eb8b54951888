"""The index saves time and nothing else: what is read through it is what the records say, whatever befell it."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from analysis import index
from analysis.load import load
from analysis.tables import markdown
from analysis.trials import Results
from tests import bench_index
from tests.slowness import slowness
from tests.synthetic_records import edit_header, edit_last_evaluation, interrupt, read, write_suite

COLUMNS = ("step", "value", "sd", "count", "episode_step", "episode_return", "episode_length")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index from the first record on, which takes up also what was written a moment ago."""
    monkeypatch.setattr(index, "WORTH", 1)
    monkeypatch.setattr(index, "SETTLED", 0.0)


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The records that were parsed."""
    parsed, paths = index.parsed, list[Path]()

    def counted(path: Path) -> index.Columns | None:
        paths.append(path)
        return parsed(path)

    monkeypatch.setattr(index, "parsed", counted)
    return paths


def same(one: Results, other: Results) -> bool:
    """Whether both say the same to the bit: trials, headers, holes, notes, table."""
    trials = [[trial for cell in of.trials.values() for trial in cell] for of in (one, other)]
    return (
        markdown(one) == markdown(other)
        and one.holes == other.holes
        and one.notes == other.notes
        and len(trials[0]) == len(trials[1])
        and all(
            dict(a.header) == dict(b.header)
            and all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in COLUMNS)
            for a, b in zip(*trials, strict=True)
        )
    )


def shelf(root: Path) -> Path:
    """Results with every kind of curve and hole; the suite's folder."""
    write_suite(root, tasks=["pendulum", "dyna-maze", "blocking-maze"], entrants=["sac", "mb-mpc"], seeds=4)
    folder = root / "results" / "made-up"
    interrupt(folder / "pendulum/sac/1.jsonl", 3_100, 20_000)
    torn = (folder / "pendulum/sac/2.jsonl").read_bytes()
    (folder / "pendulum/sac/2.jsonl").write_bytes(torn[: len(torn) // 2])
    edit_last_evaluation(folder / "pendulum/sac/3.jsonl", returns=[None] * 20)
    edit_header(folder / "dyna-maze/sac/3.jsonl", seed=2)
    return folder


@pytest.mark.usefixtures("eager")
def test_the_index_says_what_the_records_say(tmp_path: Path, parses: list[Path]) -> None:
    folder = shelf(tmp_path)
    first = read(tmp_path)
    assert (folder / index.NAME).exists()
    parses.clear()
    again = read(tmp_path)
    assert [path.name for path in parses] == ["2.jsonl"]  # the torn one: only what is finished is kept
    assert same(first, again)
    (folder / index.NAME).unlink()
    assert same(first, read(tmp_path))


@pytest.mark.usefixtures("eager")
def test_a_changed_record_is_read_anew_even_if_size_and_time_are_as_before(tmp_path: Path) -> None:
    record = shelf(tmp_path) / "pendulum/sac/0.jsonl"
    before = read(tmp_path)
    times, content = os.stat(record), record.read_bytes()
    changed = content.replace(b'"step":20000,"returns":[-', b'"step":20000,"returns":[ ')  # a sign less
    assert len(changed) == len(content)
    record.write_bytes(changed)
    os.utime(record, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = read(tmp_path)
    assert after.trials["pendulum", "sac"][0].final > before.trials["pendulum", "sac"][0].final
    assert after.trials["pendulum", "sac"][0].final == read(tmp_path).trials["pendulum", "sac"][0].final


def test_a_record_that_changed_a_moment_ago_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WORTH", 1)
    folder = shelf(tmp_path)
    read(tmp_path)
    assert not (folder / index.NAME).exists()


@pytest.mark.usefixtures("eager")
def test_only_what_is_new_is_parsed_and_what_is_gone_is_a_hole(tmp_path: Path, parses: list[Path]) -> None:
    folder = shelf(tmp_path)
    kept = (folder / "blocking-maze/sac/1.jsonl").read_bytes()
    (folder / "blocking-maze/sac/1.jsonl").unlink()
    assert "blocking-maze / sac / seed 1: missing" in read(tmp_path).hole_lines()
    (folder / "blocking-maze/sac/1.jsonl").write_bytes(kept)
    (folder / "blocking-maze/sac/0.jsonl").unlink()
    parses.clear()
    lines = read(tmp_path).hole_lines()
    assert {"/".join(path.parts[-3:]) for path in parses} == {"blocking-maze/sac/1.jsonl", "pendulum/sac/2.jsonl"}
    assert "blocking-maze / sac / seed 0: missing" in lines
    assert "blocking-maze/sac/0.jsonl" not in index._entries(folder / index.NAME)


@pytest.mark.usefixtures("eager")
def test_a_look_at_one_task_keeps_the_others_in_the_index(tmp_path: Path, parses: list[Path]) -> None:
    shelf(tmp_path)
    read(tmp_path, "made-up", "pendulum")
    read(tmp_path, "made-up", "dyna-maze")
    parses.clear()
    read(tmp_path, "made-up", "pendulum", "dyna-maze")
    assert [path.name for path in parses] == ["2.jsonl"]


@pytest.mark.usefixtures("eager")
def test_a_damaged_index_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shelf(tmp_path)
    whole = read(tmp_path)
    file = folder / index.NAME
    content = file.read_bytes()
    rng = random.Random(0)
    for number in range(40):
        damaged = bytearray(content[: rng.randrange(len(content))] if number % 3 == 0 else content)
        for _ in range(0 if number % 3 == 0 else 3):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        assert same(whole, read(tmp_path))
    file.write_bytes(content)
    monkeypatch.setattr(index, "VERSION", "another")
    with pytest.raises(ValueError, match="expected version another"):
        index._entries(file)
    assert same(whole, read(tmp_path))


@pytest.mark.usefixtures("eager")
def test_an_index_with_pickled_objects_is_not_opened(tmp_path: Path) -> None:
    folder = shelf(tmp_path)
    whole = read(tmp_path)
    np.savez(folder / index.NAME, told=np.array(["{}"], dtype=object), evaluation=0, episode=0)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        index._entries(folder / index.NAME)
    assert same(whole, read(tmp_path))


@pytest.mark.usefixtures("eager")
def test_where_no_index_can_be_written_all_is_shown_as_ever(tmp_path: Path) -> None:
    folder = shelf(tmp_path)
    (folder / index.NAME).mkdir()  # what stands in the way also of root, who may write everywhere
    first = read(tmp_path)
    assert same(first, read(tmp_path))
    assert [path.name for path in folder.glob(".*")] == [index.NAME]


def test_a_small_suite_gets_no_index(tmp_path: Path) -> None:
    write_suite(tmp_path, seeds=2)
    read(tmp_path)
    assert not list((tmp_path / "results").rglob(".*"))


@pytest.mark.usefixtures("eager")
def test_an_index_that_moved_with_its_records_still_tells_the_truth(tmp_path: Path) -> None:
    shelf(tmp_path / "here")
    whole = read(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    edit_header(tmp_path / "there/results/made-up/pendulum/mb-mpc/0.jsonl", commit="1" * 40)
    moved = load(str(tmp_path / "there/made-up.yaml"), tmp_path / "there" / "results")
    assert moved.trials["pendulum", "mb-mpc"][0].header["commit"] == "1" * 40
    assert moved.holes == whole.holes


def test_a_thousand_trials_take_their_share_of_what_ten_thousand_may(tmp_path: Path) -> None:
    cost = bench_index.measure(1_000, tmp_path)
    slow = slowness()
    assert cost.first <= 2.0 * slow
    assert cost.table <= 1.5 * slow  # most of it is the start of the interpreter and what it imports
    assert cost.status <= 1.0 * slow
    assert cost.one_more <= 0.5 * slow
