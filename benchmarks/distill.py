"""Crops of small photographs as generators enlarge them: what `compact` learned last.

    python benchmarks/distill.py FOLDER... --model FILE... --output DIR [--once]

Makes photographs small, at several scales, and has the generators enlarge a crop of
each: its eight flips and turns, which they share, and of which the mean
is taken. On Set5 that is 0.3 dB closer to HR than what one generator makes of the crop
itself. Back projection (Irani and Peleg 1991) then makes the LR image of the result
the crop again. `srgan train` on these images teaches a generator to give in one pass
what they give in eight (Hinton et al. 2015), also for crops to which no HR exists.
--once: the crops at a quarter of their size only, and each as the first generator
enlarges it: to change nothing of a generator but, say, what it makes of flat colours.
"""

import argparse
import itertools
import pathlib

import numpy as np
from PIL import Image
from tqdm import tqdm

from srgan_tf import pixels
from srgan_tf.data import photographs, sources
from srgan_tf.networks import files
from srgan_tf.upscaling import tiles

SCALES = (0.25, 0.25, 0.35, 0.5, 0.7)  # one of these, of the photograph's size
VIEWS = list(itertools.product(range(4), (1, -1)))  # (quarter turns, 1 or flip)


def crop(image, side, rng, scales):
    """A crop of a smaller image, often the most detailed of three; None: too small."""
    size = np.array(image.shape[:2])
    if not (scales := [each for each in scales if min(size) * each >= side]):
        return None
    scale = scales[rng.integers(len(scales))]
    small = pixels.bicubic_resize(image, tuple((size * scale).astype(int)))
    found = []
    for _ in range(3 if rng.random() < 0.6 else 1):
        y, x = (rng.integers(n - side, endpoint=True) for n in small.shape[:2])
        piece = small[y : y + side, x : x + side]
        found.append((np.abs(np.diff(piece.astype(float), axis=0)).mean(), piece))
    return max(found, key=lambda pair: pair[0])[1]


def enlarged(lr, upscalers, views):
    """The mean over views [(turns, step)], a part for each upscaler: float, 0-255."""
    total = 0
    for index, (turns, step) in enumerate(views):
        view = np.float32(np.rot90(lr, turns)[:, ::step])
        sr = upscalers[index * len(upscalers) // len(views)](view)
        total = total + np.rot90(sr[:, ::step], -turns)
    return total / len(views)


def resized(image, side):
    planes = (Image.fromarray(plane) for plane in np.moveaxis(image, 2, 0).copy())
    planes = [plane.resize((side, side), Image.Resampling.BICUBIC) for plane in planes]
    return np.stack(planes, axis=2)


def back_projected(sr, lr):
    """uint8: the SR image, changed so that its LR image is the given one."""
    for _ in range(4):
        missing = lr - resized(np.clip(sr, 0, 255), len(lr))
        sr = sr + resized(missing, len(sr))
    return np.rint(np.clip(sr, 0, 255)).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--crops", type=int, default=600)
    parser.add_argument("--side", type=int, default=96, help="of the crops")
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    found = [each for path in options.data for each in sources.list_photographs(path)]
    generators = [files.load_generator(files.find_model(x)) for x in options.model]
    upscalers = [tiles.Upscaler(each) for each in generators]
    rng, made = np.random.default_rng(0), tqdm(total=options.crops)
    options.output.mkdir(parents=True, exist_ok=True)
    before = -1
    while before < made.n < options.crops:  # until a pass finds none large enough
        before = made.n
        for index in rng.permutation(len(found)):
            image = photographs.read_image(found[index].read(), found[index].label)
            lr = crop(image, options.side, rng, SCALES[: 1 if options.once else None])
            if lr is None or made.n == options.crops:
                continue
            views = VIEWS[:1] if options.once else rng.permutation(VIEWS)
            sr = back_projected(enlarged(lr, upscalers, views), np.float32(lr))
            photographs.write_image(options.output / f"{made.n:04}.png", sr)
            made.update()


if __name__ == "__main__":
    main()
