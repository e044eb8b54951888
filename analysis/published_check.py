"""Holds published aggregates against published scores: human-normalised means on the 26 games of Atari 100k."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from analysis.published import Row

GAMES = 26  # of Atari 100k
RANDOM, HUMAN = "random", "human (professional tester)"
REFERENCE = "1511.06581/atari-data/"  # random and human scores, DQN Zoo's table

# Aggregate as a paper states it: which row says so, and of which per-game rows (id up to the row, method) it is made.
STATED = (
    ("SimPLe", "2405.12399/aggregates/simple-hns-mean", "1903.00374/main-table/", "SimPLe (SD, long)"),
    ("SPR, 100 runs", "2405.12399/aggregates/spr-hns-mean", "2108.13264/scores/", "SPR"),
    ("TWM", "2405.12399/aggregates/twm-hns-mean", "2303.07109/table-1/", "TWM"),
    ("IRIS", "2405.12399/aggregates/iris-hns-mean", "2209.00588/table-1/", "IRIS"),
    ("DIAMOND", "2405.12399/aggregates/diamond-hns-mean", "2405.12399/table-1/", "DIAMOND"),
    ("EfficientZero", "2405.12399/aggregates/efficientzero-hns-mean", "2111.00210/table-1/", "EfficientZero"),
    ("MuZero at 100k", "2405.12399/aggregates/muzero-at-100k-hns-mean", "2111.00210/table-1/", "MuZero at 100k"),
    ("CURL", "2405.12399/aggregates/curl-hns-mean", "2405.12399/table-6/", "CURL"),
    ("SR-SPR", "2405.12399/aggregates/sr-spr-hns-mean", "2405.12399/table-6/", "SR-SPR"),
    ("BBF", "2405.12399/aggregates/bbf-hns-mean", "2405.12399/table-6/", "BBF"),
    ("STORM", "2405.12399/aggregates/storm-hns-mean", "2310.09615/table-1/", "STORM"),
    ("DreamerV3, v1", "2405.12399/aggregates/dreamerv3-hns-mean", "2301.04104/v1-atari-100k/", "DreamerV3"),
    ("DreamerV3, v2", "2301.04104/v2-aggregates/dreamerv3-hns-mean", "2301.04104/scores-atari-100k/", "DreamerV3"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Check:
    """An aggregate twice: as stated, and made of the published scores it should follow from."""

    name: str
    stated: Row
    computed: float
    scores: str  # the id that their rows begin with
    tolerance: float  # half a unit of the last digit printed

    @property
    def agrees(self) -> bool:
        return abs(self.computed - self.stated.mean) <= self.tolerance

    def __str__(self) -> str:
        verdict = "agree" if self.agrees else f"differ by {self.computed - self.stated.mean:+.3f}"
        stated = f"stated {self.stated.mean:g} ({self.stated.id})"
        return f"{self.name}: {stated}, from {self.scores}* {self.computed:.3f}: {verdict}"


def human_normalised(rows: Iterable[Row], scores: str, method: str) -> dict[str, float]:
    """By game: (score - random) / (human - random) of every row whose id begins with ``scores``."""
    rows = list(rows)
    reference = {(row.gymnasium_id, row.method): row.mean for row in rows if row.id.startswith(REFERENCE)}
    normalised = {}
    for row in rows:
        game, same = row.gymnasium_id, row.method.partition(" (")[0] == method.partition(" (")[0]
        if row.id.startswith(scores) and same and (game, RANDOM) in reference:
            low, high = reference[game, RANDOM], reference[game, HUMAN]
            normalised[game] = (row.mean - low) / (high - low)
    return normalised


def checks(rows: Iterable[Row]) -> list[Check]:
    """Every stated aggregate beside what the per-game scores give."""
    rows = list(rows)
    by_id = {row.id: row for row in rows}
    found = []
    for name, stated, scores, method in STATED:
        normalised = human_normalised(rows, scores, method)
        if len(normalised) != GAMES:
            raise ValueError(f"expected {GAMES} games of {method} below {scores}, found {len(normalised)}")
        places = 2 if stated.startswith("2301") else 3  # printed in percent; printed with three digits
        found.append(
            Check(
                name=name,
                stated=by_id[stated],
                computed=fmean(normalised.values()),
                scores=scores,
                tolerance=0.5 * 10**-places + 1e-9,
            )
        )
    return found
