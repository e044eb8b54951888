"""Shapes that stand in the types of agents are checked in every test: jaxtyping's import hook, with beartype."""

from __future__ import annotations

import os

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # nothing here needs a display
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores

from jaxtyping import install_import_hook

install_import_hook(["agents"], "beartype.beartype")
