"""What a dream step and M's training cost beside the arithmetic in them, and beside torch's own LSTM.

Run it as ``python -m tests.bench_dream``. One thread; seconds of the processor, since others may use the machine. Each
repetition measures the rate of a matrix product, what it is the floor of, and the same product again; the median of the
ratios counts. A floor is the products' operations alone: 2 for a weight in a step of a dream, 6 in training (less the
gradient of M's inputs, which nobody needs).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from agents.parts.dream import Dreaming
from agents.parts.mdn_rnn import MDNRNN
from suites.runner.processor import settle

CAR = {"latent": 32, "actions": 3, "hidden": 256}
TAKE_COVER = {"latent": 64, "actions": 1, "hidden": 512, "done": True}
SIDE = 1024  # of the matrices whose product is the measure
OLDER = 6.0  # sequences/s of an older re-implementation's whole training, batch 16 x 32 steps: reference, throughput


def seconds(work: Callable[[], Any], times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def against_floor(operations: float, work: Callable[[], Any], repeats: int, times: int = 1) -> tuple[float, float]:
    """Median of the shares of the floor in what ``work`` takes, and the median of its seconds."""
    matrix, out = torch.randn(SIDE, SIDE), torch.empty(SIDE, SIDE)
    work()
    shares, taken = [], []
    for _ in range(repeats):
        before = seconds(lambda: torch.mm(matrix, matrix, out=out), 3)
        spent = seconds(work, times)
        after = seconds(lambda: torch.mm(matrix, matrix, out=out), 3)
        rate = 2 * SIDE**3 / ((before + after) / 2)
        shares.append(operations / rate / spent)
        taken.append(spent)
    return median(shares), median(taken)


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def dream_steps(generator: torch.Generator) -> None:
    model = MDNRNN(**TAKE_COVER, generator=generator)
    for count, candidates in ((1024, 1), (1024, 64), (64, 1), (16, 1)):
        dreams = Dreaming(model, temperature=1.15)
        dreams.reset(torch.randn(count // candidates, 64, generator=generator), generator, candidates)
        action = torch.zeros(count, 1)
        times = max(1, 256 // count)
        share, spent = against_floor(count * 2 * weights(model), lambda d=dreams, a=action: d.step(a), 15, times)
        what = f"dream of Take Cover, {count:4} at a time" + (f" for {candidates} candidates" if candidates > 1 else "")
        print(f"{what:56}: {share:.2f} of the floor, {count / spent:7.0f} steps/s")


def descent(model: MDNRNN, batch: Callable[[], tuple[Tensor | None, ...]]) -> Callable[[], None]:
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)

    def update() -> None:
        losses = model.losses(*batch())
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimiser.step()

    return update


def stored(model: MDNRNN, count: int, length: int, generator: torch.Generator) -> Callable[[], tuple[Any, ...]]:
    """Batches as in training: windows of recorded latents, z drawn anew from mean and log-variance each time."""
    frames = 50_000
    mean, logvar = (torch.randn(frames, model.latent, generator=generator).half() for _ in range(2))
    action = torch.rand(frames, model.actions, generator=generator)
    first = (torch.rand(frames, generator=generator) < 1 / 300).float()

    def batch() -> tuple[Any, ...]:
        rows = torch.randint(frames - length - 1, (count, 1), generator=generator) + torch.arange(length + 1)
        noise = torch.randn(count, length + 1, model.latent, generator=generator)
        z = mean[rows].float() + (0.5 * logvar[rows].float()).exp() * noise
        restart = first[rows] if model.done else None
        shown, done = (None, None) if restart is None else (restart[:, :-1], restart[:, 1:])
        return z[:, :-1], action[rows[:, :-1]], shown, z[:, 1:], done

    return batch


def training(generator: torch.Generator) -> None:
    sizes = (("CarRacing", CAR, 16, 32, 15), ("CarRacing", CAR, 100, 250, 3), ("Take Cover", TAKE_COVER, 100, 250, 3))
    for name, kind, count, length, repeats in sizes:
        model = MDNRNN(**kind, generator=generator)
        inputs = model.cell.shape[1] - model.hidden
        operations = (6 * weights(model) - 2 * 4 * model.hidden * inputs) * count * length
        share, spent = against_floor(operations, descent(model, stored(model, count, length, generator)), repeats)
        rate = count / spent
        beside = f", {rate / OLDER:.0f} times the older one's" if (count, length) == (16, 32) else ""
        what = f"M of {name}, {count} x {length:3} steps, data and Adam included"
        print(f"{what:56}: {share:.2f} of the floor, {rate:5.0f} sequences/s{beside}")


def beside_torch(generator: torch.Generator) -> None:
    """The recurrence alone, forwards and backwards, in turn."""
    for kind, count, length in ((CAR, 16, 32), (CAR, 100, 250), (TAKE_COVER, 100, 250)):
        model = MDNRNN(**{**kind, "done": False}, generator=generator)
        theirs = nn.LSTM(model.latent + model.actions, model.hidden)
        z = torch.randn(count, length, model.latent, generator=generator)
        action = torch.randn(count, length, model.actions, generator=generator)
        x = torch.cat([z, action], 2).transpose(0, 1).contiguous()
        times = max(1, 2000 // (count * length))
        ratios = []
        for _ in range(5):
            torchs = seconds(lambda x=x, theirs=theirs: theirs(x)[0].sum().backward(), times)
            ours = seconds(lambda z=z, a=action, model=model: model.unroll(z, a, None)[0].sum().backward(), times)
            ratios.append(torchs / ours)
        print(
            f"LSTM of {model.hidden} units, {count:3} x {length:3} steps: {median(ratios):.2f} times as fast as nn.LSTM"
        )


def main() -> None:
    settle()
    generator = torch.Generator().manual_seed(0)
    dream_steps(generator)
    training(generator)
    beside_torch(generator)


if __name__ == "__main__":
    main()
