"""A record says what was written or says that it can't; it is published once; what is written atomically is whole."""

from __future__ import annotations

import csv
import json
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import record
from suites.runner import checkpoint
from suites.runner.header import differences, refuse_other_trial

KILLS = 50
HEADER = {"kind": "header", "schema": 1, "suite": "s", "task": "t", "entrant": "e", "seed": 0, "protocol_hash": "ab12"}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def rows_of(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"kind": "episode", "step": step, "return": step / 3, "length": 1, "env": 0} for step in range(count)
    ]
    evaluation = {"kind": "evaluation", "step": count, "returns": [0.1, 0.3], "lengths": [1, 2], "final": True}
    return [*rows, evaluation, {"kind": "end", "step": count, "updates": 7}]


def written(path: Path, rows: list[dict[str, Any]], **header: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(record.encode(row) for row in ({**HEADER, **header}, *rows)))
    return path


def without_holes(value: Any) -> Any:
    """The value with None for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [without_holes(item) for item in value]
    if isinstance(value, dict):
        return {key: without_holes(item) for key, item in value.items()}
    return value


# -- reading what was written --------------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=150)
@given(rows=st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=4))
def test_what_is_written_is_read_to_the_bit_and_what_is_not_finite_is_null(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.jsonl"
    rows = [{**row, "kind": "model"} for row in rows]
    written(path, rows)
    assert repr(record.read(path).rows) == repr(without_holes(rows))


def test_a_record_cut_off_anywhere_is_read_up_to_there_and_is_unfinished(tmp_path: Path) -> None:
    whole = written(tmp_path / "0.jsonl", rows_of(4)).read_bytes()
    path = tmp_path / "cut.jsonl"
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        found = record.read(path)
        assert not found.finished
        assert found.rows == rows_of(4)[: whole[:length].count(b"\n") - 1]
    for length in range(first):
        path.write_bytes(whole[:length])
        with pytest.raises(record.RecordError, match=r"cut\.jsonl:1: expected a header row"):
            record.read(path)
    path.write_bytes(whole)
    assert record.read(path).finished


@pytest.mark.parametrize("broken", [b'{"kind":"epi', b"", b"\xff\xfe", b"12", b"null", b'"text"', b'{"step":1}'])
def test_a_broken_line_is_named_by_its_file_and_number(tmp_path: Path, broken: bytes) -> None:
    lines = written(tmp_path / "0.jsonl", rows_of(4)).read_bytes().split(b"\n")
    lines[2] = broken
    (tmp_path / "0.jsonl").write_bytes(b"\n".join(lines))
    with pytest.raises(record.RecordError, match=r"0\.jsonl:3: expected .* found"):
        record.read(tmp_path / "0.jsonl")


def test_a_record_of_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = written(tmp_path / "0.jsonl", rows_of(1), schema=record.SCHEMA + 1)
    with pytest.raises(
        record.RecordError, match=f"schema {record.SCHEMA + 1}, this program reads up to {record.SCHEMA}"
    ):
        record.read(path)


# -- publishing ----------------------------------------------------------------------------------------------------


def test_a_writer_goes_on_from_what_an_earlier_attempt_had_written(tmp_path: Path) -> None:
    writer = record.Writer(tmp_path / "rows-1.jsonl", record.encode(HEADER))
    writer.write(rows_of(0)[-1])
    assert writer.content() == record.encode(HEADER) + record.encode(rows_of(0)[-1])
    assert writer.publish(tmp_path / "0.jsonl")
    assert record.read(tmp_path / "0.jsonl").finished
    assert not (tmp_path / "rows-1.jsonl").exists()


def test_of_many_writers_exactly_one_publishes(tmp_path: Path) -> None:
    for round_ in range(20):
        final = tmp_path / f"{round_}.jsonl"
        writers = [record.Writer(tmp_path / f"rows-{i}.jsonl", record.encode({**HEADER, "seed": i})) for i in range(8)]
        start = threading.Barrier(8)
        won: list[int] = []

        def publish(i: int, final: Path = final, writers: Any = writers, start: Any = start, won: Any = won) -> None:
            start.wait()
            if writers[i].publish(final):
                won.append(i)

        threads = [threading.Thread(target=publish, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert record.read(final).header["seed"] == won[0]
    assert list(tmp_path.glob("rows-*")) == []


# -- the summary ---------------------------------------------------------------------------------------------------


def test_a_summary_is_sorted_by_number_and_does_not_depend_on_when_it_is_made(tmp_path: Path) -> None:
    names = [(task, entrant, seed) for task in ("b", "a") for entrant in ("y", "x") for seed in (10, 2, 0)]
    random.Random(0).shuffle(names)
    for task, entrant, seed in names:
        path = record.record_path(tmp_path, "s", task, entrant, seed)
        written(path, rows_of(3), task=task, entrant=entrant, seed=seed)
        first = record.summarise(tmp_path / "s").read_bytes()
    assert record.summarise(tmp_path / "s").read_bytes() == first
    rows = list(csv.DictReader(first.decode().splitlines()))
    assert [(row["task"], row["entrant"], int(row["seed"])) for row in rows] == sorted(names)
    assert {row["return_mean"] for row in rows} == {"0.2"}
    assert {row["training_episodes"] for row in rows} == {"3"}


def test_a_summary_has_no_row_for_what_is_not_finished_and_no_mean_over_a_hole(tmp_path: Path) -> None:
    rows = rows_of(3)
    rows[-2]["returns"] = [1.0, float("nan")]
    written(record.record_path(tmp_path, "s", "t", "e", 0), rows)
    written(record.record_path(tmp_path, "s", "t", "e", 1), rows_of(3)[:-1], seed=1)
    written(record.work_folder(record.record_path(tmp_path, "s", "t", "e", 2)) / "rows-9.jsonl", rows_of(3), seed=2)
    found = list(csv.DictReader(record.summarise(tmp_path / "s").read_text().splitlines()))
    assert [(row["seed"], row["return_mean"], row["return_sd"]) for row in found] == [("0", "", "")]


# -- files under fire ----------------------------------------------------------------------------------------------


def under_fire(write: Callable[[int], None], check: Callable[[], None]) -> None:
    """Let new processes call ``write`` with rising numbers and kill each in a later call than its first.

    ``check`` is called after every death.
    """
    rng = random.Random(4)
    for number in range(0, KILLS * 10_000, 10_000):
        told, tell = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            for later in range(10_000):
                write(number + later)
                os.write(tell, b".")
            os._exit(0)
        assert os.read(told, 1)
        time.sleep(rng.uniform(0.0, 3.0) * (time.monotonic() - began))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        os.close(told)
        os.close(tell)
        check()


def test_a_file_replaced_atomically_is_whole_whenever_its_writer_dies(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps([0]))
    numbers: set[int] = set()

    def check() -> None:
        found = json.loads(path.read_text())
        assert found == [found[0]] * len(found)
        numbers.add(found[0])

    under_fire(lambda n: record.write_atomically(path, json.dumps([n] * (1 + n * 997 % 20_000)).encode()), check)
    assert len(numbers) == KILLS


def test_a_checkpoint_is_whole_whenever_its_writer_dies(tmp_path: Path) -> None:
    def write(number: int) -> None:
        running = {"0": {"running": True, "actions": np.full(500, number)}}
        state = {"gate": {"running": running, "steps": number}}

        def save(folder: Path) -> None:
            for name in ("one", "other"):
                (folder / name).write_bytes(bytes(str(number), "ascii") * 2000)

        checkpoint.write(tmp_path, number, state, record.encode({"number": number}), save)

    seen: set[int] = set()

    def check() -> None:
        saved = checkpoint.newest(tmp_path)
        assert saved is not None
        state = saved.state()
        number = state["gate"]["steps"]
        assert saved.record() == record.encode({"number": number})
        assert (state["gate"]["running"]["0"]["actions"] == np.full(500, number)).all()
        assert {(saved.agent / name).read_bytes() for name in ("one", "other")} == {bytes(str(number), "ascii") * 2000}
        seen.add(number)

    under_fire(write, check)
    assert len(seen) == KILLS
    checkpoint.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_differs_between_two_settings_is_named_by_its_place() -> None:
    before = {"budget": 5, "config": {"rollouts": 8, "hidden": [64, 64], "old": 1}}
    now = {"budget": 5, "config": {"rollouts": 4, "hidden": [64], "new": None}}
    told = ["config.rollouts: 8 -> 4", "config.hidden: [64, 64] -> [64]", "config.old: 1 -> None"]
    assert differences(before, now) == told
    assert differences(before, before) == []


def test_a_save_is_resumed_only_by_the_trial_that_wrote_it(tmp_path: Path) -> None:
    """Also where the suite asks for the same: an agent's default may have changed."""
    fields = ("env", "agent", "budget", "action_repeat", "asked", "known", "protocol_hash")
    before = dict.fromkeys(fields, 1) | {"config": {"rollouts": 8}, "commit": "a"}
    refuse_other_trial(before, before | {"commit": "b"}, tmp_path)
    with pytest.raises(ValueError, match=r"config\.rollouts: 8 -> 4") as refused:
        refuse_other_trial(before, before | {"config": {"rollouts": 4}}, tmp_path)
    assert f"remove {tmp_path}" in str(refused.value)
