"""Files made to mislead, in place of every file that a command reads."""

import argparse
import json
import math
import os
import pathlib
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
from small_runs import prepare

from proofs import Tally, is_one_line, no_process_left, outcome, quick
from proofs.damage import damage
from srgan_tf import cli, features, hdf5, safe
from srgan_tf.data import sources
from srgan_tf.networks import files, generators
from srgan_tf.training import checkpoint, folder, loop
from srgan_tf.upscaling import tiles

SETTINGS = generators.GeneratorSettings("compact", 1, 4, False)
IMAGES = ("png", "jpg", "tif", "bmp", "webp")
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


HOSTILE = {  # what no reader of an HDF5 file accepts
    "pipe": becomes(os.mkfifo), "folder": becomes(os.mkdir),
    "device": becomes(lambda path: path.symlink_to("/dev/zero")),
    "circle": becomes(lambda path: path.symlink_to(path)),
    "empty": becomes(lambda path: path.touch()),
    "noise": lambda path, rng: path.write_bytes(rng.randbytes(5000)),
    "sparse": lambda path, rng: os.truncate(path, 2**40),
    "external link": holds(
        lambda file, rng: file.update(a=h5py.ExternalLink("/etc/hosts", "a"))),
    "soft link": holds(lambda file, rng: file.update(a=h5py.SoftLink("/weights"))),
    "external storage": stored(external=[("/dev/zero", 0, 2**22)]),
    "compressed": stored(data=np.zeros(2**20, "f"), compression="gzip"),
    "unallocated": stored(chunks=(2**10,)), "unwritten": stored(),
    "virtual": virtual, "aliases": aliases, "crowd": crowd,
}  # fmt: skip
ANY = [mutated] * 3 + list(HOSTILE.values())[:7]
HDF5 = [replaced] * 4 + [attribute] * 3 + list(HOSTILE.values())[7:]


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


def unusual(path, rng):
    """Several frames, pixels of an unusual kind, or too many of them."""
    kind = rng.choice(["TIFF", "WEBP", "GIF", "F", "LAB", "I", "1"])
    if len(kind) < 4 and kind != "GIF":
        size = (15000, 14000) if kind == "1" else (4, 4)
        compression = "group4" if kind == "1" else None
        Image.new(kind, size).save(path, "TIFF", compression=compression)
    else:
        several = [Image.new("RGB", (4, 4), "red")] * 99
        Image.new("RGB", (4, 4)).save(path, kind, save_all=True, append_images=several)


def zipped(path, rng):
    """A zip with odd members after its good ones."""
    name = rng.choice(["/a.png", "../a.png", "C:/a.png", "..\\a.png", "b.png", "c.png/",
                       "new\nline.png", "link.png", "bomb.png"])  # fmt: skip
    bomb, several = name == "bomb.png", rng.choice([1, 3, 2000])
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there already
        data = archive.read(archive.namelist()[0])
        for number in range(min(several, 3) if bomb else several):
            member = zipfile.ZipInfo(f"{number}{name}" if bomb else name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o120777 << 16 if name == "link.png" else 0
            with archive.open(member, "w") as file:
                for _ in range(257 if bomb else 1):  # over MEMBER_BYTES
                    file.write(bytes(2**20) if bomb else data)


def flagged(path, rng):
    """Encrypted, or packed in a way that has no bound."""
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2") + rng.choice([8, 10])
    data[place] ^= rng.choice([1, 9])
    path.write_bytes(data)


def odd_json(path, rng):
    whole = ["[" * 10**5, "1" * 5000, '{"a":' * 10**4, "{}", "1", ""]
    if not rng.randrange(8):
        path.write_text(rng.choice(whole))
        return
    tree = inner = json.loads(path.read_text())
    while inner and isinstance(inner, (dict, list)):
        if inner is not tree and rng.random() >= 0.7:
            break
        node = inner
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        inner = node[key]
    node[key] = rng.choice(ODD)
    path.write_text(json.dumps(tree))


def odd_csv(path, rng):
    rows = [line.split(",") for line in path.read_text().splitlines()]
    row, odd = rng.choice(rows), ["inf", "-1", '"', "=1+1", "\x1b[31m", "a\nb", *ODD]
    row[rng.randrange(len(row))] = str(rng.choice(odd))
    path.write_text("\n".join(map(",".join, rows)))


def nearest(*_):
    """In place of tiles.Upscaler."""
    return lambda lr, progress=None: lr.repeat(4, axis=0).repeat(4, axis=1)


def as_command(function):
    """The function of a path, run as the command line runs a command."""
    return lambda path: cli.run(argparse.Namespace(command=lambda _: function(path)))


def read_checkpoint(path):
    """Restores from the file as the only checkpoint of a run, its manifest written."""
    path = pathlib.Path(path)
    run = folder.RunFolder(path.parents[1] / "out", "h")
    manifest = {"format_version": checkpoint.FORMAT_VERSION, "run_id": "1"}
    manifest |= {"step": 1, "file": path.name}
    if path.is_file() and path.stat().st_size < 2**30:
        digest = checkpoint._sha256(path)
        manifest |= {"size": path.stat().st_size, "sha256": digest}
    run.checkpoints = path.parent
    path.with_suffix(".json").write_text(checkpoint._manifest_text(manifest))
    found, _ = checkpoint.newest(run, "1")
    checkpoint.restore(found, {"weights": generators.build_generator(SETTINGS).weights})


def read_zip(path):
    for source in sources.find_images(path):
        source.pixels()


def make_good(good, data):
    """Writes what is spoiled: a generator, VGG19's weights, images, a zip, a log."""
    files.save_generator(generators.build_generator(SETTINGS), good / "m.h5")
    shutil.copyfile(good / "m.h5", good / "checkpoint-00000001.h5")
    with h5py.File(good / "w.h5", "w") as file:
        layer = file.create_group("block1_conv1")
        file.attrs["layer_names"] = np.array([b"block1_conv1"])
        layer.attrs["weight_names"] = np.array([b"v/kernel:0", b"v/bias:0"])
        layer["v/kernel:0"] = np.zeros((3, 3, 3, 64), "f")
        layer["v/bias:0"] = np.zeros(64, "f")
    photographs = sorted(data.iterdir())[:3]
    for kind in IMAGES:
        Image.open(photographs[0]).save(good / f"i.{kind}")
    with zipfile.ZipFile(good / "z.zip", "w") as archive:
        for path in photographs:
            archive.write(path, path.name)
    rows = [f"{n},{n},gan,{1 / n},0.5" for n in range(1, 9)]
    text = "\n".join(["epoch,step,stage,perceptual,discriminator", *rows])
    (good / "l.csv").write_text(text)


def make_targets(place, data):
    """{kind: (good file, changes, the command that reads it, its exit codes)}."""
    upscale = ["upscale", "-o", str(place / "out"), str(place / "good/i.png")]
    plot = ["plot", "-o", str(place / "out/plot.png")]
    network = {"vgg19/block1_conv1"}
    return {
        "model": ("m.h5", HDF5, lambda x: cli.main([*upscale, "--model", x]), (0, 2)),
        "checkpoint": (
            "checkpoint-00000001.h5", HDF5, as_command(read_checkpoint), (0, 2)),
        "weights": ("w.h5", HDF5, as_command(lambda x: features.build_extractor(
            network, {"vgg19": x}) and None), (0, 2)),
        "image": ("i", [huge, unusual] * 3, lambda x: cli.main([*upscale, x]), (0, 1)),
        "zip": ("z.zip", [zipped] * 6 + [flagged] * 2, as_command(read_zip), (0, 2)),
        "info": ("../run/info/tiny.json", [odd_json] * 9, as_command(
            lambda _: prepare(data, place / "run") and None), (0, 2)),
        "log": ("l.csv", [odd_csv] * 9, lambda x: cli.main([*plot, x]), (0, 2)),
    }  # fmt: skip


def weights_of(path):
    return files.load_generator(path).get_weights()


def is_harmless(kind, change, path, good):
    """Whether what was read without a word is right, as far as anybody could know."""
    if kind in ("image", "zip", "info", "log"):
        return True
    if change not in (mutated, attribute):
        return False
    # VGG19's weights have no digest, and this checkpoint has that of a stranger.
    return kind != "model" or all(
        map(np.array_equal, weights_of(path), weights_of(good))
    )


def contents(place):
    """{path: size and time of its last change} of all but what is written to."""
    paths = [p for p in place.rglob("*") if p.relative_to(place).parts[0] != "out"]
    return {p: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths}


def prove(place, count, seed):
    rng, here, data = random.Random(seed), os.getcwd(), place.parent / "scenes"
    _ = [(place / name).mkdir() for name in ("good", "empty")]
    with quick(), mock.patch.object(tiles, "Upscaler", nearest):
        loop.train(prepare(data, place / "run"))
        shutil.copytree(place / "run", place / "kept")
        make_good(place / "good", data)
        os.chdir(place / "empty")
        try:
            return list(_prove(place, make_targets(place, data), count, rng))
        finally:
            os.chdir(here)


def _prove(place, targets, count, rng):
    tallies, times, peaks = {k: Tally(f"hostile: {k}") for k in targets}, {}, []
    for number in range(count):
        kind = list(targets)[number % len(targets)]
        name, changes, command, codes = targets[kind]
        good = place / "good" / (f"i.{rng.choice(IMAGES)}" if name == "i" else name)
        path = place / "bad" / f"{rng.choice(NAMES)}{good.suffix}"
        path = path.with_name(good.name) if kind == "checkpoint" else path
        path.parent.mkdir()
        path = good if kind == "info" else shutil.copyfile(good, path)
        change = rng.choice(ANY + changes)
        change(path, rng)
        before, started = contents(place), time.monotonic()
        code, text = outcome(lambda c=command, p=path: c(str(p)))
        times[kind] = max(times.get(kind, 0), time.monotonic() - started)
        # Where info/ differs from the photographs, the line names one of these.
        shown = safe.printable(path.stem, kept="") if code and kind != "info" else ""
        promised = is_one_line(code, text, shown, codes) and no_process_left()
        promised = promised and (code or is_harmless(kind, change, path, good))
        after = contents(place)
        after.pop(path.with_suffix(".json") if kind == "checkpoint" else None, None)
        after.pop(path.parent, None), before.pop(path.parent, None)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        rose = peaks[-1] > max(peaks[:-1], default=0)
        promised = promised and after == before
        promised = promised and not (rose and peaks[-1] - peaks[0] > MOST)
        case = f"{number}, {change}, {path!r}: {code}, {text[-900:]}"
        tallies[kind].add(promised, case)
        for name in ("out", "bad", *["run"] * (kind == "info")):
            shutil.rmtree(place / name, ignore_errors=True)
        if kind == "info":
            shutil.copytree(place / "kept", place / "run")
    for kind, tally in tallies.items():
        tally.note = f"at most {times.get(kind, 0):.1f} s"
    tally.note += f"; at most {(peaks[-1] - peaks[0]) >> 20} MiB more, of all kinds"
    return tallies.values()
