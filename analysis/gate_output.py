"""What a gate found, as text for a terminal, as markdown, and as JUnit XML for continuous integration."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from analysis.gate import OPEN, Gate, Outcome
from suites.faults import printable

HEAD = ("task", "entrant", "seeds", "recorded", "new", "worse by", "p", "could see", "verdict")
MEANING = {
    0: "passed",
    3: "regression",
    5: "not passed: something could not be tested",
}


def summary(gate: Gate) -> str:
    """The result in a line."""
    counted = [
        f"{sum(cell.verdict == verdict for cell in gate.cells)} {verdict}"
        for verdict in ("regress", *OPEN, "improved", "pass")
        if any(cell.verdict == verdict for cell in gate.cells)
    ]
    return f"gate {gate.suite}: {MEANING[gate.exit_code]} ({', '.join(counted)})"


def terminal(gate: Gate) -> str:
    from tabulate import tabulate

    table = tabulate([_row(cell) for cell in gate.cells], HEAD, tablefmt="simple", disable_numparse=True)
    return "\n".join([table, "", *map(printable, _below(gate)), "", summary(gate)]) + "\n"


def markdown(gate: Gate) -> str:
    lines = [f"### {summary(gate)}", "", f"| {' | '.join(HEAD)} |", f"|{' :-- |' * 3}{' --: |' * 5} :-- |"]
    lines += [f"| {' | '.join(map(_plain, _row(cell)))} |" for cell in gate.cells]
    return "\n".join([*lines, "", *(f"- {_plain(printable(line))}" for line in _below(gate))]) + "\n"


def junit(gate: Gate) -> bytes:
    """One test case for each cell: a regression is a failure, what could not be tested an error, a waiver a skip."""
    counts = {"tests": len(gate.cells), "failures": 0, "errors": 0, "skipped": 0}
    suite = ElementTree.Element("testsuite", name=f"gate {gate.suite}")
    for cell in gate.cells:
        case = ElementTree.SubElement(suite, "testcase", classname=f"{gate.suite}.{cell.task}", name=cell.entrant)
        said = dict(zip(HEAD[2:], _row(cell)[2:], strict=True))
        text = "\n".join([*(f"{name}: {value}" for name, value in said.items()), *map(printable, _remarks(cell))])
        kind = _kind(cell)
        if kind is not None:
            tag, count = kind
            counts[count] += 1
            message = cell.waiver.reason if cell.waiver else cell.verdict
            ElementTree.SubElement(case, tag, message=printable(message)).text = text
        else:
            ElementTree.SubElement(case, "system-out").text = text
    ElementTree.SubElement(suite, "system-out").text = "\n".join(map(printable, (*gate.remarks, *_legend(gate))))
    for name, number in counts.items():
        suite.set(name, str(number))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _kind(cell: Outcome) -> tuple[str, str] | None:
    """The element by which JUnit says that a test case did not pass, and the attribute that counts these."""
    if cell.waiver is not None:
        return "skipped", "skipped"
    if cell.verdict == "regress":
        return "failure", "failures"
    return ("error", "errors") if cell.verdict in OPEN else None


def _row(cell: Outcome) -> tuple[str, ...]:
    sees = (
        "–" if cell.p is None else "nothing" if cell.sees is None else "any" if cell.sees == 0 else f"{cell.sees:.4g}"
    )
    return (
        cell.task,
        cell.entrant,
        f"{cell.new.n} against {cell.old.n}",
        _number(cell.old.mean),
        _number(cell.new.mean),
        _number(cell.drop),
        "–" if cell.p is None else f"{cell.p:.2g}",
        sees,
        cell.verdict + (" (waived)" if cell.waiver else ""),
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _below(gate: Gate) -> Iterator[str]:
    """What must be known of the cells, of the two sides, and to read the table."""
    for cell in gate.cells:
        for remark in _remarks(cell):
            yield f"{cell.name}: {remark}"
    yield from gate.remarks
    yield from _legend(gate)


def _remarks(cell: Outcome) -> Iterator[str]:
    if cell.waiver:
        yield f"waived until {cell.waiver.expires}: {cell.waiver.reason}"
    if cell.verdict == "improved":
        yield "better than recorded beyond chance: find out why, then record anew"
    yield from cell.remarks


def _legend(gate: Gate) -> Iterator[str]:
    yield (
        f"p: of a drop, after Holm over {gate.tested} cells; up to {gate.alpha:g} is a regression. could see: the drop "
        f"that such a test finds four times in five. Enough seeds: one test alone sees {gate.visible:g} standard "
        "deviations as often."
    )


def _plain(text: str) -> str:
    """Text from a suite file or a record, so that markdown takes none of it for layout."""
    for character in "\\`*[]<>|":
        text = text.replace(character, f"\\{character}")
    return text
