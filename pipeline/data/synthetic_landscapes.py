"""Synthetic landscapes, drawn procedurally: sample data that needs no download, in two domains.

Reads and writes no files: `draw_landscape` and `draw_photo` return pictures that depend on their
seed and index alone. A scene is a field of colours and a field of brush directions, made from the
sky down. In a painting thousands of dabs sample both, from broad strokes to small ones; a photo
shows the colours themselves, with fine texture on the ground and the grain of a film.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFilter

from pipeline.core.randomness import stream

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

GRID = 128  # rows and columns of a scene's fields; the finest dab spans more than a cell
OVERSAMPLING = 2  # the dabs' edges are smoothed by drawing larger and shrinking
PASSES = (  # mean length and width of a dab, as parts of the picture's width; how many
    (0.16, 0.043, 350),
    (0.094, 0.025, 900),
    (0.05, 0.015, 1700),
    (0.034, 0.0095, 2000),
)
Y, X = np.mgrid[0:GRID, 0:GRID] / GRID
CORNERS = np.linspace(0, 2 * math.pi, 10, endpoint=False)
TEXTURE = ((1, 4.0), (2, 5.0), (4, 5.0))  # of a photo: pixels of a patch, levels of its deviation
GRAIN = 3.0  # levels
SATURATION, CONTRAST = 0.7, 1.15  # of a photo, against the scene's

COLOUR_NAMES = ("sky", "low_sky", "cloud", "sun", "far", "near", "leaf", "leaf_light", "flower")
PALETTES = {
    "dawn": "#7f9cc4 #f3c6b0 #f6d9d3 #ff9a55 #8f93b8 #6c86a0 #3f5f70 #8fae9a #f4b6c2",
    "noon": "#5d93cf #cfe3ee #fbf7ea #fff3b8 #8aa9c4 #7fa36a #3e6b40 #a9c25a #e2503f",
    "evening": "#6a5f9c #f2a35e #f7bd86 #ffd06a #7a628f #5b5a74 #3a4258 #a5764f #f08a6c",
    "winter": "#9fb3c8 #e8e0dc #f2eeee #f9d9a8 #a9b4c9 #d9dfe8 #6b7590 #c8ccd9 #f5efe6",
    "autumn": "#7ea6c0 #efdcb5 #f5ead2 #ffd98a #9a97a6 #b08d4a #9a4f2a #e39a3c #d8482f",
    "night": "#34477a #7f98b8 #8c9fc2 #f6efcf #4a5f8a #3f6078 #28405a #5c868c #c9cfe6",
    "spring": "#8fb6d8 #f1dfdd #fdf3ef #fff0c2 #9db3cf #93b98a #4f8060 #c3d07a #f0a3bd",
}


@dataclass(frozen=True)
class Scene:
    """What the brush looks at: fields of GRID x GRID, changed in place while composing."""

    colour: Array  # (GRID, GRID, 3), 0 to 255
    angle: Array  # (GRID, GRID), direction of the brush in radians, 0 is horizontal
    palette: dict[str, Array]
    horizon: float  # where land or sky meets the ground, 0 (top) to 1
    sun: tuple[float, float]  # x and y, 0 to 1

    def fill(self, where: Mask, colour: Array, angle: Array | float) -> None:
        """Lay `colour` and `angle`, each one value or a whole field, where the mask is true."""
        self.colour[where] = np.broadcast_to(colour, self.colour.shape)[where]
        self.angle[where] = np.broadcast_to(angle, self.angle.shape)[where]


def draw_landscape(index: int, seed: int = 0, size: int = 256) -> Image.Image:
    """Return the landscape of (seed, index): the same picture at every size, up to resolution.

    Args:
        index: which picture, 0 or more.
        seed: which series of pictures, 0 or more.
        size: width and height in pixels, 8 or more.

    Returns:
        An RGB image of size x size pixels.

    Raises:
        ValueError: if `size` is below 8.
    """
    check_size(size)
    rng = stream(seed, "landscape", index)
    scene = compose(rng)
    ground = Image.fromarray(scene.colour.clip(0, 255).astype(np.uint8))
    picture = ground.resize((size * OVERSAMPLING,) * 2, Image.Resampling.BILINEAR)
    paint_scene(picture, scene, rng)
    paint_details(picture, scene, rng)
    return add_relief(picture.resize((size, size), Image.Resampling.LANCZOS))


def draw_photo(index: int, seed: int = 0, size: int = 256) -> Image.Image:
    """Return the photo of (seed, index): another scene than the painting's of the same number.

    Args:
        index: which photo, 0 or more.
        seed: which series of photos, 0 or more.
        size: width and height in pixels, 8 or more.

    Returns:
        An RGB image of size x size pixels.

    Raises:
        ValueError: if `size` is below 8.
    """
    check_size(size)
    rng = stream(seed, "photo", index)
    scene = compose(rng)
    field = Image.fromarray(scene.colour.clip(0, 255).astype(np.uint8))
    field = field.filter(ImageFilter.GaussianBlur(1))  # a lens: the scene's edges are stairs
    pixels = np.asarray(field.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
    ground = (np.arange(size) / size - scene.horizon).clip(0, 0.1)[:, None] * 10
    for side, deviation in TEXTURE:
        patches = rng.normal(0, deviation, (-(-size // side),) * 2)
        spread = patches.repeat(side, 0).repeat(side, 1)[:size, :size]
        pixels = pixels + (ground * spread)[..., None]
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = mix(grey, pixels, np.full((size, size), SATURATION))
    pixels = 128 + CONTRAST * (pixels - 128) + rng.normal(0, GRAIN, (size, size, 1))
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def check_size(size: int) -> None:
    """Raise ValueError if a picture of that size would show nothing."""
    if size < 8:
        raise ValueError(f"size is {size}; a landscape needs 8 pixels or more")


def compose(rng: np.random.Generator) -> Scene:
    """Choose a palette and a composition, and fill the scene from the sky to the foreground."""
    scene = Scene(
        colour=np.zeros((GRID, GRID, 3)),
        angle=np.zeros((GRID, GRID)),
        palette=choose_palette(rng),
        horizon=rng.uniform(0.36, 0.64),
        sun=(rng.uniform(0.15, 0.85), rng.uniform(0.1, 0.32)),
    )
    add_sky(scene, rng)
    for depth in np.linspace(0, 1, int(rng.integers(1, 4))):
        add_hills(scene, rng, depth)
    add_trees(scene, rng)
    if rng.random() < 0.75:
        add_water(scene, rng)
        if rng.random() < 0.5:
            add_meadow(scene, rng, top=rng.uniform(0.8, 0.92), slope=rng.uniform(-0.25, 0.25))
    else:
        add_meadow(scene, rng, top=scene.horizon, slope=0.0)
    if rng.random() < 0.3:
        add_willow(scene, rng)
    return scene


def choose_palette(rng: np.random.Generator) -> dict[str, Array]:
    """Return the colours of a time of day or year, shifted a little together and apart."""
    tones = list(PALETTES.values())[rng.integers(len(PALETTES))].split()
    colours = np.array([ImageColor.getrgb(tone) for tone in tones], dtype=np.float64)
    colours += rng.normal(0, 9, 3) + rng.normal(0, 7, colours.shape)
    return dict(zip(COLOUR_NAMES, colours.clip(0, 255), strict=True))


def mix(first: Array, second: Array, share: Array | float) -> Array:
    """Blend two colours or fields of colours; `share` of the second is clipped to 0..1."""
    weight = np.asarray(share).clip(0, 1)[..., None]
    return np.asarray(first * (1 - weight) + second * weight)


def smooth_noise(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Return a GRID x GRID field of about -1 to 1 with `rows` x `columns` random knots."""
    knots = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32))
    return np.asarray(knots.resize((GRID, GRID), Image.Resampling.BICUBIC), dtype=np.float64)


def ridge(rng: np.random.Generator, roughness: int) -> Array:
    """Return one line of hills over x, about -1 to 1, as a sum of sines."""
    waves = np.arange(1, roughness + 1)[:, None]
    phases = rng.uniform(0, 2 * math.pi, waves.shape)
    heights = rng.uniform(0.4, 1, waves.shape) / waves
    return np.asarray((heights * np.sin(waves * X[0] * 5 + phases)).sum(axis=0))


def add_sky(scene: Scene, rng: np.random.Generator) -> None:
    """Paint a gradient, drifting clouds, and a sun or moon with its glow."""
    tone = scene.palette
    sky = mix(tone["sky"], tone["low_sky"], (Y / scene.horizon) ** rng.uniform(0.8, 1.8))
    clouds = smooth_noise(rng, 7, 3) + 0.6 * smooth_noise(rng, 14, 7)
    sky = mix(sky, tone["cloud"], (clouds - rng.uniform(-0.3, 0.5)) * 1.8)
    distance = np.hypot(X - scene.sun[0], Y - scene.sun[1])
    sky = mix(sky, tone["sun"], 0.75 * np.exp(-distance / rng.uniform(0.08, 0.25)))
    disc = mix(tone["sun"], np.full(3, 255.0), 0.25)
    sky = mix(sky, disc, (rng.uniform(0.035, 0.06) - distance) * 200)
    scene.fill(Y >= 0, sky, rng.uniform(-0.5, 0.5) + 0.9 * smooth_noise(rng, 3, 3))
    around = np.arctan2(Y - scene.sun[1], X - scene.sun[0]) + math.pi / 2
    scene.fill(distance < rng.uniform(0.05, 0.16), sky, around)


def add_hills(scene: Scene, rng: np.random.Generator, depth: float) -> None:
    """Paint one line of hills; depth 0 is the farthest and palest, 1 the nearest."""
    height = rng.uniform(0.05, 0.17) * (1 - 0.55 * depth)
    line = scene.horizon - height * (1 + 0.6 * ridge(rng, 6)).clip(0.1)
    tone = mix(scene.palette["far"], scene.palette["near"], depth)
    tone = mix(scene.palette["low_sky"], tone, 0.6 + 0.4 * depth)
    shade = mix(tone, scene.palette["leaf"], 0.3 + 0.5 * smooth_noise(rng, 10, 10))
    slope = np.arctan(np.gradient(line, 1 / GRID))
    scene.fill(line < Y, shade, slope)


def add_trees(scene: Scene, rng: np.random.Generator) -> None:
    """Paint a group of poplars, of slim trees or of round ones on the far shore."""
    slimness = rng.choice([0.16, 0.35, 0.9])
    centre, spread = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.4)
    edge = 0.35 * smooth_noise(rng, 40, 40)
    for _ in range(int(rng.integers(0, 10))):
        x = centre + spread * rng.uniform(-1, 1)
        height = rng.uniform(0.05, 0.13) * (1.7 if slimness < 0.5 else 1.0)
        across, up = (X - x) / (height * slimness), (scene.horizon - Y - 0.9 * height) / height
        lit = 0.5 * up + 0.4 * across * math.copysign(1, scene.sun[0] - x) + edge
        foliage = mix(scene.palette["leaf"], scene.palette["leaf_light"], 0.35 + 0.7 * lit)
        crown = across**2 + up**2 < 1 + 2 * edge
        scene.fill(crown, foliage, math.pi / 2 + edge * 2)


def add_water(scene: Scene, rng: np.random.Generator) -> None:
    """Mirror what stands above the horizon, broken by ripples that widen towards the viewer."""
    below = (Y - scene.horizon).clip(0)
    ripples = smooth_noise(rng, 90, 6) + smooth_noise(rng, 50, 12)
    rows = (scene.horizon - below * rng.uniform(0.75, 1) + 0.04 * below * ripples) * GRID
    columns = (X + ripples * (0.008 + 0.09 * below)) * GRID
    mirrored = scene.colour[rows.astype(int).clip(0), columns.astype(int).clip(0, GRID - 1)]
    tint = mix(scene.palette["sky"], scene.palette["leaf"], 0.45)
    water = mix(mirrored, tint, 0.16 + 0.45 * below + 0.12 * ripples)
    path = np.exp(-(((X - scene.sun[0]) / (0.025 + 0.12 * below)) ** 2))
    water = mix(water, scene.palette["sun"], path * (0.35 + 1.3 * ripples))
    scene.fill(scene.horizon < Y, water, 0.06 * smooth_noise(rng, 6, 6))


def add_meadow(scene: Scene, rng: np.random.Generator, top: float, slope: float) -> None:
    """Paint grass below a tilted line, brighter in patches."""
    line = top + slope * (X[0] - 0.5) + 0.02 * ridge(rng, 4)
    patches = smooth_noise(rng, 12, 5) + 0.7 * smooth_noise(rng, 40, 20)
    grass = mix(scene.palette["near"], scene.palette["leaf_light"], 0.4 + 0.5 * patches)
    grass = mix(grass, scene.palette["leaf"], (Y - line) * 1.1 - 0.25 * patches)
    scene.fill(line < Y, grass, math.pi / 2 + 0.9 * smooth_noise(rng, 8, 8))


def add_willow(scene: Scene, rng: np.random.Generator) -> None:
    """Hang the branches of a near tree into one side of the picture."""
    side = X if rng.random() < 0.5 else 1 - X
    reach = rng.uniform(0.2, 0.42) * (1 + 0.5 * smooth_noise(rng, 3, 3))
    strands = smooth_noise(rng, 5, 60)
    hanging = side / reach + 0.4 * Y / rng.uniform(0.4, 0.8) + 0.22 * strands < 1
    light = 0.3 + 0.6 * strands + 0.3 * smooth_noise(rng, 20, 20)
    foliage = mix(scene.palette["leaf"] * 0.85, scene.palette["leaf_light"], light)
    scene.fill(hanging, foliage, math.pi / 2 + 0.15 * smooth_noise(rng, 6, 6))


def paint_scene(picture: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    """Cover the picture with dabs that take colour and direction from the scene."""
    for length, width, count in PASSES:
        x, y = rng.uniform(-0.02, 1.02, (2, count))
        row, column = (np.array([y, x]) * GRID).astype(int).clip(0, GRID - 1)
        colour = scene.colour[row, column] + rng.normal(0, 11, (count, 1))
        colour += rng.normal(0, 7, (count, 3))
        angle = scene.angle[row, column] + rng.normal(0, 0.14, count)
        paint_dabs(picture, rng, np.array([x, y]), (length, width), angle=angle, colour=colour)


def paint_details(picture: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    """Scatter blossoms near the lower edge, and reeds in one of its corners."""
    blossoms = int(rng.integers(0, 110))
    place = np.array(
        [rng.normal(rng.uniform(0.2, 0.8), 0.3, blossoms), 1 - rng.uniform(0, 0.5, blossoms) ** 2]
    )
    angle = rng.normal(0, 0.5, blossoms)
    paint_dabs(picture, rng, place, (0.022, 0.013), angle=angle, colour=scene.palette["flower"])
    reeds = int(rng.choice([0, 0, 40, 90]))
    place = np.array(
        [rng.normal(rng.choice([0.1, 0.9]), 0.12, reeds), 1 - np.abs(rng.normal(0, 0.09, reeds))]
    )
    angle = rng.normal(math.pi / 2, 0.13, reeds)
    share = rng.uniform(0, 0.8, reeds)
    colour = mix(scene.palette["leaf"], scene.palette["leaf_light"], share)
    paint_dabs(picture, rng, place, (0.15, 0.01), angle=angle, colour=colour)


def paint_dabs(
    picture: Image.Image,
    rng: np.random.Generator,
    place: Array,
    shape: tuple[float, float],
    *,
    angle: Array,
    colour: Array,
) -> None:
    """Draw bent ellipses of paint, the first at the bottom.

    Args:
        picture: drawn on in place.
        rng: varies each dab's length, width and bend.
        place: (2, count), x and y of the centres, 0 to 1 inside the picture.
        shape: mean length and width, as parts of the picture's width.
        angle: (count,), radians.
        colour: (count, 3) or (3,), 0 to 255; clipped.
    """
    count = len(angle)
    half = np.array(shape)[:, None, None] * rng.uniform(0.3, 0.7, (2, count, 1))
    along, across = half[0] * np.cos(CORNERS), half[1] * np.sin(CORNERS)
    across = across + along**2 / half[0] * rng.normal(0, 0.12, (count, 1))
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    outline = np.stack([along * cosine - across * sine, along * sine + across * cosine], axis=-1)
    outline = ((outline + place.T[:, None]) * picture.width).round()
    corners = outline.reshape(count, 2 * CORNERS.size).tolist()
    tones = np.broadcast_to(colour, (count, 3)).clip(0, 255).round().astype(int).tolist()
    draw = ImageDraw.Draw(picture)
    for polygon, tone in zip(corners, tones, strict=True):
        draw.polygon(polygon, fill=tuple(tone))


def add_relief(picture: Image.Image) -> Image.Image:
    """Light the paint from the upper left, as if each edge of colour had some thickness."""
    pixels = np.asarray(picture, dtype=np.float64)
    height = pixels.mean(axis=2)
    slope = np.zeros_like(height)
    slope[1:, 1:] = height[1:, 1:] - height[:-1, :-1]
    lit = pixels + 0.22 * slope[..., None].clip(-60, 60)
    return Image.fromarray(lit.clip(0, 255).round().astype(np.uint8))
