"""Keeps what the analysis reads of a suite's records in one file beside them, so that only new records are parsed.

The file `.index.npz` is derived: it may be deleted at any time, git ignores it, and where it can't be written the
records are read each time. An entry counts only while its record is the very file that was read (size, inode, times
of change), and only if that record had been at rest when it was read: one changed twice within a tick of the clock
would carry the same times. Whatever is wrong with the file itself, the records are read instead.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.scores import Array
from results.record import SCHEMA, read, write_atomically

NAME = ".index.npz"
VERSION = f"4.{SCHEMA}"  # to be raised with any change of what is kept or how it is computed
WORTH = 100  # records; fewer are parsed as quickly as their index is read
SETTLED = 2.0  # seconds without change before a record counts as at rest; the coarsest file systems count in such ticks

EVALUATION = ("step", "final", "returns", "return_mean", "return_sd", "lengths", "length_mean", "length_sd")
EPISODE = ("step", "return", "length")
MODEL = (
    "horizon", "windows", "diverged", "pixel", "error", "reward_error", "reward_correlation", "ends", "accuracy",
    "brier", "false_alarms", "within_1", "within_2", "gradient",
)  # fmt: skip
VIRTUAL = ("dream", "mode", *(f"{side}{of}" for side in ("", "real_") for of in EVALUATION[2:]))
TABLES = {"evaluation": EVALUATION, "episode": EPISODE, "model": MODEL, "virtual": VIRTUAL}

Stamp = tuple[int, ...]  # size, time of change of the content and of the entry, inode


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A finished record as columns: its header, its evaluations, its training episodes, what its model is worth."""

    header: Mapping[str, Any] = field(repr=False)
    evaluation: Array  # [EVALUATION, rows]; `returns` and `lengths` are how many there were
    episode: Array  # [EPISODE, rows]
    model: Array  # [MODEL, rows] of the final evaluation; NaN for what a model does not predict, or null
    virtual: Array  # [VIRTUAL, rows] of it; `dream`: 1, or 0 in the environment trained in; `mode`: see `_of_virtual`


@dataclass(frozen=True)
class _Entry:
    stamp: Stamp
    shared: str  # the header without its seed, as JSON: the seeds of a cell have it in common
    seed: int
    tables: Mapping[str, Array]  # by their names in TABLES


class Index:
    """Reads finished records through the index of the suite's folder; `save` takes up what was new."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / NAME
        self._headers: dict[str, dict[str, Any]] = {}
        self._entries: dict[str, _Entry] = {}
        self._new = 0
        with contextlib.suppress(Exception):  # a damaged file can fail in any way, and then the records are read
            self._entries = _entries(self.file)

    def read(self, path: Path) -> Columns | None:
        """The record at ``path``, which lies in the index's folder; None if it has no last row.

        Raises:
            RecordError: the record cannot be read.
            OSError: neither can its file.
        """
        name = "/".join(path.parts[-3:])
        stamp = _stamp(path)
        entry = self._entries.get(name)
        if entry is None or entry.stamp != stamp:
            began = time.time()
            columns = parsed(path)
            at_rest = _stamp(path) == stamp and max(stamp[1:3]) < (began - SETTLED) * 1e9
            if columns and at_rest and type(columns.header.get("seed")) is int:
                self._entries[name] = _entry(stamp, columns)
                self._new += 1
            return columns
        shared = self._headers.get(entry.shared)
        if shared is None:
            shared = self._headers[entry.shared] = json.loads(entry.shared)
        return Columns(header={**shared, "seed": entry.seed}, **entry.tables)

    def save(self, present: Container[str]) -> None:
        """Write what was read anew, without the records that are no longer ``present`` (task/entrant/seed.jsonl)."""
        if not self._new:
            return
        kept = {name: entry for name, entry in self._entries.items() if name in present}
        if len(kept) >= WORTH:
            with contextlib.suppress(OSError):  # a folder that is only read, or a full disk: nothing is lost
                write_atomically(self.file, _packed(kept))
        self._new = 0


def parsed(path: Path) -> Columns | None:
    """The record at ``path`` read from its file, as `Index.read` gives it."""
    record = read(path)
    if not record.finished:
        return None
    evaluations = [
        (row["step"], row["final"], *_moments(row["returns"]), *_moments(row["lengths"]))
        for row in record.of("evaluation")
    ]
    episodes = [(row["step"], _number(row["return"]), _number(row["length"])) for row in record.of("episode")]
    return Columns(
        header=record.header,
        evaluation=_array(evaluations, len(EVALUATION)),
        episode=_array(episodes, len(EPISODE)),
        model=_array([_of_model(row) for row in record.of("model") if row["final"]], len(MODEL)),
        virtual=_array([_of_virtual(row) for row in record.of("virtual") if row["final"]], len(VIRTUAL)),
    )


def _of_model(row: Mapping[str, Any]) -> tuple[float, ...]:
    flat = {**row, **(row.get("termination") or {}), **(row.get("calibration") or {}), "pixel": row["unit"] == "pixel"}
    return tuple(_number(flat.get(name)) for name in MODEL)


def _of_virtual(row: Mapping[str, Any]) -> tuple[float, ...]:
    sides = [row[f"{side}{of}"] for side in ("", "real_") for of in ("returns", "lengths")]
    by = row.get("policy")  # NaN: the record is older than the word
    mode = math.nan if by is None else float(by == "mode")
    return row["where"] == "dream", mode, *(number for side in sides for number in _moments(side))


def _array(rows: Sequence[tuple[float, ...]], width: int) -> Array:
    return np.ascontiguousarray(np.array(rows, dtype=np.float64).reshape(-1, width).T)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _moments(values: list[float | None]) -> tuple[int, float, float]:
    """How many, their mean and standard deviation; plain Python, for numpy takes ten times as long over so few."""
    numbers = [math.nan if value is None else value for value in values]
    n = len(numbers)
    mean = sum(numbers) / n if n else math.nan
    sd = math.sqrt(sum((value - mean) ** 2 for value in numbers) / (n - 1)) if n > 1 else math.nan
    return n, mean, sd


def _stamp(path: Path) -> Stamp:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _entry(stamp: Stamp, columns: Columns) -> _Entry:
    shared = {name: value for name, value in columns.header.items() if name != "seed"}
    text = json.dumps(shared, separators=(",", ":"))
    return _Entry(stamp, text, columns.header["seed"], {name: getattr(columns, name) for name in TABLES})


def _packed(entries: Mapping[str, _Entry]) -> bytes:
    headers = {text: number for number, text in enumerate(dict.fromkeys(e.shared for e in entries.values()))}
    listed = [
        (name, e.stamp, headers[e.shared], e.seed, [table.shape[1] for table in e.tables.values()])
        for name, e in entries.items()
    ]
    told = {"version": VERSION, "headers": list(headers), "entries": listed}
    arrays: dict[str, Any] = {
        name: np.concatenate([entry.tables[name] for entry in entries.values()], axis=1) for name in TABLES
    }
    packed = io.BytesIO()
    np.savez(packed, told=np.frombuffer(json.dumps(told).encode(), dtype=np.uint8), **arrays)
    return packed.getvalue()


def _entries(file: Path) -> dict[str, _Entry]:
    """What the index holds; raises whatever the damage leads to if it is not whole, or of another version."""
    with np.load(file, allow_pickle=False) as packed:
        told = json.loads(packed["told"].tobytes())
        if told["version"] != VERSION:
            raise ValueError(f"{file}: expected version {VERSION}, found {told['version']}")
        tables = {name: packed[name] for name in TABLES}
    entries: dict[str, _Entry] = {}
    begun = [0] * len(TABLES)
    for name, stamp, header, seed, sizes in told["entries"]:
        ends = [begin + size for begin, size in zip(begun, sizes, strict=True)]
        of = {table: tables[table][:, begun[at] : ends[at]] for at, table in enumerate(TABLES)}
        entries[name] = _Entry(tuple(stamp), told["headers"][header], seed, of)
        begun = ends
    if any(tables[name].shape != (len(TABLES[name]), size) for name, size in zip(TABLES, begun, strict=True)):
        raise ValueError(f"{file}: its columns are not as long as it says")
    return entries
