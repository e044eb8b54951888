"""Verdicts on the claims of a suite: ours, theirs, the stated test, and the protocol fields that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from analysis.cases import NOT_COMPARABLE, Case, Refused
from analysis.claim_kinds import judged, sourced, with_ours
from analysis.comparable import unusable
from analysis.load import LoadError, load
from analysis.protocols import UnlikeProtocols
from analysis.published import PublishedError, find
from analysis.trials import Results
from analysis.verdicts import Verdict, blank
from suites.spec import Claim, load_suite

UNCORRECTED = (
    "Each claim is tested by itself, without correction for their number: of 20 true values about one is called "
    "below or above by chance; of those published without a spread and without a number of seeds, which are taken as "
    "exact, more are."
)

Found = Results | LoadError | UnlikeProtocols  # what is known of a suite: its results, or why there are none


def judge(results_by_suite: Mapping[str, Found], *, seed: int = 0) -> list[Verdict]:
    """A verdict on every claim of the suites, which are given by name or path, in their order.

    ``seed``: of the bootstrap behind ratios of steps.
    """
    verdicts = []
    for name, found in results_by_suite.items():
        suite = load_suite(name)
        verdicts += [judge_claim(suite.name, claim, found, seed=seed) for claim in suite.claims]
    return verdicts


def judge_recorded(names: Sequence[str], results: Path, *, seed: int = 0) -> list[Verdict]:
    """The same, of what lies in the folder of all results."""
    return judge({name: _found(name, results) for name in names}, seed=seed)


def _found(name: str, results: Path) -> Found:
    try:
        return load(name, results)
    except (LoadError, UnlikeProtocols) as error:
        return error


def judge_claim(suite: str, claim: Claim, found: Found, *, seed: int = 0) -> Verdict:
    said = blank(suite, claim)
    try:
        row = find(claim.published) if claim.published else None
    except PublishedError as error:
        return replace(said, verdict=NOT_COMPARABLE, reason=str(error))
    if row:
        said = replace(said, theirs=str(row)) if claim.kind == "value" else replace(said, source=str(row))
    if isinstance(found, UnlikeProtocols):
        return replace(said, verdict=NOT_COMPARABLE, reason=str(found))
    if isinstance(found, LoadError):
        return replace(said, reason=str(found))
    case = Case(claim, found, seed)
    said = replace(said, holes=tuple(found.hole_lines(claim.task, case.entrants)))
    try:
        if row and (why := unusable(row)):
            raise Refused(NOT_COMPARABLE, why)
        said = with_ours(case, said)
        said = sourced(case, row, said)
        return _capped(judged(case, row, said), found, case.entrants)
    except Refused as refused:
        return replace(said, verdict=refused.verdict, reason=str(refused))


def _capped(said: Verdict, results: Results, entrants: Sequence[str]) -> Verdict:
    """No verdict on those seeds alone that did not fail: they were chosen by their luck."""
    lost = {
        name: sum((one.task, one.entrant) == (said.task, name) and not one.outstanding for one in results.holes)
        for name in entrants
    }
    told = [f"{n} of {results.expected(said.task, name)} of {name}" for name, n in lost.items() if n]
    if not told:
        return said
    verdict = said.verdict if said.verdict == "underpowered" else NOT_COMPARABLE
    why = f"seeds that were run have no score ({', '.join(told)}), and those that are left were chosen by their luck"
    return replace(said, verdict=verdict, reason=f"{why}; of these: {said.reason}")
