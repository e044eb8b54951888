"""Measures V: training images/s and encoder latency, against arithmetic and against a straightforward implementation.

Run it as ``python -m tests.bench_vae``. One thread, CPU seconds (so that neighbours on the machine count less), every
round measures all contestants in turn, and each round gives one ratio; the median counts.

*Straightforward* is what the older PyTorch re-implementation does, written down anew: `nn.Conv2d` and
`nn.ConvTranspose2d` in PyTorch's default memory layout, squared error and KL by autograd, unfused Adam, batch 32; that
one ran at 125 images/s on a core whose matrix products reach 85 GFLOP/s (where the arithmetic floor is 370).
*bfloat16* is ours with convolutions in that type (`vision_precision`). The floor is the published network's
multiply-adds, forward and backward, at the rate of a 1,024-cubed float32 matrix product measured in the same round.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from agents.parts import vae
from agents.parts.vae import VAE
from suites.runner.processor import settle

ROUNDS, LATENT = 7, 32
_ENCODER = ((3, 32, 31), (32, 64, 14), (64, 128, 6), (128, 256, 2))  # channels in, out, side of the output
_DECODER = ((1024, 128, 5, 1), (128, 64, 5, 5), (64, 32, 6, 13), (32, 3, 6, 30))  # in, out, kernel, side of the input


def products() -> tuple[float, float]:
    """Floating point operations of one image: encoding, and a training update without its optimiser."""
    encoder = [2.0 * 16 * inputs * out * side**2 for inputs, out, side in _ENCODER] + [4.0 * 1024 * LATENT]
    decoder = [2.0 * inputs * out * k**2 * side**2 for inputs, out, k, side in _DECODER] + [2.0 * 1024 * LATENT]
    return sum(encoder), 3 * sum(encoder + decoder) - encoder[0]  # nobody asks for the gradient by the image


class Straightforward(nn.Module):
    """The same network as one writes it without a thought for speed."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(inputs, out, 4, stride=2) for inputs, out, _ in _ENCODER)
        self.mean, self.logvar = nn.Linear(1024, LATENT), nn.Linear(1024, LATENT)
        self.dense = nn.Linear(LATENT, 1024)
        self.transposed = nn.ModuleList(nn.ConvTranspose2d(i, out, k, stride=2) for i, out, k, _ in _DECODER)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.convolutions:
            x = torch.relu(layer(x))
        x = x.flatten(1)
        return self.mean(x), self.logvar(x)

    def decode(self, z: Tensor) -> Tensor:
        x = self.dense(z)[:, :, None, None]
        for layer in self.transposed[:-1]:
            x = torch.relu(layer(x))
        return torch.sigmoid(self.transposed[-1](x))

    def loss(self, images: Tensor) -> Tensor:
        mean, logvar = self.encode(images)
        error = self.decode(mean + (0.5 * logvar).exp() * torch.randn_like(mean)) - images
        error = error.square().sum((1, 2, 3)).mean()
        nats = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(1)
        return error + nats.clamp(min=0.5 * LATENT).mean()


def seconds(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, after one that is not counted."""
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def updating(loss: Callable[[], Tensor], optimiser: torch.optim.Optimizer) -> Callable[[], object]:
    def update() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        optimiser.step()

    return update


def contestants() -> dict[str, tuple[int, Callable[[], object], int]]:
    """Name -> images a call, the call, calls a round."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (100, 64, 64, 3), generator=generator, dtype=torch.uint8)
    images = vae.images(frames)
    v, half, old = VAE(LATENT, generator), VAE(LATENT, generator, torch.bfloat16), Straightforward()
    fused, halved = (torch.optim.Adam(ours.parameters(), 1e-4, fused=True) for ours in (v, half))
    unfused = torch.optim.Adam(old.parameters(), 1e-4, foreach=False)
    default = images.contiguous()
    found: dict[str, tuple[int, Callable[[], object], int]] = {
        "train, straightforward, batch 32": (32, updating(lambda: old.loss(default[:32]), unfused), 2),
        "train, ours, batch 32": (32, updating(lambda: sum_of(v.losses(images[:32], generator)), fused), 3),
        "train, ours, batch 100": (100, updating(lambda: sum_of(v.losses(images, generator)), fused), 2),
        "train, bfloat16, batch 32": (32, updating(lambda: sum_of(half.losses(images[:32], generator)), halved), 3),
        "train, bfloat16, batch 100": (100, updating(lambda: sum_of(half.losses(images, generator)), halved), 2),
    }
    for batch, times in ((1, 100), (16, 10), (64, 5)):
        few, same = images[:batch], default[:batch]
        found[f"encode, straightforward, batch {batch}"] = (batch, lambda x=same: quietly(old.encode, x), times)
        found[f"encode, ours, batch {batch}"] = (batch, lambda x=few: quietly(v.encode, x), times)
        found[f"encode, bfloat16, batch {batch}"] = (batch, lambda x=few: quietly(half.encode, x), times)
    return found


def sum_of(losses: dict[str, Tensor]) -> Tensor:
    return losses["reconstruction"] + losses["kl"]


@torch.inference_mode()
def quietly(encode: Callable[[Tensor], object], images: Tensor) -> object:
    return encode(images)


def main() -> None:
    settle()
    square = torch.randn(1024, 1024)
    names = contestants()
    spent: dict[str, list[float]] = {name: [] for name in names}  # CPU seconds an image
    rates = []
    for _ in range(ROUNDS):
        rates.append(2 * 1024**3 / min(seconds(lambda: square @ square, 1) for _ in range(5)))
        for name, (batch, work, times) in names.items():
            spent[name].append(seconds(work, times) / batch)
    print(f"float32 matrix products {median(rates) / 1e9:.0f} GFLOP/s on this core")
    encoding, training = products()
    for name, (batch, _, _) in names.items():
        kind, _, rest = name.partition(", ")
        arithmetic = training if kind == "train" else encoding
        floor = median(arithmetic / rate / cost for rate, cost in zip(rates, spent[name], strict=True))
        rival = f"{kind}, straightforward, batch {32 if kind == 'train' else batch}"
        ratios = sorted(theirs / own for theirs, own in zip(spent[rival], spent[name], strict=True))
        speed = f"{1 / median(spent[name]):6.0f} images/s"
        if kind == "encode":
            speed = f"{1e6 * batch * median(spent[name]):6.0f} us a call"
        print(
            f"{kind:6} {rest:26} {speed}, {floor:.2f} of the arithmetic floor, "
            f"x{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) against straightforward"
        )


if __name__ == "__main__":
    main()
