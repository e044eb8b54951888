"""One function for each kind of claim: which numbers are compared, by which test, and when they can't be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from analysis import orders, rules, scores
from analysis.cases import NOT_COMPARABLE, Case, Refused
from analysis.comparable import differing, elsewhere, refusal
from analysis.efficiency import sample_efficiency_ratio
from analysis.published import Row
from analysis.rules import Finding
from analysis.verdicts import Verdict, told


def judged(case: Case, row: Row | None, said: Verdict) -> Verdict:
    """The claim's verdict by the test of its kind. Like the others here it raises Refused if records can't answer."""
    return KINDS[case.claim.kind](case, row, said)


def with_ours(case: Case, said: Verdict) -> Verdict:
    """Our numbers, of the entrant that the claim is about."""
    if not case.claim.entrant:
        return said
    values = case.values(case.claim.entrant)
    whole = [one for one in values if one is not None]
    interval = scores.t_interval(whole) if len(whole) == len(values) else None
    return replace(said, ours=interval, shown=case.told(case.claim.entrant))


def sourced(case: Case, row: Row | None, said: Verdict) -> Verdict:
    """What differs from the row that a claim comes from; one of another environment is none."""
    if row is None or said.source is None:
        return said
    task, header = case.results.tasks[case.claim.task], case.header
    if header is None:
        return said
    if why := elsewhere(row, task, header):
        raise Refused(NOT_COMPARABLE, why)
    return replace(said, differing=(*said.differing, *differing(row, task, header)))


def _value(case: Case, row: Row | None, said: Verdict) -> Verdict:
    claim, task, header = case.claim, case.results.tasks[case.claim.task], case.header
    assert header is not None  # it has records
    if row and (why := refusal(row, task, claim.measure, header)):
        return replace(said, verdict=NOT_COMPARABLE, reason=why)
    theirs = row.mean if row else claim.value
    assert theirs is not None  # the declaration asks for one of the two
    in_metric = claim.measure in ("final", "virtual", "gap")
    scale = abs(task.score[1] - task.score[0]) if task.score and in_metric else None
    margin = claim.margin or rules.default_margin(theirs, row, scale)
    if row:
        said = replace(said, differing=(*said.differing, *differing(row, task, header)))
    else:
        said = replace(said, theirs=f"{theirs:,g}, exact")
    return told(said, rules.value(case.numbers(claim.entrant), theirs, row, margin))


def _ordering(case: Case, row: Row | None, said: Verdict) -> Verdict:
    others = case.claim.entrants
    of = case.ranked if case.by_ranks else case.numbers
    finding = orders.ordering(
        of(case.claim.entrant), [of(name) for name in others],
        lower_is_better=case.lower_is_better, ranks=case.by_ranks,
    )  # fmt: skip
    return told(replace(said, shown=_beside(case, said.shown)), finding)


def _ratio(case: Case, row: Row | None, said: Verdict) -> Verdict:
    claim, other = case.claim, case.claim.entrants[0]
    said = replace(said, shown=_beside(case, said.shown))
    fewest = min(len(case.values(claim.entrant)), len(case.values(other)))
    if fewest < scores.FEWEST_SEEDS:
        return told(said, rules.too_few(fewest))
    if claim.measure == "steps":
        ends = _of_steps(case, other)
        test = "bootstrap over seeds of the ratio of median steps, each known between two evaluations or censored"
        return told(said, rules.bounded(*ends, test, least=claim.at_least, most=claim.at_most))
    top, bottom = case.numbers(claim.entrant), case.numbers(other)
    if np.mean(top) < 0 or np.mean(bottom) <= 0:
        return replace(said, verdict=NOT_COMPARABLE, reason="a ratio needs means above 0")
    low, high = rules.ratio_interval(top, bottom) or (None, None)
    test = "Fieller's interval of the ratio of means"
    return told(said, rules.bounded(low, high, test, least=claim.at_least, most=claim.at_most))


def _of_steps(case: Case, other: str) -> tuple[float | None, float | None]:
    """The ends of the entrant's steps through the other's."""
    name, rng = case.claim.entrant, np.random.default_rng(case.seed)
    times, against = case.values(name), case.values(other)
    if 0 in times or 0 in against:
        raise Refused(NOT_COMPARABLE, "a seed meets the threshold at step 0, before it has learned")
    found = sample_efficiency_ratio(
        against, times, case.results.tasks[case.claim.task].budget, since=(case.since(other), case.since(name)), rng=rng
    )
    return found.low, found.high


def _bound(case: Case, row: Row | None, said: Verdict) -> Verdict:
    """Of several entrants one is to keep the bound; any may be it, so they share the 5 %.

    The one that is told of is the one whose interval comes closest to keeping it.
    """
    claim, names = case.claim, case.claim.entrants or (case.claim.entrant,)
    numbers = {name: case.numbers(name) for name in names}
    bound = f"at least {claim.at_least:g}" if claim.at_least is not None else f"at most {claim.at_most:g}"
    said = replace(said, theirs=bound, shown="; ".join(case.told(name, named=len(names) > 1) for name in names))
    if (fewest := min(map(len, numbers.values()))) < scores.FEWEST_SEEDS:
        return told(said, rules.too_few(fewest))

    def held(name: str, share: int) -> Finding:
        level = 1 - (1 - rules.LEVEL) / share
        interval = scores.t_interval(numbers[name], level)
        test = "t interval over seeds" + (
            f", its 5 % shared by {share}, of whom one is to keep the bound" * (share > 1)
        )
        return rules.bounded(
            interval.low, interval.high, test, least=claim.at_least, most=claim.at_most, what=name, level=level
        )

    def nearness(one: Finding) -> float:
        end = one.low if claim.at_least is not None else one.high
        assert end is not None  # there are seeds enough
        return end if claim.at_least is not None else -end

    found = [held(name, len(names)) for name in names]
    opposite = [held(name, 1) for name in names]
    if keeping := [one for one in found if one.call == "match"]:
        return told(said, max(keeping, key=nearness))
    if all(one.call in ("below", "above") for one in opposite):
        return told(said, max(opposite, key=nearness))
    return told(said, max((one for one in found if one.call == "underpowered"), key=nearness))


def _shape(case: Case, row: Row | None, said: Verdict) -> Verdict:
    of = case.ranked if case.by_ranks else case.numbers
    sweep = case.claim.entrants
    finding = orders.shape([of(name) for name in sweep], str(case.claim.form), ranks=case.by_ranks)
    return told(replace(said, shown="; ".join(case.told(name, named=True) for name in sweep)), finding)


def _beside(case: Case, ours: str) -> str:
    return "; ".join([ours, *(case.told(name, named=True) for name in case.claim.entrants)])


KINDS: Mapping[str, Callable[[Case, Row | None, Verdict], Verdict]] = {
    "value": _value, "ordering": _ordering, "ratio": _ratio, "shape": _shape, "bound": _bound,
}  # fmt: skip
