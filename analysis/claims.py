"""Verdicts on the claims of a suite: ours, theirs, the stated test, and the protocol fields that differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis import rules, scores
from analysis.cases import NO_RECORDS, NOT_COMPARABLE, Case, Refused, Values, shown
from analysis.comparable import differing, refusal, unusable
from analysis.efficiency import sample_efficiency_ratio
from analysis.load import LoadError, load
from analysis.protocols import UnlikeProtocols
from analysis.published import PublishedError, Row, find
from analysis.rules import Finding
from analysis.scores import Interval
from analysis.trials import Results
from suites.spec import Claim, load_suite

UNCORRECTED = (
    "Each claim is tested by itself, without correction for their number: of 20 true values about one is called "
    "below or above by chance."
)

Found = Results | LoadError | UnlikeProtocols  # what is known of a suite: its results, or why there are none


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a suite's records say to one claim."""

    says: str
    suite: str
    kind: str
    task: str
    entrant: str  # of a shape: the sweep
    published: str | None  # the row's id
    shown: str  # our numbers as text
    theirs: str
    ours: Interval | None  # None where there are no records, or a time is censored
    test: str
    interval: tuple[float, float] | None  # 95 %, of what was tested: difference or ratio
    verdict: str  # match | below | above | underpowered | no records yet | not comparable
    reason: str
    differing: tuple[str, ...]


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
    blank = Verdict(
        says=claim.says, suite=suite, kind=claim.kind, task=claim.task,
        entrant=claim.entrant or ", ".join(claim.entrants), published=claim.published, shown="–", theirs="–",
        ours=None, test="none", interval=None, verdict=NO_RECORDS, reason="", differing=claim.unlike,
    )  # fmt: skip
    try:
        row = find(claim.published) if claim.published else None
    except PublishedError as error:
        return replace(blank, verdict=NOT_COMPARABLE, reason=str(error))
    if row:
        blank = replace(blank, theirs=str(row))
    if isinstance(found, UnlikeProtocols):
        return replace(blank, verdict=NOT_COMPARABLE, reason=str(found))
    if isinstance(found, LoadError):
        return replace(blank, reason=str(found))
    case = Case(claim, found, seed)
    try:
        if row and (why := unusable(row)):
            raise Refused(NOT_COMPARABLE, why)
        blank = _with_ours(blank, case)
        return KINDS[claim.kind](case, row, blank)
    except Refused as refused:
        return replace(blank, verdict=refused.verdict, reason=str(refused))


def _with_ours(blank: Verdict, case: Case) -> Verdict:
    """Our numbers, of the entrant that the claim is about."""
    if not case.claim.entrant:
        return blank
    values = case.values(case.claim.entrant)
    whole = [one for one in values if one is not None]
    interval = scores.t_interval(whole) if len(whole) == len(values) else None
    return replace(blank, ours=interval, shown=shown(values))


def _value(case: Case, row: Row | None, blank: Verdict) -> Verdict:
    claim, task = case.claim, case.results.tasks[case.claim.task]
    header = case.results.trials[claim.task, claim.entrant][0].header
    if row and (why := refusal(row, task, claim.measure, header)):
        return replace(blank, verdict=NOT_COMPARABLE, reason=why)
    theirs = row.mean if row else claim.value
    assert theirs is not None  # the declaration asks for one of the two
    in_metric = claim.measure in ("final", "virtual", "gap")
    scale = abs(task.score[1] - task.score[0]) if task.score and in_metric else None
    margin = claim.margin or rules.default_margin(theirs, row, scale)
    finding = rules.value(case.numbers(claim.entrant), theirs, row, margin)
    if row:
        blank = replace(blank, differing=(*blank.differing, *differing(row, task, header)))
    return _told(blank if row else replace(blank, theirs=f"{theirs:,g}, exact"), finding)


def _ordering(case: Case, row: Row | None, blank: Verdict) -> Verdict:
    others = {name: case.values(name) for name in case.claim.entrants}
    of = case.ranked if case.by_ranks else case.numbers
    finding = rules.ordering(
        of(case.claim.entrant), [of(name) for name in others],
        lower_is_better=case.lower_is_better, ranks=case.by_ranks,
    )  # fmt: skip
    return _told(replace(blank, shown=_beside(blank.shown, others)), finding)


def _ratio(case: Case, row: Row | None, blank: Verdict) -> Verdict:
    claim, other = case.claim, case.claim.entrants[0]
    blank = replace(blank, shown=_beside(blank.shown, {other: case.values(other)}))
    fewest = min(len(case.values(claim.entrant)), len(case.values(other)))
    if fewest < scores.FEWEST_SEEDS:
        return _told(blank, rules.too_few(fewest))
    if claim.measure == "steps":
        budget, rng = case.results.tasks[claim.task].budget, np.random.default_rng(case.seed)
        found = sample_efficiency_ratio(case.values(other), case.values(claim.entrant), budget, rng=rng)
        test, ends = (
            "bootstrap over seeds of the ratio of median steps, censored at the budget",
            (found.low, found.high),
        )
    else:
        top, bottom = case.numbers(claim.entrant), case.numbers(other)
        if np.mean(top) < 0 or np.mean(bottom) <= 0:
            return replace(blank, verdict=NOT_COMPARABLE, reason="a ratio needs means above 0")
        test, ends = "Fieller's interval of the ratio of means", rules.ratio_interval(top, bottom) or (None, None)
    return _told(blank, rules.bounded(*ends, test, least=claim.at_least, most=claim.at_most))


def _bound(case: Case, row: Row | None, blank: Verdict) -> Verdict:
    """Of several entrants one is to keep the bound; any may be it, so they share the 5 %."""
    claim, names = case.claim, case.claim.entrants or (case.claim.entrant,)
    numbers = {name: case.numbers(name) for name in names}
    if claim.entrants:
        blank = replace(blank, shown="; ".join(f"{name} {shown(case.values(name))}" for name in names))
    bound = f"at least {claim.at_least:g}" if claim.at_least is not None else f"at most {claim.at_most:g}"
    blank = replace(blank, theirs=blank.theirs if row else bound)
    if (fewest := min(map(len, numbers.values()))) < scores.FEWEST_SEEDS:
        return _told(blank, rules.too_few(fewest))

    def held(name: str, share: int) -> Finding:
        interval = scores.t_interval(numbers[name], 1 - (1 - rules.LEVEL) / share)
        test = "t interval over seeds" + (
            f", its 5 % shared by {share}, of whom one is to keep the bound" * (share > 1)
        )
        return rules.bounded(interval.low, interval.high, test, least=claim.at_least, most=claim.at_most, what=name)

    found = [held(name, len(names)) for name in names]
    opposite = [held(name, 1) for name in names]
    if keeping := [one for one in found if one.call == "match"]:
        return _told(blank, keeping[0])
    if all(one.call in ("below", "above") for one in opposite):
        return _told(blank, opposite[0])
    return _told(blank, next(one for one in found if one.call == "underpowered"))


def _shape(case: Case, row: Row | None, blank: Verdict) -> Verdict:
    of = case.ranked if case.by_ranks else case.numbers
    sweep = {name: case.values(name) for name in case.claim.entrants}
    finding = rules.shape([of(name) for name in sweep], str(case.claim.form), ranks=case.by_ranks)
    return _told(replace(blank, shown="; ".join(f"{name} {shown(values)}" for name, values in sweep.items())), finding)


def _beside(ours: str, others: Mapping[str, Values]) -> str:
    return "; ".join([ours, *(f"{name} {shown(values)}" for name, values in others.items())])


def _told(blank: Verdict, finding: Finding) -> Verdict:
    interval = None if finding.low is None or finding.high is None else (finding.low, finding.high)
    return replace(blank, verdict=finding.call, test=finding.test, interval=interval, reason=finding.reason)


KINDS: dict[str, Callable[[Case, Row | None, Verdict], Verdict]] = {
    "value": _value, "ordering": _ordering, "ratio": _ratio, "shape": _shape, "bound": _bound,
}  # fmt: skip
