"""For every test: shapes in the types of agents are checked (jaxtyping, beartype), and arithmetic is plain."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # nothing here needs a display
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores

from jaxtyping import install_import_hook

install_import_hook(["agents"], "beartype.beartype")


@pytest.fixture(autouse=True)
def plain_arithmetic() -> Iterator[None]:
    """A trial has its process take tiny numbers for 0; the next test's numbers are not its business."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


@pytest.fixture
def nothing_walked() -> None:
    """The counts of `tests.walking.Walk` begin anew."""
    from tests.walking import Walk

    Walk.taken, Walk.asked = 0, []
