"""CarRacing's picture cut out of a texture: the playfield is painted once an episode, a frame is one warp of it.

The warp fills the 96 x 84 pixels above the indicators, from that level of a pyramid of halved textures whose texels
are about as large as a pixel: the first 50 frames zoom in from far. The car is painted on a magnified window of the
picture and shrunk with it, which smooths its edges.
"""

import math
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pygame
from gymnasium.envs.box2d import car_dynamics
from gymnasium.envs.box2d import car_racing as stock
from numpy.typing import NDArray

from suites.envs.carracing import Frames
from suites.envs.carracing_canvases import CANVASES, HEIGHT, PANEL, SIDE, WIDTH, rows
from suites.envs.carracing_drawing import Camera, Corners, FastCarRacing

PATCH = 32  # texels along a square of grass
TEXELS = 40 * PATCH  # along the playfield
PER_UNIT = TEXELS / (2 * stock.PLAYFIELD)  # texels; a unit of the world is 1.56 x 1.94 pixels after the zoom-in
BLOCK = 4 * PATCH  # texels along the blocks that are painted one by one; all have the same grass
FINER = 2  # the road is painted so many times finer, and shrunk
FRACTION = 4  # bits that OpenCV reads as the fraction of a coordinate
LOSS = 2  # levels, of 255, that gymnasium's way to shrink its picture takes from every colour
SHOWN = SIDE - SIDE * PANEL // HEIGHT  # rows above the indicators
PIXEL = (WIDTH / SIDE, HEIGHT / SIDE)  # what a pixel covers of gymnasium's large picture
CENTRE = (SIDE // 2, SIDE * 3 // 4)  # column and row at whose upper left corner the middle of the car stands
REACH = (3, 6)  # columns and rows around it that the car may touch
MAGNIFIED = 8  # times, the window in which the car is painted

Picture = NDArray[np.uint8]


def level(colour: Any) -> tuple[float, ...]:
    """A colour as it comes out of gymnasium's shrinking, opaque."""
    return (*(max(int(value) - LOSS, 0.0) for value in colour), 255.0)


def fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Coordinates in pixels, the middle of the first one at 0.5, as OpenCV's polygons take them."""
    return np.asarray(np.rint((points - 0.5) * 2**FRACTION), np.int32)


class Landscape:
    """The playfield from above, 1.9 texels to a unit and four times halved: grass, road and kerbs."""

    def __init__(self, background: Any, grass: Any) -> None:
        self.levels = [np.empty((TEXELS >> k, TEXELS >> k, 4), np.uint8) for k in range(5)]
        self.bare = np.empty((FINER * BLOCK, FINER * BLOCK, 4), np.uint8)
        self.bare[:] = level(background)
        patches = self.bare.reshape(2, 2, FINER * PATCH, 2, 2, FINER * PATCH, 4)
        patches[:, 0, :, :, 0] = level(grass)
        self.bare_block = np.ascontiguousarray(self.bare[::FINER, ::FINER])
        self.canvas = np.empty_like(self.bare)

    def paint(self, corners: Corners, colours: NDArray[np.float64]) -> None:
        """A new track, of polygons [2, 4, n] in the world and their colours [n, 3], later ones over earlier ones."""
        texels = (corners.transpose(2, 1, 0) + stock.PLAYFIELD) * PER_UNIT
        centres = texels.mean(axis=1, keepdims=True)
        self.inner = fixed(centres + 0.93 * (texels - centres))  # without the edges, which are mixed with the grass
        polygons, shades = fixed(texels * FINER), [level(colour) for colour in colours]
        reach = np.hstack((texels.min(axis=1) - 1, texels.max(axis=1) + 1)).clip(0, TEXELS - 1) // BLOCK
        blocks: dict[tuple[int, int], list[int]] = {}
        for index, (left, top, right, bottom) in enumerate(reach.astype(int).tolist()):
            for row in range(top, bottom + 1):
                for column in range(left, right + 1):
                    blocks.setdefault((row, column), []).append(index)
        blocks_along = TEXELS // BLOCK
        self.levels[0].reshape(blocks_along, BLOCK, blocks_along, BLOCK, 4)[:] = self.bare_block[:, None]
        for (row, column), members in blocks.items():
            self.canvas[:] = self.bare
            shift = np.array([column, row]) * (FINER * BLOCK << FRACTION)
            for polygon, index in zip((polygons[members] - shift).astype(np.int32), members, strict=True):
                cv2.fillConvexPoly(self.canvas, polygon, shades[index], shift=FRACTION)
            block = self.levels[0][row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
            block[:] = cv2.resize(self.canvas, (BLOCK, BLOCK), interpolation=cv2.INTER_AREA)
        for above, below in zip(self.levels, self.levels[1:], strict=False):
            cv2.resize(above, below.shape[:2], dst=below, interpolation=cv2.INTER_AREA)

    def repaint(self, index: int, colour: Any) -> None:
        """Gives a polygon another colour, in the finest texture alone: the others are seen for half a second."""
        cv2.fillConvexPoly(self.levels[0], self.inner[index], level(colour), shift=FRACTION)

    def view(self, camera: Camera) -> Picture:
        """What the camera sees of it: [84, 96, 4], black outside of the playfield."""
        across, down = PIXEL[0] / camera.zoom, PIXEL[1] / camera.zoom  # units to a pixel
        texels = math.sqrt(across * down) * PER_UNIT
        coarser = max(math.ceil(math.log2(texels)) - 1, 0)
        scale = PER_UNIT / 2**coarser
        x, y = camera.locate(PIXEL[0] / 2, HEIGHT - PIXEL[1] / 2)
        cos, sin = camera.cos * scale, camera.sin * scale
        matrix = np.array(
            [
                [cos * across, -sin * down, (x + stock.PLAYFIELD) * scale - 0.5],
                [-sin * across, -cos * down, (y + stock.PLAYFIELD) * scale - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(self.levels[coarser], matrix, (SIDE, SHOWN), flags=flags), np.uint8)


class Sprite:
    """The car as the camera sees it: always upright and in one place; only its front wheels turn and all roll.

    Points are complex numbers, x + iy in units of the world from the middle of the car, y to its front.
    """

    OUTLINE = (  # the hull's four shapes in one, its right half from the front to the back
        *((60, 130), (60, 110), (15.5, 110), (20, 20), (25, 20)),
        *((50, -10), (50, -40), (20, -90), (50, -90), (50, -120)),
    )

    def __init__(self) -> None:
        unit, half_width, radius = car_dynamics.SIZE, car_dynamics.WHEEL_W, car_dynamics.WHEEL_R
        right = np.array([complex(*corner) for corner in self.OUTLINE])
        self.hull = unit * np.concatenate((right, -right[::-1].conj()))
        self.axles = unit * np.array([[complex(*at)] for at in car_dynamics.WHEELPOS])
        self.treads = unit * np.array([half_width, -half_width, -half_width, half_width])
        self.radius = unit * radius
        self.middle = np.array(REACH, np.float64) * MAGNIFIED
        self.upright = MAGNIFIED / np.array(PIXEL) * (1, -1)
        self.black, self.red, self.grey = level((0, 0, 0)), level((204, 0, 0)), level(car_dynamics.WHEEL_WHITE)
        (column, row), (wide, high) = CENTRE, REACH
        self.window = (slice(row - high, row + high), slice(column - wide, column + wide))

    def draw(self, picture: Picture, car: car_dynamics.Car, zoom: float) -> None:
        """Paints the car on a picture of [84, 96, 4] whose camera has this zoom."""
        wheels = car.wheels
        spans = [(1.0, -1.0)] * len(wheels)
        owners = list(range(len(wheels)))
        for index, wheel in enumerate(wheels):
            span = stripe(wheel.phase)
            if span:
                spans.append(span)
                owners.append(index)
        left, right = wheels[0].joint.angle, wheels[1].joint.angle
        turns = np.array([complex(math.cos(left), math.sin(left)), complex(math.cos(right), math.sin(right)), 1.0, 1.0])
        ends = np.array(spans).repeat(2, axis=1) * (self.radius * 1j) + self.treads
        points = np.concatenate(((ends * turns[owners, None] + self.axles[owners]).ravel(), self.hull))
        corners = fixed(points.view(np.float64).reshape(-1, 2) * (self.upright * zoom) + self.middle)
        quads = list(corners[: 4 * len(owners)].reshape(-1, 4, 2))
        part = picture[self.window]
        height, width = part.shape[:2]
        large = cv2.resize(part, (width * MAGNIFIED, height * MAGNIFIED), interpolation=cv2.INTER_NEAREST)
        cv2.fillPoly(large, quads[: len(wheels)], self.black, shift=FRACTION)
        cv2.fillPoly(large, quads[len(wheels) :], self.grey, shift=FRACTION)
        cv2.fillPoly(large, [corners[4 * len(owners) :]], self.red, shift=FRACTION)
        part[:] = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)


def stripe(phase: float) -> tuple[float, float] | None:
    """Where the stripe on a wheel's tread begins and ends, in radii; None where it is on the far side."""
    begins, ends = math.sin(phase) > 0, math.sin(phase + 1.2) > 0
    if begins and ends:
        return None
    top, bottom = math.cos(phase), math.cos(phase + 1.2)
    return math.copysign(1.0, top) if begins else top, math.copysign(1.0, bottom) if ends else bottom


class TexturedCarRacing(FastCarRacing):
    """CarRacing-v3 with near pixels: red, green, blue, opaque; without `panel` only the rows above the indicators."""

    def __init__(self, continuous: bool, panel: bool) -> None:
        super().__init__(continuous, panel)
        self.rows = SIDE if panel else SHOWN
        self.observation_space = gym.spaces.Box(0, 255, (self.rows, SIDE, 4), np.uint8)
        self.field = Landscape(self.bg_color, self.grass_color)
        self.sprite = Sprite()

    def _create_track(self) -> bool:
        if not super()._create_track():
            return False
        patches = self.grass.shape[2]
        self.road_colours = self.colours[patches:]
        self.field.paint(self.corners[:, :, patches:], self.road_colours)
        self.painted = self.road_colours[:, 0].copy()
        return True

    def draw_state(self) -> Picture:
        """The picture of the present, [84 or 96, 96, 4]."""
        car: Any = self.car
        if self._bars_leave_the_panel(car):
            return np.asarray(cv2.cvtColor(super().draw_state()[: self.rows], cv2.COLOR_RGB2RGBA), np.uint8)
        shades = self.road_colours[:, 0]
        for index in np.flatnonzero(shades != self.painted).tolist():
            self.field.repaint(index, self.road_colours[index])
            self.painted[index] = shades[index]
        camera = Camera(car, self.t)
        picture = self.field.view(camera)
        self.sprite.draw(picture, car, camera.zoom)
        return np.concatenate((picture, self._indicators())) if self.panel else picture

    def _indicators(self) -> Picture:
        """The lowest rows of the picture, [12, 96, 4], with the exact picture's pixels."""
        self._draw_panel()
        pygame.transform.smoothscale(CANVASES.narrow[True], (SIDE, SIDE), CANVASES.small)
        pixels = rows(CANVASES.small)[SHOWN:].view(np.uint8).reshape(SIDE - SHOWN, SIDE, 4)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), np.uint8)


class NearFrames(Frames):
    """Frames shrunk in a quarter of cv2.INTER_AREA's time: from two pixels along each axis, where it reads up to three.

    The two are weighted so that each pixel has INTER_AREA's centre of gravity.
    """

    def __init__(self, game: TexturedCarRacing, *, size: int, grey: bool, stack: int, time_limit: int) -> None:
        super().__init__(game, size=size, grey=grey, crop_hud=not game.panel, stack=stack, time_limit=time_limit)
        self.taps = np.meshgrid(centres(SIDE, size), centres(game.rows, size))
        self.untouched = size == SIDE == game.rows
        self.far = 2 * size < SIDE  # then two pixels would leave out others

    def _prepare(self, frame: Picture) -> Picture:
        if self.far:
            frame = np.asarray(cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_AREA), np.uint8)
        elif not self.untouched:
            frame = np.asarray(cv2.remap(frame, *self.taps, cv2.INTER_LINEAR), np.uint8)
        if self.grey:
            return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGBA2GRAY)[:, :, None], np.uint8)
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB), np.uint8)


def centres(pixels: int, size: int) -> NDArray[np.float32]:
    """The centre of gravity of the pixels that each of `size` pixels covers, in pixels from the middle of the first."""
    edges = np.arange(size + 1) * (pixels / size)
    covered = np.diff(np.clip(edges[:, None] - np.arange(pixels), 0, 1), axis=0)  # [size, pixels], by how much
    return np.asarray(covered @ np.arange(pixels) / covered.sum(axis=1), np.float32)
