"""CarRacing's picture drawn several times faster, with the very pixels of gymnasium's own drawing.

gymnasium paints 1000 x 800 pixels and shrinks them to 96 x 96 at every step; nearly all of a step is that painting.
Here the same rasteriser gets the same corners in the same order, so each byte is equal, but

- the corners of the ~800 polygons are computed by one numpy expression instead of a Python loop over vertices, and
  polygons whose bounding box misses the picture are left out;
- the picture is shrunk in x before it is turned upside down (the shrinking treats x first and row by row, so the
  order is free) and then in y;
- what the panel with the indicators hides is not painted; surfaces, font and the car's outline are kept.
"""

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pygame
from gymnasium.envs.box2d import car_dynamics
from gymnasium.envs.box2d import car_racing as stock
from gymnasium.utils import EzPickle
from numpy.typing import NDArray
from pygame import gfxdraw

from suites.envs.carracing_canvases import CANVASES, HEIGHT, PANEL, SIDE, WIDTH, rows

HIGHEST_BAR = 3.9  # an indicator of this value just stays inside the panel
MARGIN = 2  # pixels that an anti-aliased edge may reach beyond its corners, rounded up

Corners = NDArray[np.float64]  # [2 (x, y), 4 (corners), polygons]


def default_font() -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(pygame.font.get_default_font(), 42)


def grass_patches() -> Corners:
    """The 400 squares of lighter grass, in gymnasium's order and from its own arithmetic."""
    dim = stock.GRASS_DIM
    squares = [
        [(dim * x + dim, dim * y), (dim * x, dim * y), (dim * x, dim * y + dim), (dim * x + dim, dim * y + dim)]
        for x in range(-20, 20, 2)
        for y in range(-20, 20, 2)
    ]
    return np.array(squares).transpose(2, 1, 0)


class Camera:
    """Where the world stands in the picture: rotation, then zoom, then shift; double by double what gymnasium does."""

    def __init__(self, car: car_dynamics.Car, seconds: float) -> None:
        angle = -car.hull.angle
        self.zoom = 0.1 * stock.SCALE * max(1 - seconds, 0) + stock.ZOOM * stock.SCALE * min(seconds, 1)
        x, y = car.hull.position
        shift = pygame.math.Vector2((-x * self.zoom, -y * self.zoom)).rotate_rad(angle)
        self.shift_x, self.shift_y = WIDTH / 2 + shift[0], HEIGHT / 4 + shift[1]
        self.cos, self.sin = pygame.math.Vector2((1.0, 0.0)).rotate_rad(angle)  # pygame's, whatever its libm says

    def project(self, x: Corners, y: Corners) -> tuple[Corners, Corners]:
        return (
            (self.cos * x - self.sin * y) * self.zoom + self.shift_x,
            (self.sin * x + self.cos * y) * self.zoom + self.shift_y,
        )

    def near(self, centres: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.intp]:
        """The polygons whose circumcircle comes near the circle around the picture: a first, generous sieve."""
        x, y = self.locate(WIDTH / 2, (PANEL + HEIGHT) / 2)
        reach = radii + (math.hypot(WIDTH, HEIGHT - PANEL) / 2 + 2 * MARGIN) / self.zoom
        return np.flatnonzero(np.square(centres[0] - x) + np.square(centres[1] - y) <= reach * reach)

    def locate(self, column: float, row: float) -> tuple[float, float]:
        """The point of the world under a pixel."""
        x, y = (column - self.shift_x) / self.zoom, (row - self.shift_y) / self.zoom
        return self.cos * x + self.sin * y, self.cos * y - self.sin * x

    def sees_only_the_field(self) -> bool:
        """Whether all of the picture lies inside the playfield, so that one fill is its background."""
        inside = stock.PLAYFIELD - 2 * MARGIN / self.zoom
        corners = ((0, 0), (WIDTH, 0), (0, HEIGHT), (WIDTH, HEIGHT))
        return all(max(map(abs, self.locate(*corner))) < inside for corner in corners)


class CarOutline:
    """The car's polygons; Box2D's single-precision transform, redone in numpy for all corners at once."""

    def __init__(self, car: car_dynamics.Car) -> None:
        corners: list[tuple[float, float]] = []
        owner: list[int] = []
        self.parts: list[tuple[int, int, int, list[int]]] = []  # body, first corner, end, colour
        for body, drawn in enumerate(car.drawlist):
            for fixture in drawn.fixtures:
                first = len(corners)
                corners += fixture.shape.vertices
                self.parts.append((body, first, len(corners), [int(c * 255) for c in drawn.color]))
                owner += [body] * (len(corners) - first)
        self.stripes = len(corners)  # from here on, four corners for the stripe on each wheel's tread
        owner += [wheel for wheel in range(len(car.wheels)) for _ in range(4)]
        self.owner = np.array(owner)
        self.local = np.zeros((2, len(owner)), np.float32)
        self.local[:, : self.stripes] = np.array(corners, np.float32).T
        half_width = car_dynamics.WHEEL_W * car_dynamics.SIZE
        self.local[0, self.stripes :] = [-half_width, half_width, half_width, -half_width] * len(car.wheels)

    def draw(self, canvas: pygame.Surface, car: car_dynamics.Car, camera: Camera) -> None:
        striped = [self._turn_stripe(i, wheel.phase) for i, wheel in enumerate(car.wheels)]
        poses = [(*body.GetWorldVector((1, 0)), *body.position) for body in car.drawlist]
        cos, sin, at_x, at_y = np.array(poses, np.float32).T[:, self.owner]
        x, y = self.local
        world_x = ((cos * x - sin * y) + at_x).astype(np.float64)
        world_y = ((sin * x + cos * y) + at_y).astype(np.float64)
        points = np.array(camera.project(world_x, world_y)).T.tolist()
        for body, first, end, colour in self.parts:
            pygame.draw.polygon(canvas, colour, points[first:end])
            if body < len(striped) and striped[body]:
                first = self.stripes + 4 * body
                pygame.draw.polygon(canvas, car_dynamics.WHEEL_WHITE, points[first : first + 4])

    def _turn_stripe(self, wheel: int, phase: float) -> bool:
        """Places a wheel's stripe by how far the wheel has rolled; False where it is on the far side."""
        ends = [(math.sin(at), math.cos(at)) for at in (phase, phase + 1.2)]
        if all(sin > 0 for sin, _ in ends):
            return False
        reach = [math.copysign(1.0, cos) if sin > 0 else cos for sin, cos in ends]
        top, bottom = (car_dynamics.WHEEL_R * part * car_dynamics.SIZE for part in reach)
        self.local[1, self.stripes + 4 * wheel :][:4] = (top, top, bottom, bottom)
        return True


class FastCarRacing(stock.CarRacing):
    """gymnasium's CarRacing-v3 with the 96 x 96 state drawn faster; other render modes are gymnasium's own.

    With `drawing` False a step moves the car and returns no picture; `draw_state` then gives the one that the step
    would have drawn. With `panel` False the indicators are left out: the lowest 12 rows are of no use.
    """

    def __init__(self, continuous: bool, panel: bool) -> None:
        super().__init__(render_mode="rgb_array", domain_randomize=False, continuous=continuous)
        EzPickle.__init__(self, continuous, panel)  # a copy is rebuilt from these, not from the parent's arguments
        self.panel = panel
        self.drawing = True
        self.grass = grass_patches()
        self.font = default_font()
        self.outline: CarOutline | None = None

    def _create_track(self) -> bool:
        if not super()._create_track():  # type: ignore[no-untyped-call]
            return False
        polygons = np.array([polygon for polygon, _ in self.road_poly])
        self.corners: Corners = np.concatenate((self.grass, polygons.transpose(2, 1, 0)), axis=2)
        self.centres = self.corners.mean(axis=1)
        self.radii = np.hypot(*(self.corners - self.centres[:, None])).max(axis=0)
        colours = np.array([colour for _, colour in self.road_poly], np.float64)
        self.colours = np.concatenate((np.tile(self.grass_color, (self.grass.shape[2], 1)), colours))
        # Driving onto a tile recolours it in place: let each tile write into its row of the table of colours.
        tiles: Iterator[Any] = iter(self.road)  # type: ignore[call-overload]
        for index, (polygon, colour) in enumerate(self.road_poly):
            if isinstance(colour, np.ndarray):  # a tile; the kerbs beside it have a plain colour
                row = self.colours[self.grass.shape[2] + index]
                next(tiles).color = row
                self.road_poly[index] = (polygon, row)
        return True

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels" or "t" not in self.__dict__:
            return super()._render(mode)
        self.shown_reward = self.reward  # a step draws before it charges its 0.1
        return self.draw_state() if self.drawing else None

    def draw_state(self) -> NDArray[np.uint8]:
        """The 96 x 96 x 3 picture of the present."""
        car: Any = self.car
        if self._bars_leave_the_panel(car):
            reward, self.reward = self.reward, self.shown_reward
            picture = super()._render("state_pixels")
            self.reward = reward
            return np.ascontiguousarray(picture, np.uint8)
        camera = Camera(car, self.t)
        self._draw_landscape(camera)
        if self.outline is None:
            self.outline = CarOutline(car)
        canvases, narrow = CANVASES, CANVASES.narrow[self.panel]
        self.outline.draw(canvases.whole, car, camera)
        pygame.transform.smoothscale(canvases.landscape, canvases.upside_down.get_size(), canvases.upside_down)
        rows(narrow)[: HEIGHT - PANEL] = rows(canvases.upside_down)[::-1]
        if self.panel:
            self._draw_panel()
        pygame.transform.smoothscale(narrow, (SIDE, SIDE), canvases.small)
        pixels = rows(canvases.small).view(np.uint8).reshape(SIDE, SIDE, 4)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB), np.uint8)

    def _draw_landscape(self, camera: Camera) -> None:
        canvas, landscape, background = CANVASES.whole, CANVASES.landscape, self.bg_color.tolist()
        if camera.sees_only_the_field():
            rows(landscape).fill(canvas.map_rgb(background))
        else:
            rows(landscape).fill(0)
            corners = stock.PLAYFIELD * np.array([[1, 1, -1, -1], [1, -1, -1, 1]])
            field = np.array(camera.project(*corners)).T.tolist()
            gfxdraw.aapolygon(canvas, field, background)
            gfxdraw.filled_polygon(canvas, field, background)
        near = camera.near(self.centres, self.radii)
        x, y = camera.project(*self.corners[:, :, near])
        visible = (
            (x.max(axis=0) >= -MARGIN)
            & (x.min(axis=0) <= WIDTH + MARGIN)
            & (y.max(axis=0) >= PANEL - MARGIN)
            & (y.min(axis=0) <= HEIGHT + MARGIN)
        ).nonzero()[0]
        points = np.array((x[:, visible], y[:, visible])).astype(np.int64).T.tolist()  # gfxdraw drops fractions too
        colours = self.colours[near[visible]].astype(np.int64).tolist()
        for polygon, colour in zip(points, colours, strict=True):
            gfxdraw.aapolygon(canvas, polygon, colour)
            gfxdraw.filled_polygon(canvas, polygon, colour)

    def _bars_leave_the_panel(self, car: car_dynamics.Car) -> bool:
        """Wheels that spin fast enough make an indicator grow out of its panel: then gymnasium draws the frame."""
        speed = 0.02 * math.hypot(*car.hull.linearVelocity)
        return bool(max(speed, *(0.01 * wheel.omega for wheel in car.wheels)) > HIGHEST_BAR)

    def _draw_panel(self) -> None:
        self.surf: Any = CANVASES.indicators
        self._render_indicators(WIDTH, HEIGHT)  # type: ignore[no-untyped-call]
        text = self._write(f"{self.shown_reward:04.0f}")
        self.surf.blit(text, text.get_rect(center=(60, HEIGHT - HEIGHT * 2.5 / 40.0)))
        small = pygame.transform.smoothscale(CANVASES.dashboard, (SIDE, PANEL))
        CANVASES.narrow[True].blit(small, (0, HEIGHT - PANEL))

    def _write(self, words: str) -> pygame.Surface:
        try:
            return self.font.render(words, True, (255, 255, 255), (0, 0, 0))
        except pygame.error:  # another user of pygame in this process has quit it, and fonts die with it
            self.font = default_font()
            return self.font.render(words, True, (255, 255, 255), (0, 0, 0))
