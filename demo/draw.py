"""Pictures for the demo, which downloads nothing: drawn scenes and drawn faces.

python demo/draw.py scenes|faces FOLDER --count N --size S --seed K
"""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

OVERSAMPLING = 3  # everything is drawn this many times larger, then averaged down
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
WORDS = ["of", "the", "and", "to", "light", "paper", "river", "photograph", "summer"]
SKIES = ["#3f7fc4 #cfe4f2", "#4a4e8c #f7b27a", "#5c93b8 #f4ecd6", "#2a2148 #d3688a"]
SKINS = ["#f6d7c3", "#eec1a2", "#e0ac86", "#c98d63", "#a86f48", "#7d4f33", "#583725"]
HAIRS = ["#1d1715", "#35231a", "#5a3a22", "#8a5a2f", "#c79a55", "#98401f", "#8f8c8a"]
IRISES = ["#3b2415", "#5b3a1e", "#4a6b8a", "#4f6b45", "#6b7a80"]


def hsv(hue, saturation, value):
    """RGB in 0-255 of a colour whose three numbers are in 0-1."""
    return ImageColor.getrgb(f"hsv({hue * 360},{saturation * 100}%,{value * 100}%)")


def mix(a, b, share):
    """The colour `share` of the way from a to b; each RGB or a hexadecimal string."""
    a, b = (ImageColor.getrgb(c) if isinstance(c, str) else c for c in (a, b))
    return tuple(round(x + (y - x) * float(share)) for x, y in zip(a, b, strict=True))


class Canvas:
    """A square in unit coordinates, origin at the top left, and what draws on it."""

    def __init__(self, random, size):
        self.random, self.between = random, random.uniform
        self.side = size * OVERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)

    def pick(self, items):
        return items[self.random.integers(len(items))]

    def polygon(self, points, colour):
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], colour)

    def line(self, points, width, colour):
        points = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(points, colour, max(1, round(width * self.side)), "curve")

    def box(self, left, top, right, bottom, colour):
        edges = [value * self.side for value in (left, top, right, bottom)]
        self.draw.rectangle(edges, colour)

    def oval(self, x, y, rx, ry, colour):
        self.polygon(arc(x, y, rx, ry), colour)

    def soft(self, x, y, rx, ry, colour, strength):
        """A blurred ellipse: glow, shadow, blush."""
        corner, inside, _ = self.patch(x, y, rx, ry)
        mask = 255 * strength * np.clip(inside, 0, 1) ** 2
        self.image.paste(colour, corner, Image.fromarray(mask.astype(np.uint8)))

    def ball(self, x, y, rx, ry, colour, shade=0.75, shine=0.6):
        """An ellipsoid lit from the upper left."""
        corner, inside, light = self.patch(x, y, rx, ry)
        pixels = (1 - shade + 1.15 * shade * light) * np.float32(mix(colour, colour, 0))
        pixels = np.clip(pixels + 255 * shine * light**24, 0, 255).astype(np.uint8)
        mask = Image.fromarray((inside > 0).astype(np.uint8) * 255)
        self.image.paste(Image.fromarray(pixels), corner, mask)

    def patch(self, x, y, rx, ry):
        """Corner in pixels, 1 - radius² [h, w] and light [h, w, 1] of an ellipsoid."""
        x, y, rx, ry = (max(2, round(value * self.side)) for value in (x, y, rx, ry))
        u, v = (np.linspace(-1, 1, 2 * r, dtype=np.float32) for r in (rx, ry))
        v = v[:, None]
        inside = 1 - u * u - v * v
        light = 0.7 * np.sqrt(np.clip(inside, 0, 1)) - 0.45 * u - 0.55 * v
        return (x - rx, y - ry), inside, np.clip(light, 0, 1)[..., None]

    def gradient(self, *colours, top=0.0, bottom=1.0):
        """Colours from one height down to another, all across."""
        top, bottom = round(top * self.side), round(bottom * self.side)
        places = np.linspace(0, len(colours) - 1, bottom - top)
        columns = zip(*(mix(colour, colour, 0) for colour in colours), strict=True)
        strip = [np.interp(places, range(len(colours)), column) for column in columns]
        strip = Image.fromarray(np.stack(strip, 1).astype(np.uint8)[:, None])
        self.image.paste(strip.resize((self.side, bottom - top)), (0, top))

    def cloud(self, side, stretch=1, octaves=6):
        """Fractal noise, float32 [side, side] in 0-1; stretched sideways."""
        total = np.zeros((side, side), np.float32)
        for cells in 2 ** np.arange(1, octaves + 1):
            noise = self.random.random((cells * stretch + 1, cells + 1))
            noise = Image.fromarray(noise.astype(np.float32)).resize((side, side))
            total += np.asarray(noise) / cells
        return np.clip(total, 0, 1)

    def fog(self, colour, threshold, strength, stretch=1):
        """Clouds over all that is drawn so far."""
        mask = np.clip((self.cloud(self.side // 4, stretch) - threshold) * 3, 0, 1)
        mask = Image.fromarray((255 * strength * mask).astype(np.uint8))
        self.image.paste(colour, (0, 0), mask.resize(self.image.size))

    def ridge(self, base, height, colour):
        """Fills all under a rough line; returns the line as a function of x."""
        waves = np.arange(1, 40)
        phases = self.between(0, 2 * np.pi, 39)
        sizes = self.random.normal(size=39) * height / waves**1.4
        line = lambda x: base + np.sin(np.outer(x, waves * 4) + phases) @ sizes  # noqa: E731
        x = np.linspace(0, 1, 160)
        self.polygon([(0, 1), *zip(x, line(x), strict=True), (1, 1)], colour)
        return line

    def finish(self):
        """The picture, uint8 [size, size, 3], with the texture and noise of a film."""
        pixels = np.asarray(self.image.reduce(OVERSAMPLING), np.float32)
        pixels = pixels * (0.95 + 0.1 * self.cloud(len(pixels), octaves=8)[..., None])
        pixels += self.random.normal(0, 2, pixels.shape)
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def arc(x, y, rx, ry, start=0, stop=360):
    """Points (x, y) of an ellipse between two angles in degrees, clockwise."""
    angles = np.radians(np.linspace(start, stop, 40))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1).tolist()


def pine(canvas, x, y, height, colour):
    for part in np.linspace(0, 0.85, 9):
        width = 0.3 * height * (1 - part) * canvas.between(0.8, 1.2)
        low, top = y - height * part, y - height * (part + 0.16)
        canvas.polygon([(x - width, low), (x, top), (x + width, low)], colour)
        lit = mix(colour, "#d8e070", canvas.between(0.1, 0.3))
        canvas.polygon([(x - width, low), (x, top), (x - width / 3, low)], lit)


def landscape(canvas):
    between, (high, low) = canvas.between, canvas.pick(SKIES).split()
    canvas.gradient(high, low, bottom=0.7)
    canvas.fog("white", 0.48, 0.8, stretch=3)
    x, y = between(0.15, 0.85), between(0.12, 0.4)
    canvas.soft(x, y, 0.4, 0.4, "#fff1c0", 0.7)
    canvas.oval(x, y, 0.05, 0.05, "#fffbe8")
    green = hsv(between(0.2, 0.36), between(0.4, 0.65), between(0.25, 0.45))
    for part in np.linspace(0, 1, 5):
        shade = mix(mix(high, low, 0.6), green, part)
        line = canvas.ridge(0.48 + 0.32 * part, 0.09 - 0.05 * part, shade)
        for x in between(0, 1, int(16 * part) if part > 0.4 else 0):
            height = between(0.05, 0.1) * (0.2 + 2.2 * part**2)
            pine(canvas, x, line(x)[0] + 0.01, height, mix(shade, "#0c2414", 0.45))
    for x, y in zip(between(0, 1, 250), np.sort(between(0.9, 1.04, 250)), strict=True):
        tip = (x + between(-0.02, 0.02), y - between(0.03, 0.08))
        canvas.line([(x, y), tip], 0.004, mix(green, "#c8cc60", between(0, 0.6)))


def city(canvas):
    between, shore = canvas.between, canvas.between(0.76, 0.86)
    high, low = canvas.pick([*SKIES, "#0c1226 #46548a"]).split()
    canvas.gradient(high, low, bottom=shore)
    x = between(0.1, 0.9)
    canvas.soft(x, 0.2, 0.4, 0.4, "#fff2d0", 0.5)
    canvas.oval(x, 0.2, 0.05, 0.05, "#fff6e0")
    for layer in (0.3, 0.6, 0.9):
        x = -0.05
        while x < 1:
            width, top = between(0.07, 0.16), shore - between(0.12, 0.6 - 0.3 * layer)
            wall = mix(mix(low, "#141a28", layer), "#8a6a58", between(0, 0.25))
            canvas.box(x, top, x + width, shore, wall)
            canvas.box(x + 0.48 * width, top - 0.05, x + width / 2, top, wall)  # a mast
            step, lit = between(0.016, 0.026), between(0.1, 0.8)
            for left in np.arange(x + 0.01, x + width - step, step):
                for y in np.arange(top + 0.012, shore - step, 1.3 * step):
                    glass = mix("#ffd98a", "#fff6dc", between())
                    glass = glass if between() < lit else mix(wall, "#0b1020", 0.5)
                    canvas.box(left, y, left + 0.6 * step, y + 0.8 * step, glass)
            x += width * between(0.9, 1.3)
    edge = round(shore * canvas.side)  # below it the city stands on its head
    mirror = np.asarray(canvas.image)[edge - 1 : 2 * edge - canvas.side - 1 : -1]
    drift = np.cumsum(canvas.random.integers(-4, 5, len(mirror)))
    rows = [np.roll(row, shift, 0) for row, shift in zip(mirror, drift, strict=True)]
    rows = np.stack(rows) * 0.6 + 0.3 * np.array(mix(high, "#203040", 0.5))
    canvas.image.paste(Image.fromarray(rows.astype(np.uint8)), (0, edge))


def still_life(canvas):
    between, wall = canvas.between, hsv(canvas.between(), 0.3, canvas.between(0.5, 0.8))
    canvas.gradient(mix(wall, BLACK, 0.3), wall, bottom=0.58)
    wood = hsv(between(0.04, 0.1), 0.55, between(0.4, 0.7))
    canvas.gradient(wood, mix(wood, WHITE, 0.25), top=0.55)
    for y in 0.555 + 0.45 * between(0, 1, 60) ** 1.3:
        shade = mix(wood, "#2a1608", between(0.05, 0.4))
        canvas.line([(0, y), (1, y + between(-0.004, 0.004))], 0.003, shade)
    for y in np.sort(between(0.62, 0.92, 6)):
        x, r = between(0.15, 0.85), between(0.12, 0.2) * y
        colour = hsv(between(), between(0.5, 0.9), between(0.5, 0.95))
        dark, light = mix(colour, BLACK, 0.5), mix(colour, WHITE, 0.3)
        canvas.soft(x + r / 2, y, 1.7 * r, 0.45 * r, "#120a06", 0.75)
        kind, a, b = canvas.pick(["ball", "box", "cone"]), x + r / 2, y - 1.3 * r
        if kind == "ball":
            canvas.ball(x, y - r * 0.9, r, r, colour)
        elif kind == "box":
            c, d = b - 0.45 * r, y + 0.1 * r
            canvas.box(x - r, b, a, d, colour)
            canvas.polygon([(x - r, b), (a - r, c), (x + r, c), (a, b)], light)
            canvas.polygon([(a, b), (x + r, c), (x + r, y - r / 2), (a, d)], dark)
        for part in np.linspace(1, -1, 60) if kind == "cone" else ():  # upright strips
            foot = (x + 0.75 * r * part, y + 0.2 * r * np.sqrt(1 - part * part))
            shade = mix(light, dark, np.clip(part * 0.6 + 0.45, 0, 1))
            canvas.line([foot, (x, y - 2.2 * r)], 0.06 * r, shade)


def page(canvas):
    between, side = canvas.between, canvas.side
    paper, ink = hsv(between(0.08, 0.16), between(0.02, 0.15), 0.95), hsv(0.6, 0.4, 0.2)
    canvas.gradient(paper, mix(paper, "#b09c80", 0.3))
    text, y = round(side * between(0.03, 0.06)), 0.2
    title = " ".join(canvas.random.choice(WORDS[4:], 2)).capitalize()
    font, large = ImageFont.load_default(text), ImageFont.load_default(2 * text)
    canvas.draw.text((0.1 * side, 0.06 * side), title, ink, large)
    while y < 0.93:
        words = list(canvas.random.choice(WORDS, 12))
        while font.getlength(" ".join(words)) > 0.8 * side:
            words.pop()
        canvas.draw.text((0.1 * side, y * side), " ".join(words), ink, font)
        y += 1.4 * text / side
    turned = canvas.image.rotate(between(-6, 6), Image.BICUBIC, fillcolor="#5b4636")
    canvas.image.paste(turned)


def pattern(canvas):
    """Checks, stripes, bricks or tiles on a floor or on a wall, turned."""
    between, side = canvas.between, canvas.side
    y, x = np.mgrid[-0.5 : 0.5 : 1j * side, -0.5 : 0.5 : 1j * side].astype(np.float32)
    depth = 1 + np.float32(canvas.pick([0, 0.5, 0.8])) * y
    turn, count = between(0, np.pi), between(5, 14)
    u = (np.cos(turn) * x - np.sin(turn) * y) / depth * count
    v = (np.sin(turn) * x + np.cos(turn) * y) / depth * count
    colours = np.array([hsv(between(), between(0.2, 0.7), b) for b in (0.85, 0.4)])
    kind = canvas.pick(["checks", "stripes", "bricks", "tiles", "dots"])
    if kind == "bricks":
        u = u / 2 + np.floor(v) % 2 / 2
    cell = np.sin(np.floor(u) * 12.99 + np.floor(v) * 78.23) * 43758.5 % 1
    joint = np.minimum(u % 1, v % 1) < 0.08
    radius = np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    share = {
        "checks": (np.floor(u) + np.floor(v)) % 2,
        "stripes": (u % 1 < 0.5) * 0.7 + (v * 3 % 1 < 0.2) * 0.3,
        "bricks": 0.8 - 0.5 * cell,
        "tiles": 0.2 + 0.8 * (radius < 0.2 + 0.3 * cell),
        "dots": radius < 0.36,
    }[kind]
    share = np.where(joint & (kind in ("bricks", "tiles")), 0, share)[..., None]
    pixels = colours[0] + share * (colours[1] - colours[0])
    pixels = pixels * (0.75 + 0.25 * (x - y)[..., None])
    canvas.image.paste(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


def night(canvas):
    between = canvas.between
    canvas.gradient("#060a1c", "#16244e", mix("#3a4a78", "#b06a6a", between()))
    canvas.fog("#8a90c8", 0.5, 0.4, stretch=2)
    for x, y, size in between(0, 1, (350, 3)):
        glow = mix("#ffd9b0", "#d0e0ff", between())
        canvas.oval(x, y, 0.001 + 0.005 * size**8, 0.001 + 0.005 * size**8, glow)
    x, y, r = between(0.2, 0.8), between(0.15, 0.4), between(0.06, 0.12)
    canvas.soft(x, y, 3 * r, 3 * r, "#dfe6ff", 0.4)
    canvas.ball(x, y, r, r, "#f4f0dc", shade=0.4, shine=0)
    for a, b, size in between((-0.5, -0.5, 0.1), (0.5, 0.5, 0.3), (9, 3)) * r:
        canvas.soft(x + a, y + b, size, size, "#a8a698", 0.8)
    for part in (0.3, 0.6, 1):
        shade = mix("#3a4568", "#05070d", part)
        line = canvas.ridge(0.6 + 0.25 * part, 0.07, shade)
        for x in between(0, 1, 12):
            pine(canvas, x, line(x)[0] + 0.01, between(0.08, 0.2) * part, shade)


def fruit(canvas):
    between, cloth = canvas.between, hsv(canvas.between(), 0.6, 0.75)
    canvas.gradient("#f6f2ea", "#e6dfd2")
    for start in np.arange(0, 1, 0.1):  # gingham
        canvas.box(start, 0, start + 0.05, 1, mix(cloth, WHITE, 0.5))
    for start in np.arange(0, 1, 0.1):
        canvas.box(0, start, 1, start + 0.05, mix(cloth, WHITE, 0.6))
        for left in np.arange(0, 1, 0.1):
            canvas.box(left, start, left + 0.05, start + 0.05, cloth)
    for y in np.sort(between(0.15, 0.9, 9)):
        x, r = between(0.1, 0.9), between(0.09, 0.16)
        hue = canvas.pick([0.0, 0.02, 0.07, 0.1, 0.14, 0.19, 0.24, 0.82])
        colour = hsv(hue, 0.85, 0.45 if hue > 0.5 else 0.85)
        stalk = x + between(-0.4, 0.4) * r
        canvas.soft(x + 0.3 * r, y + 0.45 * r, 1.4 * r, 1.1 * r, "#20140c", 0.7)
        if 0.06 < hue < 0.16:  # half a citrus fruit
            for size, shade in ((1, colour), (0.93, "#fff6dc")):
                canvas.oval(x, y, size * r, size * r, shade)
            for angle in range(int(stalk * 40), 360 + int(stalk * 40), 40):
                wedge = [(x, y), *arc(x, y, 0.85 * r, 0.85 * r, angle + 3, angle + 37)]
                canvas.polygon(wedge, mix(colour, WHITE, between(0, 0.3)))
        else:
            canvas.ball(x, y, r, r * between(0.9, 1.1), colour)
            canvas.line([(x, y - 0.7 * r), (stalk, y - 1.3 * r)], 0.1 * r, "#4a3018")
            canvas.polygon(arc(stalk, y - 1.1 * r, 0.5 * r, 0.2 * r), "#4f8a38")


def sea(canvas):
    between, (high, low) = canvas.between, canvas.pick(SKIES).split()
    horizon, side = between(0.35, 0.55), canvas.side
    canvas.gradient(high, low, bottom=horizon + 0.01)
    canvas.fog("white", 0.5, 0.7, stretch=3)
    sun = between(0.2, 0.8)
    canvas.soft(sun, horizon - 0.1, 0.3, 0.3, "#fff1c0", 0.9)
    top = round(horizon * side)
    y, x = np.ogrid[0 : 1 : 1j * (side - top), -0.5 : 0.5 : 1j * side]
    far = 1 / (y + 0.04)  # the distance of what is seen at this height
    waves = sum(np.sin(far * (a * x + b) + c + np.sin(far * x * 3 + c)) / 4
                for a, b, c in between((4, 14, 0), (30, 40, 6), (4, 3)))  # fmt: skip
    path = np.exp(-(((x + 0.5 - sun) / (0.05 + 0.2 * y)) ** 2)) * (waves > 0.1)
    share = np.clip(0.45 + 0.4 * waves, 0, 1)[..., None]
    deep, crest = mix(high, "#06222e", 0.6), mix(low, high, 0.4)
    pixels = np.array(deep) * (1 - share) + share * crest
    pixels = pixels + (255 - pixels) * 0.8 * path[..., None]
    canvas.image.paste(Image.fromarray(pixels.astype(np.uint8)), (0, top))
    x, y, r = between(0.2, 0.8), horizon + between(0.03, 0.2), between(0.08, 0.2)
    hull, deck, boom = hsv(between(), 0.7, 0.5), y - 0.2 * r, y - 0.4 * r
    canvas.polygon(arc(x, deck, r, 0.25 * r, 0, 180), hull)
    canvas.line([(x, deck), (x, y - 2.3 * r)], 0.04 * r, "#3a2a1c")
    for reach, shade in ((0.9 * r, "#f6f2ea"), (-0.7 * r, hsv(between(), 0.6, 0.8))):
        canvas.polygon([(x, y - 2.2 * r), (x + reach, boom), (x, boom)], shade)


SCENES = (landscape, city, still_life, page, pattern, night, fruit, sea)


def face(canvas):
    """A person: back hair, shoulders, head, features, fringe, glasses."""
    between, chance = canvas.between, lambda share: canvas.between() < share
    skin, hair = canvas.pick(SKINS), canvas.pick(HAIRS)
    deep, wall = mix(skin, "#5a1c10", 0.35), hsv(between(), between(0.1, 0.5), 0.7)
    top, bottom = mix(wall, WHITE, between(0, 0.4)), mix(wall, BLACK, between(0, 0.5))
    canvas.gradient(top, bottom)
    for x, y, r in between((0, 0, 0.05), (1, 1, 0.2), (9, 3)):
        canvas.soft(x, y, r, r, mix(wall, canvas.pick([BLACK, WHITE]), 0.6), 0.5)
    x, y, turn = 0.5 + between(-0.03, 0.03), 0.47 + between(-0.02, 0.02), between(-1, 1)
    wide, tall, bald = between(0.19, 0.225), between(0.26, 0.29), chance(0.06)
    long = chance(0.5) and not bald
    if long:
        bottom = between(0.2, 0.42)
        canvas.oval(x, y - 0.05, wide * 1.32, tall * 1.13, hair)
        for part in np.linspace(-1.28, 1.28, 70):
            tone = mix(hair, canvas.pick([BLACK, WHITE]), between(0, 0.25))
            end = x + 1.12 * part * wide + between(-0.02, 0.02)
            canvas.line([(x + part * wide, y - 0.05), (end, y + bottom)], 0.018, tone)
    shirt = hsv(between(), between(0.1, 0.7), between(0.2, 0.85))
    canvas.ball(x, 1.1, between(0.4, 0.48), 0.3, shirt, shade=0.5, shine=0)
    canvas.box(x - 0.52 * wide, y, x + 0.52 * wide, 0.84, mix(skin, deep, 0.4))
    canvas.oval(x, 0.84, 0.52 * wide, 0.06, mix(skin, deep, 0.4))
    canvas.soft(x, y + tall * 0.95, 0.5 * wide, 0.12, deep, 0.8)
    for side in (-1, 1):
        ear = x + side * wide * 0.98 - 0.02 * turn
        canvas.ball(ear, y + 0.02, 0.035, 0.062, mix(skin, deep, 0.25), 0.3, 0)
    canvas.ball(x, y - 0.01, wide, tall * 1.04, skin, shade=0.26, shine=0.05)
    x, smile = x + 0.02 * turn, between(-0.3, 1)
    eyes, gap, iris = y - 0.02, wide * between(0.42, 0.48), canvas.pick(IRISES)
    open_eye, red = between(0.012, 0.02), mix(skin, "#a8283a", between(0.2, 0.7))
    for side in (-1, 1):
        eye = x + side * gap
        canvas.soft(eye, eyes, 0.07, 0.05, deep, 0.55)
        canvas.soft(eye, y + 0.09, 0.08, 0.06, mix(skin, "#e05a4a", 0.4), 0.4)
        canvas.oval(eye, eyes, 0.038, open_eye, "#f4f0ec")
        canvas.oval(eye + 0.005 * turn, eyes, 0.017, min(0.017, open_eye), iris)
        canvas.oval(eye + 0.005 * turn, eyes, 0.008, 0.008, "#0a0808")
        canvas.oval(eye + 0.005 * turn - 0.006, eyes - 0.006, 0.004, 0.004, "white")
        lid = arc(eye, eyes + 0.004, 0.041, open_eye + 0.005, 190, 350)
        canvas.line(lid, between(0.006, 0.01), mix(deep, BLACK, 0.6))
        arch = arc(eye, eyes - 0.02, 0.052, between(0.025, 0.04), 205, 335)
        canvas.line(arch, between(0.009, 0.016), mix(hair, BLACK, 0.3))
    nose = y + between(0.08, 0.1)
    canvas.soft(x + 0.022, nose - 0.04, 0.025, 0.085, deep, 0.5)
    canvas.soft(x - 0.005, nose - 0.03, 0.016, 0.07, mix(skin, WHITE, 0.6), 0.5)
    canvas.line(arc(x, nose, 0.03, 0.014, 10, 170), 0.006, mix(skin, deep, 0.9))
    for side in (-1, 1):
        canvas.oval(x + side * 0.014, nose + 0.008, 0.008, 0.005, mix(deep, BLACK, 0.4))
    if chance(0.3) and not long:  # a beard
        for a, r, size in between((10, 0.78, 0.02), (170, 1, 0.05), (420, 3)):
            u = x + wide * r * np.cos(np.radians(a))
            v = y + 0.03 + 0.9 * tall * r * np.sin(np.radians(a))
            tone = mix(hair, BLACK, between(0, 0.4))
            canvas.line([(u, v), (u + between(-0.01, 0.01), v + size)], 0.005, tone)
    reach, corner = between(0.055, 0.075), y + 0.165 - 0.02 * smile
    curve = max(smile, 0)
    canvas.soft(x, y + 0.22, 0.05, 0.03, deep, 0.4)
    canvas.polygon(arc(x, corner, reach, 0.03 + 0.02 * curve, 0, 180), red)
    for side in (-1, 1):
        lip = arc(x + side * reach / 2, corner + 0.003, reach / 2, 0.017, 180, 360)
        canvas.polygon(lip, mix(red, BLACK, 0.15))
    inner = arc(x, corner, reach * 0.85, 0.005 + 0.022 * curve, 0, 180)
    canvas.polygon(inner, "#f7f3ee" if smile > 0.3 else mix(red, BLACK, 0.6))
    if not bald:  # the top of the head, then strands that fall to either side
        x, line, part = x - 0.02 * turn, between(0.35, 0.6), between(-0.6, 0.6)
        for a in np.radians(np.linspace(175, 365, 130)):
            u, v = x + wide * np.cos(a), y - 0.05 + tall * np.sin(a)
            crown = (u + 0.1 * (u - x), v)
            end = (u, y - 0.06 + tall * line * np.sin(a))
            tone = mix(hair, canvas.pick([BLACK, WHITE]), between(0, 0.22))
            root = (x + part * wide, y - 0.05 - tall * 0.95)
            canvas.line([root, crown, end], 0.014, tone)
            canvas.line([root, (end[0], end[1] - 0.03)], 0.01, tone)
    if chance(0.25):
        rim = canvas.pick(["#181414", "#6a3a1c", "#b09a60"])
        for side in (-1, 1):
            frame = arc(x + side * gap, eyes + 0.006, 0.066, between(0.04, 0.055))
            canvas.line(frame, 0.009, rim)
            hinge, ear = x + side * (gap + 0.066), x + side * wide
            canvas.line([(hinge, eyes), (ear, eyes - 0.01)], 0.008, rim)
        canvas.line([(x - gap + 0.066, eyes), (x + gap - 0.066, eyes)], 0.009, rim)


def drawn(draw, seed, size):
    canvas = Canvas(np.random.Generator(np.random.PCG64(seed)), size)
    draw(canvas)
    return canvas.finish()


def draw_scene(seed, size):
    """A drawn scene, uint8 RGB [size, size, 3]: a pure function of both numbers.

    Eight kinds take turns with the seed, so any eight in a row show all of them.
    """
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
