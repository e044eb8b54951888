"""Promises of LaTeX tables: they compile with booktabs alone, every cell has its n, the best are bold, text is text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.latex import escaped, latex
from analysis.tables import markdown
from tests.synthetic_records import SHAPES, interrupt, read, write_suite

HOSTILE = r"50 % of $x_1$ & {y} #1 ~ ^ \input{/etc/passwd} <b> *"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of tasks, an entrant that meets some of them, a hole, and a title that TeX would take for commands."""
    root = tmp_path_factory.mktemp("shelf")
    file = write_suite(root, tasks=list(SHAPES), entrants=["mb-mpc", "sac"], seeds=3)
    title = "title: 'made-up: " + HOSTILE + "'"
    file.write_text("\n".join([title, *file.read_text().splitlines()[1:]]) + "\n")
    interrupt(root / "results/made-up/hopper/sac/1.jsonl", 200, 50_000, reason="100% of memory_used & more")
    return root


def test_braces_environments_and_columns_match(shelf: Path) -> None:
    text = latex(read(shelf))
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    for columns, body in re.findall(r"\\begin\{tabular\}\{@\{\}l(r+)@\{\}\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 4
        for row in rows:
            spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + spans == len(columns)
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_what_a_suite_says_is_printed_and_never_run(shelf: Path) -> None:
    text = latex(read(shelf))
    assert r"\input" not in text
    assert r"50 \% of \$x\_1\$ \& \{y\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}input\{" in text
    assert r"failed: 100\% of memory\_used \& more" in text
    assert escaped("a\nb\r\n  c\u202e") == "a b c"


def test_a_table_in_latex_tells_what_the_one_in_markdown_does(shelf: Path) -> None:
    results = read(shelf)
    text = latex(results)
    rows = [line for line in markdown(results).splitlines() if line.startswith("| sac")]
    entries = [entry.strip() for row in rows for entry in row.strip("|").split("|")[1:]]
    assert len(entries) > 10
    for entry in entries:
        bold = entry.startswith("**")
        written = escaped(entry.strip("*").replace("\\", ""))
        assert (rf"\textbf{{{written}}}" if bold else f"& {written}") in text
        assert re.search(r"\(n=\d|\d of \d", written)
    assert r"\textbf{" in text


def test_an_entrant_has_no_row_in_a_table_of_tasks_that_it_does_not_meet(shelf: Path) -> None:
    results = read(shelf, "made-up", "dyna-maze")
    for text in (latex(results), markdown(results)):
        assert "sac" in text
        assert "mb-mpc" not in text


def test_letters_that_latex_lacks_are_named_in_the_first_line(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=1)
    assert "LuaLaTeX" not in latex(read(tmp_path))
    file.write_text(file.read_text().replace("made-up: 1", "Übung: 世界模型 1"))
    assert latex(read(tmp_path)).splitlines()[0].endswith("For LuaLaTeX or XeLaTeX, with a font that has 世 型 模 界")


def test_the_tables_compile(shelf: Path, tmp_path: Path) -> None:
    if not shutil.which("pdflatex"):
        pytest.skip("whether LaTeX takes the tables needs pdflatex: apt-get install texlive-latex-base")
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + latex(read(shelf)) + r"\end{document}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
