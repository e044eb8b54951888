"""What V makes of recorded frames: every row in its place, and no more memory than that needs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from agents.parts.latent_training import CHUNK, encode, images
from agents.parts.recording import Recording
from agents.parts.vae import VAE

# Temporaries of the encoder's sizes come and go around latents that are kept; 60 chunks hold 16 MB of latents.
ENCODING = """
import numpy as np, psutil, torch
from agents.parts.latent_training import CHUNK, encode
from agents.parts.recording import Recording
from suites.runner.processor import settle

class Stub:
    latent = 64

    def encode(self, images):
        for numbers in (12 * 1024, 31 * 31 * 32, 14 * 14 * 64, 36 * 128, 4 * 256):
            between = torch.empty(len(images) * numbers).fill_(1.0)
        return torch.zeros(len(images), 64), torch.zeros(len(images), 64)

settle()  # as in a trial
recording = Recording(None, (64, 64, 3), 1)
recording.frames = lambda rows: np.ones((len(rows), 64, 64, 3), np.uint8)
recording.count = 60 * CHUNK
before = psutil.Process().memory_info().rss
encode(Stub(), recording, "cpu", lambda row: None)
print((psutil.Process().memory_info().rss - before) // 2**20)
"""


def test_each_frame_gets_what_v_makes_of_it_in_whatever_chunk_it_lies() -> None:
    recording, rng = Recording(None, (64, 64, 3), 1), np.random.default_rng(0)
    episode = recording.begin_episode()
    for _ in range(CHUNK + 7):
        recording.add(episode, rng.integers(0, 255, (64, 64, 3), np.uint8))
    vae = VAE(4, torch.Generator().manual_seed(0))
    reached: list[int] = []
    encode(vae, recording, "cpu", reached.append)
    assert reached == [0, CHUNK]
    rows = np.array([0, 1, CHUNK - 1, CHUNK, CHUNK + 6])
    with torch.no_grad():
        mean, logvar = vae.encode(images(recording, rows, "cpu"))
    torch.testing.assert_close(recording.mean[rows], mean)
    torch.testing.assert_close(recording.logvar[rows], logvar)


def test_encoding_does_not_pile_up_memory() -> None:
    grown = subprocess.run([sys.executable, "-c", ENCODING], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 500, f"{grown} MiB for 16 MB of latents"
