"""Verdicts as text: for the terminal and as markdown."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from analysis.claims import UNCORRECTED
from analysis.tables import plain
from analysis.verdicts import NOTHING, Verdict

IN_ROW = ("of", "ours", "theirs", "source")  # of a markdown table
ORDER = ("match", "below", "above", "underpowered", "not comparable", "no records yet")


def terminal(verdicts: Sequence[Verdict], width: int) -> str:
    """A block for each claim, by suite."""
    lines: list[str] = []
    for suite, of in _by_suite(verdicts):
        lines += [suite, ""]
        for verdict in of:
            lines += [f"  {verdict.verdict.upper()}: {verdict.says}"]
            for name, text in _details(verdict):
                head = f"    {name:9}"
                lines += textwrap.wrap(f"{head}{text}", width, subsequent_indent=" " * len(head)) or [head]
            lines.append("")
    return "\n".join([*lines, *textwrap.wrap(_counted(verdicts), width)]) + "\n"


def markdown(verdicts: Sequence[Verdict]) -> str:
    lines: list[str] = []
    for suite, of in _by_suite(verdicts):
        lines += [f"## {plain(suite)}", "", "| verdict | claim | ours | theirs |", "| :-- | :-- | :-- | :-- |"]
        for verdict in of:
            claim = f"{plain(verdict.says)} ({plain(verdict.task)}, {plain(verdict.entrant)})"
            lines.append(f"| **{verdict.verdict}** | {claim} | {plain(verdict.shown)} | {plain(verdict.across)} |")
        lines += [""]
        for verdict in of:
            told = [f"{name} {plain(text)}" for name, text in _details(verdict) if name not in IN_ROW]
            lines.append(f"- {plain(verdict.says)}: {'; '.join(told)}")
        lines += [""]
    return "\n".join([*lines, _counted(verdicts)]) + "\n"


def _details(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "of", f"{verdict.task}, {verdict.entrant}"
    yield "ours", verdict.shown
    row = f" [{verdict.published}]" if verdict.published else ""
    if verdict.theirs != NOTHING or not verdict.source:
        yield "theirs", verdict.theirs + row * (not verdict.source)
    if verdict.source:
        yield "source", verdict.source + row
    if verdict.test != "none":
        low, high = verdict.interval or (None, None)
        ends = "" if low is None or high is None else f"; {verdict.percent} interval {low:,.4g} to {high:,.4g}"
        yield "test", f"{verdict.test}{ends}"
    if verdict.reason:
        yield "why", verdict.reason
    if verdict.holes:
        yield "holes", "; ".join(verdict.holes)
    if verdict.differing:
        yield "differs", "; ".join(verdict.differing)


def _by_suite(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, list[Verdict]]]:
    for suite in dict.fromkeys(verdict.suite for verdict in verdicts):
        yield suite, [verdict for verdict in verdicts if verdict.suite == suite]


def _counted(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "No claim is declared."
    counts = Counter(verdict.verdict for verdict in verdicts)
    told = ", ".join(f"{counts[name]} {name}" for name in ORDER if counts[name])
    return f"{len(verdicts)} claim{'' if len(verdicts) == 1 else 's'}: {told}. {UNCORRECTED}"
