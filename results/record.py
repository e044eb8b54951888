"""The only module that knows the format of a record: one append-only JSONL file per trial, header and rows.

Where things lie, below the folder that holds all results::

    <suite>/<task>/<entrant>/<seed>.jsonl     a finished trial; published once, whole, by an exclusive hard link
    <suite>/<task>/<entrant>/<seed>.work/     a running or interrupted trial: its rows so far, checkpoint, log
    <suite>/summary.csv                       one sorted row per finished trial; derived, made anew by `summarise`

Rows by ``kind``: the ``header``; ``episode`` of training; ``phase`` that trials may share; ``evaluation``, beside it
``model`` and ``virtual``, which say how good the agent's world model is (their fields are stated in
`suites/runner/model_quality.py`; older records have none); ``end``.

A trial writes its rows into a file of its own attempt and publishes it when the last row is written. So a reader
never meets half a record under a final name, and of two workers that ran the same trial exactly one publishes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

SCHEMA = 1
VOLATILE = ("seconds", "peak_mb", "commits", "taken_from")  # fields that two runs of one trial may differ in


class RecordError(Exception):
    """A record that cannot be read; the message names the file, the line and the remedy."""


@dataclass(frozen=True)
class Record:
    """One trial: its header and its rows. ``finished`` is whether the row ``end`` is there."""

    path: Path
    header: dict[str, Any]
    rows: list[dict[str, Any]] = field(repr=False)
    finished: bool

    def of(self, kind: str) -> Iterator[dict[str, Any]]:
        """The rows of one kind: ``episode``, ``evaluation``, ``model``, ``virtual``, ``phase``, ``end``."""
        return (row for row in self.rows if row["kind"] == kind)


def record_path(results: Path, suite: str, task: str, entrant: str, seed: int) -> Path:
    return results / suite / task / entrant / f"{seed}.jsonl"


def work_folder(record: Path) -> Path:
    """Where the trial of ``record`` keeps what it needs while it runs."""
    return record.with_suffix(".work")


def encode(row: Mapping[str, Any]) -> bytes:
    """One line of a record. A number that is not finite is written as null, so that every JSON reader copes."""
    try:
        text = json.dumps(row, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(row), separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class Writer:
    """Appends rows to the file of one attempt."""

    def __init__(self, path: Path, already: bytes) -> None:
        """Begin with what an earlier attempt had written up to its last checkpoint."""
        self.path = path
        self._file: BinaryIO = path.open("wb")
        self._file.write(already)

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(encode(row))

    def flush(self) -> None:
        """Hand the rows to the operating system, so that others can read them."""
        self._file.flush()

    def content(self) -> bytes:
        self._file.flush()
        return self.path.read_bytes()

    def publish(self, final: Path) -> bool:
        """Make this the trial's record, unless another attempt already has; whether it was this one."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        try:
            os.link(self.path, final)
        except FileExistsError:
            return False
        finally:
            self.path.unlink()
        sync_folder(final.parent)
        return True

    def close(self) -> None:
        self._file.close()


def sync_folder(folder: Path) -> None:
    """Make a rename or link in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` such that a reader sees the old bytes or the new ones, never a mixture."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


_decode = json.JSONDecoder().raw_decode  # half the time of json.loads, which guesses the encoding of every line


def read(path: Path) -> Record:
    """Read one record, finished or not; a torn last line of an unfinished one is left out.

    Raises:
        RecordError: no header, a line that is not JSON, or a schema newer than this program knows.
    """
    lines = path.read_bytes().split(b"\n")
    torn = lines.pop()
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode()
            row, end = _decode(text)
            if end != len(text):
                row = json.loads(text)  # refuses whatever follows but white space
            row["kind"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise RecordError(
                f"{path}:{number}: expected a JSON object with a kind, found {line[:60]!r}. "
                "The file was changed after it was written: restore it from git, or delete it and run again."
            ) from None
        rows.append(row)
    if not rows or rows[0].get("kind") != "header":
        found = rows[0] if rows else torn[:60]
        raise RecordError(f"{path}:1: expected a header row, found {found!r}. Delete the file and run again.")
    header = rows.pop(0)
    if header.get("schema", 0) > SCHEMA:
        raise RecordError(
            f"{path}: written in schema {header['schema']}, this program reads up to {SCHEMA}. Update mbrl-bench."
        )
    return Record(path, header, rows, finished=bool(rows) and rows[-1]["kind"] == "end" and not torn)


def last_row(path: Path) -> dict[str, Any]:
    """The last row of a record that is known to be whole, without reading those before it."""
    with path.open("rb") as file:
        size, lines = file.seek(0, os.SEEK_END), [b""]
        for reach in (4096, size):
            file.seek(max(size - reach, 0))
            lines = file.read().splitlines()
            if len(lines) > 1:
                break
    return dict(json.loads(lines[-1]))


def finished_records(folder: Path) -> list[Path]:
    """The records below a suite's folder, sorted by task, entrant and seed."""
    found = [path for path in folder.glob("*/*/*.jsonl") if path.stem.isdigit()]
    return sorted(found, key=lambda path: (path.parts[-3], path.parts[-2], int(path.stem)))


SUMMARY = ("task", "entrant", "seed", "protocol", "steps", "updates", "training_episodes", "episodes",
           "return_mean", "return_sd", "return_median", "length_mean")  # fmt: skip


def summarise(folder: Path) -> Path:
    """Write ``folder/summary.csv`` from the records in ``folder``: the file in which a diff is read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUMMARY)
    for path in finished_records(folder):
        record = read(path)
        if record.finished:
            writer.writerow(_summary_row(record))
    target = folder / "summary.csv"
    write_atomically(target, text.getvalue().encode())
    return target


def _summary_row(record: Record) -> list[str]:
    header, end = record.header, record.rows[-1]
    final = next((row for row in record.of("evaluation") if row["final"]), None)
    returns = [value for value in final["returns"] if value is not None] if final else []
    lengths = final["lengths"] if final else []
    complete = bool(final) and len(returns) == len(final["returns"])  # type: ignore[index]
    return [
        header["task"],
        header["entrant"],
        str(header["seed"]),
        header["protocol_hash"][:8],
        str(end["step"]),
        "" if end["updates"] is None else str(end["updates"]),  # None in imported ones
        str(sum(1 for _ in record.of("episode"))),
        str(len(lengths)),
        _number(statistics.fmean(returns)) if complete and returns else "",
        _number(statistics.stdev(returns)) if complete and len(returns) > 1 else "",
        _number(statistics.median(returns)) if complete and returns else "",
        _number(statistics.fmean(lengths)) if lengths else "",
    ]


def _number(value: float) -> str:
    return f"{value:.6g}"


def asked(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a trial's declaration that its rows depend on; a record is of this trial only if it is equal."""
    fields = ("env", "options", "action_repeat", "budget", "evaluate", "agent", "config", "known")
    return {name: trial[name] for name in fields}
