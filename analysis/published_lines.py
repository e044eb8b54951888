"""Published rows as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.published import Row


def lines(rows: Sequence[Row], limit: int) -> Iterator[str]:
    """What is printed of published rows, then how many there are."""
    for row in rows[:limit]:
        yield row.id
        metric = "" if row.metric == "mean_return" else f" [{row.metric.replace('_', ' ')}]"
        yield f"    {row.method} on {row.env}: {row}{metric}"
        yield f"    {row.provenance.replace('_', ' ')}: {row.source}" + (f" ({row.note})" if row.note else "")
    more = f"; the first {limit:,} are shown, --limit shows more" if len(rows) > limit else ""
    yield f"{len(rows):,} row{'' if len(rows) == 1 else 's'}{more}"
