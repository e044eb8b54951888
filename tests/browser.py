"""Opens a page in Debian's chromium through playwright, and notes all that goes wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-quic",
)  # fmt: skip


@dataclass
class Tab:
    """A page, what it asked for, and its complaints: console errors, uncaught errors, failed requests, dialogs."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def installed() -> str:
    """The path of chromium; skips the test where it or playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install -e '.[dev]'")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no chromium here: apt-get install chromium")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    path = installed()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@contextmanager
def opened(started: Any, file: Path, *, width: int = 1400, dark: bool = False) -> Iterator[Tab]:
    page = started.new_page(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    tab = Tab(page)
    page.on("request", lambda request: tab.requests.append(request.url))
    page.on("requestfailed", lambda request: tab.complaints.append(f"failed: {request.url}"))
    page.on("pageerror", lambda error: tab.complaints.append(f"uncaught: {error}"))
    page.on("dialog", lambda dialog: (tab.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "console",
        lambda said: tab.complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.goto(file.as_uri())
    yield tab
    page.close()
