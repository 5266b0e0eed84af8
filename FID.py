"""Fréchet distances of bicubic, models and folders of images to HR images.

python FID.py HR_DIR [NAME=MODEL.h5 | NAME=DIR …]
"""

import pathlib

from srgan_tf import arguments, cli

DEFAULT = ["A=coco", "B=celeba"]  # in models/ here, or shipped


def main(words=None):
    parser = arguments.Parser(prog="FID.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "hr", nargs=1, metavar="HR_DIR", type=arguments.filled,
        help="the HR images: a folder or zip",
    )  # fmt: skip
    parser.add_argument(
        "candidates", nargs="*", metavar="NAME=PATH",
        type=arguments.filled,
        help="a generator's .h5 file or a folder of images of any size (default: "
        f"{' '.join(DEFAULT)})",
    )  # fmt: skip
    arguments.add_features(parser)
    arguments.add_selection(parser)
    output = {"default": "output/fid", "type": arguments.filled, "metavar": "DIR"}
    parser.add_argument("-o", "--output", **output)
    parser.set_defaults(command=cli.compare_command, quality=False, lr=None)
    options = parser.parse_intermixed_args(words)
    if options.features == "none":
        parser.error("argument --features: none leaves nothing to compute")
    options.model, options.precomputed = [], []
    if not options.candidates:
        options.model = DEFAULT
    for candidate in options.candidates:
        is_model = pathlib.Path(candidate).suffix.lower() in (".h5", ".hdf5")
        is_model = is_model or candidate in DEFAULT
        (options.model if is_model else options.precomputed).append(candidate)
    cli.run(options, "FID.py")


if __name__ == "__main__":
    main()
