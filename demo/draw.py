"""Drawn scenes and faces, for tests and for the demonstration's Model B.

python demo/draw.py scenes|faces FOLDER --count N --size S --seed K
"""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

OVERSAMPLING = 3  # everything is drawn this many times larger, then averaged down
WORDS = ["of", "the", "and", "to", "light", "paper", "river", "photograph", "summer"]
SKIES = ["#3f7fc4 #cfe4f2", "#4a4e8c #f7b27a", "#5c93b8 #f4ecd6", "#2a2148 #d3688a"]
SKINS = ["#f6d7c3", "#eec1a2", "#e0ac86", "#c98d63", "#a86f48", "#7d4f33", "#583725"]
HAIRS = ["#1d1715", "#35231a", "#5a3a22", "#8a5a2f", "#c79a55", "#98401f", "#8f8c8a"]
IRISES = ["#3b2415", "#5b3a1e", "#4a6b8a", "#4f6b45", "#6b7a80"]


def hsv(hue, saturation, value):
    """RGB in 0-255 of a colour whose three numbers are in 0-1."""
    return ImageColor.getrgb(f"hsv({hue * 360},{saturation * 100}%,{value * 100}%)")


def mix(a, b, share):
    """The colour `share` of the way from a to b; each RGB or a colour's name."""
    a, b = (ImageColor.getrgb(c) if isinstance(c, str) else c for c in (a, b))
    return tuple(round(x + (y - x) * float(share)) for x, y in zip(a, b, strict=True))


def arc(x, y, rx, ry, start=0, stop=360):
    """Points (x, y) of an ellipse between two angles in degrees, clockwise."""
    angles = np.radians(np.linspace(start, stop, 40))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1).tolist()


class Canvas:
    """A square in unit coordinates, origin at the top left, and what draws on it."""

    def __init__(self, rng, size):
        self.rng, self.between, self.side = rng, rng.uniform, size * OVERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)

    def pick(self, items):
        return items[self.rng.integers(len(items))]

    def polygon(self, points, colour):
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], colour)

    def line(self, points, width, colour):
        points = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(points, colour, max(1, round(width * self.side)), "curve")

    def box(self, left, top, right, bottom, colour):
        edges = [value * self.side for value in (left, top, right, bottom)]
        self.draw.rectangle(edges, colour)

    def ball(self, x, y, rx, ry, colour):
        """An ellipsoid lit from the upper left, in ten nested ellipses."""
        for part in np.linspace(0, 0.9, 10):
            shade = mix(mix(colour, "black", 0.35), mix(colour, "white", 0.25), part)
            u, v, share = x - 0.25 * part * rx, y - 0.25 * part * ry, 1 - part
            self.polygon(arc(u, v, rx * share, ry * share), shade)

    def gradient(self, top, bottom):
        for y in range(self.side):
            shade = mix(top, bottom, y / self.side)
            self.draw.line([(0, y), (self.side, y)], shade)

    def finish(self):
        """The picture, uint8 [size, size, 3], with a little noise."""
        image = np.asarray(self.image.reduce(OVERSAMPLING), np.float32)
        image = image + self.rng.normal(0, 3, image.shape)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def city(canvas):
    between, (top, bottom) = canvas.between, canvas.pick(SKIES).split()
    canvas.gradient(top, bottom)
    for layer in (0.3, 0.6, 0.9):
        x = -0.05
        while x < 1:
            width, roof = between(0.08, 0.18), between(0.1, 0.7) + 0.2 * layer
            wall = mix(mix(bottom, "#141a28", layer), "#8a6a58", between(0, 0.25))
            canvas.box(x, roof, x + width, 1, wall)
            step, lit = between(0.02, 0.035), between(0.1, 0.8)
            for left in np.arange(x + 0.01, x + width - step, step):
                for y in np.arange(roof + 0.012, 1 - step, 1.3 * step):
                    glass = "#ffe0a0" if between() < lit else mix(wall, "#0b1020", 0.5)
                    canvas.box(left, y, left + 0.6 * step, y + 0.8 * step, glass)
            x += width * between(0.9, 1.3)


def page(canvas):
    side, ink = canvas.side, hsv(0.6, 0.4, 0.2)
    canvas.gradient(hsv(canvas.between(0.08, 0.16), 0.1, 0.95), "#b0a088")
    text, y = round(side * canvas.between(0.05, 0.08)), 0.05
    font = ImageFont.load_default(text)
    while y < 0.93:
        words = list(canvas.rng.choice(WORDS, 12))
        while font.getlength(" ".join(words)) > 0.85 * side:
            words.pop()
        canvas.draw.text((0.08 * side, y * side), " ".join(words), ink, font)
        y += 1.4 * text / side
    canvas.image.paste(canvas.image.rotate(canvas.between(-6, 6), Image.BICUBIC))


def pattern(canvas):
    """Checks, stripes or bricks, rotated."""
    between, side = canvas.between, canvas.side
    y, x = np.mgrid[-0.5 : 0.5 : 1j * side, -0.5 : 0.5 : 1j * side]
    angle, count = between(0, np.pi), between(5, 12)
    u = (np.cos(angle) * x - np.sin(angle) * y) * count
    v = (np.sin(angle) * x + np.cos(angle) * y) * count
    share = {
        "checks": (np.floor(u) + np.floor(v)) % 2,
        "stripes": (u % 1 < 0.5) * 0.7 + (v * 3 % 1 < 0.2) * 0.3,
        "bricks": np.minimum((u / 2 + np.floor(v) % 2 / 2) % 1, v % 1) < 0.1,
    }[canvas.pick(["checks", "stripes", "bricks"])][..., None]
    colours = np.array([hsv(between(), between(0.2, 0.7), b) for b in (0.85, 0.2)])
    shaded = colours[0] + share * (colours[1] - colours[0])
    shaded = shaded * (0.8 + 0.2 * y[..., None])
    canvas.image.paste(Image.fromarray(shaded.astype(np.uint8)))


def fruit(canvas):
    between, cloth = canvas.between, hsv(canvas.between(), 0.6, 0.75)
    canvas.gradient("#f6f2ea", "#d6cfc2")
    for start in np.arange(0, 1, 0.1):
        canvas.box(start, 0, start + 0.05, 1, mix(cloth, "white", 0.5))
    for y in np.sort(between(0.15, 0.9, 9)):
        x, r = between(0.1, 0.9), between(0.09, 0.18)
        canvas.ball(x, y, r, r * between(0.9, 1.1), hsv(between(), 0.85, 0.8))
        canvas.line([(x, y - 0.7 * r), (x + 0.2 * r, y - 1.3 * r)], 0.1 * r, "#3a2410")


SCENES = (city, page, pattern, fruit)


def face(canvas):
    between = canvas.between
    skin, hair, iris = map(canvas.pick, (SKINS, HAIRS, IRISES))
    canvas.gradient(hsv(between(), 0.3, 0.8), hsv(between(), 0.4, 0.4))
    x, y = 0.5 + between(-0.03, 0.03), 0.48 + between(-0.02, 0.02)
    wide, tall, smile = between(0.2, 0.24), between(0.26, 0.3), between(0, 0.03)
    canvas.ball(x, 1.1, between(0.4, 0.48), 0.3, hsv(between(), 0.5, 0.6))
    canvas.polygon(arc(x, y - 0.03, wide * 1.2, tall * 1.15), hair)
    canvas.ball(x, y, wide, tall, skin)
    for part in np.linspace(-1, 1, 60):  # strands of hair to either side of the parting
        tone = mix(hair, canvas.pick(["black", "white"]), between(0, 0.3))
        end = (x + 1.15 * part * wide, y - 0.05 - 0.5 * tall * (1 - abs(part)))
        canvas.line([(x + 0.3 * part * wide, y - 1.1 * tall), end], 0.012, tone)
    for side in (-1, 1):
        eye, eyes = x + side * wide * 0.45, y - 0.03
        canvas.polygon(arc(eye, eyes, 0.042, 0.02), "#f4f0ec")
        canvas.polygon(arc(eye, eyes, 0.019, 0.019), iris)
        canvas.polygon(arc(eye, eyes, 0.009, 0.009), "black")
        canvas.line(arc(eye, eyes, 0.045, 0.024, 190, 350), 0.009, "#20120c")
        canvas.line(arc(eye, eyes - 0.02, 0.055, 0.035, 205, 335), 0.014, hair)
    canvas.line(arc(x, y + 0.08, 0.03, 0.014, 10, 170), 0.008, mix(skin, "black", 0.5))
    canvas.polygon(arc(x, y + 0.15, 0.065, 0.02 + smile, 0, 180), "#a8383a")
    canvas.line(arc(x, y + 0.15, 0.065, 0.01 + smile / 2, 10, 170), 0.01, "#f4ece8")


def drawn(draw, key, size):
    canvas = Canvas(np.random.Generator(np.random.PCG64(key)), size)
    draw(canvas)
    return canvas.finish()


def draw_scene(seed, size):
    """A drawn scene, uint8 RGB [size, size, 3]: a pure function of both numbers."""
    return drawn(SCENES[seed % len(SCENES)], [seed, 0], size)


def draw_face(seed, size):
    """A drawn face, uint8 RGB [size, size, 3]: a pure function of both numbers."""
    return drawn(face, [seed, 1], size)


def draw_folder(kind, folder, count, size, seed=0):
    """Writes `count` PNGs of "scenes" or "faces"; returns their paths.

    Folders of different seeds have no picture in common (up to 100,000 each).
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draw = {"scenes": draw_scene, "faces": draw_face}[kind]
    paths = [folder / f"{kind[:-1]}_{index:04d}.png" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(draw(seed * 100_000 + index, size)).save(path)
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("scenes", "faces"))
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=100, help="pictures")
    parser.add_argument("--size", type=int, default=200, help="pixels a side")
    parser.add_argument("--seed", type=int, default=0)
    draw_folder(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
