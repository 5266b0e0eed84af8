"""Photographs to upscale: found, read, and their results named and written."""

import collections
import dataclasses
import functools
import glob
import os
import pathlib
from collections.abc import Callable

from srgan_tf import UserError, data, images

MARK = f"_x{images.SCALE}"  # ends the name of a result beside its photograph


@dataclasses.dataclass(frozen=True)
class Job:
    """A photograph: its name for words, its bytes, and the path of its result."""

    label: str
    read: Callable[[], bytes] = dataclasses.field(repr=False)
    output: pathlib.Path


@dataclasses.dataclass(frozen=True)
class _Found:
    label: str  # the path of a file, if it is not in a zip
    read: Callable[[], bytes]
    name: pathlib.PurePath  # relative to root
    root: pathlib.Path  # the folder or the zip that was searched, or a file's folder
    zipped: bool
    searched: bool  # in a folder or a zip
    named: bool  # by the user, who did not give a folder or a pattern

    @property
    def place(self):
        if self.zipped:
            return self.root.resolve() / self.name
        return (self.root / self.name.parent).resolve() / self.name.name  # link or not


def plan(paths, output=None, kind=None, log=None):
    """Find photographs in files, folders, zips and glob patterns: (jobs, failed).

    output: a folder, which gets the structure of the folders searched; the file of a
    single photograph; or None: beside the photographs, for a zip in a folder beside it.
    kind: suffix of the results, as "png", which it is if output does not say either.
    log: called with {"message": words}. failed: how many paths hold no photograph.

    A result beside its photograph is called NAME_x4, elsewhere NAME, with the old
    suffix too if two would be called the same. In folders and patterns, results of
    earlier runs are passed over: what lies in output, and NAME_x4 beside NAME.
    Raises UserError if nothing is to upscale, or a result would replace an input.
    """
    log = log or (lambda event: None)
    found, faults = [], []
    for path in map(str, paths):
        exists = os.path.exists(path)
        matches = [] if exists else sorted(glob.glob(path, recursive=True))
        for match in matches or [path]:
            try:
                found += _search(pathlib.Path(match), bool(matches), log)
            except UserError as error:
                faults.append(error)
    if not found:
        raise faults[0]
    for fault in faults:
        log({"message": f"failed: {fault}"})
    output = pathlib.Path(output) if output else None
    found = _without_results(found, output, log)
    outputs = _outputs(found, output, kind)
    _protect(found, outputs)
    jobs = [Job(x.label, x.read, to) for x, to in zip(found, outputs, strict=True)]
    return jobs, len(faults)


def _search(path, matched, log):
    """[_Found] in a path; a folder that is called like a photograph is told."""
    entries = data.list_photographs(path)
    if path.is_dir():
        for inside in sorted(path.rglob("*")):
            if inside.suffix.lower() in images.EXTENSIONS and inside.is_dir():
                log({"message": f"{inside} is a folder, not a photograph."})
    zipped = entries[0][3]
    searched = zipped or path.is_dir()
    root = path if searched else path.parent
    named = not searched and not matched
    return [
        _Found(label, read, pathlib.PurePath(name), root, zipped, searched, named)
        for name, label, read, _ in entries
    ]


def _without_results(found, output, log):
    """Each photograph once, and none that an earlier run has made."""
    found = list({x.place: x for x in reversed(found)}.values())[::-1]
    photographs = {x.place for x in found}
    photographs |= {place.with_suffix("") for place in photographs}
    folder = output and output.resolve()

    def is_result(x):
        if x.named or x.zipped:
            return False
        stem, parents = x.place.stem, x.place.parents
        if stem.endswith(MARK) and parents[0] / stem.removesuffix(MARK) in photographs:
            return True
        return folder in parents and x.root.resolve() in folder.parents

    inputs = [x for x in found if not is_result(x)]
    if count := len(found) - len(inputs):
        log({"message": f"passed over: {count} results of earlier runs"})
    if not inputs:
        raise UserError(f"{found[0].root} holds results of earlier runs only.")
    return inputs


def _outputs(found, output, kind):
    """The path of each result, all different."""
    suffix = output.suffix.lower() if output else ""
    if suffix in images.EXTENSIONS and not output.is_dir():
        if len(found) > 1:
            raise UserError(
                f"{output} is one file for {len(found)} photographs: give a folder."
            )
        if kind and suffix.replace("jpeg", "jpg") != f".{kind}":
            raise UserError(f"{output} is no {kind}: leave out --format.")
        return [output]
    kind, several = kind or "png", len({x.root for x in found if x.searched}) > 1
    outputs = [_output(x, output, kind, several, x.name.stem) for x in found]
    uses = collections.Counter(map(_folded, outputs))
    taken = {}
    for index, x in enumerate(found):
        if uses[_folded(outputs[index])] > 1:
            outputs[index] = _output(x, output, kind, several, x.name.name)
        other = taken.setdefault(_folded(outputs[index]), x)
        if other is not x:
            words = f"{other.label} and {x.label} would both become {outputs[index]}"
            raise UserError(f"{words}: upscale them one after the other.")
    return outputs


def _folded(path):
    return os.path.realpath(path).casefold()  # some file systems do not tell A from a


def _output(x, output, kind, several, name):
    if output is None:
        folder = x.root.with_name(x.root.stem + MARK) if x.zipped else x.root
    elif several and x.searched:
        root = x.root.resolve()
        folder = output / (root.stem if x.zipped else root.name)
    else:
        folder = output
    folder = folder / x.name.parent
    beside = not x.zipped and folder.resolve() == (x.root / x.name.parent).resolve()
    return folder / f"{name}{MARK if beside else ''}.{kind}"


def _protect(found, outputs):
    """UserError if a result would replace an input, under whatever name."""
    inputs = {_identity(x.root if x.zipped else x.label) for x in found}
    for x, output in zip(found, outputs, strict=True):
        if (identity := _identity(output)) and identity in inputs:
            raise UserError(
                f"{output}, the result of {x.label}, would replace an input: leave that"
                " out or choose another folder with -o."
            )


def _identity(path):
    """What a file is, however it is called; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def run(jobs, upscaler, log=None):
    """Read, upscale and write one photograph after another; returns how many failed.

    upscaler: an upscale.Upscaler, or what is called like one. 16 bits, grey, the colour
    profile and alpha are kept if the format can. Alpha is enlarged bicubically: it is
    no photograph, and nothing may be invented in it.
    log: called with {"message": words} and {"image": how many are done, "images": all}.
    """
    log, failed = log or (lambda event: None), 0

    def tell(index, event):
        if "part" in event:
            event = {"image": round(index + event["part"], 2), "images": len(jobs)}
        log(event)

    for index, job in enumerate(jobs):
        try:
            _upscale(job, upscaler, functools.partial(tell, index))
        except (UserError, OSError, MemoryError) as error:
            failed += 1
            log({"message": f"failed: {_words(job, error)}"})
        tell(index, {"part": 1})
    return failed


def _upscale(job, upscaler, log):
    photograph = images.read_photograph(job.read(), job.label)
    height, width = (images.SCALE * side for side in photograph.pixels.shape[:2])
    images.check_size(job.output, height, width)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    alpha = photograph.alpha
    result = dataclasses.replace(
        photograph,
        pixels=upscaler(photograph.pixels, log),
        alpha=None if alpha is None else images.bicubic_up(alpha),
    )
    images.write_image(job.output, result)


def _words(job, error):
    """One line that names the photograph."""
    if isinstance(error, MemoryError):
        return f"{job.label} needs more memory than there is: cut it into parts."
    words = str(error)
    if isinstance(error, OSError):
        words = f"{error.filename or job.output}: {error.strerror or error}."
    return words if words.startswith(job.label) else f"{job.label}: {words}"
