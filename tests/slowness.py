"""How slow this machine is just now, for bars in seconds: hosts of one kind differ, and neighbours slow them."""

from __future__ import annotations

import time
from statistics import median

USUAL = 0.05  # processor seconds of the work below on the machines of results/README.md, while nothing else is running


def slowness() -> float:
    """Times as slow at plain Python as the machine that bars in seconds were set on; at least 1."""
    found = []
    for _ in range(5):
        began = time.process_time()
        words = [f"{number:x}" for number in range(100_000)]
        assert len({word[::-1] for word in words}) == 100_000
        found.append(time.process_time() - began)
    return max(1.0, median(found) / USUAL)
