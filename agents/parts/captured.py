"""Runs a function of one tensor as a recorded CUDA graph where there is a GPU; elsewhere it just calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Captured:
    """On a GPU the launches of a small update's hundred kernels take longer than the kernels; a graph launches once.

    ``run`` looks at no tensor's value in Python, changes tensors in place and draws from ``generators`` only. Its first
    call is an ordinary one on a side stream, in which libraries set themselves up; from the second on it is replayed.
    What it returns is overwritten by the next call.
    """

    def __init__(self, run: Callable[[Tensor], dict[str, Tensor]], generators: Sequence[torch.Generator]) -> None:
        self.run, self.generators = run, generators
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        if not x.is_cuda:
            return self.run(x)
        if self.graph is None:
            return self._first(x)
        self.x.copy_(x)
        self.graph.replay()
        return self.found

    def _first(self, x: Tensor) -> dict[str, Tensor]:
        self.x = x.clone()
        side = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            found = self.run(self.x)
        torch.cuda.current_stream(x.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            self.found = self.run(self.x)
        self.graph = graph
        return found
