"""Command lines made at random of options and values, right ones and odd ones."""

import os
import random
import shutil
from unittest import mock

from proofs import Tally, is_one_line, outcome, quick
from proofs.hostile import nearest
from srgan_tf import UserError, arguments, cli, features, plots, recipes, settings
from srgan_tf.data import downloads
from srgan_tf.evaluation import report
from srgan_tf.networks import export, files, generators
from srgan_tf.training import loop, status
from srgan_tf.upscaling import tiles

ODD = ["", " ", "=", "a=", "=a", "a=b=c", "-1", "0", "1", "3,2,1", "1e400", "nan", "'",
       "9" * 400, "x\x1b[31m", "n\nl", "\udce9", "-", "--", "nowhere", "nowhere/x.png",
       ".", "pipe", "/dev/zero", "https://", "http://[", "*", "[", "{}"]  # fmt: skip
GOOD = {
    "PATH": ["scenes", "scenes/scene_0000.png", "S=scenes", "scenes/*.png"],
    "RECIPE": [*recipes.RECIPES, "tiny", "tiny", "cocoa"], "LOG": ["l.csv"],
    "MODEL": ["m.h5", "N=m.h5"], "N": ["0", "1", "2", "5"], "GIB": ["0", "1"],
    "DIR": ["out"], "FILE": ["out/a.png"], "OUT": ["out"], "RUN": ["tiny", "b"],
    "X,Y,SIZE": ["4,4,16", "0,0,99"], "EPOCH": ["1", "2"], "EPOCHS": ["1,2"],
    "SHARE": ["0.5", "1"], "NAME=DIR": ["P=scenes"], "NAME": ["none", "random", "vgg"],
    "NETWORK=FILE": ["vgg19=m.h5"], "VGG19": ["m.h5"], "P": ["float32", "half"],
    "NAMES": ["lr,bicubic,hr", "m,hr", "x"], "F": ["png", "jpg", "onnx", "gif"],
}  # fmt: skip
SMALL = ["filters=4", "residual_blocks=1", "discriminator_filters=4", "patch_size=24",
         "batch_size=2", "validation_size=24", "margin=0"]  # fmt: skip


def value(rng, kind):
    if kind == "KEY=VALUE":
        key = rng.choice([*settings.SETTABLE, "filter", ""])
        texts = ["tiny", "true", "[0, 1]", "5 steps", "1 epochs", "auto",
                 '{"pixels": 1}']  # fmt: skip
        return f"{key}={rng.choice([*texts, *ODD])}"
    return rng.choice(GOOD.get(kind, ODD) if rng.randrange(4) else ODD)


def command(rng):
    """The words of one command line."""
    name = rng.choice([*cli.COMMANDS, "train", "train"])
    if not rng.randrange(30):
        return [rng.choice(ODD) for _ in range(rng.randrange(4))]
    words = [name]
    for names, facts in arguments.COMMANDS[name][3:]:
        many = facts.get("nargs") == "+"
        kind = facts.get("metavar") or names[0].rpartition(" ")[2]
        given = facts.get("required") or not names[0].startswith("-")
        if rng.random() < (0.95 if given else 0.2):
            count = rng.randint(1, 3) if many else 1
            values = [value(rng, kind.rstrip("…")) for _ in range(count)]
            named = names[0].startswith("-")
            words += [names[0]] * named
            words += [] if facts.get("action") == "store_true" else values
    if name in ("train", "ablate"):
        words += ["--set", *SMALL] if rng.randrange(9) else []
    if not rng.randrange(15):
        words.insert(rng.randrange(len(words) + 1), rng.choice([*ODD, "--fly", "-o"]))
    return words


def refuse(*_, **__):
    raise UserError("it would be fetched or trained for long")


CHEAP = (
    (features, "build_embedding", refuse), (downloads, "_download", refuse),
    (export, "export", lambda *_: None),
    (loop, "train", lambda *_: None), (status, "dry_run", lambda run: {"a step": "0"}),
    (plots, "save_figure", lambda figure, path: None),
    (tiles, "Upscaler", nearest), (report, "write", lambda *_: None),
)  # fmt: skip


def prove(folder, count, seed):
    rng, here, tallies = random.Random(seed), os.getcwd(), {}
    shutil.copytree(folder.parent / "scenes", folder / "scenes")
    chosen = generators.GeneratorSettings("compact", 1, 4, False)
    files.save_generator(generators.build_generator(chosen), folder / "m.h5")
    log = "epoch,step,stage,perceptual\n1,2,gan,0.5\n2,4,gan,\n"
    (folder / "l.csv").write_text(log)
    os.mkfifo(folder / "pipe")
    os.chdir(folder)
    inputs = {p: p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
    patches = [mock.patch.object(*each) for each in CHEAP]
    try:
        with quick():
            _ = [patch.start() for patch in patches]
            for number in range(count):
                words = command(rng)
                code, text = outcome(lambda words=words: cli.main(words))
                left = {p: p.is_file() and p.read_bytes() for p in inputs}
                promised = code in (0, 1) or is_one_line(code, text)
                known = words[0] if words and words[0] in cli.COMMANDS else "odd"
                tally = tallies.setdefault(known, Tally(f"command line: {known}"))
                case = f"case {number}, {words}: {code}, {text[-900:]}"
                tally.add(promised and left == inputs, case)
                shutil.rmtree("out", ignore_errors=True)
    finally:
        _ = [patch.stop() for patch in patches]
        os.chdir(here)
    return tallies.values()
