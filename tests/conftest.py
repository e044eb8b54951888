"""For every test: shapes in the types of agents are checked (jaxtyping, beartype), and arithmetic is plain."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # nothing here needs a display
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores

from jaxtyping import install_import_hook

install_import_hook(["agents"], "beartype.beartype")


def pytest_addoption(parser: pytest.Parser) -> None:
    shows = "added to the seed of every torch.Generator: what a test of learning shows must not hang on one seed"
    parser.addoption("--shift-seeds", type=int, default=0, metavar="N", help=shows)


def pytest_configure(config: pytest.Config) -> None:
    if shift := config.getoption("shift_seeds"):
        import torch

        class Shifted(torch.Generator):
            def manual_seed(self, seed: int) -> torch.Generator:
                return super().manual_seed(seed + shift)

        setattr(torch, "Generator", Shifted)  # noqa: B010, before anything imports it by name


@pytest.fixture(autouse=True)
def plain_arithmetic() -> Iterator[None]:
    """A trial has its process take tiny numbers for 0; the next test's numbers are not its business."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder in memory, where there is room: for tests whose hundreds of saves would each wait for a disk."""
    memory = Path("/dev/shm")
    room = shutil.disk_usage(memory).free if memory.is_dir() else 0
    with tempfile.TemporaryDirectory(dir=memory if room > 4 * 2**30 else None) as folder:
        yield Path(folder)


@pytest.fixture
def nothing_walked() -> None:
    """The counts of `tests.walking.Walk` begin anew."""
    from tests.walking import Walk

    Walk.taken, Walk.asked = 0, []
