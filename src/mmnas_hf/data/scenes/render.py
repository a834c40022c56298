"""Draw a scene with Pillow on a background of grey noise."""

import colorsys
import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from .world import IMAGE_SIZE, Scene, SceneObject

_OVERSAMPLING = 3
_DARK = 0.4
_SATURATION = 0.9
#: Bands and dots across an object; proportional to its size, so that texture does not tell size.
_BANDS = 3.5
_DOTS = 3
_NOISE_LEVEL = 140.0
_NOISE_DEVIATION = 14.0
#: Grey levels are multiples of this, which halves the size of the files.
_NOISE_STEP = 8

Point = tuple[float, float]

_UNIT_OUTLINES: dict[str, list[Point]] = {
    "circle": [(math.cos(2 * math.pi * i / 48), math.sin(2 * math.pi * i / 48)) for i in range(48)],
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1), (1, 1), (-1, 1)],
    "cross": [
        *((-0.36, -1), (0.36, -1), (0.36, -0.36), (1, -0.36), (1, 0.36), (0.36, 0.36)),
        *((0.36, 1), (-0.36, 1), (-0.36, 0.36), (-1, 0.36), (-1, -0.36), (-0.36, -0.36)),
    ],
}


def render(scene: Scene, rng: Generator) -> Image.Image:
    """Return the RGB picture of a scene; larger objects lie below smaller ones."""
    canvas = _noise(rng).resize((IMAGE_SIZE * _OVERSAMPLING,) * 2, Image.Resampling.NEAREST)
    for scene_object in sorted(scene.objects, key=lambda item: -item.half_width):
        _draw(canvas, scene_object, rng)
    return canvas.reduce(_OVERSAMPLING)


def _noise(rng: Generator) -> Image.Image:
    """Return grey noise that looks the same everywhere and at every scale (spectrum 1/f)."""
    frequency = np.hypot(np.fft.fftfreq(IMAGE_SIZE)[:, None], np.fft.rfftfreq(IMAGE_SIZE)[None, :])
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((IMAGE_SIZE, IMAGE_SIZE))) / frequency)
    grey = _NOISE_LEVEL + _NOISE_DEVIATION * field / field.std()
    steps = (grey.clip(0, 255) / _NOISE_STEP).astype(np.uint8)
    return Image.fromarray(steps * np.uint8(_NOISE_STEP)).convert("RGB")


def _draw(canvas: Image.Image, scene_object: SceneObject, rng: Generator) -> None:
    left, top, right, bottom = (round(edge * _OVERSAMPLING) for edge in scene_object.box)
    size = (right - left, bottom - top)
    canvas.paste(_surface(scene_object, size, rng), (left, top), _mask(scene_object.shape, size))


def _mask(shape: str, size: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size)
    half_width, half_height = size[0] / 2, size[1] / 2
    points = [((1 + x) * half_width, (1 + y) * half_height) for x, y in _UNIT_OUTLINES[shape]]
    ImageDraw.Draw(mask).polygon(points, fill=255)
    return mask


def _surface(scene_object: SceneObject, size: tuple[int, int], rng: Generator) -> Image.Image:
    surface = Image.new("RGB", size, _rgb(scene_object.hue, scene_object.brightness))
    dark = _rgb(scene_object.hue, scene_object.brightness * _DARK)
    if scene_object.texture == "striped":
        _draw_stripes(ImageDraw.Draw(surface), size, dark, rng.random())
    elif scene_object.texture == "dotted":
        _draw_dots(ImageDraw.Draw(surface), size, dark)
    return surface


def _rgb(hue: float, brightness: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue / 360, _SATURATION, brightness))
    return red, green, blue


def _draw_stripes(draw: ImageDraw.ImageDraw, size: tuple[int, int], colour: tuple[int, int, int], phase: float) -> None:
    """Draw diagonal bands."""
    width, height = size
    period = width / _BANDS
    for number in range(-1, math.ceil((width + height) / period) + 1):
        start = (number + phase) * period
        end = start + period / 2
        draw.polygon([(start, 0), (end, 0), (end - height, height), (start - height, height)], fill=colour)


def _draw_dots(draw: ImageDraw.ImageDraw, size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Draw a centred grid of dots."""
    pitch_x, pitch_y = size[0] / _DOTS, size[1] / _DOTS
    radius = 0.27 * min(pitch_x, pitch_y)
    for column in range(_DOTS):
        for row in range(_DOTS):
            x, y = (column + 0.5) * pitch_x, (row + 0.5) * pitch_y
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
