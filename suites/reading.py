"""A suite file as plain data that remembers where each key and value stood (YAML 1.2, by ruamel.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import ScalarNode

from suites.document import Document, Loc, Place
from suites.faults import Fault, SuiteError, quoted

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16  # a suite needs 6
MAX_VALUES = 10_000  # keys and values; a suite of 60 games has about 1,000
MAX_INT = 2**63 - 1

# YAML lets these into a file; an editor, a terminal or a folder name does not take them well.
UNWELCOME = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
RESOLVER = YAML(typ="safe", pure=True, plug_ins=[]).resolver  # never meets a %YAML directive: always 1.2


class Stop(Exception):
    """Raised inside a parse that can't go on; the fault is in the document."""


def read_document(path: Path) -> Document:
    """The file's data, with all that can be said without knowing what a suite is in ``faults``.

    Raises SuiteError where nothing can be read at all.
    """
    text = read_text(path)
    document = Document(str(path), text)
    for found in UNWELCOME.finditer(text):
        before = text[: found.start()]
        line = len(re.findall(r"\r\n|\r|\n", before)) + 1
        col = found.start() - max(before.rfind("\n"), before.rfind("\r"))
        name = "a byte-order mark" if found.group() == "\ufeff" else f"character U+{ord(found.group()):04X}"
        document.fault((line, col), f"expected plain UTF-8 text without control characters, found {name}")
        raise SuiteError(document.faults)
    try:
        Builder(document).build(YAML(typ="safe", pure=True, plug_ins=[]).parse(text))
    except Stop:
        document.broken.add(())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = error.problem or error.context or "not YAML"
        document.fault(place, f"expected YAML, found a fault in its syntax: {said}")
        document.broken.add(())
    except Exception as error:
        # ruamel meets some malformed escapes and directives with a bare ValueError or worse. A suite is
        # data from anywhere: whatever its reader trips over is a fault of the file, and says so.
        last = list(document.values.values())[-1]
        document.fault(last, f"expected YAML, found what its reader can't take: {quoted(str(error))}")
        document.broken.add(())
    return document


def read_text(path: Path) -> str:
    def refuse(message: str, line: int = 0, col: int = 0, source: str = "") -> SuiteError:
        return SuiteError([Fault(file=str(path), line=line, col=col, message=message, source=source)])

    try:
        if not path.is_file():
            raise refuse("expected a suite file, found " + ("a folder" if path.is_dir() else "no such file"))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise refuse(f"expected a file that can be read, found: {error}") from None
    if len(raw) > MAX_BYTES:
        raise refuse(f"expected a suite file of at most {MAX_BYTES // 1024} KiB, found a larger one")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        line, col = before.count("\n") + 1, len(before) - before.rfind("\n")
        after = raw[error.start : error.start + 80].decode("utf-8", "replace").split("\n")[0]
        source = before[before.rfind("\n") + 1 :] + after
        found = f"the byte 0x{raw[error.start]:02x}"
        raise refuse(f"expected UTF-8 text, found {found}", line, col, source) from None


class Builder:
    """Builds a document's data from parser events, one at a time, so that depth and size stop it early."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def build(self, events: Iterator[Event]) -> None:
        self.events = events
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.stop(event, "expected one document in a file, found a second one")
                if event.version or event.tags:
                    self.stop(event, "expected no directives, found one: a suite file is YAML 1.2")
            elif isinstance(event, NodeEvent):
                self.document.data = self.node(event, (), 0)
            elif isinstance(event, DocumentEndEvent):
                continue
        if not documents:
            self.document.fault((1, 1), "expected a suite, found an empty file")
            raise Stop

    def node(self, event: Event, loc: Loc, depth: int) -> Any:
        self.count += 1
        self.document.values[loc] = place(event)
        if self.count > MAX_VALUES:
            self.stop(event, f"expected at most {MAX_VALUES} keys and values, found more")
        if depth > MAX_DEPTH:
            self.stop(event, f"expected at most {MAX_DEPTH} levels of nesting, found more")
        if isinstance(event, AliasEvent):
            return self.refuse(event, loc, "expected the value itself, found an alias (*); write it out")
        if getattr(event, "anchor", None):
            message = "expected no anchors (&): aliases are not read in a suite file"
            self.document.fault(place(event), message)
        if tag := getattr(event, "tag", None):
            written = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.refuse(event, loc, f"expected no tags, found {quoted(written)}; remove it")
        if isinstance(event, MappingStartEvent):
            return self.mapping(loc, depth)
        if isinstance(event, CollectionStartEvent):
            return self.sequence(loc, depth)
        assert isinstance(event, ScalarEvent)
        return self.scalar(event, loc)

    def mapping(self, loc: Loc, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        aside = (*loc, -1)  # where what is read but not kept is put
        for event in self.events:
            if isinstance(event, CollectionEndEvent):
                break
            key = self.key(event, aside, depth + 1)
            if key in data:
                first = self.document.keys[(*loc, key)][0]
                found = f"found {quoted(key)} again (first in line {first})"
                self.document.fault(place(event), f"expected each key once, {found}")
            if key is None or key in data:
                self.node(next(self.events), aside, depth + 1)
            else:
                self.document.keys[(*loc, key)] = place(event)
                data[key] = self.node(next(self.events), (*loc, key), depth + 1)
        return data

    def key(self, event: Event, aside: Loc, depth: int) -> str | None:
        faults = len(self.document.faults)
        key = self.node(event, aside, depth)
        if len(self.document.faults) > faults:
            return None
        if isinstance(key, str):
            return key
        text = f'"{event.value}"' if isinstance(event, ScalarEvent) and event.value else None
        self.document.fault(place(event), f"expected a key that is text, found {quoted(key)}", text)
        return None

    def sequence(self, loc: Loc, depth: int) -> list[Any]:
        data: list[Any] = []
        for event in self.events:
            if isinstance(event, CollectionEndEvent):
                break
            data.append(self.node(event, (*loc, len(data)), depth + 1))
        return data

    def scalar(self, event: ScalarEvent, loc: Loc) -> Any:
        text = str(event.value)
        if found := UNWELCOME.search(text):
            character = f"U+{ord(found.group()):04X}"
            return self.refuse(event, loc, f"expected text without control characters, found {character}")
        kind = str(RESOLVER.resolve(ScalarNode, text, event.implicit)).rpartition(":")[2]
        if kind in ("null", "bool"):
            return None if kind == "null" else text.lower() == "true"
        if kind not in ("int", "float"):
            return text  # dates and clock times too: a suite has no use for them
        try:
            value = whole(text) if kind == "int" else decimal(text)
        except ValueError:  # "+_" looks like a number to the resolver, and Python reads 4,300 digits at most
            return self.refuse(event, loc, f"expected a number, found {quoted(text)}")
        if (abs(value) > MAX_INT) if isinstance(value, int) else not isfinite(value):
            return self.refuse(event, loc, f"expected a finite number of at most 64 bits, found {quoted(text)}")
        return value

    def refuse(self, event: Event, loc: Loc, message: str) -> None:
        self.document.fault(place(event), message)
        self.document.broken.add(loc)

    def stop(self, event: Event, message: str) -> None:
        self.document.fault(place(event), message)
        raise Stop


def whole(text: str) -> int:
    digits = text.replace("_", "")
    based = digits.lstrip("+-")[:2].lower() in ("0b", "0o", "0x")
    return int(digits, 0 if based else 10)


def decimal(text: str) -> float:
    return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


def place(event: Event) -> Place:
    return (event.start_mark.line + 1, event.start_mark.column + 1)
