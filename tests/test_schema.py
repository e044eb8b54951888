"""The JSON Schema for editors is the committed one, takes what the reader takes, and refuses what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from suites.reading import read_document
from suites.spec import json_schema, schema_text, shipped_suites
from tests.suite_samples import RICH, SMALL, write_suite
from tests.test_suite_faults import CASES

SCHEMA = Path(__file__).resolve().parent.parent / "suites" / "suite.schema.json"
VALIDATOR = Draft202012Validator(json_schema())


def faults(data: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(data)]


def test_the_committed_schema_is_the_generated_one() -> None:
    assert SCHEMA.read_text() == schema_text(), "write it anew with `python -m suites schema`"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", shipped_suites(), ids=lambda path: path.stem)
def test_every_shipped_suite_is_taken_by_the_schema(path: Path) -> None:
    assert not faults(read_document(path).data)


@pytest.mark.parametrize("text", [RICH, SMALL], ids=["rich", "small"])
def test_a_suite_with_every_key_is_taken_by_the_schema(tmp_path: Path, text: str) -> None:
    assert not faults(read_document(write_suite(tmp_path, text)).data)


def test_numbers_that_an_editor_reads_as_text_are_taken_by_the_schema(tmp_path: Path) -> None:
    data = read_document(write_suite(tmp_path, RICH)).data
    data["evaluate"]["every"] = "1_000"  # what the YAML of most editors makes of 1_000
    assert not faults(data)
    data["evaluate"]["every"] = "1000"
    assert faults(data)


def test_every_fault_of_structure_is_refused_by_the_schema(tmp_path: Path) -> None:
    passed, count = [], 0
    for kind, case in CASES:
        if case.structural:
            document = read_document(write_suite(tmp_path, "\n".join(case.lines)))
            count += 1
            if not document.faults and not faults(document.data):
                passed.append(f"{kind}, {case.name}")
    assert count >= 300
    assert not passed
