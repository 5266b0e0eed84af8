"""Fréchet distances of bicubic, models and folders of images to high-resolution ones.

python FID.py HIGH_DIR [NAME=MODEL.h5 | NAME=DIR …]
"""

import argparse
import pathlib

from srgan_tf import cli

DEFAULT = ["A=models/coco.h5", "B=models/celeba.h5"]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="FID.py", description=__doc__.splitlines()[0])
    parser.add_argument("high", metavar="HIGH_DIR", help="the reference: folder or zip")
    parser.add_argument(
        "candidates", nargs="*", default=DEFAULT, metavar="NAME=PATH",
        help=f"a model's .h5 or a folder of images of any size ({' '.join(DEFAULT)})",
    )  # fmt: skip
    cli.add_features(parser)
    cli.add_selection(parser)
    parser.add_argument("-o", "--output", default="output/fid", metavar="DIR")
    parser.set_defaults(command=cli.compare_command, quality=False, low=None, crop=0)
    options = parser.parse_args(arguments)
    options.high, options.model, options.images = [options.high], [], []
    for candidate in options.candidates:
        is_model = pathlib.Path(candidate).suffix.lower() in (".h5", ".hdf5")
        (options.model if is_model else options.images).append(candidate)
    cli.run(options, "FID.py")


if __name__ == "__main__":
    main()
