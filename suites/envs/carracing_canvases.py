"""What CarRacing's pictures are painted on before they are shrunk, and in which sizes."""

import numpy as np
import pygame
from gymnasium.envs.box2d import car_racing as stock
from numpy.typing import NDArray

WIDTH, HEIGHT, SIDE = stock.WINDOW_W, stock.WINDOW_H, stock.STATE_W
PANEL = HEIGHT // 8  # rows under the indicators: the last eighth of the picture, the first before it is turned


def surface(width: int, height: int) -> pygame.Surface:
    """A picture whose pixels lie in memory as blue, green, red, unused: pygame's own default, made certain."""
    return pygame.Surface((width, height), 0, 32, (0xFF0000, 0xFF00, 0xFF, 0))


def rows(picture: pygame.Surface) -> NDArray[np.uint32]:
    """The pixels row by row, shared with the picture; to be dropped before pygame may write to it again."""
    return pygame.surfarray.pixels2d(picture).T


class Canvases:
    """What a frame is painted on, each time from the ground up: shared by all games of a process.

    With pictures of its own for each of 16 games, more than stays in a core's cache, a step takes 1.4 times as long.
    Games in several threads are nothing for pygame in any case: its polygons are drawn in buffers that all share.
    """

    def __init__(self) -> None:
        self.whole = surface(WIDTH, HEIGHT)
        self.landscape = self.whole.subsurface((0, PANEL, WIDTH, HEIGHT - PANEL))
        self.indicators = surface(WIDTH, HEIGHT)
        self.dashboard = self.indicators.subsurface((0, HEIGHT - PANEL, WIDTH, PANEL))
        self.upside_down = surface(SIDE, HEIGHT - PANEL)
        self.narrow = {panel: surface(SIDE, HEIGHT) for panel in (True, False)}  # without a panel its rows stay black
        self.small = surface(SIDE, SIDE)


CANVASES = Canvases()
