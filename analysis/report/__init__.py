"""One self-contained page over all suites: claims, tables, graphs, holes with their reasons, protocol, provenance.

The page loads nothing and may run no script but its own: its content security policy names the two blocks of style
and script that it carries, by their digests. All text from suites and records goes through Jinja2's autoescape. The
same records give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from analysis.cases import NO_RECORDS
from analysis.claims import UNCORRECTED, Found, judge
from analysis.curves import BAND
from analysis.load import LoadError, load
from analysis.protocols import UnlikeProtocols
from analysis.report.contents import Overview, Section, duration, section
from analysis.squares import READING
from analysis.verdicts import Verdict
from suites.spec import Suite, SuiteError, load_suite, shipped_suites

FOLDER = Path(__file__).parent


def page(names: Sequence[str], results: Path) -> str:
    """The page on the suites ``names``, each given by name or file; if none, on all that are shipped or recorded.

    Raises:
        SuiteError, LoadError, UnlikeProtocols: a suite that was named can't be shown. Of all suites, it is shown why.
    """
    sections: list[Section] = []
    overviews: list[Overview] = []
    found: dict[str, Found] = {}
    for number, name in enumerate(names or known(results), start=1):
        outcome: Found
        try:
            suite = _declared(name)
            outcome = load(name, results)
            sections.append(section(outcome, anchor=f"suite-{number}", about=(suite.about if suite else None) or ""))
            overviews.append(sections[-1].overview)
        except (LoadError, UnlikeProtocols, SuiteError) as error:
            if names:
                raise
            overviews.append(_without(name, error))
            if isinstance(error, SuiteError):
                continue
            outcome = error
        if suite:
            found[name] = outcome
    overviews.sort(key=lambda of: bool(of.why))  # those with something to be seen first
    return _rendered(overviews, sorted(judge(found), key=lambda of: of.verdict == NO_RECORDS), sections)


def known(results: Path) -> list[str]:
    """The shipped suites and all others that have a record below ``results``."""
    recorded = {folder.name for folder in results.glob("*/") if any(folder.glob("*/*/*.jsonl"))}
    return sorted({path.stem for path in shipped_suites()} | recorded)


def _declared(name: str) -> Suite | None:
    """The suite's file, or None if only its records are there."""
    path = Path(name)
    shipped = [file.stem for file in shipped_suites()]
    return load_suite(name) if path.suffix in (".yaml", ".yml") or path.name != name or name in shipped else None


def _without(name: str, error: Exception) -> Overview:
    return Overview(name=name, anchor="", title="", finished=0, total=0, seconds=0.0, machines=(), why=str(error))


def _rendered(overviews: Sequence[Overview], verdicts: Sequence[Verdict], sections: Sequence[Section]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    templates.filters["duration"] = duration
    style, script = ((FOLDER / name).read_text() for name in ("page.css", "page.js"))
    return templates.get_template("page.html").render(
        style=Markup(style),  # both are this package's own files
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        overviews=overviews,
        verdicts=verdicts,
        uncorrected=UNCORRECTED,
        band=BAND,
        square_reading=READING,
        sections=sections,
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
