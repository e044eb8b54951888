"""What is said of one claim: our numbers, theirs, the test and its interval, the verdict, and what must be known."""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.cases import NO_RECORDS
from analysis.rules import LEVEL, Finding
from analysis.scores import Interval
from suites.spec import Claim

NOTHING = "–"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a suite's records say to one claim."""

    says: str
    suite: str
    kind: str
    task: str
    entrant: str  # of a shape: the sweep
    published: str | None  # the row's id
    shown: str = NOTHING  # our numbers as text
    theirs: str = NOTHING  # what ours are held against
    source: str | None = None  # the row as text, where the claim comes from it but no number is held against it
    ours: Interval | None = None  # None where there are no records, or a time is censored
    test: str = "none"
    interval: tuple[float, float] | None = None  # of what was tested: difference or ratio
    level: float = LEVEL  # of the interval
    verdict: str = NO_RECORDS  # match | below | above | underpowered | no records yet | not comparable
    reason: str = ""
    holes: tuple[str, ...] = ()  # seeds of the claim's entrants without a number, with the reason
    differing: tuple[str, ...]

    @property
    def across(self) -> str:
        """What stands across from ours: what it is held against, and where the claim comes from."""
        told = [] if self.theirs == NOTHING else [self.theirs]
        return "; ".join([*told, *([f"source: {self.source}"] if self.source else [])]) or NOTHING

    @property
    def percent(self) -> str:
        """The level of the interval, as it is printed before it."""
        return f"{100 * self.level:.3g} %"


def blank(suite: str, claim: Claim) -> Verdict:
    """What is known of a claim before its records are."""
    return Verdict(
        says=claim.says, suite=suite, kind=claim.kind, task=claim.task,
        entrant=claim.entrant or ", ".join(claim.entrants), published=claim.published, differing=claim.unlike,
    )  # fmt: skip


def told(said: Verdict, finding: Finding) -> Verdict:
    """The verdict with what a test has found."""
    interval = None if finding.low is None or finding.high is None else (finding.low, finding.high)
    return replace(
        said, verdict=finding.call, test=finding.test, interval=interval, level=finding.level, reason=finding.reason
    )
