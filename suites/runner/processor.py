"""Settings of a trial's process without which many small updates are slower on a CPU, a few agents' many times."""

from __future__ import annotations

import ctypes
import sys

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of mallopt's parameters in glibc's malloc.h


def settle() -> None:
    """To be called before an agent is made, so that a resumed trial computes under the same settings.

    torch keeps to one thread: trials run side by side. Numbers below 1e-38 (doubles: 1e-308) are taken for 0 in this
    thread: Adam's moments of a unit that is never active shrink into that range after some 700 updates, and a processor
    is many times slower there. Freed memory is kept for the next tensors: else every update of a network of 256 x 256
    gives a thousand pages back and asks for them anew.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        allocator = ctypes.CDLL(None)
        if hasattr(allocator, "mallopt"):
            allocator.mallopt(MMAP_THRESHOLD, 32 * 2**20)  # the most that it takes
            allocator.mallopt(TRIM_THRESHOLD, 2**30)
