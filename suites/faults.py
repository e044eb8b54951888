"""What is wrong with a suite file, where, and what would be right: Fault, SuiteError, nearest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

WIDTH = 110  # columns of a source line that are shown around its caret


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. Lines and columns count from 1; line 0 means the file as a whole."""

    file: str
    line: int
    col: int
    message: str
    source: str = ""  # the line of the file, as it stands there
    suggestion: str | None = None  # what may have been meant

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        shown = [f"{where}: {self.message}"]
        if self.line:
            start = max(0, self.col - WIDTH // 2) if len(self.source) > WIDTH else 0
            margin = f"{self.line:>5} | "
            shown.append(margin + self.source[start : start + WIDTH].replace("\t", " "))
            shown.append(" " * (len(margin) - 2) + "| " + " " * (self.col - 1 - start) + "^")
        if self.suggestion is not None:
            shown.append(f"      did you mean {self.suggestion[:WIDTH]}?")
        return "\n".join(map(printable, shown))


def printable(text: str) -> str:
    """The text with a dot for every character that a terminal might obey rather than show."""
    return "".join(character if character.isprintable() else "·" for character in text)


class SuiteError(Exception):
    """A suite file that can't be run. ``faults`` has every fault found in it, in the file's order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        count = len(self.faults)
        last = "1 fault; nothing was run" if count == 1 else f"{count} faults; nothing was run"
        return "\n\n".join([*map(str, self.faults), last])


def nearest(name: Any, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``name``, or None if none is like it."""
    best, likeness = None, 0.0
    wanted = plain(str(name)[:200])
    for candidate in candidates:
        matcher = SequenceMatcher(None, wanted, plain(candidate), autojunk=False)
        # Two slips in a name of three letters leave a ratio of 1/3: the shorter the name, the lower the bar.
        bar = 0.6 if max(len(candidate), len(wanted)) > 5 else 0.4
        if matcher.quick_ratio() >= max(bar, likeness) and matcher.ratio() > max(bar - 1e-9, likeness):
            best, likeness = candidate, matcher.ratio()
    return best


def plain(name: str) -> str:
    """A name without what people mix up: case, and dashes for underscores."""
    return name.lower().replace("-", "_")


def quoted(value: Any) -> str:
    """A value as a message shows it: short, on one line, and harmless to a terminal."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def listed(names: Iterable[str]) -> str:
    """Names for a message: all of a few, the first of many."""
    every = [str(name) for name in names]
    if len(every) <= 12:
        return ", ".join(every) or "none"
    return ", ".join(every[:12]) + f" and {len(every) - 12} more"
