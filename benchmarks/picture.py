"""The README's picture: details at 200 %, PSNR-Y of the detail under each.

    python benchmarks/picture.py DATA [-o output/readme.png]

DATA holds set14/HR, coco/test and celeba/test, which no shipped generator has seen.
"""

import argparse
import pathlib

import numpy as np

from srgan_tf import metrics, pixels, plots
from srgan_tf.data import photographs
from srgan_tf.networks import files
from srgan_tf.upscaling import tiles

SIDE = 88  # of a detail, HR pixels
DETAILS = {  # file: (x, y) of the detail, generator
    "set14/HR/img_001.png": (100, 8, "coco"),
    "coco/test/000000020247_6e0e39.jpg": (360, 220, "coco"),
    "celeba/test/009506.jpg": (0, 12, "celeba"),
    "celeba/test/009522.jpg": (0, 12, "celeba"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("-o", "--output", default="output/readme.png")
    options = parser.parse_args()
    upscalers = {
        name: tiles.Upscaler(files.load_generator(files.find_model(name)))
        for name in ("compact", "coco", "celeba")
    }
    rows, captions = [], []
    for name, (x, y, model) in DETAILS.items():
        hr = pixels.crop_to_multiple(photographs.read_image(options.data / name))
        lr = pixels.bicubic_down(hr)
        images = [pixels.bicubic_up(lr), upscalers["compact"](lr), upscalers[model](lr)]
        cut = slice(y, y + SIDE), slice(x, x + SIDE)
        rows.append([np.repeat(np.repeat(i[cut], 2, 0), 2, 1) for i in [*images, hr]])
        scores = [metrics.psnr(image[cut], hr[cut], luma=True) for image in images]
        title = "Model A" if model == "coco" else "Model B"
        captions.append("bicubic {:.1f} dB, compact {:.1f} dB, {} {:.1f} dB".format(
            *scores[:2], title, scores[2]))
    titles = ("bicubic", "compact", "Model A or B", "HR")
    photographs.write_image(options.output, plots.gallery(rows, titles, names=captions))


if __name__ == "__main__":
    main()
