"""Takes values out of files that others wrote; what is not as it should be is refused with its place."""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

LARGEST = 1 << 30  # bytes of a file, unpacked; a small .gz can hold more than memory does
FARTHEST = 2**53  # steps; beyond it a float no longer counts
Rows = list[tuple[str, Mapping[str, str]]]


class ForeignError(Exception):
    """A file that is not in the format it was said to be in; the message says where, what was expected, and found."""


def content_of(path: Path) -> tuple[bytes, str]:
    """What the file holds, unpacked, and the digest of the file itself."""
    try:
        raw = path.read_bytes()
        content = raw
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                content = packed.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise fault(path, "a file that can be read", str(error)) from None
    if len(content) > LARGEST:
        raise fault(path, f"at most {LARGEST:,} bytes", "more")
    return content, hashlib.sha256(raw).hexdigest()


def rows_of(path: Path, columns: Sequence[str], head: int = 0) -> tuple[Rows, str, str]:
    """The rows of a CSV with these columns among its own, each with its place; the file's digest and first line.

    ``head`` lines go before the names of the columns.
    """
    content, digest = content_of(path)
    try:
        lines = content.decode("utf-8-sig").splitlines() or [""]
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise fault(f"{path}:{line}", "text in UTF-8", f"byte 0x{content[error.start]:02x}") from None
    named = lines[head].split(",") if len(lines) > head else []
    if lacking := [name for name in columns if name not in named]:
        found = f"no {', '.join(lacking)} in {shown(','.join(named))}"
        raise fault(f"{path}:{head + 1}", f"columns {','.join(columns)}", found)
    rows = list(_dicts(path, named, lines[head + 1 :], head + 2))
    if not rows:
        raise fault(path, "at least one row", "none")
    return rows, digest, lines[0]


def _dicts(
    path: Path, named: Sequence[str], lines: Sequence[str], first: int
) -> Iterator[tuple[str, Mapping[str, str]]]:
    for number, line in enumerate(lines, start=first):
        try:
            row = next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            raise fault(f"{path}:{number}", "a row of comma-separated values", f"{line[:60]} ({error})") from None
        if row and len(row) != len(named):
            hint = " If the run was cut off here, delete the line." if number == first + len(lines) - 1 else ""
            raise fault(f"{path}:{number}", f"{len(named)} values ({','.join(named)})", f"{line[:60]}{hint}")
        if row:
            yield f"{path}:{number}", dict(zip(named, row, strict=True))


def _number(value: object) -> float | None:
    """A number, or text that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def value_of(value: object, where: str) -> float | None:
    number = math.nan if value is None else _number(value)
    if number is None:
        raise fault(where, "a number", shown(value))
    return number if math.isfinite(number) else None


def step_of(value: object, where: str) -> float:
    number = _number(value)
    if number is None or not 0 <= number < FARTHEST:
        raise fault(where, "a number of steps", shown(value))
    return number


def whole(value: object, where: str, least: int = 0) -> int:
    number = _number(value)
    if number is None or not least <= number < FARTHEST or number != int(number):
        raise fault(where, f"a whole number from {least} on", shown(value))
    return int(number)


def ascending(steps: Sequence[float], places: Sequence[str]) -> Sequence[float]:
    for before, step, where in zip(steps, steps[1:], places[1:], strict=False):
        if step < before:
            raise fault(where, f"no less than the {before:g} before it", f"{step:g}")
    return steps


def shown(value: object) -> str:
    return repr(value)[:60]


def fault(where: object, expected: str, found: str) -> ForeignError:
    return ForeignError(f"{where}: expected {expected}, found {found}")
