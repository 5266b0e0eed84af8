"""Files made to mislead, in place of every file that a command reads."""

import argparse
import io
import json
import math
import os
import random
import resource
import shutil
import struct
import time
import warnings
import zipfile
import zlib
from unittest import mock

import h5py
import numpy as np
from PIL import Image

from proofs import Tally, is_one_line, no_process_left, outcome, prepare, quick
from proofs.damage import damage
from srgan_tf import cli, features, hdf5, safe
from srgan_tf.data import sources
from srgan_tf.networks import files, generators
from srgan_tf.training import checkpoint, folder, loop
from srgan_tf.upscaling import tiles

MOST = 2**30  # bytes of memory over that of the first files
NAMES = ("a", "b \udce9", "n\nl", "x\x1b[31m", "ü" * 50)  # not UTF-8, two lines, red
ODD = [None, True, 0, -1, 16.5, 1e400, math.nan, 10**400, "", "x", "\0", "9" * 5000, [],
       {}, [[]], {"a": [1]}]  # fmt: skip


def becomes(make):
    """A change of a path into what make(path) makes."""

    def change(path, rng):
        path.unlink()
        make(path)

    return change


def holds(add):
    """A change of an HDF5 file by add(file, rng)."""

    def change(path, rng):
        with h5py.File(path, "a") as file:
            add(file, rng)

    return change


def stored(**options):
    return holds(lambda file, rng: file.create_dataset("a", (2**20,), "f", **options))


@holds
def virtual(file, rng):
    layout = h5py.VirtualLayout((9,), "f")
    layout[:] = h5py.VirtualSource("/etc/hosts", "a", (9,))
    file.create_virtual_dataset("a", layout)


@holds
def aliases(file, rng):  # of 4 MB, they promise 400
    values = file.create_dataset("a", data=np.zeros(2**20, "f"))
    file.update({f"a{number}": values for number in range(99)})


@holds
def crowd(file, rng):
    file.update(dict.fromkeys(map(str, range(hdf5.MOST_LINKS + 1)), file["/"]))


@holds
def replaced(file, rng):
    """Another dataset, or a group, in place of one of the file's."""
    found = {name: its for name, its in hdf5.datasets(file).items() if its.size}
    name = rng.choice(sorted(found))
    shape, kind = found[name].shape, found[name].dtype
    del file[name]
    choice = rng.randrange(5)
    if choice == 0:
        file.create_group(name)
    elif choice == 1:
        file.create_dataset(name, data=np.zeros((*shape, 2), kind))
    elif choice == 2:
        file.create_dataset(name, data=np.zeros(shape, rng.choice(["f8", "S3", "c8"])))
    elif choice == 3:
        file[name] = file["/"]  # a circle


@holds
def attribute(file, rng):
    name = rng.choice(sorted(file.attrs) or ["layer_names"])
    odd = [0, -1, 2.5, 10**6, 2**40, math.nan, "x", b"x", b"\xff", np.zeros(9)]
    file.attrs[name] = rng.choice(odd)


def mutated(path, rng):
    path.write_bytes(damage(rng, path.read_bytes())[1])


ANY = [mutated] * 3 + [
    becomes(os.mkfifo), becomes(os.mkdir),
    becomes(lambda path: path.symlink_to("/dev/zero")),
    becomes(lambda path: path.symlink_to(path)),
    becomes(lambda path: path.write_bytes(b"")),
    becomes(lambda path: path.write_bytes(os.urandom(5000))),
    lambda path, rng: os.truncate(path, 2**40),
]  # fmt: skip
HDF5 = [
    holds(lambda x, _: x.update(a=h5py.ExternalLink("/etc/hosts", "a"))),
    holds(lambda x, _: x.update(a=h5py.SoftLink("/weights"))),
    stored(external=[("/dev/zero", 0, 2**22)]), stored(chunks=(2**10,)), stored(),
    stored(data=np.zeros(2**20, "f"), compression="gzip"), virtual, aliases, crowd,
    *[replaced] * 4, *[attribute] * 3,
]  # fmt: skip


def huge(path, rng):
    """The header of a small image, promising up to 2^31 pixels a side."""
    data, sides = bytearray(path.read_bytes()), rng.choice([(9, 2**30), (14000, 14000)])
    if data.startswith(b"\x89PNG"):
        data[16:24] = struct.pack(">II", *sides)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif data.startswith(b"BM"):
        data[18:26] = struct.pack("<II", *sides)
    elif data.startswith(b"\xff\xd8"):
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = b"\xff" * 4
    else:
        data[8:200] = rng.randbytes(192)  # of a TIFF, its tags
    path.write_bytes(data)


def frames(path, rng):
    image, several = Image.new("RGB", (4, 4)), [Image.new("RGB", (4, 4), "red")] * 99
    kind = rng.choice(["TIFF", "WEBP", "GIF", "PNG"])
    image.save(path, kind, save_all=True, append_images=several)


def mode(path, rng):
    kind = rng.choice(["F", "LAB", "I", "1"])
    size = (15000, 14000) if kind == "1" else (4, 4)
    Image.new(kind, size).save(
        path, "TIFF", compression="group4" if kind == "1" else None
    )


def zipped(path, rng):
    """A zip with odd members after its good ones."""
    image = io.BytesIO()
    Image.new("RGB", (48, 48)).save(image, "PNG")
    name = rng.choice(["/a.png", "../a.png", "C:/a.png", "..\\a.png", "b.png", "c.png/",
                       "bomb.png", "\udce9.png".encode("utf8", "replace").decode(),
                       "new\nline.png", "link.png"])  # fmt: skip
    member = zipfile.ZipInfo(name)
    if name == "link.png":
        member.external_attr = 0o120777 << 16
    data = bytes(2**28) if name == "bomb.png" else image.getvalue()
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there already
        for _ in range(rng.choice([1, 3, 2000 if len(data) < 9999 else 1])):
            archive.writestr(member, data, zipfile.ZIP_DEFLATED, 1)


def flagged(path, rng):
    """Encrypted, or packed in a way that has no bound."""
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2") + rng.choice([8, 10])
    data[place] ^= rng.choice([1, 9])
    path.write_bytes(data)


def odd_json(path, rng):
    if not rng.randrange(8):
        path.write_text(
            rng.choice(["[" * 10**5, "1" * 5000, '{"a":' * 10**4, "{}", ""])
        )
        return
    tree = node = json.loads(path.read_text())
    while True:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        inner = node[key]
        if not isinstance(inner, (dict, list)) or not inner or not rng.randrange(3):
            break
        node = inner
    if rng.randrange(4):
        node[key] = rng.choice(ODD)
    else:
        del node[key]
    path.write_text(json.dumps(tree))


def odd_csv(path, rng):
    rows = [line.split(",") for line in path.read_text().splitlines()]
    for _ in range(rng.randint(1, 3)):
        row = rng.choice(rows)
        cell = rng.choice(
            [*map(str, ODD), "inf", "-1", '"', "=1+1", "\x1b[31m", "a\nb"]
        )
        row[rng.randrange(len(row))] = cell
    text = "\n".join(map(",".join, rows))
    path.write_text(text, errors="backslashreplace")


class Nearest:
    """In place of a generator's upscaler."""

    def __init__(self, *_):
        pass

    def __call__(self, lr, progress=None):
        return lr.repeat(4, axis=0).repeat(4, axis=1)


def as_command(function, path):
    """Runs function(path) as a command of the command line."""
    cli.run(argparse.Namespace(command=lambda _: function(path)))


def read_checkpoint(path):
    """Restores from the file as the only checkpoint of a run, its manifest written."""
    run = folder.RunFolder(path.parent.parent / "out", "h")
    run.checkpoints.mkdir(parents=True)
    target, size, digest = run.checkpoints / "checkpoint-00000001.h5", 0, ""
    path.rename(target)
    if target.is_file() and target.stat().st_size < 2**30:
        size, digest = target.stat().st_size, checkpoint._sha256(target)
    manifest = {"format_version": 2, "run_id": "1", "step": 1, "file": target.name}
    manifest |= {"size": size, "sha256": digest}
    target.with_suffix(".json").write_text(checkpoint._manifest_text(manifest))
    try:
        found, _ = checkpoint.newest(run, "1")
        model = generators.build_generator(
            generators.GeneratorSettings("compact", 1, 4, False)
        )
        checkpoint.restore(found, {"weights": model.weights})
    finally:
        target.rename(path)


def read_weights(path):
    features.build_extractor(["vgg19/block1_conv1"], {"vgg19": path})


def read_zip(path):
    for source in sources.find_images(path):
        source.pixels()


class Targets:
    """What is attacked: {kind: (file, changes, the command that reads it, codes)}."""

    def __init__(self, place, data):
        self.data, self.place, self.good = data, place, place / "good"
        self.good.mkdir()
        loop.train(prepare(data, place / "run"))
        shutil.copytree(place / "run", place / "kept")
        settings = generators.GeneratorSettings("compact", 1, 4, False)
        files.save_generator(generators.build_generator(settings), self.good / "m.h5")
        with h5py.File(self.good / "w.h5", "w") as file:
            layer = file.create_group("block1_conv1")
            file.attrs["layer_names"] = np.array([b"block1_conv1"])
            names = {"kernel:0": (3, 3, 3, 64), "bias:0": (64,)}
            layer.attrs["weight_names"] = np.array([f"v/{n}".encode() for n in names])
            for name, shape in names.items():
                layer[f"v/{name}"] = np.zeros(shape, "f")
        image = Image.open(min(data.iterdir()))
        for suffix in ("png", "jpg", "tif", "bmp", "webp"):
            image.save(self.good / f"i.{suffix}")
        with zipfile.ZipFile(self.good / "z.zip", "w") as archive:
            for path in sorted(data.iterdir())[:3]:
                archive.write(path, path.name)
        shutil.copyfile(place / "run/loss/tiny.csv", self.good / "l.csv")

    def case(self, rng):
        """(kind, good file, change, command, allowed exit codes)."""
        kind = rng.choice(
            ["model", "checkpoint", "weights", "image", "zip", "info", "log"]
        )
        out = str(self.place / "out")
        photograph = str(self.good / "i.png")
        cases = {
            "model": ("m.h5", HDF5, lambda x: cli.main(
                ["upscale", photograph, "--model", str(x), "-o", out]), (2,)),
            "checkpoint": (
                "m.h5", HDF5, lambda x: as_command(read_checkpoint, x), (2,)),
            "weights": ("w.h5", HDF5, lambda x: as_command(read_weights, x), (2,)),
            "image": (f"i.{rng.choice(['png', 'jpg', 'tif', 'bmp', 'webp'])}",
                [huge, huge, frames, mode], lambda x: cli.main(
                ["upscale", photograph, str(x), "-o", out]), (0, 1)),
            "zip": ("z.zip", [zipped] * 6 + [flagged] * 2,
                lambda x: as_command(read_zip, x), (0, 2)),
            "info": ("../run/info/tiny.json", [odd_json] * 9, lambda x: as_command(
                lambda _: prepare(self.data, self.place / "run") and None, x), (0, 2)),
            "log": ("l.csv", [odd_csv] * 9, lambda x: cli.main(
                ["plot", str(x), "-o", f"{out}/plot.png"]), (0, 2)),
        }  # fmt: skip
        name, changes, command, codes = cases[kind]
        return kind, name, rng.choice(ANY + changes), command, codes


def same(*paths):
    first, second = (files.load_generator(path).get_weights() for path in paths)
    return all(map(np.array_equal, first, second))


def contents(place):
    """{path: size and time of its last change} of all but what is written to."""
    paths = [p for p in place.rglob("*") if p.relative_to(place).parts[0] != "out"]
    return {p: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths}


def prove(place, count, seed):
    rng, here = random.Random(seed), os.getcwd()
    with quick(), mock.patch.object(tiles, "Upscaler", Nearest):
        targets = Targets(place, place.parent / "scenes")
        (place / "empty").mkdir()
        os.chdir(place / "empty")
        try:
            return list(_prove(targets, count, rng))
        finally:
            os.chdir(here)


def _prove(targets, count, rng):
    place, tallies, facts, base = targets.place, {}, {}, 0
    for number in range(count):
        kind, name, change, command, codes = targets.case(rng)
        original = (targets.good / name).resolve()
        path = original
        if kind != "info":
            path = place / "bad" / f"{rng.choice(NAMES)}{original.suffix}"
            path.parent.mkdir()
            shutil.copyfile(original, path)
        change(path, rng)
        before, started = contents(place), time.monotonic()
        code, text = outcome(lambda c=command, p=path: c(p))
        seconds = time.monotonic() - started
        name = "checkpoint-00000001" if kind == "checkpoint" else path.stem
        name = safe.printable(name, kept="") if code else ""
        promised = is_one_line(code, text, name, codes)
        if code == 0 and kind in ("model", "checkpoint", "weights"):
            # No manifest or digest, or one that the stranger has written anew.
            promised = change in (mutated, attribute)
            promised = promised and (kind != "model" or same(path, original))
        promised = promised and contents(place) == before and no_process_left()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        base = base or peak
        promised = promised and peak - base < MOST
        tally = tallies.setdefault(kind, Tally(f"hostile file: {kind}"))
        tally.add(promised, f"case {number}, {change}, {path!r}: {code}, {text[-900:]}")
        most = max(facts.get(kind, 0), seconds)
        facts[kind] = most
        tally.note = f"at most {most:.1f} s"
        shutil.rmtree(place / "out", ignore_errors=True)
        shutil.rmtree(place / "bad", ignore_errors=True)
        if kind == "info":
            shutil.rmtree(place / "run")
            shutil.copytree(place / "kept", place / "run")
    memory = Tally("memory over that of the first hostile file, under 1 GiB")
    memory.add(peak - base < MOST, peak - base)
    memory.note = f"{(peak - base) >> 20} MiB"
    yield from [*tallies.values(), memory]
