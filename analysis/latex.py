"""The comparison table of a suite in LaTeX; its preamble needs no package but booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from analysis.tables import Column, Content, comparison, met
from analysis.trials import Results

WIDTH = 92  # characters that a line of \small type holds on A4 with narrow margins; a task alone may be wider

# What TeX takes for commands, and what its usual fonts lack or show as something else.
WRITTEN = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$", "|": "$|$", "*": r"$*$",
    '"': r"\char34{}", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "∞": r"$\infty$",
    "–": "--", "—": "---", "…": r"\dots{}", "’": "'", "‘": "`", "“": "``", "”": "''",
}  # fmt: skip
LATIN = 0x17F  # the last character that LaTeX knows from its UTF-8 without a package


def latex(results: Results, content: Content | None = None) -> str:
    """A table environment for each page of columns; what must be known to read them stands below the last."""
    content = content or comparison(results)
    lines = []
    parts = list(content.pages(WIDTH))
    for number, columns in enumerate(parts, start=1):
        part = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        lines += [
            r"\begin{table}",
            r"\centering",
            r"\small",
            rf"\caption{{{escaped(content.title)}{part}}}",
            rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', content.label.lower())}-{number}}}",
            *_tabular(results, columns),
            *(_notes(content) if number == len(parts) else ()),
            r"\end{table}",
            "",
        ]
    text = "\n".join(lines[:-1]) + "\n"
    needed = f"% Suite {escaped(results.suite)}. Needs \\usepackage{{booktabs}}."
    if foreign := sorted({character for character in text if ord(character) > LATIN}):
        needed += f" For LuaLaTeX or XeLaTeX, with a font that has {' '.join(foreign)}"
    return f"{needed}\n\n{text}"


def escaped(text: str) -> str:
    """Text from a suite file or a record as TeX prints it, on one line; a minus is a minus, not a hyphen."""
    text = "".join(WRITTEN.get(character, character) for character in " ".join(text.split()))
    return re.sub(r"(?<![\w}-])-(?=\d)", "$-$", "".join(character for character in text if character.isprintable()))


def _tabular(results: Results, columns: Sequence[Column]) -> Iterator[str]:
    """One row of task names, each over its columns; then the rest of the heads, line by line; then the entrants."""
    labels = [results.label(entrant) for entrant in results.entrants]
    yield rf"\begin{{tabular}}{{@{{}}l{'r' * len(columns)}@{{}}}}"
    yield r"\toprule"
    spans, rules, first = [], [], 2
    for task, of in groupby(columns, key=lambda column: column.task):
        size = len(list(of))
        spans.append(rf"\multicolumn{{{size}}}{{c}}{{{escaped(task)}}}")
        rules.append(rf"\cmidrule(l){{{first}-{first + size - 1}}}")
        first += size
    yield _row(["", *spans])
    yield "".join(rules)
    for line in range(1, max(len(column.head) for column in columns)):
        yield _row(["", *(escaped(column.head[line]) if line < len(column.head) else "" for column in columns)])
    yield r"\midrule"
    for row in met(columns):
        entries = [escaped(column.entries[row]) for column in columns]
        bold = [rf"\textbf{{{e}}}" if row in c.best else e for c, e in zip(columns, entries, strict=True)]
        yield _row([escaped(labels[row]), *bold])
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _row(entries: Sequence[str]) -> str:
    return f"{' & '.join(entries)} \\\\"


def _notes(content: Content) -> Iterator[str]:
    yield r"\par\medskip\footnotesize\raggedright"
    for title, lines in content.below:
        yield rf"\textbf{{{escaped(title)}.}} {' '.join(_sentence(escaped(line)) for line in lines)}\par"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
