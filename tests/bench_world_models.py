"""Speed of World Models whole: dreams of a generation, training of V and M, real rollouts of C.

``python -m tests.bench_world_models``: one thread. The arithmetic floor is 2 operations per weight and use, at the rate
of this machine's matrix products in this run. The older PyTorch re-implementation (ctallec/world-models) was measured
on a machine whose matrix products reach 85 GFLOP/s; its figures are scaled by the rate that is found here.

Games are not matrix products, so rollouts have a rival in the same run as well, rounds in turn: `older_rollout` works
as the older one does, written down anew, on gymnasium's own CarRacing-v3.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from agents.parts import vae as vision
from agents.parts.controllers import ActionMap, Controller
from agents.parts.dream_games import DreamGames
from agents.parts.games import Games
from agents.parts.latent_training import memory_losses
from agents.parts.mdn_rnn import MDNRNN
from agents.parts.mind import Mind
from agents.parts.recording import Recording
from agents.parts.vae import VAE
from suites import envs
from suites.runner.gate import Gate
from suites.runner.processor import settle
from tests.bench_vae import Straightforward

REFERENCE = 85e9  # operations a second of the machine on which the older implementation was timed
OLDER = {"V, images/s": 125.0, "M, sequences/s": 6.1, "rollouts, steps/s": 43.2}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def best_of(count: int, work: Callable[[], object]) -> float:
    """Seconds of processor time, the least of ``count``: other work on the machine only adds."""
    found = []
    for _ in range(count):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def product_rate() -> float:
    """Operations a second of float32 matrix products in the sizes that matter here."""
    a, b = torch.randn(1024, 578), torch.randn(578, 2048)
    out = torch.empty(1024, 2048)
    seconds = best_of(10, lambda: torch.mm(a, b, out=out))
    return 2 * 1024 * 578 * 2048 / seconds


def dreams(rate: float) -> None:
    memory = MDNRNN(64, 1, 512, generator(), done=True)
    with torch.no_grad():
        memory.output_bias[memory.gaussians] = -50.0  # nobody dies: every dream runs to the time limit
    space = gym.spaces.Discrete(3)
    actions, controller = ActionMap(space, "take_cover"), Controller(64 + 1024, 1, bias=False)
    games = DreamGames(
        memory=memory, controller=controller, actions=actions, seen=1088, temperature=1.15, time_limit=64
    )
    candidates = np.random.default_rng(0).normal(size=(64, controller.size)) * 0.1
    mean, logvar = torch.zeros(16, 64), torch.zeros(16, 64)
    seconds = best_of(3, lambda: games.play(candidates, mean, logvar, generator()))
    speed = 64 * 16 * 64 / seconds
    floor = rate / (2 * (sum(p.numel() for p in memory.parameters()) + controller.size))
    print(f"dream, 64 candidates x 16: {speed:,.0f} steps/s, {speed / floor:.2f} of the floor (bar 0.5)")


def vision_training(rate: float, precision: torch.dtype, batch: int) -> None:
    """The older one's batches are of 32 images; 100 are the published ones, and ours unless told otherwise."""
    vae, rng, count = VAE(32, generator(), precision), np.random.default_rng(0), 10 * batch
    frames = torch.from_numpy(rng.integers(0, 255, (count, 64, 64, 3), np.uint8))
    optimiser = torch.optim.Adam(vae.parameters(), 1e-4, fused=True)

    def see() -> None:
        for start in range(0, count, batch):
            losses = vae.losses(vision.images(frames[start : start + batch]), generator())
            optimiser.zero_grad()
            torch.autograd.backward(list(losses.values()))
            optimiser.step()

    older, name = OLDER["V, images/s"] * rate / REFERENCE, str(precision).removeprefix("torch.")
    speed = count / best_of(3, see)
    print(f"V in {name}, batch {batch}: {speed:,.0f} images/s,", end=" ")
    print(f"{speed / older:.1f} times the older one's {older:.0f} (bar 2)")


def memory_training(rate: float) -> None:
    rng = np.random.default_rng(0)
    recording = recorded(rng)
    memory = MDNRNN(32, 3, 256, generator())
    learner = torch.optim.Adam(memory.parameters(), 1e-3, fused=True)
    stream = recording.stream()

    def remember() -> None:
        for _ in range(10):
            losses = memory_losses(memory, recording, stream, (16, 32), rng, generator())
            learner.zero_grad()
            torch.autograd.backward(list(losses.values()))
            learner.step()

    older = OLDER["M, sequences/s"] * rate / REFERENCE
    speed = 160 / best_of(3, remember)
    print(
        f"M, 16 x 32, loading: {speed:,.0f} sequences/s, {speed / older:.0f} times the older one's {older:.1f} (bar 20)"
    )


def recorded(rng: np.random.Generator) -> Recording:
    """Latents of 10 episodes of 500 steps, as if V had seen them."""
    recording = Recording(None, (1, 1, 1), 3)
    for _ in range(10):
        episode = recording.begin_episode()
        for _ in range(500):
            row = recording.add(episode, np.zeros((1, 1, 1), np.uint8))
            recording.act(row, rng.normal(size=3), 0.0, False)
        recording.add(episode, np.zeros((1, 1, 1), np.uint8))
    recording.mean = torch.randn(recording.count, 32, generator=generator())
    recording.logvar = torch.full((recording.count, 32), -2.0)
    return recording


def older_rollout() -> Callable[[], object]:
    """An episode of 200 frames by one candidate, reset included: one picture at a time, encoded and decoded."""
    game = gym.make("CarRacing-v3").unwrapped
    vae, cell, mixture = Straightforward(), nn.LSTMCell(32 + 3, 256), nn.Linear(256, 5 * (2 * 32 + 1) + 2)
    controller = nn.Linear(32 + 256, 3)

    def act(frame: np.ndarray, state: tuple[Tensor, Tensor]) -> tuple[np.ndarray, tuple[Tensor, Tensor]]:
        small = np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BILINEAR))
        mean, logvar = vae.encode(torch.from_numpy(small.transpose(2, 0, 1).copy()).float().div(255)[None])
        z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        vae.decode(z)
        action = controller(torch.cat([z, state[0]], 1))
        state = cell(torch.cat([action, z], 1), state)
        torch.log_softmax(mixture(state[0])[:, -7:-2], 1)  # the five weights; then the reward and the end
        return action[0].numpy(), state

    @torch.no_grad()
    def play() -> None:
        frame, state = game.reset(seed=0)[0], (torch.zeros(1, 256), torch.zeros(1, 256))
        for _ in range(200):
            action, state = act(frame, state)
            frame = game.step(action.clip((-1, 0, 0), 1).astype(np.float32))[0]

    return play


def our_rollouts(env: str) -> tuple[Callable[[], object], Gate]:
    """16 candidates in 4 episodes of 200 frames, an action each, resets included, in games that are open."""
    gate = Gate(lambda: envs.build(env, {"time_limit": 200}), task="bench", seed=0, budget=10**9, log=lambda row: None)
    vector = gate.open(32, autoreset=False)
    actions = ActionMap(vector.single_action_space, "carracing")
    controller = Controller(32 + 256, actions.size)
    vae, memory = VAE(32, generator()), MDNRNN(32, 3, 256, generator())
    games = Games(lambda count: Mind(vae, memory, "zh", count), controller, actions)
    candidates = np.random.default_rng(0).normal(size=(16, controller.size)) * 0.1
    return lambda: games.play(candidates, np.arange(4), vector, lambda: None, generator()), gate


def rollouts(rate: float) -> None:
    """Steps of C, a frame each; every round plays the older way and then ours."""
    older, scaled = older_rollout(), OLDER["rollouts, steps/s"] * rate / REFERENCE
    ours = {name: (*our_rollouts(name), bar) for name, bar in (("carracing", 4), ("carracing_fast", 15))}
    theirs: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in ours}
    for _ in range(4):
        theirs.append(200 / best_of(1, older))
        for name, (play, gate, _) in ours.items():
            before = gate.steps
            seconds = best_of(1, play)
            found[name].append((gate.steps - before) / seconds)
    print(f"C as the older one does it: {np.median(theirs):.0f} steps/s; its own figure scaled: {scaled:.0f}")
    for name, speeds in found.items():
        ratios = np.sort(np.divide(speeds, theirs))
        paired = f"{np.median(ratios):.1f} times that way in this run ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        beside = f"{np.median(speeds) / scaled:.1f} times its own figure scaled"
        print(f"C in {name}: {np.median(speeds):,.0f} steps/s, {paired}, {beside} (bar {ours[name][2]})")


def main() -> None:
    settle()
    rate = product_rate()
    print(f"matrix products: {rate / 1e9:.0f} GFLOP/s on one core")
    dreams(rate)
    for precision, batch in ((torch.float32, 32), (torch.float32, 100), (torch.bfloat16, 32)):
        vision_training(rate, precision, batch)
    memory_training(rate)
    rollouts(rate)


if __name__ == "__main__":
    main()
