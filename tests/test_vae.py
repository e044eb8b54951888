"""V of World Models: parameter counts, hand-worked losses, fast paths against plain layers, and that it learns."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from math import e, log

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.parts import convolutions, saving, vae
from agents.parts.vae import VAE


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(latent: int = 32, products: torch.dtype | None = None) -> VAE:
    """A V whose biases are not zero, so that a forgotten one shows."""
    made, generator = VAE(latent, seeded(), products), seeded(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return made


def pictures(count: int, seed: int = 0) -> Tensor:
    """Discs and bars of random place and colour on random grounds, ``[count, 64, 64, 3]`` bytes."""
    generator = seeded(seed)
    rows, columns = torch.arange(64.0)[:, None, None], torch.arange(64.0)[None, :, None]
    frames = []
    for _ in range(count):
        ground, disc, bar = torch.rand(3, 3, generator=generator)
        y, x, at = (torch.rand(3, generator=generator) * 64).tolist()
        inside = (rows - y) ** 2 + (columns - x) ** 2 < 144
        frame = torch.where((columns - at).abs() < 5, bar, ground.expand(64, 64, 3))
        frames.append((torch.where(inside, disc, frame) * 255).to(torch.uint8))
    return torch.stack(frames)


class Plain(nn.Module):
    """The published layers as PyTorch has them, with V's weights."""

    def __init__(self, v: VAE) -> None:
        super().__init__()
        self.v = v

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.contiguous()
        for kernel in (self.v.down1, self.v.down2, self.v.down3, self.v.down4):
            x = F.conv2d(x, kernel.weight.permute(0, 3, 1, 2).contiguous(), kernel.bias, stride=2).relu()
        x = x.permute(0, 2, 3, 1).flatten(1)
        return self.v.mean(x), self.v.logvar(x)

    def decode(self, z: Tensor) -> Tensor:
        x = self.v.dense(z)[:, :, None, None]
        for kernel in (self.v.up1, self.v.up2, self.v.up3, self.v.up4):
            weight = kernel.weight.permute(0, 3, 1, 2).contiguous()
            x = F.conv_transpose2d(x if kernel is self.v.up1 else x.relu(), weight, kernel.bias, stride=2)
        return x.sigmoid()

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        mean, logvar = self.encode(images)
        z = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        error = (self.decode(z) - images).square().sum((1, 2, 3)).mean()
        nats = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(1)
        return error + torch.maximum(nats, torch.tensor(0.5 * mean.shape[1])).mean()


@pytest.fixture(params=["windows", "windows without oneDNN", "without windows"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """V's ways: copied windows, as on a CPU of any kind, and PyTorch's convolutions alone, as on other devices."""
    if request.param == "without windows":
        monkeypatch.setattr(convolutions._Down, "apply", convolutions._conv)
        monkeypatch.setattr(convolutions._Up, "apply", convolutions._transposed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the switch itself warns where there is no Intel GPU
        with torch.backends.mkldnn.flags(enabled="oneDNN" not in request.param):
            yield request.param


@pytest.mark.parametrize(("latent", "published"), [(32, 4_348_547), (64, 4_446_915)])
def test_v_has_the_published_number_of_parameters(latent: int, published: int):
    assert sum(parameter.numel() for parameter in VAE(latent, seeded()).parameters()) == published


def test_first_weights_fill_the_glorot_interval_of_their_published_kernels_and_biases_are_zero():
    v = VAE(32, seeded())
    bounds = {  # sqrt(6 / (inputs + outputs)), both times the kernel's pixels
        "down1.weight": (6 / (16 * (3 + 32))) ** 0.5,
        "down4.weight": (6 / (16 * (128 + 256))) ** 0.5,
        "up1.weight": (6 / (25 * (1024 + 128))) ** 0.5,
        "up4.weight": (6 / (36 * (32 + 3))) ** 0.5,
        "mean.weight": (6 / (1024 + 32)) ** 0.5,
    }
    found = v.state_dict()
    for name, bound in bounds.items():
        assert found[name].abs().max() <= bound
        assert found[name].abs().max() > 0.98 * bound
        assert found[name].std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert all(not parameter.any() for name, parameter in found.items() if name.endswith("bias"))


def test_the_kl_divergence_equals_hand_worked_nats():
    mean = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    logvar = torch.tensor([[0.0, 1.0], [log(4.0), 0.0]])
    # 1/2 (mean^2 + variance - 1 - log variance): 9/2 and (e - 2) / 2; (4 - 1 - log 4) / 2 and 4/2
    assert vae.kl(mean, logvar).tolist() == pytest.approx([4.5 + (e - 2) / 2, (3 - log(4)) / 2 + 2])


def test_the_kl_floor_holds_for_each_image_before_the_mean():
    mean = torch.tensor([[4.0, 0.0], [0.0, 0.0]], requires_grad=True)
    nats = vae.kl(mean, torch.zeros(2, 2))
    assert nats.tolist() == [8.0, 1.0]  # 4^2 / 2; 0 is lifted to 0.5 x 2 dimensions; a floor on the mean would say 4
    nats.mean().backward()
    assert mean.grad is not None
    assert mean.grad.tolist() == [[2.0, 0.0], [0.0, 0.0]]  # no gradient from the image at its floor


def test_the_reconstruction_loss_equals_a_hand_worked_sum():
    v = VAE(32, seeded())
    with torch.no_grad():
        for parameter in v.parameters():
            parameter.zero_()
        v.up4.bias.copy_(torch.tensor([0.0, log(3.0), -log(3.0)]))  # red, green and blue are 1/2, 3/4 and 1/4
    black, white = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    losses = v.losses(torch.cat([black, white]), seeded())
    # 4,096 pixels; both images are off by 1/4 + 9/16 + 1/16 = 7/8 a pixel; the posterior is N(0, 1), so KL is its floor
    assert losses["reconstruction"].item() == pytest.approx(4096 * 7 / 8)
    assert losses["kl"].item() == 16.0
    red = black.clone()
    red[:, 0, 5, 7] = 1.0
    red[:, 1, 5, 7] = 1.0  # of this pixel: 1/4 + 1/16 + 1/16 instead of 1/4 + 9/16 + 1/16
    assert v.losses(red, seeded())["reconstruction"].item() == pytest.approx(4096 * 7 / 8 - 1 / 2)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_shapes_and_ranges(count: int, path: str):
    v = shaken()
    images = vae.images(pictures(count))
    mean, logvar = v.encode(images)
    assert mean.shape == logvar.shape == (count, 32)
    decoded = v.decode(mean)
    assert decoded.shape == (count, 3, 64, 64)
    assert 0.0 <= decoded.min() < decoded.max() <= 1.0


@pytest.mark.parametrize("count", [1, 9, 40])
def test_encoding_and_decoding_equal_plain_layers(count: int, path: str):
    v = shaken()
    images = vae.images(pictures(count))
    with torch.inference_mode():
        for ours, plain in zip(v.encode(images), Plain(v).encode(images), strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
        z = torch.randn(count, 32, generator=seeded(2))
        torch.testing.assert_close(v.decode(z), Plain(v).decode(z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [2, 40])  # 40 images: more than Z, and more than one block of windows
def test_every_gradient_of_the_loss_equals_that_of_plain_layers(count: int, path: str):
    v = shaken().double()
    images = vae.images(pictures(count)).double()
    sum(v.losses(images, seeded()).values()).backward()
    ours = {name: parameter.grad for name, parameter in v.named_parameters()}
    v.zero_grad(set_to_none=True)
    Plain(v).loss(images, seeded()).backward()
    for name, parameter in v.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-9, atol=1e-9, msg=f"gradient by {name}")


@pytest.mark.parametrize("count", [2, 40])
def test_convolutions_in_bfloat16_give_nearly_the_numbers_of_float32(count: int, path: str):
    images, found = vae.images(pictures(count)), []
    for products in (torch.float32, torch.bfloat16):
        v = shaken(products=products)
        losses, z, mean, logvar = v.losses_and_latents(images, seeded())
        sum(losses.values()).backward()
        gradients = {name: parameter.grad for name, parameter in v.named_parameters()}
        found.append({"z": z, "mean": mean, "logvar": logvar, "decoded": v.decode(z), **losses, **gradients})
    for name, exact in found[0].items():
        rounded = found[1][name]
        assert rounded.dtype == torch.float32
        error = ((rounded - exact).norm() / exact.norm()).item()
        assert error < (0.15 if "." in name else 0.01), f"{name}: {error}"  # gradients come through a chain of products
        assert error > 0 or name == "kl"  # that is at its floor


def test_a_loss_on_z_trains_the_encoder():
    v = shaken()
    images = vae.images(pictures(4))
    losses, z, mean, logvar = v.losses_and_latents(images, seeded(3))
    noise = torch.randn(4, 32, generator=seeded(3))
    torch.testing.assert_close(z, mean + (0.5 * logvar).exp() * noise)
    assert {name: loss.item() for name, loss in losses.items()} == {
        name: loss.item() for name, loss in v.losses(images, seeded(3)).items()
    }
    z[:, 0].sum().backward()
    assert v.mean.bias.grad is not None
    assert v.mean.bias.grad.tolist() == [4.0] + 31 * [0.0]  # dz/dmean = 1, of four images
    assert v.logvar.bias.grad is not None
    expected = (0.5 * (0.5 * logvar[:, 0]).exp() * noise[:, 0]).sum().item()
    assert v.logvar.bias.grad[0].item() == pytest.approx(expected, rel=1e-4)
    assert v.down1.weight.grad is not None
    assert v.down1.weight.grad.abs().sum() > 0
    assert v.up4.weight.grad is None  # nothing was asked of the decoder


def test_images_in_other_memory_layouts_or_batches_give_the_same_latents():
    v = shaken()
    images = vae.images(pictures(40))
    with torch.inference_mode():
        mean, logvar = v.encode(images)
        torch.testing.assert_close(v.encode(images.contiguous()), (mean, logvar), rtol=0, atol=0)
        alone = torch.cat([v.encode(image[None])[0] for image in images])
        torch.testing.assert_close(alone, mean, rtol=1e-4, atol=1e-5)
        assert v.encode(images[:0])[0].shape == (0, 32)


def test_on_other_devices_than_a_cpu_v_needs_no_copied_windows():
    v = VAE(32, seeded()).to("meta")
    mean, logvar = v.encode(torch.empty(5, 3, 64, 64, device="meta"))
    assert mean.shape == logvar.shape == (5, 32)
    assert v.decode(torch.empty(70, 32, device="meta")).shape == (70, 3, 64, 64)


def test_bytes_become_numbers_in_0_to_1_and_come_back():
    shades = torch.arange(64 * 64 * 3).remainder(256).to(torch.uint8).view(1, 64, 64, 3)
    images = vae.images(shades)
    assert images.shape == (1, 3, 64, 64)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images[0, :, 0, 0].tolist() == pytest.approx([0.0, 1 / 255, 2 / 255])  # three colours of the first pixel
    assert images[0, 0, 0, 1] == pytest.approx(3 / 255)  # then the next column
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert torch.equal(vae.frames(images), shades)
    assert torch.equal(vae.frames(images.contiguous()), shades)


def test_frames_are_the_nearest_shade_and_cut_outside_0_to_1():
    images = torch.zeros(1, 3, 64, 64)
    images[0, 0, 0, :5] = torch.tensor([-0.3, 1.7, 100.4 / 255, 100.6 / 255, 254.7 / 255])
    assert vae.frames(images)[0, 0, :5, 0].tolist() == [0, 255, 100, 101, 255]


def test_samples_have_the_mean_and_the_deviation_that_they_are_asked_for():
    count = 20_000
    mean = torch.tensor([[3.0, -1.0]]).expand(count, 2)
    logvar = torch.tensor([[2 * log(0.5), 2 * log(2.0)]]).expand(count, 2)  # deviations 1/2 and 2
    z = vae.sample(mean, logvar, seeded())
    assert z.mean(0).tolist() == pytest.approx([3.0, -1.0], abs=4 * 2 / count**0.5)  # four standard errors
    assert z.std(0).tolist() == pytest.approx([0.5, 2.0], rel=0.02)


def trained(v: VAE, updates: int, frames: Tensor) -> tuple[list[float], torch.optim.Adam]:
    optimiser = torch.optim.Adam(v.parameters(), 1e-3, fused=True)
    images, generator, errors = vae.images(frames), seeded(5), []
    for _ in range(updates):
        losses = v.losses(images, generator)
        optimiser.zero_grad(set_to_none=True)
        (losses["reconstruction"] + losses["kl"]).backward()
        optimiser.step()
        errors.append(losses["reconstruction"].item())
    return errors, optimiser


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_v_learns_to_reconstruct_pictures(products: torch.dtype):
    v, frames = VAE(32, seeded(), products), pictures(4)
    images = vae.images(frames)
    by_their_mean = (images - images.mean(0)).square().sum((1, 2, 3)).mean().item()  # what a V without z would reach
    errors, _ = trained(v, 90, frames)
    assert errors[0] > by_their_mean
    assert sum(errors[-10:]) / 10 < 0.6 * by_their_mean
    with torch.inference_mode():
        mine = (v.decode(v.encode(images)[0]) - images).square().sum((1, 2, 3))
        others = (v.decode(v.encode(images.roll(1, 0))[0]) - images).square().sum((1, 2, 3))
    assert (mine < others).all()  # each picture is told from the others


def test_the_same_generator_gives_the_same_bits():
    frames = pictures(8)
    first, second = VAE(32, seeded(4)), VAE(32, seeded(4))
    state = torch.get_rng_state()
    assert trained(first, 3, frames)[0] == trained(second, 3, frames)[0]
    for name, parameter in first.state_dict().items():
        assert torch.equal(parameter, second.state_dict()[name]), name
    assert not torch.equal(first.down1.weight, VAE(32, seeded(6)).down1.weight)
    assert torch.equal(state, torch.get_rng_state())  # nothing was drawn from the global generator


def test_a_saved_v_gives_the_same_bits_and_goes_on_learning_as_if_it_had_stayed(tmp_path):
    v, images = VAE(32, seeded()), vae.images(pictures(8))
    _, optimiser = trained(v, 2, pictures(8))
    optimiser.zero_grad(set_to_none=True)
    saving.write(tmp_path, {"v": v.state_dict(), "optimiser": optimiser.state_dict()})
    state = saving.read(tmp_path)
    again = VAE(32, seeded(9))
    again.load_state_dict(state["v"])
    resumed = torch.optim.Adam(again.parameters(), 1e-3, fused=True)
    resumed.load_state_dict(state["optimiser"])
    assert all(torch.equal(*pair) for pair in zip(v.encode(images), again.encode(images), strict=True))
    for each, by in ((v, optimiser), (again, resumed)):
        sum(each.losses(images, seeded(7)).values()).backward()
        by.step()
        by.zero_grad(set_to_none=True)
    assert all(torch.equal(*pair) for pair in zip(v.parameters(), again.parameters(), strict=True))
