"""CarRacing to train in: the game, rewards and ends of `carracing`, each frame cut out of one picture of the track.

Everything but the pixels is bit for bit what `suites.envs.carracing` answers to the same seed and actions. The pixels
are near: `suites.envs.carracing_fast_drawing` paints the playfield once an episode and turns, shifts and shrinks it
for each frame. What can be seen of it (64 x 64, cropped):

- The mean absolute difference is 0.28 of 255 levels along the road and 0.16 on random walks, which see more grass; of
  the zoom-in 0.25. 96 % of the channels are at most one level off, 0.3 % more than 16: edges of road, kerbs and car.
- While the zoom-in shows the field from far, a visited tile keeps its first shade, at most 5 levels off.

So an agent is trained here and evaluated in the exact environment (`EVALUATED_IN`), and its scores say so.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from suites.envs import carracing

FAMILY = "carracing"
PACKAGES = carracing.PACKAGES
EXTRA = None
EVALUATED_IN = "carracing"  # the environment whose scores count, made with the same options

# Mean absolute difference to the exact frames, of 255 levels, over whole episodes of three seeds at 64 x 64, cropped.
DIFFERENCE = {"along the road": 0.28, "random walk": 0.16}


def make(
    *,
    size: int = 64,
    grey: bool = False,
    crop_hud: bool = True,
    continuous: bool = True,
    stack: int = 1,
    time_limit: int = 1000,
) -> gym.Env:
    """CarRacing with near pixels, observed as `carracing.make` does with the same options."""
    carracing.prepare(size=size, stack=stack, time_limit=time_limit)
    from suites.envs.carracing_fast_drawing import NearFrames, TexturedCarRacing  # imports pygame and Box2D

    game = TexturedCarRacing(continuous=continuous, panel=not crop_hud)
    return NearFrames(game, size=size, grey=grey, stack=stack, time_limit=time_limit)


def card(**options: Any) -> dict[str, Any]:
    """What a reader of a score must know about the task; it is part of the protocol's hash."""
    return carracing.card(**options) | {
        "env_id": "CarRacingFast-v3",
        "pixels": "near CarRacing-v3's, all else is equal; mean absolute difference, of 255, at 64x64, cropped: "
        + ", ".join(f"{difference} ({driver})" for driver, difference in DIFFERENCE.items()),
    }
