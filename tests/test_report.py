"""Promises of the report, in a real browser: it loads nothing, sorts, filters, names seeds, and runs no text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.load import LoadError
from analysis.protocols import UnlikeProtocols
from analysis.report import page
from tests.browser import Tab, browser, opened
from tests.synthetic_records import edit_header, interrupt, write_suite

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror='alert(2)'></svg>{{ 7 * 7 }}&amp;"
FOLDERS = {"suite": "<img src=x onerror=alert(3)>", "task": '"><b onclick=alert(4)>', "entrant": "' onload='alert(5)"}
CLAIMS = """
claims:
  - {{ says: {says}, task: repeated, entrant: sac, entrants: [uniform], kind: ordering }}
  - {{ says: "it is worth 3", task: repeated, entrant: sac, value: 3 }}
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of all kinds of curves, with claims, a hole, and hostile text wherever text may stand. Only read."""
    root = tmp_path_factory.mktemp("shelf")
    tasks = ["pendulum", "repeated", "hopper", "dyna-maze", "blocking-maze", "cartpole"]
    file = write_suite(root, tasks=tasks, entrants=["mb-mpc", "sac", "uniform"], seeds=4)
    rest = file.read_text().split("\n", 1)[1]
    said = json.dumps(HOSTILE)
    file.write_text(f"title: {said}\nabout: {said}\n{rest}{CLAIMS.format(says=said)}")
    records = root / "results" / "made-up"
    for record in (records / "hopper" / "sac").glob("*.jsonl"):
        edit_header(record, machine={"processor": HOSTILE}, config={"name": HOSTILE}, packages={"numpy": HOSTILE})
    interrupt(records / "pendulum" / "sac" / "1.jsonl", 300, 20_000, reason=HOSTILE)
    _bare_records(root)
    return root


def _bare_records(root: Path) -> None:
    """Records of a suite without a file, in folders whose names are text of the page, too."""
    cell = root / "results" / FOLDERS["suite"] / FOLDERS["task"] / FOLDERS["entrant"]
    cell.mkdir(parents=True)
    for seed in range(3):
        record = Path(shutil.copy(root / f"results/made-up/cartpole/uniform/{seed}.jsonl", cell))
        edit_header(record, **FOLDERS, agent=HOSTILE)


def names(root: Path) -> list[str]:
    return [str(root / "made-up.yaml"), FOLDERS["suite"]]


@pytest.fixture(scope="module")
def file(shelf: Path) -> Path:
    path = shelf / "report.html"
    path.write_text(page(names(shelf), shelf / "results"))
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def tab(chromium: Any, file: Path) -> Iterator[Tab]:
    with opened(chromium, file) as one:
        yield one
        assert one.complaints == []


def test_the_same_records_give_the_same_page(shelf: Path, file: Path) -> None:
    assert page(names(shelf), shelf / "results") == file.read_text()


def test_the_page_is_small(file: Path) -> None:
    assert file.stat().st_size < 400_000  # of 76 trials


def test_the_computing_time_is_the_sum_of_the_last_rows_however_long(tmp_path: Path) -> None:
    file = write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=2)
    record = tmp_path / "results/made-up/pendulum/sac/0.jsonl"
    *rows, end = record.read_text().splitlines()
    end = json.dumps({**json.loads(end), "seconds": 7199.0, "commits": ["0" * 40] * 200})
    record.write_text("\n".join([*rows, end]) + "\n")
    assert "2 of 2 trials of these are finished, in 2.0 h of computing" in page([str(file)], tmp_path / "results")


def test_a_suite_that_is_named_must_be_there_and_alike(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="nosuch"):
        page(["nosuch"], tmp_path)
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "uniform"], seeds=1)
    edit_header(tmp_path / "results/made-up/pendulum/sac/0.jsonl", protocol_hash="other", protocol={"budget": 3})
    with pytest.raises(UnlikeProtocols):
        page([str(tmp_path / "made-up.yaml")], tmp_path / "results")


def test_of_all_suites_one_that_cannot_be_shown_is_named_with_the_reason(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "uniform"], seeds=1)
    edit_header(tmp_path / "results/made-up/pendulum/sac/0.jsonl", protocol_hash="other", protocol={"budget": 3})
    text = page([], tmp_path / "results")
    assert "made-up" in text
    assert "expected records of one protocol, found 2" in text
    assert "No claims" not in text  # those of the shipped suites have no records yet
    assert "no records yet" in text


def test_what_has_records_comes_first_and_no_folder_of_the_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac", "uniform"], seeds=1)
    monkeypatch.chdir(tmp_path)
    text = page([], tmp_path / "results")
    assert str(tmp_path) not in text
    assert text.index(">made-up</a>") < text.index("expected records below results/blocking_maze, found none")


def test_a_suite_without_claims_says_so(tmp_path: Path) -> None:
    write_suite(tmp_path, tasks=["pendulum"], entrants=["sac"], seeds=1)
    assert "No claims: none of these suites declares any." in page(
        [str(tmp_path / "made-up.yaml")], tmp_path / "results"
    )


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_alone_and_fits_the_screen(chromium: Any, file: Path, width: int, dark: bool) -> None:
    with opened(chromium, file, width=width, dark=dark) as tab:
        assert tab.requests == [file.as_uri()]
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        for name in tab.page.locator("table.comparison tbody th").all():
            box = name.bounding_box()
            assert box["width"] >= 50, "a name is broken into letters"
            assert box["height"] <= 80
        assert tab.complaints == []


def test_no_text_of_a_graph_lies_on_another_or_beyond_its_edge(tab: Tab) -> None:
    found = tab.page.evaluate("""() => {
        const faults = [];
        const disjoint = (a, b) =>
            a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
        for (const graph of document.querySelectorAll("svg.graph")) {
            const edge = graph.getBoundingClientRect();
            const texts = [...graph.querySelectorAll("text")];
            texts.forEach((text, at) => {
                const box = text.getBoundingClientRect();
                const beyond = box.left < edge.left - 1 || box.right > edge.right + 1 || box.bottom > edge.bottom + 1;
                if (beyond) faults.push(text.textContent);
                for (const other of texts.slice(at + 1)) {
                    if (!disjoint(box, other.getBoundingClientRect())) {
                        faults.push(`${text.textContent} on ${other.textContent}`);
                    }
                }
            });
        }
        return faults;
    }""")
    assert found == []


def test_a_click_on_a_head_sorts_best_first_and_another_turns_it(tab: Tab) -> None:
    table = tab.page.locator("table.comparison").first
    head = table.locator("thead th").nth(1)
    cells = table.locator("tbody tr td:nth-child(2)")

    def order() -> list[float]:
        return [float(value) for value in cells.evaluate_all("cells => cells.map(cell => cell.dataset.value)")]

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    falling = order()
    assert falling == sorted(falling, reverse=True)
    assert "best" in cells.first.get_attribute("class")
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert order() == sorted(falling)


def test_what_has_no_number_is_sorted_last_either_way(tab: Tab) -> None:
    table = tab.page.locator("table.comparison", has=tab.page.locator("caption", has_text="hopper"))
    for _ in range(2):
        table.locator("thead th", has_text="steps to").locator("button").click()
        assert table.locator("tbody tr").last.locator("th").inner_text() == "uniform"  # it never gets there


def test_the_filter_leaves_the_rows_that_have_every_word(tab: Tab) -> None:
    rows = tab.page.locator("tbody tr, li.row")
    tab.page.fill("#filter", "uniform SAC")
    shown = rows.evaluate_all("rows => rows.filter(row => !row.hidden).map(row => row.textContent.toLowerCase())")
    assert shown
    assert all("uniform" in text and "sac" in text for text in shown)
    assert tab.page.locator("#shown").inner_text() == f"{len(shown)} of {rows.count()} rows"
    tab.page.fill("#filter", "")
    assert rows.evaluate_all("rows => rows.filter(row => row.hidden).length") == 0


def test_pointing_at_a_seed_names_it_and_shows_it_in_the_curves_too(tab: Tab, shelf: Path) -> None:
    lines = (shelf / "results/made-up/hopper/sac/2.jsonl").read_text().splitlines()
    returns = json.loads(lines[-2])["returns"]
    dot = tab.page.locator("circle.seed[data-say*='sac, seed 2:'][data-key^='2.']").first
    dot.hover()
    tip = tab.page.locator("#tip.on")
    assert tip.inner_text() == f"sac, seed 2: return {sum(returns) / len(returns):,.6g}"
    assert tab.page.locator("polyline.seed.on").count() == 1
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["y"] >= 0
    tab.page.mouse.move(1, 1)
    assert tab.page.locator("#tip.on, .seed.on").count() == 0


def test_arrow_keys_go_from_seed_to_seed(tab: Tab) -> None:
    graph = tab.page.locator("svg.graph[tabindex='0']").first
    graph.focus()
    said = []
    for _ in range(3):
        graph.press("ArrowRight")
        said.append(tab.page.locator("#tip.on").inner_text())
    assert [text.partition(":")[0] for text in said] == [f"mb-mpc [known reward], seed {n}" for n in range(3)]
    graph.press("ArrowLeft")
    assert tab.page.locator("#tip.on").inner_text() == said[1]
    graph.press("Escape")
    assert tab.page.locator("#tip.on").count() == 0


def test_hostile_text_is_shown_as_text(tab: Tab) -> None:
    of = tab.page.evaluate("""() => {
        const names = [...document.querySelectorAll("*")].flatMap((one) => one.getAttributeNames());
        return {
            scripts: document.scripts.length,
            images: document.images.length,
            handlers: names.filter((name) => name.startsWith("on")),
        };
    }""")
    assert of == {"scripts": 1, "images": 0, "handlers": []}
    assert tab.page.locator("h2", has_text="<script>alert(1)</script>").first.inner_text() == HOSTILE
    text = tab.page.locator("body").evaluate("body => body.textContent")
    for hostile in (*FOLDERS.values(), f"failed: {HOSTILE}", f"name = {HOSTILE}"):
        assert hostile in text
    assert "49" not in tab.page.locator("h2").first.inner_text()


def test_a_script_that_got_in_would_not_run(chromium: Any, file: Path) -> None:
    with opened(chromium, file) as tab:
        tab.page.evaluate("""() => {
            const late = document.createElement("script");
            late.textContent = "window.ran = true";
            document.body.append(late);
        }""")
        assert tab.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in said for said in tab.complaints)


def test_a_claim_comes_with_its_verdict_before_the_suites(tab: Tab) -> None:
    rows = tab.page.locator("table.claims tbody tr")
    assert [rows.nth(n).locator(".verdict").inner_text() for n in range(2)] == ["match", "below"]
    assert HOSTILE in rows.nth(0).inner_text()
    order = tab.page.locator("main > section").evaluate_all("of => of.map(one => one.id)")
    assert order == ["overview", "claims", "suite-1", "suite-2"]


def test_on_paper_everything_is_open(tab: Tab) -> None:
    tab.page.emulate_media(media="print")
    tab.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.page.locator("details:not([open])").count() == 0
    assert not tab.page.locator(".bar").is_visible()
    tab.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.page.locator("details:not([open])").count() > 0
