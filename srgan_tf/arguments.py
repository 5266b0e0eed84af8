"""The options of every command, a row each, and how their texts become values."""

import argparse
import functools
import textwrap
from pathlib import Path

from srgan_tf import UserError, __version__, safe


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, as every other mistake is reported."""

    def error(self, message):
        program, message = self.prog.split()[0], safe.printable(message, kept="")
        self.exit(2, f"{program}: {message}: see `{self.prog} --help`\n")


def build_parser(functions):
    """The parser of `srgan`. functions: {command: what runs it, given the options}."""
    text = "Train, compare and use networks that enlarge photographs 4 times."
    parser = Parser(prog="srgan", description=text)
    parser.add_argument("--version", action="version", version=f"srgan {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function in functions.items():
        text, *examples = COMMANDS[name][:3]
        command = commands.add_parser(
            name, help=text.partition(".")[0] + ".",
            description=textwrap.fill(text, 80),
            epilog="examples:\n  " + "\n  ".join(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.set_defaults(command=function)
        _add(COMMANDS[name][3:], command)
    return parser


def _add(rows, parser):
    for names, settings in rows:
        parser.add_argument(*names, **settings)


def pair(text, default=None):
    """(name, path) of NAME=PATH; a mere path has the default name.

    A name is shown: it gets escapes for what cannot be.
    """
    name, equals, path = text.partition("=")
    plain = not equals or "://" in name or Path(text).exists()
    if default is not None and plain:
        name, path = default, text
    elif not name or not path:
        raise UserError(f"{text}: write NAME={path or 'PATH'}")
    return safe.printable(name, kept=""), path


def groups(texts, default=None):
    """{name: paths} of several NAME=PATH."""
    found = {}
    for name, path in (pair(text, default) for text in texts or ()):
        found.setdefault(name, []).append(path)
    return found


def filled(text):
    """The text, if it has any: an empty path would be the current folder."""
    if text:
        return text
    raise argparse.ArgumentTypeError("an empty value: is a variable not set?")


def whole_number(text):
    if 0 <= int(text) < 2**32:
        return int(text)
    raise ValueError


def integers(text):
    return [int(word) for word in text.split(",")]


def square(text):
    x, y, size = integers(text)
    return x, y, size


def device_count(text):
    """The text, if it is a number above 0 or `all`."""
    if text == "all" or int(text) > 0:
        return text
    raise ValueError


_TYPES = {"N": whole_number, "GIB": whole_number, "EPOCH": int, "EPOCHS": integers}
_TYPES |= {"N|all": device_count, "X,Y,SIZE": square, "SHARE": float}
_TYPES |= {"NETWORK=FILE": pair}
_TYPES |= {"VGG19": lambda path: ("vgg19", filled(path)), "P": "precision={}".format}


def _row(option, text, default=None, **settings):
    """(names, settings) of add_argument, the type by VALUE.

    option: "--name VALUE", "--name VALUE…" of several values, or "--name", a switch.
    """
    name, _, value = option.partition(" ")
    known = {"action": "store_true"}
    if metavar := value.rstrip("…"):
        known = {"metavar": metavar, "type": _TYPES.get(metavar, filled)}
    if metavar != value:
        known |= {"nargs": "+", "action": "extend", "default": []}
    if default is not None:
        text, known["default"] = f"{text} (default: {default}).", default
    names = ["-o", name] if name == "--output" else [name]
    return names, {"help": text, **known, **settings}


_WEIGHTS = (  # {network: file} as pairs
    _row("--weights NETWORK=FILE…", "Read a network's weights, else downloaded."),
    _row("--vgg-weights VGG19", "Read VGG19's.", dest="weights", action="append"),
)
_DATA = (
    "folders, zips, images, https://….zip, or the names coco-val2017 (0.8 GB), div2k "
    "(3.5 GB), celeba (1.4 GB), which are downloaded once"
)
_TRAINING = (
    _row("--data PATH…", f"Train on these: {_DATA}.", required=True),
    _row("--root DIR", "Keep all files of runs in this folder", "."),
    _row("--seed N", "Derive all random numbers from N", 0),
    *_WEIGHTS,
    _row("--memory GIB", "Keep so many GiB of decoded images", 2),
    _row("--set KEY=VALUE…", "Change fields of the recipe, as in the examples."),
    _row("--precision P", "Short for --set precision=P.", dest="set", action="append"),
)
_CROP = _row("--center-crop N", "Use the middle N x N pixels of HR images; 0 is all", 0)
_LIMIT = _row("--limit N", "Use at most N images; 0 is all", 0)
_CANDIDATES = (
    _row("--hr PATH…", "Use these HR images; NAME=PATH names the set.", required=True),
    _row("--model MODEL…", "Use these generators: name, file or NAME=FILE."),
    _row("--precomputed NAME=DIR…", "Add images of other programs, by name."),
    _CROP,
)
_EXPORTS = ("savedmodel", "tflite", "onnx")
_NETWORKS = "Compute FID and KID of inception, vgg19:LAYER or random features, or none"
_FEATURES = (
    _row("--features NAME", _NETWORKS, "inception"),
    *_WEIGHTS,
)
# For the parser of FID.py
add_features = functools.partial(_add, _FEATURES)
add_selection = functools.partial(_add, [_CROP, _LIMIT])

COMMANDS = {  # command: a description, two examples, options
    "train": (
        "Train a recipe on photographs. The same command again resumes the run from "
        "its newest checkpoint, however it was stopped.",
        "srgan train compact_coco --data coco-val2017 --root runs",
        'srgan train coco --data COCO.zip --set "gan=50 epochs" batch_size=8 --run b8',
        _row("recipe RECIPE", "Name a recipe that `srgan recipes` lists."),
        *_TRAINING,
        _row("--validation PATH…", "Validate on these, not on a part of --data."),
        _row("--run NAME", "Name the run; otherwise it has the recipe's name."),
        _row("--restart", "Begin anew, and replace the run of this name."),
        _row(
            "--devices N|all",
            "Share each batch among so many GPUs; machines that "
            "TF_CONFIG names join by themselves.",
        ),
        _row("--dry-run", "Measure a training step and write nothing."),
        _row("--tensorboard", "Write TensorBoard's event files to loss/RUN/ too."),
    ),
    "recipes": (
        "List the recipes. With the name of one, list its fields, as --set takes them.",
        "srgan recipes",
        "srgan recipes coco",
        _row("recipe RECIPE", "Show the fields of this recipe.", nargs="?"),
    ),
    "plot": (
        "Draw the loss curves of one run or several. Print what the doctor finds.",
        "srgan plot loss/coco.csv --from 10 --to 100",
        "srgan plot loss/coco.csv loss/celeba.csv --at 10,50,100 -o both.png",
        _row("logs LOG…", "Name a loss/RUN.csv, or a text log of UpSampler."),
        _row("--from EPOCH", "Begin with this epoch.", dest="first"),
        _row("--to EPOCH", "End with this epoch.", dest="last"),
        _row("--at EPOCHS", "Print the losses of epochs such as 1,2,3."),
        _row("--output FILE", "Write this PNG; otherwise one beside the log."),
    ),
    "progress": (
        "Make a GIF of a run's sample pictures. They show the same images each time.",
        "srgan progress coco",
        "srgan progress tiny --root runs -o tiny.gif",
        _row("run RUN", "Name the run."),
        _row("--root DIR", "Look for output/RUN in this folder", "."),
        _row("--output FILE", "Write this GIF, not output/RUN/progress.gif."),
    ),
    "compare": (
        "Measure bicubic, models and precomputed images on test sets. PSNR, SSIM, FID, "
        "KID and their differences become tables, a figure, a gallery, and a page with "
        "sliders between the images, report.html.",
        "srgan compare --hr Set5=set5/HR Set14=set14/HR --model coco celeba",
        "srgan compare --hr photos/ --precomputed ESRGAN=esrgan/ --features none",
        *_CANDIDATES,
        _row("--lr PATH…", "Use these LR images; otherwise HR is downscaled."),
        _LIMIT,
        *_FEATURES,
        _row("--output DIR", "Write to this folder", "output/compare"),
    ),
    "ablate": (
        "Train recipes on the same photographs and compare them. The same command "
        "again resumes. --set gives no recipe a stage that it does not have.",
        "srgan ablate srresnet compact --data photos/ --validation test/ --root runs",
        'srgan ablate ledig2017 --data a.zip --validation b.zip --set "gan=9 epochs"',
        _row("recipes RECIPE…", "Name recipes that `srgan recipes` lists."),
        *_TRAINING,
        _row("--validation PATH…", "Validate on these and compare.", required=True),
        _CROP,
        _LIMIT,
        _row("--features NAME", _NETWORKS, "none"),
        _row("--output DIR", "Write the comparison here, not to output/ablate."),
    ),
    "gallery": (
        "Draw LR, bicubic, SR and HR images side by side. A row shows a test image.",
        "srgan gallery --hr set14/HR --model coco --panels lr,bicubic,coco,hr",
        "srgan gallery --hr photos/ --seed 1 --zoom 40,40,64 -o sheet.png",
        *_CANDIDATES,
        _row("--limit N", "Show at most N images; 0 is all", 4),
        _row("--panels NAMES", "Show lr, hr and any candidates", "lr,bicubic,hr"),
        _row("--seed N", "Choose images at random, not the first."),
        _row("--zoom X,Y,SIZE", "Enlarge this square, in pixels of HR."),
        _row("--output FILE", "Write this picture", "output/gallery.png"),
    ),
    "upscale": (
        "Enlarge photographs of any size 4 times with a model. A result is called "
        "NAME_x4 beside its photograph, and NAME elsewhere. It replaces an older file "
        "of its name, but no photograph that is enlarged.",
        "srgan upscale photo.jpg",
        'srgan upscale photos/ "more/*.png" --model coco -o large/ --format jpg',
        _row("paths PATH…", "Give photographs, folders, zips, patterns in quotes."),
        _row("--output OUT", "Write to this folder, or one result to this file."),
        _row("--model MODEL", "Use this generator, name or file", "compact"),
        _row("--tile N", "Work in tiles of N pixels; otherwise the memory decides."),
        _row("--blend SHARE", "Mix two models: 0 is --model, 1 is --with."),
        _row("--with MODEL", "Name the second model of --blend.", dest="other"),
        _row("--ensemble", "Average over 8 flips and turns: 8 times as long, better."),
        _row("--format F", "Write this", "png", choices=("png", "jpg", "webp")),
    ),
    "export": (
        "Write a model for programs without this library. It takes float32 RGB images "
        "[images, height, width, 3] of any height and width, from -1 (black) to 1, and "
        "gives those of 4 times the height and width, to be clipped to that range. "
        "Nothing that exists is replaced.",
        "srgan export compact --format onnx",
        "srgan export runs/models/coco.h5 --format tflite -o app/coco.tflite",
        _row("model MODEL", "Export this generator: name, file or NAME=FILE."),
        _row("--format F", "Write this.", required=True, choices=_EXPORTS),
        _row("--output PATH", "Write this; otherwise NAME with the format's ending."),
    ),
}
