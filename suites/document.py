"""The data of a suite file, the places of its keys and values, and the faults found in it so far."""

from __future__ import annotations

import re
from typing import Any

from suites.faults import Fault

Loc = tuple[str | int, ...]  # the keys and indices that lead to a value
Place = tuple[int, int]  # line and column, counted from 1


class Document:
    """The data of one file, the places of its keys and values, and the faults found so far."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines = re.split(r"\r\n|\r|\n", text)
        self.data: Any = None
        self.keys: dict[Loc, Place] = {}
        self.values: dict[Loc, Place] = {(): (1, 1)}
        self.broken: set[Loc] = set()  # places whose value could not be read; judged no further
        self.faults: list[Fault] = []

    def fault(self, place: Place, message: str, suggestion: str | None = None) -> None:
        line, col = place
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        self.faults.append(
            Fault(file=self.file, line=line, col=col, message=message, source=source, suggestion=suggestion)
        )

    def place(self, loc: Loc) -> Place:
        """Where a reader looks for ``loc``: at its value if that begins on its key's line, else at its key."""
        while loc not in self.values:
            loc = loc[:-1]
        value, key = self.values[loc], self.keys.get(loc)
        return key if key is not None and key[0] != value[0] else value

    def key_place(self, loc: Loc) -> Place:
        return self.keys.get(loc) or self.place(loc)

    def is_broken(self, loc: Loc) -> bool:
        return any(loc[:end] in self.broken for end in range(len(loc) + 1))

    def get(self, loc: Loc) -> Any:
        """The value at ``loc``, or None where there is none."""
        value = self.data
        for step in loc:
            items = value if isinstance(value, dict) else dict(enumerate(value if isinstance(value, list) else []))
            if step not in items:
                return None
            value = items[step]
        return value
