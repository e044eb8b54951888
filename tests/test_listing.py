"""The list of suites is what reading them says, and only what changed is read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suites import listing
from suites.faults import SuiteError
from suites.listing import Line, lines
from suites.spec import load_suite, shipped_suites
from tests.test_cli import SUITE


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    seen: list[str] = []
    inner = listing._read

    def watched(path: Path) -> Line:
        seen.append(path.stem)
        return inner(path)

    monkeypatch.setattr(listing, "_read", watched)
    return seen


def write(folder: Path, **titles: str) -> None:
    for name, title in titles.items():
        (folder / f"{name}.yaml").write_text(SUITE.replace("A suite", title))


def test_it_lists_what_reading_every_shipped_suite_says(tmp_path: Path) -> None:
    suites = [load_suite(path) for path in shipped_suites()]
    expected = [Line(suite.name, len(suite.trials()), suite.title) for suite in suites]
    assert lines(remembered=tmp_path / "cache/suites.json") == expected


def test_what_did_not_change_is_not_read_again(tmp_path: Path, read: list[str]) -> None:
    remembered = tmp_path / "cache/suites.json"
    write(tmp_path, one="first", two="second")
    assert [line.title for line in lines(tmp_path, remembered)] == ["first", "second"]
    assert [line.title for line in lines(tmp_path, remembered)] == ["first", "second"]
    assert read == ["one", "two"]
    write(tmp_path, two="changed", three="third")
    assert [line.title for line in lines(tmp_path, remembered)] == ["first", "third", "changed"]
    assert read == ["one", "two", "three", "two"]
    (tmp_path / "one.yaml").unlink()
    assert [line.name for line in lines(tmp_path, remembered)] == ["three", "two"]


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 1}', '{"a": {"name": "x"}}'])
def test_a_memory_that_is_not_ours_is_no_memory(tmp_path: Path, read: list[str], content: str) -> None:
    remembered = tmp_path / "suites.json"
    remembered.write_text(content)
    write(tmp_path, one="first")
    assert lines(tmp_path, remembered) == [Line("one", 1, "first")]
    assert lines(tmp_path, remembered) == [Line("one", 1, "first")]
    assert read == ["one"]


def test_where_nothing_can_be_written_it_reads_each_time(tmp_path: Path, read: list[str]) -> None:
    write(tmp_path, one="first")
    (tmp_path / "taken").write_text("a file where the folder would be")
    for _ in range(2):
        assert lines(tmp_path, tmp_path / "taken/suites.json") == [Line("one", 1, "first")]
    assert read == ["one", "one"]


def test_a_faulty_suite_is_told_each_time(tmp_path: Path) -> None:
    write(tmp_path, one="first")
    (tmp_path / "two.yaml").write_text("title: nothing else")
    for _ in range(2):
        with pytest.raises(SuiteError, match="seeds"):
            lines(tmp_path, tmp_path / "suites.json")


def test_the_command_shows_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from suites.__main__ import app

    shown: Any = [Line("a", 7, "A title")]
    monkeypatch.setattr(listing, "lines", lambda: shown)
    assert CliRunner().invoke(app, ["list"]).stdout == "a                               7 trials  A title\n"
